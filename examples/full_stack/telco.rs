//! The customers: their schema, their rows, and the two eras of the story.

use std::sync::Arc;

use pmmds::csv::{Reader, snake_case};
use pmmds::record::{Dataset, Table, Value};
use pmmds::schema::{FeatureSchema, Fingerprint};
use pmmds::validate::Violations;
use uuid::Uuid;

use crate::Outcome;
use crate::data::TelcoCsv;
use crate::origin::Origin;

/// The reviewed schema of the file.
const SCHEMA: &str = include_str!("../telco_schema.toml");

/// The features of a customer.
pub(crate) fn schema() -> Outcome<FeatureSchema> {
    Ok(FeatureSchema::from_toml(SCHEMA)?)
}

/// Every customer of the file, with the truth about each.
#[derive(Debug)]
pub(crate) struct Customers {
    pub(crate) all: Dataset,
    pub(crate) origin: Origin,
    fibre: Vec<bool>,
}

impl Customers {
    /// Reads the file by the reviewed schema.
    pub(crate) fn read(csv: &TelcoCsv) -> Outcome<Self> {
        let schema = Arc::new(schema()?);
        let table: Table = Reader::new().rename(snake_case).read(&*csv.bytes)?;
        let mut found = Violations::with_limit(10);
        let (target, customer) = ("churn", Some("customer_id"));
        let all = Dataset::from_table(&schema, &table, target, "Yes", customer, &mut found)?;
        if let Some(violation) = found.errors().next() {
            return Err(format!("the data does not fit its schema: {violation}").into());
        }
        let column = table.column("internet_service").ok_or("no column internet_service")?;
        let fibre = column.cells().map(|cell| cell == "Fiber optic").collect();
        Ok(Self { all, origin: Origin::of(csv), fibre })
    }

    /// The eras of the story: customers without fibre first, in an order that the file does not
    /// know; then fibre is launched.
    pub(crate) fn eras(&self) -> Outcome<Eras> {
        let rows = 0..self.all.rows();
        let (fibre, mut calm): (Vec<usize>, Vec<usize>) = rows.partition(|row| self.fibre[*row]);
        calm.sort_by_cached_key(|row| Fingerprint::of_bytes(self.all.entity(*row).as_bytes()));
        if calm.len() < 3_000 || fibre.len() < 1_000 {
            let (calm, fibre) = (calm.len(), fibre.len());
            let why = format!("{calm} customers without and {fibre} with fibre are too few");
            return Err(why.into());
        }
        let mut launch = calm.split_off(2_900);
        let quiet = calm.split_off(2_300);
        launch.extend(fibre);
        launch.sort_by_cached_key(|row| {
            Fingerprint::of_bytes(format!("era2:{}", self.all.entity(*row)).as_bytes())
        });
        // Two fifths train the challenger, two fifths judge it, one fifth sees it at work.
        let part = launch.len() * 2 / 5;
        let after = launch.split_off(2 * part);
        Ok(Eras { training: calm, quiet, launch, after })
    }

    /// The customers that the commands train on: half of them, by a hash of who they are.
    pub(crate) fn known(&self) -> Vec<usize> {
        self.half(true)
    }

    /// Their rows.
    pub(crate) fn training(&self) -> Dataset {
        self.all.select(&self.known())
    }

    /// The other half, who come as traffic: no model has been trained on them before they came.
    pub(crate) fn newcomers(&self) -> Vec<usize> {
        self.half(false)
    }

    fn half(&self, known: bool) -> Vec<usize> {
        let print =
            |row: usize| Fingerprint::of_bytes(format!("half:{}", self.all.entity(row)).as_bytes());
        (0..self.all.rows()).filter(|row| (print(*row).as_bytes()[0] < 128) == known).collect()
    }

    /// Newcomers of a campaign for short fibre contracts: real rows, and unlike the whole.
    pub(crate) fn campaign(&self) -> Vec<usize> {
        let Some(id) = self.all.schema().id("contract") else {
            return Vec::new();
        };
        let feature = &self.all.schema().features()[id.index()];
        let monthly = Value::Level(feature.level("Month-to-month"));
        let mut rows = self.newcomers();
        rows.retain(|row| {
            self.fibre[*row] && self.all.columns().row(*row).values()[id.index()] == monthly
        });
        rows
    }

    /// The rows at `indices` as requests, named so that the same customer in the same part of the
    /// same story is the same request.
    pub(crate) fn requests(&self, part: &str, indices: &[usize]) -> Vec<Request> {
        indices
            .iter()
            .map(|row| {
                let entity = self.all.entity(*row);
                let hash = Fingerprint::of_bytes(format!("{part}:{entity}").as_bytes());
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hash.as_bytes()[..16]);
                Request {
                    id: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
                    features: self.all.columns().row(*row).to_json(self.all.schema()),
                    churned: self.all.labels()[*row] > 0.5,
                }
            })
            .collect()
    }

    /// Share of customers that churned among the rows at `indices`.
    pub(crate) fn churn(&self, indices: &[usize]) -> f64 {
        let churned = indices.iter().filter(|row| self.all.labels()[**row] > 0.5).count();
        count(churned) / count(indices.len().max(1))
    }
}

/// Row numbers of each part of the story.
#[derive(Debug)]
pub(crate) struct Eras {
    /// what the champion is trained on
    pub(crate) training: Vec<usize>,
    /// traffic like it
    pub(crate) quiet: Vec<usize>,
    /// traffic after the launch: the older half trains the challenger, the newer half judges it
    pub(crate) launch: Vec<usize>,
    /// traffic after the promotion
    pub(crate) after: Vec<usize>,
}

/// One request, and what will really happen to the customer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    pub(crate) features: String,
    pub(crate) churned: bool,
}

/// A count of rows as a number.
pub(crate) fn count(rows: usize) -> f64 {
    u32::try_from(rows).map_or(f64::INFINITY, f64::from)
}

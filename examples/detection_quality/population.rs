//! What is drawn from: populations whose truth is known, and how the truth changes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use pmmds::csv::{Reader, snake_case};
use pmmds::drift::{Counts, DriftDetector, Profile};
use pmmds::record::{Batch, BatchError, Column, Columns};
use pmmds::schema::{Feature, FeatureSchema, LevelId, Unlisted};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{
    Bernoulli, Distribution as _, Exp, Normal, Poisson, Uniform, weighted::WeightedIndex,
};

use crate::{Outcome, THRESHOLD};

/// The reviewed schema of the Telco file.
const TELCO_SCHEMA: &str = include_str!("../telco_schema.toml");

/// Rows by which the true PSI of a change is known.
const TRUTH_ROWS: usize = 200_000;

/// What happened to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: every flag is a false alarm.
    None,
    /// The mix of rows shifts a little.
    Mild,
    /// The mix of rows shifts.
    Strong,
    /// A tenth of one column goes missing.
    Missing,
    /// A tenth of one column is a value that was never there.
    NewValue,
}

impl Change {
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Mild, Self::Strong, Self::Missing, Self::NewValue];
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Mild => "mild",
            Self::Strong => "strong",
            Self::Missing => "missing 10 %",
            Self::NewValue => "new value 10 %",
        })
    }
}

/// One drawn column.
#[derive(Debug, Clone)]
pub(crate) enum Drawn {
    Numbers(Vec<f64>),
    Levels(Vec<LevelId>),
}

/// Drawn rows, column by column.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) schema: Arc<FeatureSchema>,
    pub(crate) columns: Vec<Drawn>,
}

impl Sample {
    pub(crate) fn batch<'a>(&'a self) -> Result<Batch<'a>, BatchError> {
        let column = |drawn: &'a Drawn| match drawn {
            Drawn::Numbers(numbers) => Column::Numbers(Cow::Borrowed(numbers)),
            Drawn::Levels(levels) => Column::Levels(levels),
        };
        Batch::new(&self.schema, self.columns.iter().map(column).collect())
    }
}

/// What rows are drawn from.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) name: String,
    schema: Arc<FeatureSchema>,
    source: Source,
    // per change, in the order of `Change::ALL`: the true PSI of every feature
    truth: Vec<Vec<f64>>,
}

#[derive(Debug)]
enum Source {
    /// Rows of a file; the second list are those that a shift draws more of.
    Rows { columns: Vec<Drawn>, shifted: Vec<usize>, missing: usize, new_level: usize },
    /// Columns in which few values hold most rows.
    Ties,
    /// One column, level `k` with a share proportional to `1 / k`.
    Zipf { levels: usize },
}

impl Population {
    /// The 7,043 customers of the Telco file. A shift draws more of those with fibre and a monthly
    /// contract; what goes missing is `total_charges`, what is new a `payment_method`.
    pub(crate) fn telco(csv: &[u8]) -> Outcome<Self> {
        let schema = Arc::new(FeatureSchema::from_toml(TELCO_SCHEMA)?);
        let table = Reader::new().rename(snake_case).read(csv)?;
        let columns = Columns::read(&schema, &table)?;
        let batch = columns.batch();
        let at = |name: &str| -> Outcome<usize> {
            Ok(schema.id(name).ok_or_else(|| format!("no feature {name}"))?.index())
        };
        let has = |name: &str, text: &str| -> Outcome<Vec<bool>> {
            let at = at(name)?;
            let level = schema.features()[at].level(text);
            match &batch.columns()[at] {
                Column::Levels(levels) => Ok(levels.iter().map(|id| *id == level).collect()),
                _ => Err(format!("{name} is no category").into()),
            }
        };
        let fibre = has("internet_service", "Fiber optic")?;
        let monthly = has("contract", "Month-to-month")?;
        let shifted = (0..batch.rows()).filter(|row| fibre[*row] && monthly[*row]).collect();
        let owned = batch.columns().iter().map(|column| match column {
            Column::Numbers(numbers) => Ok(Drawn::Numbers(numbers.to_vec())),
            Column::Levels(levels) => Ok(Drawn::Levels(levels.to_vec())),
            _ => Err("a column of an unknown kind"),
        });
        let source = Source::Rows {
            columns: owned.collect::<Result<_, _>>()?,
            shifted,
            missing: at("total_charges")?,
            new_level: at("payment_method")?,
        };
        Self::new(format!("Telco, {} features", schema.len()), Arc::clone(&schema), source)
    }

    /// Five columns in which few values hold most rows: a flag, a count, a charge that is mostly
    /// zero, a price from a list, a rounded measurement.
    pub(crate) fn ties() -> Outcome<Self> {
        let schema = FeatureSchema::new([
            Feature::integer("flag"),
            Feature::integer("count"),
            Feature::numeric("charge"),
            Feature::numeric("price"),
            Feature::numeric("rounded"),
        ])?;
        Self::new("heavy ties, 5 features".to_owned(), Arc::new(schema), Source::Ties)
    }

    /// One category of `levels` levels, most of them rare. A shift moves a tenth, or a fifth, of the
    /// rows to the level in the middle.
    pub(crate) fn zipf(levels: usize) -> Outcome<Self> {
        let names = (1..=levels).map(|level| format!("level {level}"));
        let feature = Feature::categorical("category", names).unlisted(Unlisted::Other);
        let schema = Arc::new(FeatureSchema::new([feature.nullable()])?);
        Self::new(format!("Zipf, {levels} levels"), schema, Source::Zipf { levels })
    }

    fn new(name: String, schema: Arc<FeatureSchema>, source: Source) -> Outcome<Self> {
        let mut population = Self { name, schema, source, truth: Vec::new() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let before = population.draw(&mut rng, Change::None, TRUTH_ROWS)?;
        let profile = Profile::fit(&before.batch()?)?;
        for change in Change::ALL {
            let after = population.draw(&mut rng, change, TRUTH_ROWS)?;
            let counts = Counts::of(&profile, &after.batch()?, None)?;
            let report = DriftDetector::default().detect(&profile, &counts);
            let psi = |feature: &Feature| report.feature(feature.name()).map_or(0.0, |f| f.psi);
            population.truth.push(population.schema.features().iter().map(psi).collect());
        }
        Ok(population)
    }

    /// The true PSI of every feature under `change`, to about two digits.
    pub(crate) fn truth(&self, change: Change) -> &[f64] {
        let at = Change::ALL.iter().position(|known| *known == change);
        at.map_or(&[], |at| &self.truth[at])
    }

    /// Which features a rule should flag under `change`.
    pub(crate) fn drifted(&self, change: Change) -> Vec<bool> {
        self.truth(change).iter().map(|psi| *psi >= THRESHOLD).collect()
    }

    /// `rows` rows, drawn independently.
    pub(crate) fn draw(
        &self,
        rng: &mut ChaCha8Rng,
        change: Change,
        rows: usize,
    ) -> Outcome<Sample> {
        let mut columns = match &self.source {
            Source::Rows { columns, shifted, .. } => {
                draw_rows(columns, shifted, rng, change, rows)?
            }
            Source::Ties => draw_ties(rng, change, rows)?,
            Source::Zipf { levels } => draw_zipf(*levels, rng, change, rows)?,
        };
        let (missing, new) = match &self.source {
            Source::Rows { missing, new_level, .. } => (*missing, *new_level),
            Source::Ties => (3, 3),
            Source::Zipf { .. } => (0, 0),
        };
        let tenth = Bernoulli::new(0.1)?;
        let mut spoil = |at: usize, number: f64, level: LevelId| match &mut columns[at] {
            Drawn::Numbers(numbers) => {
                numbers.iter_mut().filter(|_| tenth.sample(rng)).for_each(|x| *x = number);
            }
            Drawn::Levels(levels) => {
                levels.iter_mut().filter(|_| tenth.sample(rng)).for_each(|id| *id = level);
            }
        };
        match change {
            Change::Missing => spoil(missing, f64::NAN, LevelId::MISSING),
            Change::NewValue => spoil(new, 24.99, LevelId::OTHER),
            Change::None | Change::Mild | Change::Strong => {}
        }
        Ok(Sample { schema: Arc::clone(&self.schema), columns })
    }
}

/// Rows of a file; 15 % or 50 % of them from those that a shift prefers.
fn draw_rows(
    columns: &[Drawn],
    shifted: &[usize],
    rng: &mut ChaCha8Rng,
    change: Change,
    rows: usize,
) -> Outcome<Vec<Drawn>> {
    let all = columns.first().map_or(0, |column| match column {
        Drawn::Numbers(numbers) => numbers.len(),
        Drawn::Levels(levels) => levels.len(),
    });
    let (any, preferred) = (Uniform::new(0, all)?, Uniform::new(0, shifted.len())?);
    let moved = Bernoulli::new(by_strength(change, 0.0, 0.15, 0.5))?;
    let indices: Vec<usize> = (0..rows)
        .map(|_| if moved.sample(rng) { shifted[preferred.sample(rng)] } else { any.sample(rng) })
        .collect();
    let pick = |column: &Drawn| match column {
        Drawn::Numbers(numbers) => Drawn::Numbers(indices.iter().map(|at| numbers[*at]).collect()),
        Drawn::Levels(levels) => Drawn::Levels(indices.iter().map(|at| levels[*at]).collect()),
    };
    Ok(columns.iter().map(pick).collect())
}

fn draw_ties(rng: &mut ChaCha8Rng, change: Change, rows: usize) -> Outcome<Vec<Drawn>> {
    const PRICES: [f64; 5] = [9.99, 14.99, 19.99, 29.99, 49.99];
    let flag = Bernoulli::new(by_strength(change, 0.95, 0.9, 0.6))?;
    let count = Poisson::new(by_strength(change, 2.0, 2.3, 3.5))?;
    let free = Bernoulli::new(by_strength(change, 0.6, 0.5, 0.3))?;
    let charge = Exp::new(0.02)?;
    let price = match change {
        Change::Mild => [0.35, 0.3, 0.2, 0.1, 0.05],
        Change::Strong => [0.1, 0.2, 0.2, 0.3, 0.2],
        _ => [0.4, 0.3, 0.2, 0.08, 0.02],
    };
    let price = WeightedIndex::new(price)?;
    let measured = Normal::new(by_strength(change, 40.0, 41.0, 46.0), 12.0)?;
    let cents = |x: f64| (x * 100.0).round() / 100.0;
    let mut column = |draw: &dyn Fn(&mut ChaCha8Rng) -> f64| {
        Drawn::Numbers((0..rows).map(|_| draw(rng)).collect())
    };
    Ok(vec![
        column(&|rng| f64::from(u8::from(flag.sample(rng)))),
        column(&|rng| count.sample(rng)),
        column(&|rng| if free.sample(rng) { 0.0 } else { cents(charge.sample(rng)) }),
        column(&|rng| PRICES[price.sample(rng)]),
        column(&|rng| measured.sample(rng).round()),
    ])
}

fn draw_zipf(
    levels: usize,
    rng: &mut ChaCha8Rng,
    change: Change,
    rows: usize,
) -> Outcome<Vec<Drawn>> {
    #[expect(clippy::cast_precision_loss, reason = "a number of levels")]
    let share = WeightedIndex::new((1..=levels).map(|rank| 1.0 / rank as f64))?;
    let moved = Bernoulli::new(by_strength(change, 0.0, 0.1, 0.2))?;
    let draw = |rng: &mut ChaCha8Rng| {
        let index = if moved.sample(rng) { levels / 2 } else { share.sample(rng) };
        LevelId::new(index).unwrap_or(LevelId::OTHER)
    };
    Ok(vec![Drawn::Levels((0..rows).map(|_| draw(rng)).collect())])
}

fn by_strength(change: Change, none: f64, mild: f64, strong: f64) -> f64 {
    match change {
        Change::Mild => mild,
        Change::Strong => strong,
        Change::None | Change::Missing | Change::NewValue => none,
    }
}

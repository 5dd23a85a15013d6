//! The Telco schema, and a model whose behaviour its document chooses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pmmds::artifact::ModelArtifact;
use pmmds::drift::{Profile, ProfileOptions};
use pmmds::model::{Model, ModelFormat, Task, TrainedModel};
use pmmds::record::{Columns, Row, Value, decode_row};
use pmmds::registry::ArtifactFiles;
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::validate::Violations;
use pmmds::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use super::FOR_EVER;

/// The features of the original, with the levels that the real file has.
pub(crate) fn telco() -> FeatureSchema {
    let yes_no = |name: &str| Feature::categorical(name, ["Yes", "No"]);
    let add_on = |name: &str| Feature::categorical(name, ["Yes", "No", "No internet service"]);
    FeatureSchema::new([
        Feature::categorical("gender", ["Male", "Female"]),
        Feature::integer("senior_citizen").range(0.0, 1.0),
        yes_no("partner"),
        yes_no("dependents"),
        Feature::integer("tenure").range(0.0, 100.0),
        Feature::categorical("contract", ["Month-to-month", "One year", "Two year"]),
        yes_no("paperless_billing"),
        Feature::categorical(
            "payment_method",
            [
                "Electronic check",
                "Mailed check",
                "Bank transfer (automatic)",
                "Credit card (automatic)",
            ],
        ),
        Feature::numeric("monthly_charges").range(0.0, 200.0),
        Feature::numeric("total_charges").range(0.0, 10_000.0).nullable(),
        yes_no("phone_service"),
        Feature::categorical("multiple_lines", ["Yes", "No", "No phone service"]),
        Feature::categorical("internet_service", ["DSL", "Fiber optic", "No"]),
        add_on("online_security"),
        add_on("online_backup"),
        add_on("device_protection"),
        add_on("tech_support"),
        add_on("streaming_tv"),
        add_on("streaming_movies"),
    ])
    .unwrap()
}

/// How a model behaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Habit {
    Good,
    /// Answers NaN for a tenure of 99, and panics for one of 98.
    Odd,
    /// Takes 50 ms for a tenure of 97.
    Slow,
    /// Thinks about a tenure of 97 until [`THOUGHT`] is let go.
    Thoughtful,
    /// The same for [`THOUGHT_TOO`].
    ThoughtfulToo,
    /// Scores another number than when it was packed.
    Fickle,
    /// Predicts a number, a hundred a month and the bias; infinity for a tenure of 99.
    Number,
    /// Panics when it is loaded and first asked.
    Explosive,
    /// Comes back from its first smoke prediction when [`ENDLESS`] is let go.
    Endless,
    /// The same for [`ENDLESS_TOO`].
    EndlessToo,
    /// The same for [`ENDLESS_KEPT`].
    EndlessKept,
}

/// Holds up a score until a test lets it go. Each is for one test.
#[derive(Debug)]
pub(crate) struct Hold {
    reached: AtomicBool,
    over: AtomicBool,
}

/// Where [`Habit::Thoughtful`] waits.
pub(crate) static THOUGHT: Hold = Hold::new();

/// Where [`Habit::ThoughtfulToo`] waits.
pub(crate) static THOUGHT_TOO: Hold = Hold::new();

/// Where [`Habit::Endless`] waits.
pub(crate) static ENDLESS: Hold = Hold::new();

/// Where [`Habit::EndlessToo`] waits.
pub(crate) static ENDLESS_TOO: Hold = Hold::new();

/// Where [`Habit::EndlessKept`] waits.
pub(crate) static ENDLESS_KEPT: Hold = Hold::new();

impl Hold {
    const fn new() -> Self {
        Self { reached: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    /// Whether somebody has come here.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }

    /// From now on nobody waits.
    pub(crate) fn let_go(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        self.reached.store(true, Ordering::SeqCst);
        // Bounded, so that a test that fails ends all the same.
        for _ in 0..FOR_EVER.as_millis() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    habit: Habit,
    bias: f64,
}

#[derive(Debug)]
struct TestModel {
    schema: Arc<FeatureSchema>,
    document: Document,
    tenure: usize,
    // rebuilt from its document, not just trained
    loaded: bool,
}

impl Model for TestModel {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    fn task(&self) -> Task {
        match self.document.habit {
            Habit::Number => Task::Regression,
            _ => Task::binary(),
        }
    }

    fn score(&self, row: &Row) -> f64 {
        let tenure = match row.values()[self.tenure] {
            Value::Number(months) => months,
            _ => 0.0,
        };
        let is = |months: f64| (tenure - months).abs() < 0.5;
        match self.document.habit {
            Habit::Odd if is(99.0) => return f64::NAN,
            Habit::Odd if is(98.0) => panic!("a secret of the model"),
            Habit::Slow if is(97.0) => std::thread::sleep(Duration::from_millis(50)),
            Habit::Thoughtful if is(97.0) => THOUGHT.wait(),
            Habit::ThoughtfulToo if is(97.0) => THOUGHT_TOO.wait(),
            Habit::Fickle if self.loaded => return 0.123,
            Habit::Number if is(99.0) => return f64::INFINITY,
            Habit::Number => return 100.0_f64.mul_add(tenure, self.document.bias),
            Habit::Explosive if self.loaded => panic!("the smoke prediction explodes"),
            Habit::Endless if self.loaded && is(0.0) => ENDLESS.wait(),
            Habit::EndlessToo if self.loaded && is(0.0) => ENDLESS_TOO.wait(),
            Habit::EndlessKept if self.loaded && is(0.0) => ENDLESS_KEPT.wait(),
            _ => {}
        }
        1.0 / (1.0 + (tenure / 24.0 - self.document.bias).exp())
    }
}

/// Reads the documents of [`TestModel`].
#[derive(Debug)]
pub(crate) struct TestFormat;

impl ModelFormat for TestFormat {
    fn name(&self) -> &str {
        "test.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let document = serde_json::from_slice(document)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "test", "no document").with_source(e))?;
        Ok(model(schema, document, true))
    }
}

fn model(schema: &Arc<FeatureSchema>, document: Document, loaded: bool) -> Arc<TestModel> {
    let tenure = schema.id("tenure").map_or(0, |id| id.index());
    Arc::new(TestModel { schema: Arc::clone(schema), document, tenure, loaded })
}

/// A version of the Telco model; `bias` tells versions apart.
pub(crate) fn artifact(habit: Habit, bias: f64) -> ArtifactFiles {
    artifact_of(&Arc::new(telco()), super::CURL_BODY, habit, bias)
}

/// A version for rows like the features in `body`.
pub(crate) fn artifact_of(
    schema: &Arc<FeatureSchema>,
    body: &str,
    habit: Habit,
    bias: f64,
) -> ArtifactFiles {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let mut columns = Columns::new(Arc::clone(schema));
    for tenure in 0..50 {
        let mut features = body["features"].clone();
        features["tenure"] = tenure.into();
        let mut out = Violations::new();
        let row = decode_row(schema, features.to_string().as_bytes(), &mut out).unwrap();
        assert!(out.is_clean(), "{out:?}");
        columns.push(&row);
    }
    let model = model(schema, Document { habit, bias }, false);
    let batch = columns.batch();
    let scores: Vec<f64> = (0..batch.rows()).map(|row| model.score(&batch.row(row))).collect();
    let profile: Profile = ProfileOptions::new().scores(&scores).fit(&batch).unwrap();
    let document = serde_json::to_vec(&model.document).unwrap();
    let trained = TrainedModel::new(model, "test.v1", document);
    ModelArtifact::pack(&trained, profile, &batch).unwrap().to_files().unwrap()
}

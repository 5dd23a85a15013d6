//! What Python makes of our models: `onnx` checks the graphs, `onnxruntime` and `mlflow` score with
//! them, and the scores are held to ours.
//!
//! `PMMDS_TEST_VENVS` names the folder of the Python environments, which `scripts/venv` makes by
//! pip; `make test` sets it. Without it the tests say so and pass.

mod onnx {
    mod registered;
}
mod python;
mod telco_file;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pmmds::linfa::{
    AdaBoost, LinearFormat, LinearRegressionFormat, LogisticRegression, RidgeRegression,
    StepFormat, onnx::FILE_NAME,
};
use pmmds::model::{Model, Prediction, TrainedModel, Trainer};
use pmmds::record::{Columns, Dataset, Row, Target, Value};
use pmmds::schema::{Feature, FeatureKind, FeatureSchema, LevelId, Unlisted};
use pmmds::validate::Violations;
use python::python;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value as Json, json};

/// A text that is a level of no feature here.
const UNHEARD_OF: &str = "never heard of";

/// Rows that are made up for each model, besides real ones.
const MADE_UP: usize = 2_000;

/// A model with rows to score.
struct Case {
    name: &'static str,
    model: Arc<dyn Model>,
    document: Json,
    graph: Vec<u8>,
    rows: Vec<Row>,
}

impl Case {
    fn trained(name: &'static str, trained: TrainedModel) -> Self {
        let document = serde_json::from_slice(&trained.document).unwrap();
        let graph = trained.companions[FILE_NAME].clone();
        Self { name, model: trained.model, document, graph, rows: Vec::new() }.made_up()
    }

    fn with_rows_of(mut self, columns: &Columns, rows: usize) -> Self {
        self.rows.extend((0..rows).map(|row| columns.row(row)));
        self
    }

    /// With rows of every value that can be thought of, in any combination.
    fn made_up(mut self) -> Self {
        let schema = Arc::clone(self.model.schema());
        let features = self.document["features"].as_array().unwrap();
        let values: Vec<Vec<Value>> = schema
            .features()
            .iter()
            .zip(features)
            .map(|(feature, term)| candidates(feature, term))
            .collect();
        let mut draw = ChaCha8Rng::seed_from_u64(20);
        let most = values.iter().map(Vec::len).max().unwrap();
        for number in 0..MADE_UP.max(most) {
            let mut row = Row::missing(&schema);
            for (id, values) in schema.ids().zip(&values) {
                // Every value once, and then at random.
                let at = if number < values.len() { number } else { draw.next_u32() as usize };
                row.set(id, values[at % values.len()]);
            }
            self.rows.push(row);
        }
        self
    }

    fn write(&self, folder: &Path) {
        let file = folder.join(self.name);
        std::fs::write(file.with_extension("onnx"), &self.graph).unwrap();
        let predictions: Vec<Prediction> = self
            .rows
            .iter()
            .map(|row| self.model.task().prediction(self.model.score(row)).unwrap())
            .collect();
        let case = expected(self.model.schema(), &self.rows, &predictions);
        std::fs::write(file.with_extension("json"), case.to_string()).unwrap();
    }
}

/// Rows and what they have to score, for Python.
fn expected(schema: &FeatureSchema, rows: &[Row], predictions: &[Prediction]) -> Json {
    let column = |(at, feature): (usize, &Feature)| {
        let values: Vec<Json> = rows.iter().map(|row| told(feature, row.values()[at])).collect();
        let kind = match feature.kind() {
            FeatureKind::Numeric { integer: true, .. } if !feature.is_nullable() => "long",
            FeatureKind::Numeric { .. } => "double",
            _ => "string",
        };
        json!({
            "name": feature.name(),
            "kind": kind,
            "levels": feature.levels(),
            "nullable": feature.is_nullable(),
            "values": values,
        })
    };
    let scores: Vec<String> = predictions.iter().map(|p| p.score().to_string()).collect();
    let labels: Option<Vec<u8>> = predictions.iter().map(Prediction::label).collect();
    let columns: Vec<Json> = schema.features().iter().enumerate().map(column).collect();
    json!({ "columns": columns, "scores": scores, "labels": labels })
}

/// Runs `tests/python/onnx_scores.py`, for which `uri` is where models are registered; what it
/// says.
fn scored_by(python: &Path, uri: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/onnx_scores.py");
    let run = Command::new(python)
        .arg(script)
        .args(arguments)
        .env("MLFLOW_TRACKING_URI", uri)
        .output()
        .unwrap();
    let [told, errors] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(run.status.success(), "{told}\n{errors}");
    told.into_owned()
}

/// A value as it goes to Python: numbers as text, since JSON knows no infinity.
fn told(feature: &Feature, value: Value) -> Json {
    match value {
        Value::Number(x) => json!(x.to_string()),
        Value::Level(LevelId::MISSING) | Value::Missing => Json::Null,
        Value::Level(level) => {
            json!(level.index().map_or(UNHEARD_OF, |index| feature.levels()[index].as_str()))
        }
        other => panic!("{other:?}"),
    }
}

/// Every value of a feature that could come out differently elsewhere.
fn candidates(feature: &Feature, term: &Json) -> Vec<Value> {
    let FeatureKind::Numeric { integer, .. } = feature.kind() else {
        let levels = (0..feature.levels().len()).map(|index| LevelId::new(index).unwrap());
        let further = [LevelId::OTHER, LevelId::MISSING];
        return levels.chain(further).map(Value::Level).collect();
    };
    let whole = *integer && !feature.is_nullable();
    let own = term["edges"].as_array().into_iter().flatten().chain([&term["mean"]]);
    let mut numbers: Vec<f64> = own
        .filter_map(Json::as_f64)
        .flat_map(|x| [x, x.next_up(), x.next_down(), x.floor(), x.ceil()])
        .collect();
    numbers.extend([0.0, -0.0, 1.0, -1.0, 7.0, 30.0, 1e15, -1e15]);
    if whole {
        numbers.retain(|x| x.fract() == 0.0);
        return numbers.into_iter().map(Value::Number).collect();
    }
    let bounds = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
    numbers.extend(bounds);
    numbers.extend([0.1, 0.5, 19.95, 70.35, 1e-9, 1e50, -1e120]);
    numbers.into_iter().map(Value::Number).chain([Value::Missing]).collect()
}

/// Names and levels that mean something to ONNX, to Python or to MLflow.
fn odd_schema() -> Arc<FeatureSchema> {
    let features = [
        Feature::numeric("probability").nullable(),
        Feature::integer("prediction"),
        Feature::integer("/1").nullable(),
        Feature::categorical("//ü \"x\"", ["None", "b", "\"c\"", "Zwei Jahre ü"])
            .unlisted(Unlisted::Other)
            .nullable(),
        Feature::categorical("plan", ["nan", "gold"]),
        Feature::numeric("constant"),
        Feature::categorical("single", ["a", "b"]),
    ];
    Arc::new(FeatureSchema::new(features).unwrap())
}

fn odd_data(target: Target) -> Dataset {
    let schema = odd_schema();
    let mut data = Dataset::with_target(Arc::clone(&schema), target);
    let mut draw = ChaCha8Rng::seed_from_u64(4);
    for number in 0..600_u32 {
        let mut random = |below: u32| draw.next_u32() % below;
        let (x, whole, level) = (f64::from(random(1_000)) / 8.0, random(40), random(6));
        let level = LevelId::new(level as usize).filter(|_| level < 3);
        let values = [
            if number % 9 == 0 { Value::Missing } else { Value::Number(x) },
            Value::Number(f64::from(whole)),
            if number % 5 == 0 { Value::Missing } else { Value::Number(f64::from(random(9))) },
            Value::Level(level.unwrap_or(LevelId::OTHER)),
            Value::Level(LevelId::new(random(2) as usize).unwrap()),
            Value::Number(0.1),
            Value::Level(LevelId::new(0).unwrap()),
        ];
        let mut row = Row::missing(&schema);
        schema.ids().zip(values).for_each(|(id, value)| row.set(id, value));
        let label = match target {
            Target::Binary => f64::from(u8::from((40.0..90.0).contains(&x) || random(5) == 0)),
            _ => x.mul_add(1e6, f64::from(whole)),
        };
        data.push(&row, label, number.to_string());
    }
    data
}

/// A model of the one feature `x` from its document.
fn by_hand(name: &'static str, feature: Feature, head: &str, term: &str) -> Case {
    let schema = Arc::new(FeatureSchema::new([feature]).unwrap());
    let document = format!(r#"{{{head},"features":[{{"name":"x",{term}}}]}}"#);
    let bytes = document.as_bytes();
    let (model, graph): (Arc<dyn Model>, _) = if head.contains("steps") {
        let model = StepFormat::read(bytes, &schema).unwrap();
        let graph = model.to_onnx();
        (Arc::new(model), graph)
    } else if head.contains("regression") {
        let model = LinearRegressionFormat::read(bytes, &schema).unwrap();
        let graph = model.to_onnx();
        (Arc::new(model), graph)
    } else {
        let model = LinearFormat::read(bytes, &schema).unwrap();
        let graph = model.to_onnx();
        (Arc::new(model), graph)
    };
    let document = serde_json::from_str(&document).unwrap();
    Case { name, model, document, graph, rows: Vec::new() }.made_up()
}

fn cases() -> Vec<Case> {
    let (classes, numbers) = (odd_data(Target::Binary), odd_data(Target::Number));
    let odd = |name, trainer: &dyn Trainer, data: &Dataset| {
        Case::trained(name, trainer.fit(data, &()).unwrap()).with_rows_of(data.columns(), 600)
    };
    let nullable = || Feature::numeric("x").nullable();
    let mut cases = vec![
        odd("odd_logistic", &LogisticRegression::default(), &classes),
        odd("odd_stumps", &AdaBoost::builder().stumps(300).build().unwrap(), &classes),
        odd("odd_ridge", &RidgeRegression::default(), &numbers),
        // A score of exactly the threshold has label 1.
        by_hand(
            "at_the_threshold",
            Feature::integer("x"),
            r#""format":"pmmds.linear.v1","threshold":0.5,"intercept":0.0"#,
            r#""kind":"numeric","mean":0.0,"weight":1.0,"missing":0.0"#,
        ),
        by_hand(
            "no_edge",
            nullable(),
            r#""format":"pmmds.steps.v1","threshold":0.0,"intercept":0.25"#,
            r#""kind":"numeric","edges":[],"weights":[0.5],"missing":-3.0"#,
        ),
        // Edges that are one number in single precision.
        by_hand(
            "close_edges",
            nullable(),
            r#""format":"pmmds.steps.v1","threshold":0.7,"intercept":0.25"#,
            r#""kind":"numeric","edges":[0.1,0.10000000000000002,0.1000000001,16777217.0],
               "weights":[-4.0,-1.0,0.5,2.0,5.0],"missing":-3.0"#,
        ),
        by_hand(
            "as_large_as_can_be",
            nullable(),
            r#""format":"pmmds.linear.v1","threshold":1.0,"intercept":-1e100"#,
            r#""kind":"numeric","mean":-1e300,"weight":1e100,"missing":1e100"#,
        ),
        by_hand(
            "lone_levels",
            Feature::categorical("x", ["a", "b"]).nullable(),
            r#""format":"pmmds.linear_regression.v1","intercept":1e9"#,
            r#""kind":"categorical","levels":["a","b"],"weights":[1e-7,-0.3],"other":4.0,"missing":-5e9"#,
        ),
    ];
    let Some(telco) = Telco::read() else { return cases };
    let with_rows = |name, trained, data: &Dataset| {
        Case::trained(name, trained).with_rows_of(data.columns(), 3_000)
    };
    for (name, trainer, data) in telco.trainings() {
        cases.push(with_rows(name, trainer.fit(data, &()).unwrap(), data));
    }
    cases
}

/// Real customers: whether they left, and what they are charged.
struct Telco {
    churn: Dataset,
    charges: Dataset,
}

impl Telco {
    fn read() -> Option<Self> {
        let table = telco_file::telco()?;
        let schema = include_str!("../examples/telco_schema.toml");
        let schema = Arc::new(FeatureSchema::from_toml(schema).unwrap());
        let known = schema.features().iter().filter(|f| !f.name().ends_with("_charges")).cloned();
        let known = Arc::new(FeatureSchema::new(known).unwrap());
        let mut found = Violations::new();
        let churn = Dataset::from_table(&schema, &table, "churn", "Yes", None, &mut found);
        let target = "monthly_charges";
        let charges = Dataset::from_table_numeric(&known, &table, target, None, &mut found);
        Some(Self { churn: churn.unwrap(), charges: charges.unwrap() })
    }

    fn trainings(&self) -> [(&'static str, Box<dyn Trainer>, &Dataset); 3] {
        [
            ("telco_logistic", Box::new(LogisticRegression::default()), &self.churn),
            ("telco_stumps", Box::new(AdaBoost::default()), &self.churn),
            ("telco_ridge", Box::new(RidgeRegression::default()), &self.charges),
        ]
    }
}

#[test]
fn python_scores_what_we_score() {
    let Some(python) = python("mlflow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    cases.iter().for_each(|case| case.write(folder.path()));
    let told = scored_by(&python, "", &["graphs", folder.path().to_str().unwrap()]);
    println!("{told}");
    let rows: BTreeMap<&str, usize> = told
        .lines()
        .filter_map(|line| line.split_once(" rows of "))
        .map(|(rows, case)| (case, rows.parse().unwrap()))
        .collect();
    let expected = cases.iter().map(|case| (case.name, case.rows.len())).collect();
    assert_eq!(rows, expected);
}

//! The stored form of a linear model.

use std::sync::Arc;

use super::document::{Classifier, Form};
use super::linear::{LinearModel, Link};
use crate::Error;
use crate::model::{Model, ModelFormat};
use crate::schema::FeatureSchema;

/// Name of the format of classifiers, and its version.
pub(super) const NAME: &str = "pmmds.linear.v1";

/// Name of the format of regressions, and its version.
pub(super) const REGRESSION_NAME: &str = "pmmds.linear_regression.v1";

/// The document of a linear model.
const FORM: Form = Form { name: NAME, number_bytes: 0 };

/// The document of a linear model that predicts a number: the same without a threshold.
const REGRESSION_FORM: Form = Form { name: REGRESSION_NAME, ..FORM };

/// Reads and writes `pmmds.linear.v1`, the stored form of a [`LinearModel`] for two classes.
///
/// # Format
///
/// ```text
/// {
///   "format": "pmmds.linear.v1",
///   "threshold": 0.5,                    label 1 at or above, in [0, 1]
///   "intercept": -1.25,                  log-odds
///   "features": [                        every feature of the schema, in its order
///     {"kind": "numeric", "name": "tenure",
///      "mean": 32.5,                     in the unit of the feature
///      "weight": -0.03,                  log-odds per unit of the feature
///      "missing": 0.0},                  log-odds where the value is missing
///     {"kind": "categorical", "name": "contract",
///      "levels": ["Monthly", "Yearly"],  those of the schema, in its order
///      "weights": [0.7, -0.7],           log-odds, one per level
///      "other": 0.0, "missing": 0.0}     log-odds of the other two slots
///   ]
/// }
/// ```
///
/// The sum is that of [`LinearModel`]. Unknown fields are refused; weights and intercept are at
/// most 1e100 either way. Version 1 will be readable for ever.
///
/// # Errors of `load`
///
/// * [`NotSupported`](crate::ErrorKind::NotSupported): the document is of another format or version.
/// * [`Corrupt`](crate::ErrorKind::Corrupt): anything else that is wrong with it, naming the feature. A
///   document that is longer than any model of the schema could need is not even parsed.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::ErrorKind;
/// use pmmds::linfa::LinearFormat;
/// use pmmds::model::{Model, ModelFormat};
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::categorical("plan", ["basic", "gold"])])?);
/// let document = r#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":0.0,"features":[
///     {"kind":"categorical","name":"plan","levels":["basic","gold"],
///      "weights":[1.0,-1.0],"other":0.0,"missing":0.0}]}"#;
/// let model = LinearFormat.load(document.as_bytes(), &schema)?;
/// assert_eq!(model.score(&Row::missing(&schema)), 0.5);
///
/// let short = document.replace("1.0,-1.0", "1.0");
/// let error = LinearFormat.load(short.as_bytes(), &schema).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(
///     error.to_string(),
///     "linfa: corrupt: cannot load pmmds.linear.v1: feature \"plan\": 1 weights for 2 levels",
/// );
///
/// let newer = document.replace(".v1", ".v2");
/// let error = LinearFormat.load(newer.as_bytes(), &schema).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotSupported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinearFormat;

impl ModelFormat for LinearFormat {
    fn name(&self) -> &str {
        NAME
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        Ok(Arc::new(Self::read(document, schema)?))
    }
}

impl LinearFormat {
    /// As [`load`](ModelFormat::load), with the type of the model kept.
    ///
    /// # Errors
    ///
    /// As [`load`](ModelFormat::load).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::LinearFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let document = br#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":-2.5,"features":[
    ///     {"kind":"numeric","name":"x","mean":0.0,"weight":1.0,"missing":0.0}]}"#;
    /// let model = LinearFormat::read(document, &schema)?;
    /// assert_eq!(model.intercept(), -2.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(document: &[u8], schema: &Arc<FeatureSchema>) -> Result<LinearModel, Error> {
        let Classifier { threshold, intercept, terms } = FORM.read(document, schema)?;
        LinearModel::new(schema, Link::Logistic { threshold }, intercept, terms)
            .map_err(|e| FORM.corrupt(e.to_string()))
    }
}

/// Reads and writes `pmmds.linear_regression.v1`, the stored form of a [`LinearModel`] that
/// predicts a number.
///
/// # Format
///
/// ```text
/// {
///   "format": "pmmds.linear_regression.v1",
///   "intercept": 64.8,                   in the unit of the target
///   "features": [...]                    as in pmmds.linear.v1, in that unit
/// }
/// ```
///
/// Refused is what [`LinearFormat`] refuses, with the same errors, and a threshold. Version 1 will
/// be readable for ever.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::linfa::LinearRegressionFormat;
/// use pmmds::model::{Model, ModelFormat, Task};
/// use pmmds::record::{Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("lines")])?);
/// let document = br#"{"format":"pmmds.linear_regression.v1","intercept":45.5,"features":[
///     {"kind":"numeric","name":"lines","mean":1.0,"weight":5.25,"missing":0.0}]}"#;
/// let model = LinearRegressionFormat.load(document, &schema)?;
/// let mut row = Row::missing(&schema);
/// row.set(schema.id("lines").unwrap(), Value::Number(3.0));
/// assert_eq!((model.task(), model.score(&row)), (Task::Regression, 56.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinearRegressionFormat;

impl ModelFormat for LinearRegressionFormat {
    fn name(&self) -> &str {
        REGRESSION_NAME
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        Ok(Arc::new(Self::read(document, schema)?))
    }
}

impl LinearRegressionFormat {
    /// As [`load`](ModelFormat::load), with the type of the model kept.
    ///
    /// # Errors
    ///
    /// As [`load`](ModelFormat::load).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::LinearRegressionFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::integer("lines")])?);
    /// let document = br#"{"format":"pmmds.linear_regression.v1","intercept":45.5,"features":[
    ///     {"kind":"numeric","name":"lines","mean":1.0,"weight":5.25,"missing":0.0}]}"#;
    /// assert_eq!(LinearRegressionFormat::read(document, &schema)?.intercept(), 45.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(document: &[u8], schema: &Arc<FeatureSchema>) -> Result<LinearModel, Error> {
        let (intercept, terms) = REGRESSION_FORM.read_regression(document, schema)?;
        LinearModel::new(schema, Link::Identity, intercept, terms)
            .map_err(|e| REGRESSION_FORM.corrupt(e.to_string()))
    }
}

impl LinearModel {
    /// The model as a document that [`LinearFormat`], or [`LinearRegressionFormat`], reads back to
    /// the same model, bit for bit.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::LinearFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let document = br#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":0.1,"features":[{"kind":"numeric","name":"x","mean":0.0,"weight":1.0,"missing":0.0}]}"#;
    /// let model = LinearFormat::read(document, &schema)?;
    /// assert_eq!(model.to_document(), document);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_document(&self) -> Vec<u8> {
        let (form, threshold) = match self.link() {
            Link::Logistic { threshold } => (FORM, Some(threshold)),
            Link::Identity => (REGRESSION_FORM, None),
        };
        form.write(self.schema(), threshold, self.parts())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::linear::Slope;
    use super::super::sum::Term;
    use super::*;
    use crate::ErrorKind;
    use crate::record::{Row, Value as Cell};
    use crate::schema::{Feature, LevelId, Unlisted};

    /// Written by hand when version 1 was made. Never change it: models like it are in use.
    const GOLDEN: &str = include_str!("golden/linear_v1.json");

    /// The same of a regression.
    const GOLDEN_REGRESSION: &str = include_str!("golden/linear_regression_v1.json");

    /// Rounding of `exp`, which differs between platforms in its last bit.
    const EXP_TOLERANCE: f64 = 1e-15;

    fn schema() -> Arc<FeatureSchema> {
        Arc::new(
            FeatureSchema::new([
                Feature::integer("tenure"),
                Feature::numeric("total \"charges\"").nullable(),
                Feature::categorical("contract", ["Monthly", "Yearly", "Zwei Jahre ü"])
                    .unlisted(Unlisted::Other),
            ])
            .unwrap(),
        )
    }

    fn load(document: &Value) -> Result<LinearModel, Error> {
        LinearFormat::read(document.to_string().as_bytes(), &schema())
    }

    fn regression(document: &[u8]) -> LinearModel {
        let (intercept, terms) = REGRESSION_FORM.read_regression(document, &schema()).unwrap();
        LinearModel::new(&schema(), Link::Identity, intercept, terms).unwrap()
    }

    fn golden() -> Value {
        serde_json::from_str(GOLDEN).unwrap()
    }

    #[test]
    fn version_1_is_read_and_written_as_ever() {
        let model = LinearFormat::read(GOLDEN.as_bytes(), &schema()).unwrap();
        assert_eq!(String::from_utf8(model.to_document()).unwrap(), GOLDEN.trim_end());
        assert_eq!(model.task().prediction(0.375).unwrap().label(), Some(1));
        let mut row = Row::missing(&schema());
        let ids: Vec<_> = schema().ids().collect();
        let expect = |row: &Row, log_odds: f64| {
            assert_eq!(model.sum(row).to_bits(), log_odds.to_bits());
            let expected = 1.0 / (1.0 + (-log_odds).exp());
            assert!((model.score(row) - expected).abs() <= EXP_TOLERANCE);
        };
        expect(&row, -1.25 + 0.5 + 0.25 + 0.0625);
        row.set(ids[0], Cell::Number(34.5));
        row.set(ids[1], Cell::Number(-1.0));
        row.set(ids[2], Cell::Level(LevelId::new(2).unwrap()));
        let [tenure, charges] = [2.0 * -0.03125, (-1.0 - 2283.3) * -0.1];
        expect(&row, -1.25 + tenure + charges - 1.5);
        row.set(ids[2], Cell::Level(LevelId::OTHER));
        expect(&row, -1.25 + tenure + charges + 0.125);
    }

    #[test]
    fn version_1_of_a_regression_is_read_and_written_as_ever() {
        let model = regression(GOLDEN_REGRESSION.as_bytes());
        assert_eq!(String::from_utf8(model.to_document()).unwrap(), GOLDEN_REGRESSION.trim_end());
        let mut row = Row::missing(&schema());
        let ids: Vec<_> = schema().ids().collect();
        let expect = |row: &Row, score: f64| {
            assert_eq!(model.score(row).to_bits(), score.to_bits());
            assert_eq!(model.task().prediction(score).unwrap().label(), None);
        };
        expect(&row, 64.75 + 0.5 + 0.25 + 0.0625);
        row.set(ids[0], Cell::Number(34.5));
        row.set(ids[1], Cell::Number(-1.0));
        row.set(ids[2], Cell::Level(LevelId::new(2).unwrap()));
        expect(&row, 64.75 + 2.0 * -0.03125 + (-1.0 - 2283.3) * -0.1 - 1_500.0);
    }

    #[test]
    fn a_classifier_is_no_regression() {
        let load = |document: &str| LinearRegressionFormat.load(document.as_bytes(), &schema());
        let error = load(GOLDEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        let error = LinearFormat::read(GOLDEN_REGRESSION.as_bytes(), &schema()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        for (document, part) in [
            (
                GOLDEN_REGRESSION.replace("\"intercept\"", "\"threshold\":0.5,\"intercept\""),
                "cannot load pmmds.linear_regression.v1: unknown field `threshold`",
            ),
            (GOLDEN_REGRESSION.replace("64.75", "1e101"), "intercept 1e101 is not between"),
        ] {
            let error = load(&document).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let without = GOLDEN.replace("\"threshold\":0.375,", "");
        let error = LinearFormat::read(without.as_bytes(), &schema()).unwrap_err();
        assert!(error.to_string().contains("missing field `threshold`"), "{error}");
    }

    #[test]
    fn what_is_malformed_is_corrupt_and_names_the_feature() {
        let cases: [(&str, Value, &str); 17] = [
            ("/threshold", json!(1.5), "threshold 1.5 is not between 0 and 1"),
            ("/intercept", json!(1e200), "intercept 1e200 is not between -1e100 and 1e100"),
            ("/intercept", json!("0"), "invalid type: string"),
            ("/features", json!({}), "invalid type: map"),
            ("/features", json!([]), "0 features, the schema has 3"),
            ("/features/0", json!(null), "feature \"tenure\": not an object"),
            ("/features/0", json!({}), "feature \"tenure\": missing field `name`"),
            (
                "/features/0/name",
                json!("age"),
                "feature \"tenure\": the document has \"age\" in its place",
            ),
            (
                "/features/0/kind",
                json!("categorical"),
                "feature \"tenure\": kind \"categorical\", expected \"numeric\"",
            ),
            ("/features/0/kind", json!(1), "feature \"tenure\": kind is not a text"),
            ("/features/0/weight", json!(-1e101), "feature \"tenure\": weight -1e101 is not"),
            ("/features/0/mean", json!(null), "feature \"tenure\": invalid type: null"),
            (
                "/features/2/levels",
                json!(["Monthly"]),
                "feature \"contract\": 1 levels, the schema lists 3",
            ),
            (
                "/features/2/levels/0",
                json!("x"),
                "feature \"contract\": level \"x\" where the schema lists \"Monthly\"",
            ),
            (
                "/features/2/weights",
                json!([1, 2, 3, 4]),
                "feature \"contract\": 4 weights for 3 levels",
            ),
            ("/features/2/weights/1", json!([]), "feature \"contract\": invalid type: sequence"),
            ("/features/2/other", json!(1e101), "feature \"contract\": weight 1e101 is not"),
        ];
        for (at, value, part) in cases {
            let mut document = golden();
            *document.pointer_mut(at).unwrap() = value;
            let error = load(&document).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(part), "{error} does not say {part}");
        }
        for (at, part) in [
            ("", "unknown field `new`"),
            ("/features/0", "feature \"tenure\": unknown field `new`"),
            ("/features/2", "feature \"contract\": unknown field `new`"),
        ] {
            let mut document = golden();
            document.pointer_mut(at).unwrap()["new"] = json!(1);
            let message = load(&document).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let swapped = GOLDEN.replace("1e0", "1e999");
        for bytes in [&b""[..], b"{", b"[]", b"\xff", b"{\"format\":1}", &swapped.as_bytes()[..99]]
        {
            let error = LinearFormat::read(bytes, &schema()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }

    #[test]
    fn other_formats_and_versions_are_not_supported() {
        for format in ["pmmds.linear.v2", "pmmds.trees.v1", ""] {
            let mut document = golden();
            document["format"] = json!(format);
            document["unheard_of"] = json!([1, 2]);
            let error = load(&document).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotSupported);
            assert!(error.to_string().contains(&format!("{format:?}")), "{error}");
        }
    }

    #[test]
    fn a_document_larger_than_any_model_is_not_parsed() {
        let long = format!("{}{}", GOLDEN, " ".repeat(100_000));
        let message = LinearFormat::read(long.as_bytes(), &schema()).unwrap_err().to_string();
        assert!(message.contains("a model of this schema has at most"), "{message}");
    }

    #[test]
    fn the_largest_model_fits_its_bound() {
        let name = |first: char| format!("{first}{}", "\\\"".repeat(127));
        let levels = (0..253).map(|i| format!("{i}{}", "\"".repeat(250)));
        let schema = Arc::new(
            FeatureSchema::new([
                Feature::numeric(name('a')),
                Feature::categorical(name('b'), levels),
            ])
            .unwrap(),
        );
        let longest = -1.234_567_890_123_456_7e-100;
        let terms = vec![
            Term::Number(Slope { mean: -f64::MIN_POSITIVE, weight: longest, missing: longest }),
            Term::Slots([longest; 255].into()),
        ];
        let link = Link::Logistic { threshold: 0.5 };
        let model = LinearModel::new(&schema, link, longest, terms).unwrap();
        assert_eq!(LinearFormat::read(&model.to_document(), &schema).unwrap(), model);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every place in `value`, as pointers.
    fn places(value: &Value, at: String, out: &mut Vec<String>) {
        match value {
            Value::Array(items) => {
                let children = items.iter().enumerate();
                children.for_each(|(i, child)| places(child, format!("{at}/{i}"), out));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, child)| places(child, format!("{at}/{name}"), out));
            }
            _ => {}
        }
        out.push(at);
    }

    /// A refusal is corrupt or not supported; a model scores every row as a probability.
    fn judge(read: Result<LinearModel, Error>) -> Result<(), TestCaseError> {
        match read {
            Ok(model) => {
                let score = model.score(&Row::missing(&schema()));
                prop_assert!((0.0..=1.0).contains(&score));
                let again = LinearFormat::read(&model.to_document(), &schema()).unwrap();
                prop_assert_eq!(again, model);
            }
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotSupported),
                "{error}"
            ),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_document_with_one_place_replaced_never_panics(
            place in any::<prop::sample::Index>(), value in any_json(),
        ) {
            let mut document = golden();
            let mut all = Vec::new();
            places(&document, String::new(), &mut all);
            *document.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
            judge(load(&document))?;
        }

        #[test]
        fn a_document_with_bytes_changed_never_panics(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
        ) {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            for (at, byte, edit) in edits {
                let at = at.index(bytes.len());
                match edit {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => { bytes.remove(at); }
                }
            }
            judge(LinearFormat::read(&bytes, &schema()))?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(LinearFormat::read(&bytes, &schema()))?;
        }

        #[test]
        fn every_model_round_trips_bit_for_bit(
            mean in any::<f64>().prop_filter("finite", |x| x.is_finite()),
            weights in prop::collection::vec(-1e100..1e100_f64, 8),
            threshold in 0.0..=1.0_f64,
        ) {
            let terms = vec![
                Term::Number(Slope { mean, weight: weights[0], missing: -0.0 }),
                Term::Number(Slope { mean: -mean, weight: weights[1], missing: weights[2] }),
                Term::Slots(weights[3..8].into()),
            ];
            let classifier = |document: &[u8]| LinearFormat::read(document, &schema()).unwrap();
            type Read = fn(&[u8]) -> LinearModel;
            let both: [(Read, Link); 2] =
                [(classifier, Link::Logistic { threshold }), (regression, Link::Identity)];
            for (read, link) in both {
                let model = LinearModel::new(&schema(), link, weights[0], terms.clone()).unwrap();
                let document = model.to_document();
                let again = read(&document);
                prop_assert_eq!(again.to_document(), document);
                prop_assert_eq!(again, model);
            }
        }
    }
}

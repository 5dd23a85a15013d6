//! The stored form of boosted stumps.

use std::sync::Arc;

use super::document::{Classifier, Form, WEIGHT_BYTES};
use super::step::{MAX_STUMPS, StepModel};
use crate::Error;
use crate::model::{Model, ModelFormat};
use crate::schema::FeatureSchema;

/// Name of the format, and its version.
pub(super) const NAME: &str = "pmmds.steps.v1";

/// The document of a step model.
const FORM: Form = Form { name: NAME, number_bytes: 2 * (MAX_STUMPS + 1) * WEIGHT_BYTES };

/// Reads and writes `pmmds.steps.v1`, the stored form of a [`StepModel`].
///
/// # Format
///
/// ```text
/// {
///   "format": "pmmds.steps.v1",
///   "threshold": 0.5,                    label 1 at or above, in [0, 1]
///   "intercept": -1.25,                  log-odds
///   "features": [                        every feature of the schema, in its order
///     {"kind": "numeric", "name": "tenure",
///      "edges": [5.5, 20.5],             in the unit of the feature, ascending, at most 4,096
///      "weights": [0.9, 0.2, -0.7],      log-odds: below the first edge, from each edge on
///      "missing": 0.0},                  log-odds where the value is missing
///     {"kind": "categorical", "name": "contract",
///      "levels": ["Monthly", "Yearly"],  those of the schema, in its order
///      "weights": [0.7, -0.7],           log-odds, one per level
///      "other": 0.0, "missing": 0.0}     log-odds of the other two slots
///   ]
/// }
/// ```
///
/// The sum is that of [`StepModel`]. Unknown fields are refused; weights and intercept are at most
/// 1e100 either way. Version 1 will be readable for ever.
///
/// # Errors of `load`
///
/// * [`NotSupported`](crate::ErrorKind::NotSupported): the document is of another format or
///   version.
/// * [`Corrupt`](crate::ErrorKind::Corrupt): anything else that is wrong with it, naming the
///   feature. A document that is longer than any model of the schema could need is not even
///   parsed.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::ErrorKind;
/// use pmmds::linfa::StepFormat;
/// use pmmds::model::{Model, ModelFormat};
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
/// let document = r#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":0.0,"features":[
///     {"kind":"numeric","name":"tenure","edges":[5.5,20.5],"weights":[0.9,0.2,-0.7],
///      "missing":0.0}]}"#;
/// let model = StepFormat.load(document.as_bytes(), &schema)?;
/// assert_eq!(model.score(&Row::missing(&schema)), 0.5);
///
/// let falling = document.replace("20.5", "2.5");
/// let error = StepFormat.load(falling.as_bytes(), &schema).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(
///     error.to_string(),
///     "linfa: corrupt: cannot load pmmds.steps.v1: feature \"tenure\": edge 1 (2.5) is not \
///      greater than edge 0 (5.5)",
/// );
///
/// let newer = document.replace(".v1", ".v2");
/// let error = StepFormat.load(newer.as_bytes(), &schema).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotSupported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepFormat;

impl ModelFormat for StepFormat {
    fn name(&self) -> &str {
        NAME
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        Ok(Arc::new(Self::read(document, schema)?))
    }
}

impl StepFormat {
    /// As [`load`](ModelFormat::load), with the type of the model kept.
    ///
    /// # Errors
    ///
    /// As [`load`](ModelFormat::load).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::StepFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-2.5,"features":[
    ///     {"kind":"numeric","name":"x","edges":[1.0],"weights":[0.5,-0.5],"missing":0.0}]}"#;
    /// assert_eq!(StepFormat::read(document, &schema)?.intercept(), -2.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(document: &[u8], schema: &Arc<FeatureSchema>) -> Result<StepModel, Error> {
        let Classifier { threshold, intercept, terms } = FORM.read(document, schema)?;
        StepModel::new(schema, threshold, intercept, terms).map_err(|e| FORM.corrupt(e.to_string()))
    }
}

impl StepModel {
    /// The model as a document that [`StepFormat`] reads back to the same model, bit for bit.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::StepFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":0.1,"features":[{"kind":"numeric","name":"x","edges":[1.0],"weights":[0.5,-0.5],"missing":0.0}]}"#;
    /// let model = StepFormat::read(document, &schema)?;
    /// assert_eq!(model.to_document(), document);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_document(&self) -> Vec<u8> {
        FORM.write(self.schema(), Some(self.threshold()), self.parts())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::step::Steps;
    use super::super::sum::Term;
    use super::*;
    use crate::ErrorKind;
    use crate::record::{Row, Value as Cell};
    use crate::schema::{Feature, LevelId, Unlisted};

    /// Written by hand when version 1 was made. Never change it: models like it are in use.
    const GOLDEN: &str = include_str!("golden/steps_v1.json");

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

    fn load(document: &Value) -> Result<StepModel, Error> {
        StepFormat::read(document.to_string().as_bytes(), &schema())
    }

    fn golden() -> Value {
        serde_json::from_str(GOLDEN).unwrap()
    }

    #[test]
    fn version_1_is_read_and_written_as_ever() {
        let model = StepFormat::read(GOLDEN.as_bytes(), &schema()).unwrap();
        assert_eq!(String::from_utf8(model.to_document()).unwrap(), GOLDEN.trim_end());
        let mut row = Row::missing(&schema());
        let ids: Vec<_> = schema().ids().collect();
        let expect = |row: &Row, log_odds: f64| {
            assert_eq!(model.log_odds(row).to_bits(), log_odds.to_bits());
        };
        expect(&row, -1.25 + 0.5 + 0.25 + 0.0625);
        row.set(ids[0], Cell::Number(5.5));
        row.set(ids[1], Cell::Number(-1.0));
        row.set(ids[2], Cell::Level(LevelId::new(2).unwrap()));
        expect(&row, -1.25 + 0.1 + 0.125 - 1.5);
        row.set(ids[0], Cell::Number(5.0));
        row.set(ids[2], Cell::Level(LevelId::OTHER));
        expect(&row, -1.25 + 0.75 + 0.125 + 0.125);
    }

    #[test]
    fn what_is_malformed_is_corrupt_and_names_the_feature() {
        let cases: [(&str, Value, &str); 17] = [
            ("/threshold", json!(-0.5), "threshold -0.5 is not between 0 and 1"),
            ("/intercept", json!(1e200), "intercept 1e200 is not between -1e100 and 1e100"),
            ("/features", json!([]), "0 features, the schema has 3"),
            ("/features/0", json!(null), "feature \"tenure\": not an object"),
            ("/features/0/name", json!("age"), "the document has \"age\" in its place"),
            ("/features/0/kind", json!("categorical"), "expected \"numeric\""),
            ("/features/0/edges", json!([5.5]), "3 weights, expected 2 for its edges"),
            ("/features/0/edges", json!([5.5, null]), "invalid type: null"),
            ("/features/0/edges", json!(5.5), "invalid type: floating point"),
            ("/features/0/edges", json!([5.5, 5.5]), "edge 1 (5.5) is not greater than edge 0"),
            ("/features/0/edges/0", json!("5.5"), "feature \"tenure\": invalid type: string"),
            ("/features/0/weights", json!([]), "0 weights, expected 3 for its edges"),
            ("/features/0/weights/2", json!(-1e101), "feature \"tenure\": weight -1e101 is not"),
            ("/features/0/missing", json!(1e101), "feature \"tenure\": weight 1e101 is not"),
            ("/features/2/levels/0", json!("x"), "level \"x\" where the schema lists \"Monthly\""),
            ("/features/2/weights", json!([1, 2]), "2 weights for 3 levels"),
            ("/features/2/other", json!(1e101), "feature \"contract\": weight 1e101 is not"),
        ];
        for (at, value, part) in cases {
            let mut document = golden();
            *document.pointer_mut(at).unwrap() = value;
            let error = load(&document).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(part), "{error} does not say {part}");
        }
        for (at, name) in [("", "new"), ("/features/0", "mean"), ("/features/2", "edges")] {
            let mut document = golden();
            document.pointer_mut(at).unwrap()[name] = json!(1);
            let message = load(&document).unwrap_err().to_string();
            assert!(message.contains(&format!("unknown field `{name}`")), "{message}");
        }
    }

    #[test]
    fn other_formats_are_not_supported_and_endless_ones_not_parsed() {
        let mut document = golden();
        document["format"] = json!("pmmds.linear.v1");
        assert_eq!(load(&document).unwrap_err().kind(), ErrorKind::NotSupported);
        let long = format!("{}{}", GOLDEN, " ".repeat(2_000_000));
        let message = StepFormat::read(long.as_bytes(), &schema()).unwrap_err().to_string();
        assert!(message.contains("a model of this schema has at most"), "{message}");
    }

    #[test]
    fn the_largest_model_fits_its_bound() {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("\"".repeat(255))]).unwrap());
        let edge =
            |at: usize| f64::from_bits((-1.234_567_890_123_456_7e-100_f64).to_bits() - at as u64);
        let edges: Box<[f64]> = (0..MAX_STUMPS).map(edge).collect();
        let weights = vec![-1.234_567_890_123_456_7e-100; MAX_STUMPS + 1].into();
        let terms = vec![Term::Number(Steps { edges, weights, missing: -1e-100 })];
        let model = StepModel::new(&schema, 0.5, 0.0, terms).unwrap();
        assert_eq!(StepFormat::read(&model.to_document(), &schema).unwrap(), model);
    }

    /// A refusal is corrupt or not supported; a model scores every row as a probability.
    fn judge(read: Result<StepModel, Error>) -> Result<(), TestCaseError> {
        match read {
            Ok(model) => {
                prop_assert!((0.0..=1.0).contains(&model.score(&Row::missing(&schema()))));
                let again = StepFormat::read(&model.to_document(), &schema()).unwrap();
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
            judge(StepFormat::read(&bytes, &schema()))?;
        }

        #[test]
        fn numbers_changed_never_panic(
            edges in prop::collection::vec(any::<f64>(), 0..5),
            weights in prop::collection::vec(any::<f64>(), 0..5),
        ) {
            let mut document = golden();
            document["features"][0]["edges"] = json!(edges);
            document["features"][0]["weights"] = json!(weights);
            judge(load(&document))?;
        }
    }
}

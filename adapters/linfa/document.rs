//! What the stored forms of this module have in common: one sum over the features, as JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use super::sum::{Curve, Sum, Term};
use crate::schema::{Feature, FeatureKind, FeatureSchema};
use crate::{Error, ErrorKind};

/// Most bytes of a document outside its features.
const FRAME_BYTES: usize = 4_096;

/// Most bytes of a feature besides its name, its levels and its lists of numbers.
const FEATURE_BYTES: usize = 1_024;

/// Most bytes of one weight with what stands around it.
pub(super) const WEIGHT_BYTES: usize = 64;

/// Most bytes that one byte of text becomes in JSON.
const ESCAPED_BYTES: usize = 6;

/// Longest part of a stranger's text that an error repeats, in characters.
const EXCERPT_CHARS: usize = 200;

/// A stored form. The fields of a numeric feature, besides `kind` and `name`, are those of the
/// curve in memory.
pub(super) struct Form {
    /// name of the format, and its version
    pub(super) name: &'static str,
    /// most bytes of the lists of numbers of a numeric feature
    pub(super) number_bytes: usize,
}

/// The document of a classifier, read.
pub(super) struct Classifier<C> {
    pub(super) threshold: f64,
    pub(super) intercept: f64,
    /// one per feature of the schema, of its kind, in its order
    pub(super) terms: Vec<Term<C>>,
}

/// Threshold, intercept and terms in a document.
type Parts<C> = (Option<f64>, f64, Vec<Term<C>>);

#[derive(Deserialize)]
struct Head {
    format: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: String,
    // of a classifier, and of nothing else
    threshold: Option<f64>,
    intercept: f64,
    // read one by one, so that an error can name the feature
    features: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoricalTerm {
    levels: Vec<String>,
    weights: Vec<f64>,
    other: f64,
    missing: f64,
}

#[derive(Serialize)]
struct Written<'m, C> {
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    intercept: f64,
    features: Vec<WrittenTerm<'m, C>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum WrittenTerm<'m, C> {
    Numeric {
        name: &'m str,
        #[serde(flatten)]
        curve: &'m C,
    },
    Categorical {
        name: &'m str,
        levels: &'m [String],
        weights: &'m [f64],
        other: f64,
        missing: f64,
    },
}

impl<'m, C> WrittenTerm<'m, C> {
    fn of(feature: &'m Feature, term: &'m Term<C>) -> Self {
        let name = feature.name();
        match term {
            Term::Number(curve) => Self::Numeric { name, curve },
            Term::Slots(slots) => {
                let levels = feature.levels();
                let (weights, others) = slots.split_at(levels.len());
                let (other, missing) = (others[0], others[1]);
                Self::Categorical { name, levels, weights, other, missing }
            }
        }
    }
}

impl Form {
    /// What is in `document`. Its numbers are finite, and nothing else is known about them.
    pub(super) fn read<C: DeserializeOwned>(
        &self,
        document: &[u8],
        schema: &FeatureSchema,
    ) -> Result<Classifier<C>, Error> {
        match self.parts(document, schema)? {
            (Some(threshold), intercept, terms) => Ok(Classifier { threshold, intercept, terms }),
            (None, ..) => Err(self.corrupt("missing field `threshold`")),
        }
    }

    /// Intercept and terms in the `document` of a regression, which has no threshold.
    pub(super) fn read_regression<C: DeserializeOwned>(
        &self,
        document: &[u8],
        schema: &FeatureSchema,
    ) -> Result<(f64, Vec<Term<C>>), Error> {
        match self.parts(document, schema)? {
            (None, intercept, terms) => Ok((intercept, terms)),
            (Some(_), ..) => Err(self.corrupt("unknown field `threshold`")),
        }
    }

    fn parts<C: DeserializeOwned>(
        &self,
        document: &[u8],
        schema: &FeatureSchema,
    ) -> Result<Parts<C>, Error> {
        let most = self.largest_document(schema);
        if document.len() > most {
            let found = document.len();
            return Err(
                self.corrupt(format!("{found} bytes, a model of this schema has at most {most}"))
            );
        }
        let not_json = |e: serde_json::Error| self.corrupt(excerpt(&e.to_string()));
        let head: Head = serde_json::from_slice(document).map_err(not_json)?;
        if head.format != self.name {
            let (format, name) = (excerpt(&head.format), self.name);
            return Err(error(
                ErrorKind::NotSupported,
                format!("document is of format {format:?}, expected {name:?}"),
            ));
        }
        let document: Document = serde_json::from_slice(document).map_err(not_json)?;
        let Document { threshold, intercept, features, .. } = document;
        if features.len() != schema.len() {
            let (found, expected) = (features.len(), schema.len());
            return Err(self.corrupt(format!("{found} features, the schema has {expected}")));
        }
        let term = |(feature, value): (&Feature, Value)| -> Result<Term<C>, Error> {
            term(feature, value)
                .map_err(|why| self.corrupt(format!("feature {:?}: {why}", feature.name())))
        };
        let terms = schema.features().iter().zip(features).map(term).collect::<Result<_, _>>()?;
        Ok((threshold, intercept, terms))
    }

    /// Most bytes that a model of `schema` can take.
    fn largest_document(&self, schema: &FeatureSchema) -> usize {
        let text = |text: &str| text.len() * ESCAPED_BYTES + WEIGHT_BYTES;
        schema.features().iter().fold(FRAME_BYTES, |sum, feature| {
            let levels: usize =
                feature.levels().iter().map(|level| text(level) + WEIGHT_BYTES).sum();
            let numeric = matches!(feature.kind(), FeatureKind::Numeric { .. });
            let numbers = if numeric { self.number_bytes } else { levels };
            sum + text(feature.name()) + numbers + FEATURE_BYTES
        })
    }

    /// Why the document is none of this form.
    pub(super) fn corrupt(&self, why: impl AsRef<str>) -> Error {
        error(ErrorKind::Corrupt, format!("cannot load {}: {}", self.name, why.as_ref()))
    }

    /// The document of `sum` over the features of `schema`; a classifier has a threshold.
    pub(super) fn write<C: Curve + Serialize>(
        &self,
        schema: &FeatureSchema,
        threshold: Option<f64>,
        sum: &Sum<C>,
    ) -> Vec<u8> {
        let written = |(feature, term)| WrittenTerm::of(feature, term);
        let features = schema.features().iter().zip(sum.terms()).map(written).collect();
        let intercept = sum.intercept();
        let document = Written { format: self.name, threshold, intercept, features };
        // Texts and finite numbers under fixed names: there is nothing JSON could refuse.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// The term in `value`, which must be that of `feature`.
fn term<C: DeserializeOwned>(feature: &Feature, mut value: Value) -> Result<Term<C>, String> {
    let Some(fields) = value.as_object_mut() else {
        return Err("not an object".to_owned());
    };
    let mut text = |field: &str| match fields.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{field} is not a text")),
        None => Err(format!("missing field `{field}`")),
    };
    let name = text("name")?;
    if name != feature.name() {
        return Err(format!("the document has {:?} in its place", excerpt(&name)));
    }
    let kind = text("kind")?;
    let numeric = matches!(feature.kind(), FeatureKind::Numeric { .. });
    let expected = if numeric { "numeric" } else { "categorical" };
    if kind != expected {
        return Err(format!("kind {:?}, expected {expected:?}", excerpt(&kind)));
    }
    if numeric {
        let curve = serde_json::from_value(value).map_err(|e| excerpt(&e.to_string()))?;
        return Ok(Term::Number(curve));
    }
    Ok(Term::Slots(slots(feature, value)?))
}

/// One weight per slot of `feature`.
fn slots(feature: &Feature, value: Value) -> Result<Box<[f64]>, String> {
    let CategoricalTerm { levels, weights, other, missing } =
        serde_json::from_value(value).map_err(|e| excerpt(&e.to_string()))?;
    if levels.len() != feature.levels().len() {
        let (found, expected) = (levels.len(), feature.levels().len());
        return Err(format!("{found} levels, the schema lists {expected}"));
    }
    let pairs = levels.iter().zip(feature.levels());
    if let Some((found, expected)) = pairs.into_iter().find(|(found, expected)| found != expected) {
        let found = excerpt(found);
        return Err(format!("level {found:?} where the schema lists {expected:?}"));
    }
    if weights.len() != levels.len() {
        return Err(format!("{} weights for {} levels", weights.len(), levels.len()));
    }
    Ok(weights.into_iter().chain([other, missing]).collect())
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}

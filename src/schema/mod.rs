//! What the features of a model are: names, kinds, ranges, levels, nullability.
//!
//! A [`FeatureSchema`] is built at run time, by hand, from a TOML or JSON file, or
//! [inferred](infer) from data. Everything else follows from it: the decoder, the validator, the
//! binning and the OpenAPI document. Its [`Fingerprint`] names it in every stored batch, profile
//! and artifact, so that numbers of different schemas never meet.
//!
//! ```
//! use pmmds::schema::{Feature, FeatureSchema};
//!
//! let schema = FeatureSchema::new([
//!     Feature::integer("tenure").range(0.0, 100.0),
//!     Feature::categorical("contract", ["Month-to-month", "One year", "Two year"]),
//! ])?;
//! assert_eq!(FeatureSchema::from_toml(&schema.to_toml())?, schema);
//!
//! let twice = FeatureSchema::new([Feature::numeric("age"), Feature::numeric("Age")]);
//! assert_eq!(
//!     twice.unwrap_err().to_string(),
//!     "features \"age\" and \"Age\" have the same name (letter case does not tell features apart)",
//! );
//! # Ok::<(), pmmds::schema::SchemaError>(())
//! ```

mod feature;
mod fingerprint;
pub mod infer;
mod names;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use names::Names;

pub(crate) use feature::is_deceptive;
pub use feature::{Feature, FeatureId, FeatureKind, LevelId, MAX_LEVELS, MAX_NAME_BYTES, Unlisted};
pub(crate) use fingerprint::Hasher;
pub use fingerprint::{Fingerprint, NotAFingerprint};

/// Most features of one schema.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema, MAX_FEATURES};
/// let many = (0..=MAX_FEATURES).map(|i| Feature::numeric(i.to_string()));
/// assert!(FeatureSchema::new(many).is_err());
/// ```
pub const MAX_FEATURES: usize = 10_000;

/// Version of the file form of a schema, its field `schema_version`.
///
/// ```
/// use pmmds::schema::{FORMAT_VERSION, FeatureSchema};
/// let newer = r#"{"schema_version":99,"features":[{"name":"x","kind":"numeric"}]}"#;
/// let error = FeatureSchema::from_json(newer).unwrap_err();
/// assert!(error.to_string().contains(&format!("expected {FORMAT_VERSION}")), "{error}");
/// ```
pub const FORMAT_VERSION: u32 = 1;

/// The features of a model, in a fixed order.
///
/// The order is part of the schema: rows, codes and counts follow it. See the
/// [module page](self) for an example.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::numeric("y")])?;
/// assert_eq!(schema.len(), schema.features().len());
/// let names: Vec<&str> = schema.ids().map(|id| schema.get(id).unwrap().name()).collect();
/// assert_eq!(names, ["x", "y"]);
/// assert_eq!(schema.id("z"), None);
/// let turned = FeatureSchema::new([Feature::numeric("y"), Feature::numeric("x")])?;
/// assert_ne!(schema.fingerprint(), turned.fingerprint());
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "SchemaFile", into = "SchemaFile")]
pub struct FeatureSchema {
    // 1 to MAX_FEATURES, names unique without regard to case, each checked
    features: Vec<Feature>,
    // of the names of `features`
    names: Names,
    // hash of everything above but `sensitive`, which changes what is shown and not what is meant
    fingerprint: Fingerprint,
}

impl FeatureSchema {
    /// A schema of `features`, in this order.
    ///
    /// # Errors
    ///
    /// A [`SchemaError`] naming the feature, the value and the bound: no features or too many, a
    /// name that is empty, too long or hides characters, two names that differ at most in case, a
    /// bound that is not finite, a range that is upside down, levels that are none, too many or
    /// double.
    pub fn new(features: impl IntoIterator<Item = Feature>) -> Result<Self, SchemaError> {
        let features: Vec<Feature> = features.into_iter().collect();
        if features.is_empty() || features.len() > MAX_FEATURES {
            return Err(SchemaError::FeatureCount { count: features.len() });
        }
        let mut folded: HashMap<String, &Feature> = HashMap::with_capacity(features.len());
        for feature in &features {
            feature.check()?;
            if let Some(first) = folded.insert(feature.name().to_lowercase(), feature) {
                return Err(SchemaError::DuplicateFeature {
                    first: first.name().to_owned(),
                    second: feature.name().to_owned(),
                });
            }
        }
        let fingerprint = fingerprint_of(&features);
        let names = Names::new(features.iter().map(Feature::name));
        Ok(Self { features, names, fingerprint })
    }

    /// Reads the TOML form, as [`to_toml`](Self::to_toml) writes it.
    ///
    /// # Errors
    ///
    /// When the text is not TOML, holds unknown keys, or describes no valid schema.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureSchema, Unlisted};
    /// let schema = FeatureSchema::from_toml(
    ///     r#"
    ///     schema_version = 1
    ///
    ///     [[features]]
    ///     name = "tenure"
    ///     kind = "integer"
    ///     min = 0
    ///     max = 100
    ///     nullable = true
    ///
    ///     [[features]]
    ///     name = "plan"
    ///     kind = "categorical"
    ///     levels = ["basic", "gold"]
    ///     unlisted = "other"
    ///     "#,
    /// )?;
    /// assert_eq!(
    ///     schema.features(),
    ///     [
    ///         Feature::integer("tenure").range(0.0, 100.0).nullable(),
    ///         Feature::categorical("plan", ["basic", "gold"]).unlisted(Unlisted::Other),
    ///     ],
    /// );
    /// assert!(FeatureSchema::from_toml("schema_version = 1\nfeatures = []\ncolour = 1").is_err());
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, SchemaError> {
        toml::from_str(text).map_err(|e| SchemaError::Text { message: e.to_string() })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// When the text is not JSON, holds unknown keys, or describes no valid schema.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let json = r#"{"schema_version":1,"features":[{"name":"x","kind":"numeric","max":5.0}]}"#;
    /// let schema = FeatureSchema::from_json(json)?;
    /// assert_eq!(schema.features(), [Feature::numeric("x").at_most(5.0)]);
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        serde_json::from_str(text).map_err(|e| SchemaError::Text { message: e.to_string() })
    }

    /// The schema as a TOML file, to be reviewed and kept.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)])?;
    /// assert_eq!(schema.to_toml(), "schema_version = 1\n\n[[features]]\nname = \"tenure\"\nkind = \"integer\"\nmin = 0.0\nmax = 100.0\n");
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Strings, finite numbers and arrays of tables: there is nothing TOML could refuse.
        toml::to_string(self).unwrap_or_default()
    }

    /// The schema as JSON, as [`from_json`](Self::from_json) reads it.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = FeatureSchema::new([Feature::integer("tenure").at_least(0.0)])?;
    /// assert_eq!(
    ///     schema.to_json(),
    ///     r#"{"schema_version":1,"features":[{"name":"tenure","kind":"integer","min":0.0}]}"#,
    /// );
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, finite numbers and lists: there is nothing JSON could refuse.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The features in order.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// How many features there are, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a schema is never empty")]
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Ids of all features in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = FeatureId> + '_ {
        // `new` has made sure that every index is an id.
        (0..self.features.len())
            .map(|index| FeatureId::new(index).unwrap_or_else(|| unreachable!()))
    }

    /// The feature called `name`.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<FeatureId> {
        self.id_of_bytes(name.as_bytes())
    }

    /// The feature whose name `name` is in UTF-8.
    pub(crate) fn id_of_bytes(&self, name: &[u8]) -> Option<FeatureId> {
        self.names.find(name, |index| self.features[index].name()).and_then(FeatureId::new)
    }

    /// The feature with this id, if the id is of this schema.
    #[must_use]
    pub fn get(&self, id: FeatureId) -> Option<&Feature> {
        self.features.get(id.index())
    }

    /// The hash that names this schema. Two schemas have the same one when they accept the same
    /// rows and give them the same codes; [`Feature::sensitive`] is not part of it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl PartialEq for FeatureSchema {
    fn eq(&self, other: &Self) -> bool {
        self.features == other.features
    }
}

fn fingerprint_of(features: &[Feature]) -> Fingerprint {
    let mut hasher = Hasher::new("pmmds schema 1");
    let bound = |hasher: &mut Hasher, bound: Option<f64>| {
        hasher.number(u64::from(bound.is_some())).float(bound.unwrap_or(0.0));
    };
    hasher.count(features.len());
    for feature in features {
        hasher.text(feature.name()).number(u64::from(feature.is_nullable()));
        match feature.kind() {
            FeatureKind::Numeric { min, max, integer } => {
                hasher.text(if *integer { "integer" } else { "numeric" });
                bound(&mut hasher, *min);
                bound(&mut hasher, *max);
            }
            FeatureKind::Categorical { levels, unlisted } => {
                hasher.text("categorical").count(levels.len());
                for level in levels {
                    hasher.text(level);
                }
                hasher.text(match unlisted {
                    Unlisted::Reject => "reject",
                    Unlisted::Other => "other",
                });
            }
        }
    }
    hasher.finish()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    schema_version: u32,
    features: Vec<Feature>,
}

impl TryFrom<SchemaFile> for FeatureSchema {
    type Error = SchemaError;

    fn try_from(file: SchemaFile) -> Result<Self, SchemaError> {
        if file.schema_version != FORMAT_VERSION {
            return Err(SchemaError::Version { found: file.schema_version });
        }
        Self::new(file.features)
    }
}

impl From<FeatureSchema> for SchemaFile {
    fn from(schema: FeatureSchema) -> Self {
        Self { schema_version: FORMAT_VERSION, features: schema.features }
    }
}

/// Why there is no such schema.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema};
/// let error = FeatureSchema::new([Feature::numeric("x").range(5.0, 1.0)]).unwrap_err();
/// println!("{error}"); // names the feature, the value and the bound
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No features, or more than [`MAX_FEATURES`].
    #[error("a schema has 1 to {MAX_FEATURES} features, not {count}")]
    FeatureCount {
        /// how many there were
        count: usize,
    },
    /// Two features have the same name.
    #[error(
        "features {first:?} and {second:?} have the same name (letter case does not tell features apart)"
    )]
    DuplicateFeature {
        /// the first of the two
        first: String,
        /// the second of the two
        second: String,
    },
    /// A name cannot be used.
    #[error("feature name {name:?} cannot be used: {why}")]
    Name {
        /// its first 40 characters
        name: String,
        /// what is wrong with it
        why: &'static str,
    },
    /// A bound is not a finite number.
    #[error("feature {feature:?}: bound {bound} is not a finite number")]
    Bound {
        /// name of the feature
        feature: String,
        /// the bound given
        bound: f64,
    },
    /// The smallest allowed value is above the largest.
    #[error("feature {feature:?}: min {min} is greater than max {max}")]
    Range {
        /// name of the feature
        feature: String,
        /// the smallest allowed value
        min: f64,
        /// the largest allowed value
        max: f64,
    },
    /// A categorical feature has no levels or too many.
    #[error(
        "feature {feature:?} has {count} levels, expected 1 to {MAX_LEVELS}; list the frequent ones and set unlisted = \"other\""
    )]
    Levels {
        /// name of the feature
        feature: String,
        /// how many levels there were
        count: usize,
    },
    /// A level stands twice.
    #[error("feature {feature:?} lists level {level:?} twice")]
    DuplicateLevel {
        /// name of the feature
        feature: String,
        /// the first 40 characters of the level
        level: String,
    },
    /// A level's text cannot be used.
    #[error("feature {feature:?}: level {level:?} cannot be used: {why}")]
    LevelName {
        /// name of the feature
        feature: String,
        /// the first 40 characters of the level
        level: String,
        /// what is wrong with it
        why: &'static str,
    },
    /// The file was written by another release.
    #[error("schema_version {found} cannot be read, expected {FORMAT_VERSION}")]
    Version {
        /// the version in the file
        found: u32,
    },
    /// The text is not a schema.
    #[error("not a schema: {message}")]
    Text {
        /// what the parser said
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> FeatureSchema {
        FeatureSchema::new([
            Feature::integer("tenure").range(0.0, 100.0),
            Feature::numeric("charges").nullable(),
            Feature::categorical("contract", ["Monthly", "Yearly"]).unlisted(Unlisted::Other),
        ])
        .unwrap()
    }

    #[test]
    fn both_file_forms_round_trip() {
        let schema = small();
        assert_eq!(FeatureSchema::from_toml(&schema.to_toml()).unwrap(), schema);
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(FeatureSchema::from_json(&json).unwrap(), schema);
    }

    #[test]
    fn a_typo_in_a_file_is_an_error() {
        let text = small().to_toml().replace("nullable", "nulable");
        assert!(FeatureSchema::from_toml(&text).unwrap_err().to_string().contains("nulable"));
    }

    #[test]
    fn the_fingerprint_follows_the_meaning() {
        let base = small();
        let with = |features: Vec<Feature>| FeatureSchema::new(features).unwrap().fingerprint();
        let features = base.features().to_vec();
        let mut shown = features.clone();
        shown[0] = shown[0].clone().sensitive();
        assert_eq!(with(shown), base.fingerprint());
        let mut swapped = features.clone();
        swapped.swap(0, 1);
        assert_ne!(with(swapped), base.fingerprint());
        let mut nullable = features;
        nullable[0] = nullable[0].clone().nullable();
        assert_ne!(with(nullable), base.fingerprint());
    }

    #[test]
    fn the_fingerprint_is_the_same_in_every_release() {
        assert_eq!(
            small().fingerprint().to_string(),
            "97061d7f0aaa99bb5c4f7f8ab8e55c943cebca9536c1c54d8713e43491be2709"
        );
    }

    #[test]
    fn bad_features_are_named() {
        let error = |feature: Feature| FeatureSchema::new([feature]).unwrap_err();
        for (feature, part) in [
            (Feature::numeric(""), "it is empty"),
            (Feature::numeric(" a"), "white space"),
            (Feature::numeric("a\u{202e}b"), "reorders"),
            (Feature::numeric("a\u{200b}b"), "invisible"),
            (Feature::categorical("x", ["a\u{2028}"]), "invisible"),
            (Feature::numeric("a\nb"), "control"),
            (Feature::numeric("x".repeat(10_000)), "longer than 256"),
            (Feature::numeric("x").range(2.0, 1.0), "min 2 is greater than max 1"),
            (Feature::numeric("x").range(f64::NAN, 1.0), "NaN is not a finite"),
            (Feature::categorical("x", Vec::<String>::new()), "0 levels"),
            (Feature::categorical("x", (0..254).map(|i| i.to_string())), "254 levels"),
            (Feature::categorical("x", ["a", "a"]), "\"a\" twice"),
        ] {
            let message = error(feature).to_string();
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        assert_eq!(
            FeatureSchema::new([]).unwrap_err().to_string(),
            "a schema has 1 to 10000 features, not 0"
        );
    }
}

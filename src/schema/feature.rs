//! One feature: its name, kind, and what values it may take.

use serde::{Deserialize, Serialize};

use super::SchemaError;
use super::names::Names;

/// Most levels that a categorical feature can list. With the slots for *other* and *missing*
/// every code fits in one byte.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema, MAX_LEVELS};
/// let plan = |levels: usize| Feature::categorical("plan", (0..levels).map(|i| i.to_string()));
/// assert!(FeatureSchema::new([plan(MAX_LEVELS)]).is_ok());
/// let error = FeatureSchema::new([plan(MAX_LEVELS + 1)]).unwrap_err();
/// assert!(error.to_string().starts_with("feature \"plan\" has 254 levels, expected 1 to 253"));
/// ```
pub const MAX_LEVELS: usize = 253;

/// Longest name of a feature or level, in bytes.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema, MAX_NAME_BYTES};
/// let name = "x".repeat(MAX_NAME_BYTES);
/// assert!(FeatureSchema::new([Feature::numeric(name.clone())]).is_ok());
/// assert!(FeatureSchema::new([Feature::numeric(name + "x")]).is_err());
/// ```
pub const MAX_NAME_BYTES: usize = 256;

/// Position of a feature in its schema.
///
/// ```
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::numeric("y")])?;
/// let y = schema.id("y").unwrap();
/// assert_eq!((y.index(), schema.get(y).unwrap().name()), (1, "y"));
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeatureId(u16);

impl FeatureId {
    pub(crate) fn new(index: usize) -> Option<Self> {
        u16::try_from(index).ok().map(Self)
    }

    /// Position in the schema, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A level of a categorical feature by its position in the schema, or one of the two values that
/// every categorical feature has: [`OTHER`](Self::OTHER) and [`MISSING`](Self::MISSING).
///
/// ```
/// use pmmds::schema::{Feature, LevelId};
/// let plan = Feature::categorical("plan", ["basic", "gold"]);
/// assert_eq!(plan.level("gold").index(), Some(1));
/// assert_eq!(plan.level("silver"), LevelId::OTHER);
/// assert_eq!((LevelId::OTHER.index(), LevelId::MISSING.index()), (None, None));
/// assert_eq!(LevelId::new(253), None, "more than a feature can list");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LevelId(u8);

impl LevelId {
    /// A value outside the schema's levels.
    pub const OTHER: Self = Self(254);
    /// No value.
    pub const MISSING: Self = Self(255);

    /// The level at `index`, or `None` at or above [`MAX_LEVELS`].
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        match u8::try_from(index) {
            Ok(index) if usize::from(index) < MAX_LEVELS => Some(Self(index)),
            _ => None,
        }
    }

    /// Position in the feature's levels, or `None` for other and missing.
    #[must_use]
    pub fn index(self) -> Option<usize> {
        Some(usize::from(self.0)).filter(|index| *index < MAX_LEVELS)
    }

    /// The byte that it is, for counting in bulk.
    pub(crate) fn byte(self) -> u8 {
        self.0
    }
}

/// What becomes of a category that the schema does not list.
///
/// ```
/// use pmmds::record::decode_row;
/// use pmmds::schema::{Feature, FeatureSchema, Unlisted};
/// use pmmds::validate::Violations;
///
/// let plan = || Feature::categorical("plan", ["basic", "gold"]);
/// let errors = |feature: Feature| -> Result<u64, Box<dyn std::error::Error>> {
///     let (schema, mut out) = (FeatureSchema::new([feature])?, Violations::new());
///     decode_row(&schema, br#"{"plan": "silver"}"#, &mut out)?;
///     Ok(out.error_count())
/// };
/// assert_eq!(errors(plan())?, 1);
/// assert_eq!(errors(plan().unlisted(Unlisted::Other))?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unlisted {
    /// It is an error; the request is refused.
    #[default]
    Reject,
    /// It is accepted and counted as *other*.
    Other,
}

/// What kind of values a feature takes.
///
/// ```
/// use pmmds::schema::{Feature, FeatureKind};
/// let widget = |feature: &Feature| match feature.kind() {
///     FeatureKind::Numeric { integer: true, .. } => "spinner",
///     FeatureKind::Numeric { .. } => "slider",
///     FeatureKind::Categorical { .. } => "list",
///     _ => "text",
/// };
/// assert_eq!(widget(&Feature::integer("tenure")), "spinner");
/// assert_eq!(widget(&Feature::categorical("plan", ["basic"])), "list");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FeatureKind {
    /// A real number.
    Numeric {
        /// smallest allowed value, inclusive
        min: Option<f64>,
        /// largest allowed value, inclusive
        max: Option<f64>,
        /// only whole numbers
        integer: bool,
    },
    /// One of a fixed list of texts.
    Categorical {
        /// the allowed values, in the order that gives each its [`LevelId`]
        levels: Vec<String>,
        /// what becomes of any other value
        unlisted: Unlisted,
    },
}

/// One feature of a [`FeatureSchema`](super::FeatureSchema).
///
/// Names and levels are 1 to [`MAX_NAME_BYTES`] bytes of any script; control characters, marks
/// that reorder text, invisible characters and white space at either end are refused. They are
/// data wherever they go: no query, label or page is ever put together from one unescaped.
///
/// ```
/// use pmmds::schema::Feature;
///
/// let tenure = Feature::integer("tenure").range(0.0, 100.0);
/// let charges = Feature::numeric("total_charges").range(0.0, 10_000.0).nullable();
/// let contract = Feature::categorical("contract", ["Month-to-month", "One year", "Two year"]);
/// assert_eq!(contract.levels().len(), 3);
/// assert!(charges.is_nullable());
/// assert_eq!(tenure.name(), "tenure");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FeatureFile", into = "FeatureFile")]
pub struct Feature {
    // checked by `FeatureSchema::new`: 1 to MAX_NAME_BYTES bytes of visible characters
    name: String,
    kind: FeatureKind,
    // of the levels in `kind`, as far as they have ids
    index: Names,
    nullable: bool,
    sensitive: bool,
}

impl Feature {
    fn new(name: impl Into<String>, kind: FeatureKind) -> Self {
        let levels = match &kind {
            FeatureKind::Categorical { levels, .. } => levels.as_slice(),
            FeatureKind::Numeric { .. } => &[],
        };
        let index = Names::new(levels.iter().take(MAX_LEVELS).map(String::as_str));
        Self { name: name.into(), kind, index, nullable: false, sensitive: false }
    }

    /// A feature that takes any finite number.
    pub fn numeric(name: impl Into<String>) -> Self {
        Self::new(name, FeatureKind::Numeric { min: None, max: None, integer: false })
    }

    /// A feature that takes whole numbers, up to 2^53 either way.
    pub fn integer(name: impl Into<String>) -> Self {
        Self::new(name, FeatureKind::Numeric { min: None, max: None, integer: true })
    }

    /// A feature that takes one of `levels`; other values are refused.
    pub fn categorical<L: Into<String>>(
        name: impl Into<String>,
        levels: impl IntoIterator<Item = L>,
    ) -> Self {
        let levels = levels.into_iter().map(Into::into).collect();
        Self::new(name, FeatureKind::Categorical { levels, unlisted: Unlisted::Reject })
    }

    /// Limits a numeric feature to `min..=max`; no effect on a categorical one. Defaults to no
    /// limits.
    #[must_use]
    pub fn range(mut self, lowest: f64, highest: f64) -> Self {
        if let FeatureKind::Numeric { min, max, .. } = &mut self.kind {
            (*min, *max) = (Some(lowest), Some(highest));
        }
        self
    }

    /// Limits a numeric feature to `lowest` and above; no effect on a categorical one. Defaults to
    /// no limit.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureKind};
    /// let price = Feature::numeric("price").at_least(0.0);
    /// assert!(matches!(price.kind(), FeatureKind::Numeric { min: Some(_), max: None, .. }));
    /// ```
    #[must_use]
    pub fn at_least(mut self, lowest: f64) -> Self {
        if let FeatureKind::Numeric { min, .. } = &mut self.kind {
            *min = Some(lowest);
        }
        self
    }

    /// Limits a numeric feature to `highest` and below; no effect on a categorical one. Defaults
    /// to no limit.
    ///
    /// ```
    /// use pmmds::schema::{Feature, FeatureKind};
    /// let share = Feature::numeric("share").at_least(0.0).at_most(1.0);
    /// assert_eq!(share, Feature::numeric("share").range(0.0, 1.0));
    /// ```
    #[must_use]
    pub fn at_most(mut self, highest: f64) -> Self {
        if let FeatureKind::Numeric { max, .. } = &mut self.kind {
            *max = Some(highest);
        }
        self
    }

    /// What becomes of categories outside the levels; no effect on a numeric feature. Defaults to
    /// [`Unlisted::Reject`].
    #[must_use]
    pub fn unlisted(mut self, policy: Unlisted) -> Self {
        if let FeatureKind::Categorical { unlisted, .. } = &mut self.kind {
            *unlisted = policy;
        }
        self
    }

    /// Allows the value to be null; the key must still be there. Defaults to not nullable.
    ///
    /// ```
    /// use pmmds::schema::Feature;
    /// let charges = Feature::numeric("charges").nullable();
    /// assert!(charges.is_nullable() && !Feature::numeric("charges").is_nullable());
    /// ```
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Keeps values of this feature out of logs, reports and lists of unseen levels. Defaults to
    /// not sensitive.
    ///
    /// ```
    /// use pmmds::record::decode_row;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = FeatureSchema::new([Feature::categorical("illness", ["none"]).sensitive()])?;
    /// assert!(schema.features()[0].is_sensitive());
    /// let mut out = Violations::new();
    /// decode_row(&schema, br#"{"illness": "something"}"#, &mut out)?;
    /// assert_eq!(
    ///     out.errors().next().unwrap().message(),
    ///     "Invalid value for illness: (not shown). Expected one of: none",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// The name, as in a request.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of values it takes.
    #[must_use]
    pub fn kind(&self) -> &FeatureKind {
        &self.kind
    }

    /// Whether null is allowed.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Whether its values are kept out of logs and reports.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// The levels of a categorical feature; none for a numeric one.
    #[must_use]
    pub fn levels(&self) -> &[String] {
        match &self.kind {
            FeatureKind::Categorical { levels, .. } => levels,
            FeatureKind::Numeric { .. } => &[],
        }
    }

    /// The id of `text` among the levels: [`LevelId::OTHER`] when it is none of them.
    #[must_use]
    pub fn level(&self, text: &str) -> LevelId {
        self.level_of_bytes(text.as_bytes())
    }

    /// The id of the level that `text` is in UTF-8.
    pub(crate) fn level_of_bytes(&self, text: &[u8]) -> LevelId {
        let at = self.index.find(text, |index| &self.levels()[index]);
        at.and_then(LevelId::new).unwrap_or(LevelId::OTHER)
    }

    /// Whether `level` is one of the levels, other or missing, rather than of another feature.
    pub(crate) fn has(&self, level: LevelId) -> bool {
        level.index().is_none_or(|index| index < self.levels().len())
    }

    pub(super) fn check(&self) -> Result<(), SchemaError> {
        check_name(&self.name)
            .map_err(|why| SchemaError::Name { name: excerpt(&self.name), why })?;
        let feature = || self.name.clone();
        match &self.kind {
            FeatureKind::Numeric { min, max, .. } => {
                for bound in [min, max].into_iter().flatten() {
                    if !bound.is_finite() {
                        return Err(SchemaError::Bound { feature: feature(), bound: *bound });
                    }
                }
                match (min, max) {
                    (Some(min), Some(max)) if min > max => {
                        Err(SchemaError::Range { feature: feature(), min: *min, max: *max })
                    }
                    _ => Ok(()),
                }
            }
            FeatureKind::Categorical { levels, .. } => {
                if levels.is_empty() || levels.len() > MAX_LEVELS {
                    return Err(SchemaError::Levels { feature: feature(), count: levels.len() });
                }
                let mut sorted: Vec<&String> = levels.iter().collect();
                sorted.sort_unstable();
                if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(SchemaError::DuplicateLevel {
                        feature: feature(),
                        level: excerpt(pair[0]),
                    });
                }
                for level in levels {
                    check_name(level).map_err(|why| SchemaError::LevelName {
                        feature: feature(),
                        level: excerpt(level),
                        why,
                    })?;
                }
                Ok(())
            }
        }
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Whether `c` breaks a line, moves the cursor, reorders what is shown, or is not shown at all.
/// The joiners U+200C and U+200D are not among them: some scripts need them to spell.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}'
            | '\u{00ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Names reach logs, reports and terminals: characters that hide or reorder text stay out.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("it is empty")
    } else if name.len() > MAX_NAME_BYTES {
        Err("it is longer than 256 bytes")
    } else if name.chars().any(char::is_control) {
        Err("it holds a control character")
    } else if name.chars().any(is_deceptive) {
        Err("it holds a character that is invisible or reorders text")
    } else if name.trim() != name {
        Err("it begins or ends with white space")
    } else {
        Ok(())
    }
}

/// A feature as it stands in a file: flat, and strict about what it does not know.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureFile {
    name: String,
    kind: KindName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    levels: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    unlisted: Unlisted,
    #[serde(default, skip_serializing_if = "is_default")]
    nullable: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    sensitive: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindName {
    Numeric,
    Integer,
    Categorical,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TryFrom<FeatureFile> for Feature {
    type Error = String;

    fn try_from(file: FeatureFile) -> Result<Self, String> {
        let misplaced = |what| Err(format!("feature {:?}: {what}", excerpt(&file.name)));
        let kind = match file.kind {
            KindName::Categorical if file.min.is_some() || file.max.is_some() => {
                return misplaced("min and max belong to numeric and integer features");
            }
            KindName::Categorical => {
                FeatureKind::Categorical { levels: file.levels, unlisted: file.unlisted }
            }
            _ if !file.levels.is_empty() || file.unlisted != Unlisted::default() => {
                return misplaced("levels and unlisted belong to categorical features");
            }
            KindName::Numeric => {
                FeatureKind::Numeric { min: file.min, max: file.max, integer: false }
            }
            KindName::Integer => {
                FeatureKind::Numeric { min: file.min, max: file.max, integer: true }
            }
        };
        let feature = Self::new(file.name, kind);
        Ok(Self { nullable: file.nullable, sensitive: file.sensitive, ..feature })
    }
}

impl From<Feature> for FeatureFile {
    fn from(feature: Feature) -> Self {
        let Feature { name, kind, index: _, nullable, sensitive } = feature;
        let (kind, min, max, levels, unlisted) = match kind {
            FeatureKind::Numeric { min, max, integer } => {
                let kind = if integer { KindName::Integer } else { KindName::Numeric };
                (kind, min, max, Vec::new(), Unlisted::default())
            }
            FeatureKind::Categorical { levels, unlisted } => {
                (KindName::Categorical, None, None, levels, unlisted)
            }
        };
        Self { name, kind, min, max, levels, unlisted, nullable, sensitive }
    }
}

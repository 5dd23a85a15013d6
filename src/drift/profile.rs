//! The frozen picture of the reference that travels with a model version.

use serde::{Deserialize, Serialize};

use super::binning::Binning;
use super::edges::BinningStrategy;
use super::numeric_binning::{BinningError, NumericBinning};
use super::order::Order;
use super::settings::SettingsError;
use super::summary::ReferenceSummary;
use super::workers::{Serial, Workers, gather};
use crate::record::{Batch, Column, Row, Value};
use crate::schema::{Feature, FeatureKind, FeatureSchema, Fingerprint, Hasher};

/// Version of the file form of a profile, its field `profile_version`.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// use pmmds::drift::{PROFILE_VERSION, Profile};
/// let mut file = serde_json::to_value(Profile::fit(&batch)?)?;
/// assert_eq!(file["profile_version"], PROFILE_VERSION);
/// file["profile_version"] = 99.into();
/// let error = serde_json::from_value::<Profile>(file).unwrap_err();
/// assert_eq!(error.to_string(), "profile_version 99 cannot be read, expected 1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const PROFILE_VERSION: u32 = 1;

/// Most slots that one byte tells apart.
const MAX_SLOTS: usize = 255;

/// Most rows whose counts are exact as floats.
const MAX_ROWS: u64 = 1 << 53;

/// Name under which the model's score stands beside the features.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// use pmmds::drift::{ProfileOptions, SCORE_NAME};
/// let profile = ProfileOptions::new().scores(&[0.1, 0.2, 0.3, 0.4]).fit(&batch)?;
/// assert_eq!(profile.score().unwrap().name(), SCORE_NAME);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const SCORE_NAME: &str = "prediction";

/// One feature, or the score, as the reference had it.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// use pmmds::drift::Profile;
/// let profile = Profile::fit(&batch)?;
/// let x = &profile.features()[0];
/// assert_eq!(x.name(), "x");
/// assert_eq!(x.counts().len(), x.binning().slots());
/// assert_eq!(x.summary().moments.mean(), Some(2.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureProfile {
    name: String,
    binning: Binning,
    // one per slot of `binning`
    counts: Vec<u64>,
    summary: ReferenceSummary,
}

impl FeatureProfile {
    /// The feature's name; [`SCORE_NAME`] for the score.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a value falls into.
    #[must_use]
    pub fn binning(&self) -> &Binning {
        &self.binning
    }

    /// Reference rows per slot.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Reference mean, spread and quantiles, of a numeric feature.
    #[must_use]
    pub fn summary(&self) -> &ReferenceSummary {
        &self.summary
    }
}

/// How a profile is fitted.
///
/// ```
/// use ndarray::array;
/// use pmmds::drift::{BinningStrategy, ProfileOptions};
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let data = array![[1.0], [2.0], [3.0], [4.0]];
/// let profile = ProfileOptions::new()
///     .strategy(BinningStrategy::Quantile { bins: 4, atoms: false })
///     .fit(&Batch::from_array(&schema, data.view())?)?;
/// assert_eq!(profile.features()[0].counts(), [1, 1, 1, 1, 0]); // the last slot: missing
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct ProfileOptions<'s> {
    strategy: BinningStrategy,
    scores: Option<&'s [f64]>,
}

impl<'s> ProfileOptions<'s> {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How numeric features are binned. Defaults to ten quantile bins with atoms.
    pub fn strategy(mut self, strategy: BinningStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// The model's score of every row, from a model that was **not** trained on that row: scores
    /// on training rows are too sure, and live scores would look drifted from the first day.
    /// Defaults to no scores, and thus no watch over predictions.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::ProfileOptions;
    /// let profile = ProfileOptions::new().scores(&[0.1, 0.2, 0.3, 0.4]).fit(&batch)?;
    /// assert_eq!(profile.columns().count(), 2); // x, and the score
    ///
    /// let error = ProfileOptions::new().scores(&[0.1]).fit(&batch).unwrap_err();
    /// assert_eq!(error.to_string(), "1 scores given for 4 rows");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scores(mut self, scores: &'s [f64]) -> Self {
        self.scores = Some(scores);
        self
    }

    /// Freezes binnings and counts of every feature of `batch`.
    ///
    /// # Errors
    ///
    /// When there are no rows, the scores are not one finite number per row, or the strategy is
    /// impossible.
    pub fn fit(self, batch: &Batch<'_>) -> Result<Profile, ProfileError> {
        self.fit_with(batch, &Serial)
    }

    /// As [`fit`](Self::fit), with the columns shared out among `workers`: the same profile.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::{Profile, ProfileOptions, Serial};
    /// let profile = ProfileOptions::new().fit_with(&batch, &Serial)?;
    /// assert_eq!(profile, Profile::fit(&batch)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit_with(
        self,
        batch: &Batch<'_>,
        workers: &dyn Workers,
    ) -> Result<Profile, ProfileError> {
        if batch.rows() == 0 {
            return Err(ProfileError::NoRows);
        }
        if let Some(scores) = self.scores {
            check_scores(scores, batch.rows())?;
        }
        let features = batch.schema().features();
        // The scores come last, as one column more.
        let columns = features.len() + usize::from(self.scores.is_some());
        let fitted = gather(workers, columns, |at| match (features.get(at), self.scores) {
            (Some(feature), _) => fit_feature(feature, &batch.columns()[at], &self.strategy),
            (None, scores) => {
                let scores = scores.unwrap_or_default();
                fit_numbers(SCORE_NAME, scores, &BinningStrategy::default(), false)
            }
        });
        let mut features = fitted.into_iter().collect::<Result<Vec<_>, _>>()?;
        let score = if self.scores.is_some() { features.pop() } else { None };
        Ok(Profile::new(batch.schema().fingerprint(), batch.rows() as u64, features, score))
    }
}

fn check_scores(scores: &[f64], rows: usize) -> Result<(), ProfileError> {
    if scores.len() != rows {
        return Err(ProfileError::ScoreCount { expected: rows, found: scores.len() });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(row) => Err(ProfileError::Score { row, score: scores[row] }),
        None => Ok(()),
    }
}

fn fit_feature(
    feature: &Feature,
    column: &Column<'_>,
    strategy: &BinningStrategy,
) -> Result<FeatureProfile, ProfileError> {
    match (feature.kind(), column) {
        (FeatureKind::Numeric { integer, .. }, Column::Numbers(numbers)) => {
            fit_numbers(feature.name(), numbers, strategy, *integer)
        }
        _ => {
            let binning = Binning::levels(feature.levels());
            Ok(FeatureProfile {
                name: feature.name().to_owned(),
                counts: binning.count(column),
                summary: ReferenceSummary::of(&Order::of(&[], |_| Vec::new())),
                binning,
            })
        }
    }
}

/// One order serves the edges, the summary and the counts.
fn fit_numbers(
    name: &str,
    numbers: &[f64],
    strategy: &BinningStrategy,
    integer: bool,
) -> Result<FeatureProfile, ProfileError> {
    let failed = |source| ProfileError::Binning { feature: name.to_owned(), source };
    strategy.check().map_err(failed)?;
    let order = Order::of(numbers, |count| {
        strategy.ranks(count).into_iter().chain(ReferenceSummary::ranks(count)).collect()
    });
    let numeric = NumericBinning::of_order(&order, strategy, integer).map_err(failed)?;
    let counts = numeric.count_ordered(&order, numbers.len() as u64);
    Ok(FeatureProfile {
        name: name.to_owned(),
        counts: counts.unwrap_or_else(|| numeric.count(numbers)),
        summary: ReferenceSummary::of(&order),
        binning: Binning::Numeric(numeric),
    })
}

/// Frozen binnings, reference counts and summaries of every feature, and of the model's own score.
///
/// A profile belongs to one model version and is part of its artifact. Its
/// [`fingerprint`](Self::fingerprint) stands in every batch of codes that was made with it; codes
/// of another profile are not comparable.
///
/// ```
/// use ndarray::array;
/// use pmmds::drift::Profile;
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let data = array![[1.0], [2.0], [3.0]];
/// let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
/// let json = serde_json::to_string(&profile)?;
/// assert_eq!(serde_json::from_str::<Profile>(&json)?, profile);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ProfileFile", into = "ProfileFile")]
pub struct Profile {
    schema: Fingerprint,
    // at least 1
    rows: u64,
    // in schema order; the counts of each add up to `rows`
    features: Vec<FeatureProfile>,
    // as above
    score: Option<FeatureProfile>,
    // hash of all of the above
    fingerprint: Fingerprint,
}

impl Profile {
    /// The profile of `batch` with the usual options and without scores.
    ///
    /// # Errors
    ///
    /// When there are no rows.
    pub fn fit(batch: &Batch<'_>) -> Result<Self, ProfileError> {
        ProfileOptions::new().fit(batch)
    }

    fn new(
        schema: Fingerprint,
        rows: u64,
        features: Vec<FeatureProfile>,
        score: Option<FeatureProfile>,
    ) -> Self {
        let mut hasher = Hasher::new("pmmds profile 1");
        hasher.bytes(schema.as_bytes()).number(rows).count(features.len());
        hasher.number(u64::from(score.is_some()));
        for feature in features.iter().chain(&score) {
            hasher.text(&feature.name);
            feature.binning.hash(&mut hasher);
            feature.counts.iter().for_each(|count| {
                hasher.number(*count);
            });
        }
        Self { schema, rows, features, score, fingerprint: hasher.finish() }
    }

    /// The schema of the rows it describes.
    #[must_use]
    pub fn schema(&self) -> Fingerprint {
        self.schema
    }

    /// The hash that names this profile: schema, binnings and counts.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Reference rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The features in schema order.
    #[must_use]
    pub fn features(&self) -> &[FeatureProfile] {
        &self.features
    }

    /// The score, if the profile has one.
    #[must_use]
    pub fn score(&self) -> Option<&FeatureProfile> {
        self.score.as_ref()
    }

    /// Features, then the score: what a row of codes holds, in this order.
    pub fn columns(&self) -> impl Iterator<Item = &FeatureProfile> {
        self.features.iter().chain(&self.score)
    }

    /// One code per [column](Self::columns): all that drift needs to know of a row, and nothing
    /// that gives it away.
    ///
    /// # Panics
    ///
    /// When `row` is of another schema, with another number of features.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::Profile;
    /// use pmmds::record::Row;
    /// let profile = Profile::fit(&batch)?;
    /// let missing = profile.encode(&Row::missing(&schema), 0.5);
    /// let slot = profile.features()[0].binning().missing_slot();
    /// assert_eq!(usize::from(missing.as_bytes()[0]), slot);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn encode(&self, row: &Row, score: f64) -> Codes {
        assert_eq!(row.values().len(), self.features.len(), "row and profile of one schema");
        let mut codes = Vec::with_capacity(self.features.len() + 1);
        let features = self.features.iter().zip(row.values());
        codes.extend(features.map(|(feature, value)| feature.binning.code(*value)));
        codes.extend(self.score.iter().map(|profile| profile.binning.code(Value::Number(score))));
        Codes(codes.into())
    }

    /// Whether `codes` could have been made by this profile.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::{Codes, Profile};
    /// let profile = Profile::fit(&batch)?;
    /// assert!(profile.accepts(&Codes::from_bytes([0])));
    /// assert!(!profile.accepts(&Codes::from_bytes([200])), "no such slot");
    /// assert!(!profile.accepts(&Codes::from_bytes([0, 0])), "no such column");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn accepts(&self, codes: &Codes) -> bool {
        self.columns().count() == codes.0.len()
            && self
                .columns()
                .zip(&codes.0)
                .all(|(column, code)| usize::from(*code) < column.binning.slots())
    }

    /// Checks that this profile describes rows of `schema`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Schema`] when it is of another schema, [`ProfileError::Columns`] when its
    /// columns are not those of the schema that it names.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::Profile;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let profile = Profile::fit(&batch)?;
    /// assert!(profile.check_schema(&schema).is_ok());
    /// let other = FeatureSchema::new([Feature::numeric("y")])?;
    /// assert!(profile.check_schema(&other).unwrap_err().to_string().starts_with("the profile is of "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_schema(&self, schema: &FeatureSchema) -> Result<(), ProfileError> {
        if self.schema != schema.fingerprint() {
            return Err(ProfileError::Schema {
                profile: self.schema,
                schema: schema.fingerprint(),
            });
        }
        if self.features.len() != schema.len() {
            return Err(ProfileError::Columns { feature: format!("{} features", schema.len()) });
        }
        // The fingerprint is what a file claims; the columns are what it holds.
        for (profile, feature) in self.features.iter().zip(schema.features()) {
            let fits = profile.name == feature.name()
                && match (&profile.binning, feature.kind()) {
                    (Binning::Numeric(_), FeatureKind::Numeric { .. }) => true,
                    (Binning::Levels(known), FeatureKind::Categorical { levels, .. }) => {
                        known == levels
                    }
                    _ => false,
                };
            if !fits {
                return Err(ProfileError::Columns { feature: feature.name().to_owned() });
            }
        }
        Ok(())
    }
}

/// One row as slots of a profile, a byte per feature and one for the score.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// use pmmds::drift::{Codes, Profile};
/// let profile = Profile::fit(&batch)?;
/// let codes = profile.encode(&batch.row(0), 0.5);
/// assert_eq!(codes.as_bytes().len(), 1); // x, and no score
/// assert_eq!(Codes::from_bytes(codes.as_bytes()), codes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Codes(Box<[u8]>);

impl Codes {
    /// Codes as they were stored; [`Profile::accepts`] tells whether they fit a profile.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The codes: a byte per [column](Profile::columns).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    profile_version: u32,
    schema: Fingerprint,
    rows: u64,
    features: Vec<FeatureProfile>,
    score: Option<FeatureProfile>,
}

impl TryFrom<ProfileFile> for Profile {
    type Error = ProfileError;

    fn try_from(file: ProfileFile) -> Result<Self, ProfileError> {
        if file.profile_version != PROFILE_VERSION {
            return Err(ProfileError::Version { found: file.profile_version });
        }
        if file.score.as_ref().is_some_and(|score| !matches!(score.binning, Binning::Numeric(_))) {
            return Err(ProfileError::Columns { feature: SCORE_NAME.to_owned() });
        }
        if file.rows > MAX_ROWS {
            return Err(ProfileError::TooManyRows { rows: file.rows });
        }
        if file.rows == 0 || file.features.is_empty() {
            return Err(ProfileError::NoRows);
        }
        for feature in file.features.iter().chain(&file.score) {
            let total = feature.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
            let slots = feature.binning.slots();
            if feature.counts.len() != slots || slots > MAX_SLOTS || total != Some(file.rows) {
                return Err(ProfileError::Counts { feature: feature.name.clone() });
            }
        }
        Ok(Self::new(file.schema, file.rows, file.features, file.score))
    }
}

impl From<Profile> for ProfileFile {
    fn from(profile: Profile) -> Self {
        let Profile { schema, rows, features, score, fingerprint: _ } = profile;
        Self { profile_version: PROFILE_VERSION, schema, rows, features, score }
    }
}

/// Why there is no such profile.
///
/// ```
/// use pmmds::drift::{Profile, ProfileError};
/// use pmmds::record::Columns;
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = FeatureSchema::new([Feature::numeric("x")])?.into();
/// let error = Profile::fit(&Columns::new(schema).batch()).unwrap_err();
/// assert_eq!(error, ProfileError::NoRows);
/// assert_eq!(error.to_string(), "a profile needs at least one reference row");
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A profile needs a row.
    #[error("a profile needs at least one reference row")]
    NoRows,
    /// More rows than can be.
    #[error("{rows} reference rows, at most 2^53 are possible")]
    TooManyRows {
        /// rows of the file
        rows: u64,
    },
    /// Not one score per row.
    #[error("{found} scores given for {expected} rows")]
    ScoreCount {
        /// rows of the reference
        expected: usize,
        /// scores given
        found: usize,
    },
    /// A score is no number.
    #[error("score {score} of row {row} is not a finite number")]
    Score {
        /// row number from 0
        row: usize,
        /// the score
        score: f64,
    },
    /// A feature cannot be binned.
    #[error("feature {feature:?} cannot be binned: {source}")]
    Binning {
        /// its name
        feature: String,
        /// why
        source: BinningError,
    },
    /// Stored counts do not fit the binning or the number of rows.
    #[error("the counts of feature {feature:?} do not fit its binning or the number of rows")]
    Counts {
        /// its name
        feature: String,
    },
    /// The profile describes rows of another schema.
    #[error("the profile is of schema {}, the rows of schema {}", profile.short(), schema.short())]
    Schema {
        /// schema of the profile
        profile: Fingerprint,
        /// schema of the rows
        schema: Fingerprint,
    },
    /// The columns are not those of the schema that the profile names.
    #[error("the profile does not fit its schema at {feature}")]
    Columns {
        /// name of the first feature that differs, or how many there should be
        feature: String,
    },
    /// The file was written by another release.
    #[error("profile_version {found} cannot be read, expected {PROFILE_VERSION}")]
    Version {
        /// the version in the file
        found: u32,
    },
    /// The detector's `min_drift_features` is more than the features that are compared.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

//! Exact counts of live traffic: a monoid, so that every way of adding up gives the same numbers.

use serde::{Deserialize, Serialize};

use super::code_rows::{self, CodeRowsError};
use super::columns;
use super::profile::{Codes, Profile};
use super::summary::TrafficSummary;
use super::workers::{Serial, Workers, gather};
use crate::record::{Batch, Column, Row, Value};
use crate::schema::{FeatureSchema, Fingerprint, LevelId};
use crate::validate::{Rule, Violations};

/// How many requests were refused because of one feature and one rule.
///
/// ```
/// # use std::sync::Arc;
/// use pmmds::drift::{Counts, Profile};
/// use pmmds::record::{Columns, Table, decode_row};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{Rule, Violations};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::categorical("plan", ["basic", "gold"])])?);
/// let table = Table::from_rows(["plan"], [["basic"], ["gold"]])?;
/// let profile = Profile::fit(&Columns::read(&schema, &table)?.batch())?;
///
/// let mut problems = Violations::new();
/// decode_row(&schema, br#"{"plan": "silver"}"#, &mut problems)?;
/// let mut counts = Counts::empty(&profile);
/// counts.observe_rejected(&schema, &problems);
/// let [rejected] = counts.rejected() else { panic!() };
/// assert_eq!(rejected.feature.as_deref(), Some("plan"));
/// assert_eq!((rejected.rule, rejected.count), (Rule::InvalidCategory, 1));
/// // The refused category is known by name, and no row was counted.
/// assert_eq!(counts.summaries()[0].unseen.get("silver"), Some(&1));
/// assert_eq!((counts.rows(), counts.rejected_requests()), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// name of the feature; `None` for features that the schema does not know
    pub feature: Option<String>,
    /// the rule
    pub rule: Rule,
    /// how many values broke it in refused requests
    pub count: u64,
}

/// What came in over some time, as counts per slot of one [`Profile`].
///
/// Counts are exact `u64` and merge in any order to the same numbers: shards, replicas, hours.
/// Only the means in the [summaries](TrafficSummary) are floats.
///
/// ```
/// use ndarray::array;
/// use pmmds::drift::{Counts, Profile};
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let reference = array![[1.0], [2.0], [3.0], [4.0]];
/// let profile = Profile::fit(&Batch::from_array(&schema, reference.view())?)?;
///
/// let live = array![[2.5], [f64::NAN]];
/// let mut counts = Counts::of(&profile, &Batch::from_array(&schema, live.view())?, None)?;
/// let other = counts.clone();
/// counts.merge(&other)?;
/// assert_eq!(counts.rows(), 4);
/// assert_eq!(counts.slots(0).last(), Some(&2)); // missing
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CountsFields")]
pub struct Counts {
    profile: Fingerprint,
    rows: u64,
    // per column of the profile, per slot; each adds up to `rows`
    slots: Vec<Vec<u64>>,
    // rows that `summaries` cover: fewer than `rows` where only codes were kept, more in what a
    // store keeps beside the codes for `merge_summaries`
    summarised: u64,
    // per feature
    summaries: Vec<TrafficSummary>,
    // requests that were refused; they are not among `rows`
    rejected_requests: u64,
    // sorted by feature and rule, each once
    rejected: Vec<Rejected>,
}

impl Counts {
    /// Nothing has come in yet.
    #[must_use]
    pub fn empty(profile: &Profile) -> Self {
        Self {
            profile: profile.fingerprint(),
            rows: 0,
            slots: profile.columns().map(|column| vec![0; column.binning().slots()]).collect(),
            summarised: 0,
            summaries: vec![TrafficSummary::default(); profile.features().len()],
            rejected_requests: 0,
            rejected: Vec::new(),
        }
    }

    /// Counts of the same profile in which nothing has come in yet.
    ///
    /// ```
    /// use pmmds::drift::{Counts, Profile};
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let profile = Profile::fit(&batch)?;
    /// let mut counts = Counts::empty(&profile);
    /// counts.observe_codes(&profile.encode(&batch.row(0), 0.5));
    /// assert_eq!(counts.cleared(), Counts::empty(&profile));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cleared(&self) -> Self {
        Self {
            profile: self.profile,
            rows: 0,
            slots: self.slots.iter().map(|slots| vec![0; slots.len()]).collect(),
            summarised: 0,
            summaries: vec![TrafficSummary::default(); self.summaries.len()],
            rejected_requests: 0,
            rejected: Vec::new(),
        }
    }

    /// The requests that were refused, and neither rows nor summaries.
    pub(crate) fn rejections(&self) -> Self {
        let (rejected_requests, rejected) = (self.rejected_requests, self.rejected.clone());
        Self { rejected_requests, rejected, ..self.cleared() }
    }

    /// The counts of whole rows that were added up elsewhere: each of `slots` adds up to `rows`.
    pub(super) fn of_parts(
        profile: Fingerprint,
        rows: u64,
        slots: Vec<Vec<u64>>,
        summaries: Vec<TrafficSummary>,
    ) -> Self {
        let (rejected_requests, rejected) = (0, Vec::new());
        let summarised = rows;
        Self { profile, rows, slots, summarised, summaries, rejected_requests, rejected }
    }

    /// The counts of `batch`, with the model's scores if there are any.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when the batch is of another schema than the profile, or the scores are
    /// not one per row.
    pub fn of(
        profile: &Profile,
        batch: &Batch<'_>,
        scores: Option<&[f64]>,
    ) -> Result<Self, NotComparable> {
        Self::of_with(profile, batch, scores, &Serial)
    }

    /// As [`of`](Self::of), with the columns shared out among `workers`: the same counts.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// use pmmds::drift::{Counts, Profile, Serial};
    /// let profile = Profile::fit(&batch)?;
    /// let counts = Counts::of_with(&profile, &batch, None, &Serial)?;
    /// assert_eq!(counts, Counts::of(&profile, &batch, None)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_with(
        profile: &Profile,
        batch: &Batch<'_>,
        scores: Option<&[f64]>,
        workers: &dyn Workers,
    ) -> Result<Self, NotComparable> {
        if profile.schema() != batch.schema().fingerprint() {
            return Err(NotComparable::new("the rows are of another schema than the profile"));
        }
        if profile.features().len() != batch.columns().len() {
            return Err(NotComparable::new("the profile does not have the columns of its schema"));
        }
        if scores.is_some_and(|scores| scores.len() != batch.rows()) {
            return Err(NotComparable::new("there is not one score per row"));
        }
        let (features, rows) = (profile.features(), batch.rows() as u64);
        // Without scores nothing is known of them; that is not "all missing".
        let score = profile.score().zip(scores);
        let columns = features.len() + usize::from(score.is_some());
        let counted = gather(workers, columns, |at| match (features.get(at), score) {
            (Some(feature), _) => columns::count(feature, batch, at),
            (None, Some((score, scores))) => {
                (score.binning().count(&Column::Numbers(scores.into())), TrafficSummary::default())
            }
            (None, None) => (Vec::new(), TrafficSummary::default()),
        });
        let (slots, mut summaries): (Vec<_>, Vec<_>) = counted.into_iter().unzip();
        summaries.truncate(features.len());

        Ok(Self { rows, slots, summarised: rows, summaries, ..Self::empty(profile) })
    }

    /// Counts one accepted row, encoded by `profile`.
    ///
    /// # Panics
    ///
    /// When `profile` is not the one of these counts, or did not make `codes`.
    ///
    /// ```
    /// use ndarray::array;
    /// use pmmds::drift::{Counts, ProfileOptions};
    /// use pmmds::record::Batch;
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let reference = array![[1.0], [2.0], [3.0], [4.0]];
    /// let batch = Batch::from_array(&schema, reference.view())?;
    /// let profile = ProfileOptions::new().scores(&[0.1, 0.2, 0.3, 0.4]).fit(&batch)?;
    ///
    /// let mut counts = Counts::empty(&profile);
    /// let row = batch.row(3);
    /// counts.observe(&profile, &row, &profile.encode(&row, 0.4));
    /// assert_eq!((counts.rows(), counts.summarised()), (1, 1));
    /// assert_eq!(counts.summaries()[0].moments.mean(), Some(4.0));
    /// // Where only the codes were kept there is a count, and no summary.
    /// counts.observe_codes(&profile.encode(&row, 0.4));
    /// assert_eq!((counts.rows(), counts.summarised()), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe(&mut self, profile: &Profile, row: &Row, codes: &Codes) {
        assert_eq!(self.profile, profile.fingerprint(), "counts and row of one profile");
        self.observe_codes(codes);
        self.summarised += 1;
        let columns = self.summaries.iter_mut().zip(profile.features()).zip(row.values());
        for ((summary, feature), value) in columns {
            let categorical = feature.binning().other_slot().is_some();
            match value {
                Value::Number(x) => summary.observe(*x, feature.summary()),
                Value::Level(LevelId::OTHER) => summary.observe_unseen(None),
                Value::Invalid if categorical => summary.observe_unseen(None),
                _ => {}
            }
        }
    }

    /// Counts one row of which only the codes were kept.
    ///
    /// # Panics
    ///
    /// When the profile of these counts does not [accept](Profile::accepts) `codes`.
    pub fn observe_codes(&mut self, codes: &Codes) {
        assert_eq!(self.slots.len(), codes.as_bytes().len(), "one code per column");
        self.rows += 1;
        for (slots, code) in self.slots.iter_mut().zip(codes.as_bytes()) {
            slots[usize::from(*code)] += 1;
        }
    }

    /// Counts many rows of which only the codes were kept: `bytes` holds them one after the other,
    /// each with one byte per [column](Profile::columns). On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// [`CodeRowsError`] when the last row is not whole, or a code is of no slot.
    ///
    /// ```
    /// use pmmds::drift::{Counts, Profile};
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let profile = Profile::fit(&batch)?;
    /// let mut counts = Counts::empty(&profile);
    /// counts.observe_code_rows(&[0, 1, 1])?;
    /// assert_eq!((counts.rows(), &counts.slots(0)[..2]), (3, &[1, 2][..]));
    ///
    /// let error = counts.observe_code_rows(&[0, 99]).unwrap_err();
    /// assert!(error.to_string().starts_with("row 1 has code 99 in column 0, which has "));
    /// assert_eq!(counts.rows(), 3, "as before");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_code_rows(&mut self, bytes: &[u8]) -> Result<(), CodeRowsError> {
        let tables = code_rows::count(&self.slots, bytes)?;
        self.rows += (bytes.len() / tables.len()) as u64;
        for (slots, table) in self.slots.iter_mut().zip(&tables) {
            slots.iter_mut().zip(table).for_each(|(slot, count)| *slot += count);
        }
        Ok(())
    }

    /// Counts one refused request by what was wrong with it. An invalid category counts as unseen.
    pub fn observe_rejected(&mut self, schema: &FeatureSchema, violations: &Violations) {
        self.reject(schema, violations, true);
    }

    /// The same without the names of unseen categories, where there is no room for more.
    pub(super) fn observe_rejected_unnamed(&mut self, schema: &FeatureSchema, v: &Violations) {
        self.reject(schema, v, false);
    }

    fn reject(&mut self, schema: &FeatureSchema, violations: &Violations, named: bool) {
        self.rejected_requests += 1;
        for (id, rule, count) in violations.counts().filter(|(_, rule, _)| !rule.is_warning()) {
            let feature = id.and_then(|id| schema.get(id)).map(|feature| feature.name().to_owned());
            self.add_rejected(Rejected { feature, rule, count });
        }
        for violation in violations.errors().filter(|v| v.rule() == Rule::InvalidCategory) {
            let summary =
                schema.id(violation.feature()).and_then(|id| self.summaries.get_mut(id.index()));
            if let Some(summary) = summary {
                let text = violation.value().filter(|_| named);
                summary.observe_unseen(text.map(|value| value.trim_matches('\'')));
            }
        }
    }

    fn add_rejected(&mut self, new: Rejected) {
        let key = |rejected: &Rejected| (rejected.feature.clone(), rejected.rule);
        match self.rejected.binary_search_by_key(&key(&new), key) {
            Ok(at) => {
                let known = &mut self.rejected[at].count;
                *known = known.saturating_add(new.count);
            }
            Err(at) => self.rejected.insert(at, new),
        }
    }

    /// Adds everything that `other` has counted. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when `other` is of another profile, only one of the two has scores, or the
    /// sum is beyond `u64`.
    ///
    /// ```
    /// use ndarray::array;
    /// use pmmds::drift::{Counts, Profile};
    /// use pmmds::record::Batch;
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let (march, april) = (array![[1.0], [2.0]], array![[3.0], [4.0]]);
    /// let march = Batch::from_array(&schema, march.view())?;
    /// let april = Batch::from_array(&schema, april.view())?;
    /// let (old, new) = (Profile::fit(&march)?, Profile::fit(&april)?);
    ///
    /// let mut counts = Counts::of(&old, &march, None)?;
    /// counts.merge(&Counts::of(&old, &april, None)?)?;
    /// assert_eq!(counts.rows(), 4);
    /// let error = counts.merge(&Counts::of(&new, &april, None)?).unwrap_err();
    /// assert!(error.to_string().ends_with(" cannot be added up"));
    /// assert_eq!(counts.rows(), 4, "as before");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<(), NotComparable> {
        if self.profile != other.profile {
            return Err(NotComparable::new(format!(
                "counts of profile {} and of profile {} cannot be added up",
                self.profile.short(),
                other.profile.short()
            )));
        }
        let same_slots = self.slots.len() == other.slots.len()
            && self.slots.iter().zip(&other.slots).all(|(a, b)| a.len() == b.len());
        if !same_slots || self.summaries.len() != other.summaries.len() {
            return Err(NotComparable::new("only one of the two counts has scores"));
        }
        let sum = |a: u64, b: u64| {
            a.checked_add(b)
                .ok_or_else(|| NotComparable::new("the sum of the counts is beyond u64"))
        };
        let rows = sum(self.rows, other.rows)?;
        let summarised = sum(self.summarised, other.summarised)?;
        let rejected_requests = sum(self.rejected_requests, other.rejected_requests)?;
        (self.rows, self.summarised, self.rejected_requests) =
            (rows, summarised, rejected_requests);
        // No slot holds more than `rows`, so nothing overflows here.
        for (slots, more) in self.slots.iter_mut().zip(&other.slots) {
            slots.iter_mut().zip(more).for_each(|(slot, count)| *slot += count);
        }
        for (summary, more) in self.summaries.iter_mut().zip(&other.summaries) {
            summary.merge(more);
        }
        other.rejected.iter().for_each(|rejected| self.add_rejected(rejected.clone()));
        Ok(())
    }

    /// Takes the summaries and rejections of `other`, and none of its rows: for stores that count
    /// the rows of a ragged window from codes and have summaries of whole batches only.
    ///
    /// # Errors
    ///
    /// As [`merge`](Self::merge).
    ///
    /// ```
    /// use ndarray::array;
    /// use pmmds::drift::{Counts, Profile};
    /// use pmmds::record::Batch;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let data = array![[1.0], [2.0]];
    /// let batch = Batch::from_array(&schema, data.view())?;
    /// let profile = Profile::fit(&batch)?;
    ///
    /// // One row of the window was kept as codes; its batch of two rows has a summary.
    /// let mut window = Counts::empty(&profile);
    /// window.observe_codes(&profile.encode(&batch.row(0), 0.5));
    /// window.merge_summaries(&Counts::of(&profile, &batch, None)?)?;
    /// assert_eq!((window.rows(), window.summarised()), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge_summaries(&mut self, other: &Self) -> Result<(), NotComparable> {
        let mut whole = self.clone();
        whole.merge(other)?;
        *self = Self { rows: self.rows, slots: std::mem::take(&mut self.slots), ..whole };
        Ok(())
    }

    /// The slots of all [columns](Profile::columns), one column after the other: for stores that
    /// keep counts as one list of numbers.
    ///
    /// ```
    /// use pmmds::drift::{Counts, Profile};
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// let profile = Profile::fit(&batch)?;
    /// let mut hour = Counts::empty(&profile);
    /// hour.observe_codes(&profile.encode(&batch.row(0), 0.5));
    /// let stored: Vec<u64> = hour.flat_slots().collect();
    ///
    /// let mut day = Counts::empty(&profile);
    /// day.merge_flat_slots(hour.rows(), &stored)?;
    /// day.merge_flat_slots(hour.rows(), &stored)?;
    /// assert_eq!((day.rows(), day.slots(0).iter().sum()), (2, 2));
    /// assert_eq!(
    ///     day.merge_flat_slots(7, &stored).unwrap_err().to_string(),
    ///     "not comparable: column 0 of the counts adds up to 1 and not to 7 rows",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flat_slots(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().flatten().copied()
    }

    /// Adds `rows` rows that were counted before, given as [`flat_slots`](Self::flat_slots) of
    /// counts of the same profile. They are covered by no summary. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] when there are more or fewer slots, a column does not add up to `rows`, or
    /// the sum is beyond `u64`.
    pub fn merge_flat_slots(&mut self, rows: u64, slots: &[u64]) -> Result<(), NotComparable> {
        let expected: usize = self.slots.iter().map(Vec::len).sum();
        if slots.len() != expected {
            let found = slots.len();
            return Err(NotComparable::new(format!(
                "the counts have {found} slots and the profile has {expected}"
            )));
        }
        let mut rest = slots;
        for (column, slots) in self.slots.iter().enumerate() {
            let (these, others) = rest.split_at(slots.len());
            let sum = these.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
            if sum != Some(rows) {
                let sum = sum.map_or("more than u64 holds".to_owned(), |sum| sum.to_string());
                return Err(NotComparable::new(format!(
                    "column {column} of the counts adds up to {sum} and not to {rows} rows"
                )));
            }
            rest = others;
        }
        let sum = self.rows.checked_add(rows);
        self.rows = sum.ok_or_else(|| NotComparable::new("the sum of the counts is beyond u64"))?;
        // No slot holds more than `rows`, so nothing overflows here.
        self.slots.iter_mut().flatten().zip(slots).for_each(|(slot, count)| *slot += count);
        Ok(())
    }

    /// Fingerprint of the profile whose slots these are.
    #[must_use]
    pub fn profile(&self) -> Fingerprint {
        self.profile
    }

    /// Accepted rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows per slot of the `column`-th [column](Profile::columns) of the profile; empty for the
    /// score of a batch without scores.
    #[must_use]
    pub fn slots(&self, column: usize) -> &[u64] {
        self.slots.get(column).map_or(&[], Vec::as_slice)
    }

    /// Columns that have slots.
    pub(crate) fn columns(&self) -> usize {
        self.slots.len()
    }

    /// Rows that the summaries cover, at most [`rows`](Self::rows) in a window of whole batches.
    #[must_use]
    pub fn summarised(&self) -> u64 {
        self.summarised
    }

    /// Summary per feature.
    #[must_use]
    pub fn summaries(&self) -> &[TrafficSummary] {
        &self.summaries
    }

    /// Refused requests, which are not among the [`rows`](Self::rows).
    #[must_use]
    pub fn rejected_requests(&self) -> u64 {
        self.rejected_requests
    }

    /// What refused requests were refused for, sorted by feature and rule.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }
}

// The stored form: reading checks what adding up relies on.
#[derive(Deserialize)]
struct CountsFields {
    profile: Fingerprint,
    rows: u64,
    slots: Vec<Vec<u64>>,
    summarised: u64,
    summaries: Vec<TrafficSummary>,
    rejected_requests: u64,
    rejected: Vec<Rejected>,
}

impl TryFrom<CountsFields> for Counts {
    type Error = NotComparable;

    fn try_from(fields: CountsFields) -> Result<Self, NotComparable> {
        let CountsFields {
            profile,
            rows,
            slots,
            summarised,
            summaries,
            rejected_requests,
            rejected,
        } = fields;
        for (column, slots) in slots.iter().enumerate() {
            let total = slots.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
            if total != Some(rows) {
                let why = format!("the slots of column {column} do not add up to {rows} rows");
                return Err(NotComparable::new(why));
            }
        }
        let none = Vec::new();
        let mut counts =
            Self { profile, rows, slots, summarised, summaries, rejected_requests, rejected: none };
        rejected.into_iter().for_each(|rejected| counts.add_rejected(rejected));
        Ok(counts)
    }
}

/// Two things cannot be compared, and why: never a number that looks like an answer.
///
/// ```
/// use pmmds::drift::NotComparable;
/// let error = NotComparable::new("levels have no order");
/// assert_eq!(error.why(), "levels have no order");
/// assert_eq!(error.to_string(), "not comparable: levels have no order");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("not comparable: {why}")]
pub struct NotComparable {
    why: String,
}

impl NotComparable {
    /// Not comparable for the reason `why`, lower case and without a full stop.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }

    /// The reason.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::schema::Feature;

    fn counts() -> Counts {
        let schema = FeatureSchema::new([Feature::numeric("x")]).unwrap();
        let reference = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
        let batch = Batch::from_array(&schema, reference.view()).unwrap();
        Counts::of(&Profile::fit(&batch).unwrap(), &batch, None).unwrap()
    }

    fn altered(change: impl FnOnce(&mut Value)) -> Result<Counts, serde_json::Error> {
        let mut document = serde_json::to_value(counts()).unwrap();
        change(&mut document);
        serde_json::from_value(document)
    }

    #[test]
    fn stored_counts_that_do_not_add_up_are_refused() {
        assert_eq!(altered(|_| {}).unwrap(), counts());
        assert!(altered(|document| document["rows"] = json!(5)).is_err());
        assert!(altered(|document| document["slots"][0][0] = json!(u64::MAX)).is_err());
        let refused = json!({ "feature": "x", "rule": Rule::Null, "count": 2 });
        let twice = altered(|document| document["rejected"] = json!([refused, refused])).unwrap();
        assert_eq!(twice.rejected().iter().map(|rejected| rejected.count).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_sum_beyond_u64_changes_nothing() {
        let many = altered(|document| document["rejected_requests"] = json!(u64::MAX)).unwrap();
        let mut sum = many.clone();
        assert!(sum.merge(&many).is_err());
        assert_eq!(sum, many);
    }
}

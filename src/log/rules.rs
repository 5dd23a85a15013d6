//! What every log decides alike.

use uuid::Uuid;

use super::{EventBatch, Outcome, OutcomeReceipt};
use crate::drift::{Codes, Profile};
use crate::{Error, ErrorKind, Timestamp};

/// What one recorded outcome changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeStep {
    /// It is new: write it.
    Record,
    /// It is known, with the same value: write nothing.
    Keep,
    /// It replaces another value: write it.
    Correct,
}

impl OutcomeStep {
    /// What `outcome` changes where `found` is known of the same request.
    ///
    /// ```
    /// use pmmds::log::OutcomeStep;
    /// assert_eq!(OutcomeStep::of(None, 1.0), OutcomeStep::Record);
    /// assert_eq!(OutcomeStep::of(Some(1.0), 1.0), OutcomeStep::Keep);
    /// assert_eq!(OutcomeStep::of(Some(0.0), 1.0), OutcomeStep::Correct);
    /// ```
    #[must_use]
    pub fn of(found: Option<f64>, outcome: f64) -> Self {
        match found {
            None => Self::Record,
            // By value, so that 0.0 and -0.0 are one.
            Some(found) if (found..=found).contains(&outcome) => Self::Keep,
            Some(_) => Self::Correct,
        }
    }
}

impl OutcomeReceipt {
    /// Adds one step to the receipt.
    ///
    /// ```
    /// use pmmds::log::{OutcomeReceipt, OutcomeStep};
    /// let mut receipt = OutcomeReceipt::default();
    /// receipt.add(OutcomeStep::of(None, 1.0));
    /// assert_eq!(receipt.recorded, 1);
    /// ```
    pub fn add(&mut self, step: OutcomeStep) {
        match step {
            OutcomeStep::Record => self.recorded += 1,
            OutcomeStep::Keep => self.unchanged += 1,
            OutcomeStep::Correct => self.corrected += 1,
        }
    }
}

/// The decisions of a log, for who implements one: same question, same answer, same words,
/// whatever the store.
///
/// ```
/// use pmmds::log::{Outcome, Rules};
/// use uuid::Uuid;
///
/// const RULES: Rules = Rules::new("my log");
///
/// let unknown = Outcome { request_id: Uuid::from_u128(7), outcome: f64::NAN, observed_at: None };
/// assert_eq!(
///     RULES.outcomes(&[unknown]).unwrap_err().to_string(),
///     "my log: invalid input: outcome NaN of request 00000000-0000-0000-0000-000000000007 is not a finite number"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    component: &'static str,
}

impl Rules {
    /// The rules of the log that its errors call `component`.
    #[must_use]
    pub const fn new(component: &'static str) -> Self {
        Self { component }
    }

    fn invalid(&self, context: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, self.component, context)
    }

    /// Whether `batch` can be written.
    ///
    /// ```
    /// use pmmds::log::{BatchId, EventBatch, Rules};
    /// use pmmds::registry::VersionId;
    /// # use ndarray::array;
    /// # use pmmds::drift::Profile;
    /// # use pmmds::record::Batch;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = array![[1.0], [2.0]];
    /// # let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
    /// let id = BatchId(uuid::Uuid::from_u128(7));
    /// let batch = EventBatch::new(id, "churn".parse()?, VersionId::FIRST, &profile);
    /// assert_eq!(
    ///     Rules::new("my log").batch(&batch).unwrap_err().to_string(),
    ///     "my log: invalid input: batch 00000000-0000-0000-0000-000000000007 is empty"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is empty.
    pub fn batch(&self, batch: &EventBatch) -> Result<(), Error> {
        if batch.is_empty() {
            return Err(self.invalid(format!("batch {} is empty", batch.id())));
        }
        Ok(())
    }

    /// Whether `outcomes` can be recorded.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if one is no finite number.
    pub fn outcomes(&self, outcomes: &[Outcome]) -> Result<(), Error> {
        match outcomes.iter().find(|outcome| !outcome.outcome.is_finite()) {
            None => Ok(()),
            Some(Outcome { request_id, outcome, .. }) => Err(self.invalid(format!(
                "outcome {outcome} of request {request_id} is not a finite number"
            ))),
        }
    }

    /// Whether a page of `limit` items can be asked for.
    ///
    /// ```
    /// # use pmmds::log::Rules;
    /// assert!(Rules::new("my log").limit(1).is_ok());
    /// assert!(Rules::new("my log").limit(0).is_err());
    /// ```
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for 0: its answer would look like the end.
    pub fn limit(&self, limit: usize) -> Result<(), Error> {
        if limit > 0 { Ok(()) } else { Err(self.invalid("a page has at least one item")) }
    }

    /// Whether the stored `codes` of an event can be counted with `profile`, which is said to have
    /// made them.
    ///
    /// ```
    /// use pmmds::drift::Codes;
    /// use pmmds::log::Rules;
    /// # use ndarray::array;
    /// # use pmmds::drift::Profile;
    /// # use pmmds::record::Batch;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// # let data = array![[1.0], [2.0]];
    /// # let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
    /// let rules = Rules::new("my log");
    /// let event = uuid::Uuid::from_u128(7);
    /// assert!(rules.codes(&profile, event, &Codes::from_bytes([0])).is_ok());
    /// assert!(rules.codes(&profile, event, &Codes::from_bytes([255])).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if they cannot.
    pub fn codes(&self, profile: &Profile, event: Uuid, codes: &Codes) -> Result<(), Error> {
        if profile.accepts(codes) {
            return Ok(());
        }
        let profile = profile.fingerprint().short();
        let context = format!("codes of event {event} were not made by profile {profile}");
        Err(Error::new(ErrorKind::Corrupt, self.component, context))
    }
}

/// Whether `error`, which a store answered to an append, stands for ever: the same batch is refused
/// the same way each time, so that sending it again holds up everything behind it.
///
/// ```
/// use pmmds::{Error, ErrorKind, log};
/// let refused = Error::new(ErrorKind::Conflict, "my log", "event 7 is there already");
/// let away = Error::new(ErrorKind::Unavailable, "my log", "no connection");
/// assert!(log::is_final(&refused) && !log::is_final(&away));
/// ```
#[must_use]
pub fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Conflict)
}

/// First and last moment that `batch`, written at `written`, is about: those of its events, or the
/// moment of writing where it has refused requests only.
///
/// ```
/// use ndarray::array;
/// use pmmds::drift::Profile;
/// use pmmds::log::{self, BatchId, EventBatch};
/// use pmmds::record::Batch;
/// use pmmds::registry::VersionId;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use uuid::Uuid;
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let data = array![[1.0], [2.0]];
/// let profile = Profile::fit(&Batch::from_array(&schema, data.view())?)?;
/// let batch = EventBatch::new(BatchId(Uuid::nil()), "churn".parse()?, VersionId::FIRST, &profile);
/// let noon = "2026-03-01T12:00:00Z".parse()?;
/// assert_eq!(log::extent(&batch, noon), (noon, noon));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn extent(batch: &EventBatch, written: Timestamp) -> (Timestamp, Timestamp) {
    let times = || batch.events().iter().map(|event| event.at);
    times().min().zip(times().max()).unwrap_or((written, written))
}

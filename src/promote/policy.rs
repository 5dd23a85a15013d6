//! Who decides whether a challenger takes over.

use std::fmt::{self, Debug};
use std::sync::Arc;

use super::{And, Candidates, Decision, Or, Reason};

/// Decides whether a challenger takes the champion's place.
///
/// # Contract
///
/// * Pure: the same candidates give the same decision; no clock, no randomness, no I/O.
/// * Total: whatever is unknown (an absent evaluation, a metric that does not exist, NaN) never
///   speaks *for* promotion, and the reason says what is unknown.
/// * Every criterion is looked at and has its [`Reason`], also after the first that is not met.
/// * With [`Champion::None`](super::Champion::None) there is nothing to compare with; the
///   challenger must stand on what is known about it alone.
///
/// # Implementing
///
/// [`policy_fn`] is enough for one criterion. A type of your own can have settings:
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, Decision, OriginalPolicy, PromotionPolicy,
///     PromotionPolicyExt, Reason, Validation,
/// };
/// use pmmds::registry::VersionId;
///
/// /// Asks for a holdout of some size.
/// #[derive(Debug)]
/// struct MinRows(u64);
///
/// impl PromotionPolicy for MinRows {
///     fn decide(&self, candidates: Candidates<'_>) -> Decision {
///         let rows = candidates.challenger.evaluation.as_ref().map_or(0, |found| found.rows());
///         let sentence = format!("Holdout of {rows} rows.");
///         Reason::new("min_rows", rows >= self.0, sentence).into()
///     }
/// }
///
/// let challenger = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let policy = OriginalPolicy::new().and(MinRows(500));
/// let decision = policy.decide(Candidates::new(&challenger, Champion::None, &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons.last().unwrap().sentence, "Holdout of 0 rows.");
/// ```
pub trait PromotionPolicy: Debug + Send + Sync {
    /// Whether the challenger takes over, and why.
    fn decide(&self, candidates: Candidates<'_>) -> Decision;
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<P: PromotionPolicy + ?Sized> PromotionPolicy for $wrapper {
            fn decide(&self, candidates: Candidates<'_>) -> Decision {
                (**self).decide(candidates)
            }
        }
    )+};
}

forward!(&P, Box<P>, Arc<P>);

const _: Option<&dyn PromotionPolicy> = None;

/// Combines policies. Every [`PromotionPolicy`] has it.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, MaxLatencyRatio, Metric, MinImprovement, PromotionPolicy,
///     PromotionPolicyExt, Validation, ValidationPassed,
/// };
/// use pmmds::registry::VersionId;
///
/// // Better by a lot, or better by a little and not slower.
/// let policy = ValidationPassed.and(
///     MinImprovement { metric: Metric::RocAuc, at_least: 0.01 }.or(
///         MinImprovement { metric: Metric::RocAuc, at_least: 0.001 }.and(MaxLatencyRatio(1.0)),
///     ),
/// );
///
/// let unknown = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let decision = policy.decide(Candidates::new(&unknown, Champion::Serving(&unknown), &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons.len(), 4, "all of them");
/// ```
pub trait PromotionPolicyExt: PromotionPolicy + Sized {
    /// Promotes when this policy and `other` would. Both are asked, all reasons are kept.
    fn and<P: PromotionPolicy>(self, other: P) -> And<Self, P> {
        And::new(self, other)
    }

    /// Promotes when this policy or `other` would. Both are asked, all reasons are kept.
    fn or<P: PromotionPolicy>(self, other: P) -> Or<Self, P> {
        Or::new(self, other)
    }
}

impl<P: PromotionPolicy> PromotionPolicyExt for P {}

/// A policy of one criterion called `name`: `decide` answers `Ok` to promote and `Err` not to, each
/// with the sentence that says why.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, PromotionPolicy, Validation, policy_fn,
/// };
/// use pmmds::registry::VersionId;
///
/// let pinned = policy_fn("not_pinned", |candidates| match candidates.serving() {
///     Some(champion) if champion.version == VersionId::FIRST => {
///         Err("Version 1 is pinned.".to_owned())
///     }
///     _ => Ok("Nothing is pinned.".to_owned()),
/// });
/// let (first, second) = (
///     Candidate::new(VersionId::FIRST, Validation::Passed),
///     Candidate::new(VersionId::new(2).unwrap(), Validation::Passed),
/// );
/// let decision = pinned.decide(Candidates::new(&second, Champion::Serving(&first), &[]));
/// assert!(!decision.promote);
/// assert_eq!(decision.met("not_pinned"), Some(false));
/// ```
pub fn policy_fn<F>(name: impl Into<String>, decide: F) -> PolicyFn<F>
where
    F: Fn(Candidates<'_>) -> Result<String, String> + Send + Sync,
{
    PolicyFn { name: name.into(), decide }
}

/// The policy that [`policy_fn`] returns.
///
/// ```
/// use pmmds::promote::{PromotionPolicy, policy_fn};
/// let policy: Box<dyn PromotionPolicy> = Box::new(policy_fn("never", |_| Err("Never.".to_owned())));
/// assert_eq!(format!("{policy:?}"), "PolicyFn(\"never\")");
/// ```
#[derive(Clone)]
pub struct PolicyFn<F> {
    name: String,
    decide: F,
}

impl<F> Debug for PolicyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyFn").field(&self.name).finish()
    }
}

impl<F> PromotionPolicy for PolicyFn<F>
where
    F: Fn(Candidates<'_>) -> Result<String, String> + Send + Sync,
{
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let answer = (self.decide)(candidates);
        let passed = answer.is_ok();
        let (Ok(sentence) | Err(sentence)) = answer;
        Reason::new(self.name.clone(), passed, sentence).into()
    }
}

//! Policies made of policies.

use super::{Candidates, Decision, PromotionPolicy};

/// The policy of [`and`](super::PromotionPolicyExt::and): promotes when both would.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, PromotionPolicy, PromotionPolicyExt, Validation, policy_fn,
/// };
/// use pmmds::registry::VersionId;
/// let yes = || policy_fn("yes", |_| Ok("Yes.".to_owned()));
/// let no = || policy_fn("no", |_| Err("No.".to_owned()));
/// let first = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let candidates = Candidates::new(&first, Champion::None, &[]);
/// let decision = no().and(yes()).decide(candidates);
/// assert!(!decision.promote);
/// assert_eq!(decision.reasons.len(), 2, "both were asked");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct And<A, B> {
    first: A,
    second: B,
}

impl<A, B> And<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<A: PromotionPolicy, B: PromotionPolicy> PromotionPolicy for And<A, B> {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let (first, second) = (self.first.decide(candidates), self.second.decide(candidates));
        Decision::new(first.promote && second.promote, joined(first, second))
    }
}

/// The policy of [`or`](super::PromotionPolicyExt::or): promotes when either would.
///
/// ```
/// use pmmds::promote::{
///     Candidate, Candidates, Champion, PromotionPolicy, PromotionPolicyExt, Validation, policy_fn,
/// };
/// use pmmds::registry::VersionId;
/// let yes = || policy_fn("yes", |_| Ok("Yes.".to_owned()));
/// let no = || policy_fn("no", |_| Err("No.".to_owned()));
/// let first = Candidate::new(VersionId::FIRST, Validation::Passed);
/// let candidates = Candidates::new(&first, Champion::None, &[]);
/// assert!(no().or(yes()).decide(candidates).promote);
/// assert!(!no().or(no()).decide(candidates).promote);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

impl<A, B> Or<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<A: PromotionPolicy, B: PromotionPolicy> PromotionPolicy for Or<A, B> {
    fn decide(&self, candidates: Candidates<'_>) -> Decision {
        let (first, second) = (self.first.decide(candidates), self.second.decide(candidates));
        Decision::new(first.promote || second.promote, joined(first, second))
    }
}

fn joined(first: Decision, second: Decision) -> Vec<super::Reason> {
    let mut reasons = first.reasons;
    reasons.extend(second.reasons);
    reasons
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Candidate, Champion, PromotionPolicyExt, Validation, policy_fn};
    use super::*;
    use crate::registry::VersionId;

    fn says(name: &'static str, yes: bool) -> impl PromotionPolicy {
        policy_fn(name, move |_| match yes {
            true => Ok("Yes.".to_owned()),
            false => Err("No.".to_owned()),
        })
    }

    fn decide(policy: impl PromotionPolicy) -> Decision {
        let challenger = Candidate::new(VersionId::FIRST, Validation::Passed);
        policy.decide(Candidates::new(&challenger, Champion::None, &[]))
    }

    #[test]
    fn the_truth_tables_with_every_reason() {
        for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
            let (and, or) =
                (decide(says("a", a).and(says("b", b))), decide(says("a", a).or(says("b", b))));
            assert_eq!((and.promote, or.promote), (a && b, a || b));
            assert_eq!((and.met("a"), and.met("b")), (Some(a), Some(b)));
            assert_eq!(and.reasons, or.reasons);
        }
    }

    #[test]
    fn pointers_to_policies_are_policies() {
        let boxed: Box<dyn PromotionPolicy> = Box::new(says("a", true));
        let shared: Arc<dyn PromotionPolicy> = Arc::new(says("b", true));
        let borrowed: &dyn PromotionPolicy = &says("c", false);
        let all = decide(boxed.and(shared).and(borrowed));
        assert_eq!(all.met("c"), Some(false));
        assert!(!all.promote && all.reasons.len() == 3);
        assert_eq!(format!("{:?}", policy_fn("x", |_| Ok(String::new()))), "PolicyFn(\"x\")");
    }
}

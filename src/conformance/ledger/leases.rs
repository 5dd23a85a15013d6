//! Turns, their tokens, and writes that are made under them.

use std::future::Future;
use std::time::Duration;

use super::super::join_all;
use super::records::{decision, retraining_run};
use crate::ErrorKind;
use crate::ledger::{DecisionState, Lease, Ledger, PromotionDecision, RetrainingRun, RunState};
use crate::registry::ModelName;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The lease of the clause.
fn name(model: &ModelName) -> String {
    format!("{model} lease")
}

async fn take(ledger: &dyn Ledger, name: &str, owner: &str, length: Duration) -> Option<Lease> {
    ledger.acquire_lease(name, owner, length).await.expect("acquire")
}

/// A lease has one holder, who may renew and return it; each holder has a greater token.
///
/// # Panics
///
/// When the clause is broken.
pub async fn leases(ledger: &dyn Ledger, model: &ModelName) {
    let name = name(model);
    let first = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    assert_eq!((first.name.as_str(), first.owner.as_str()), (name.as_str(), "a"));
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(first.clone()));
    assert_eq!(take(ledger, &name, "b", MINUTE).await, None);
    assert_eq!(take(ledger, &name, "A", MINUTE).await, None, "owners differ in case");

    let renewed = take(ledger, &name, "a", 2 * MINUTE).await.expect("it is a's");
    assert_eq!(renewed.token, first.token);
    assert!(renewed.expires_at > first.expires_at, "{renewed:?} {first:?}");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(renewed.clone()));

    let other = take(ledger, &format!("{name} 2"), "b", MINUTE).await.expect("another lease");
    let stranger = Lease { owner: "b".to_owned(), ..renewed.clone() };
    let stale = Lease { token: renewed.token + 1, ..renewed.clone() };
    for not_the_holder in [&stranger, &stale, &Lease { name: format!("{name} 3"), ..other }] {
        ledger.release_lease(not_the_holder).await.expect("nothing happens");
        assert_eq!(ledger.lease(&name).await.unwrap(), Some(renewed.clone()));
    }
    // The lease of before the renewal is the same turn.
    ledger.release_lease(&first).await.expect("release");
    assert_eq!(ledger.lease(&name).await.unwrap(), None);
    ledger.release_lease(&renewed).await.expect("nothing happens");

    let second = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    assert!(second.token > renewed.token, "{second:?} {renewed:?}");
    ledger.release_lease(&renewed).await.expect("nothing happens");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(second.clone()));
    ledger.release_lease(&second).await.expect("release");
    let third = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    assert!(third.token > second.token, "a new turn, though of the same owner");
}

/// Of callers who ask for a lease at the same time, one gets it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_leases(ledger: &dyn Ledger, model: &ModelName, racers: usize) {
    let owners: Vec<String> = (0..racers).map(|racer| format!("racer {racer}")).collect();
    let mut last = 0;
    for round in 0..5 {
        let name = name(model);
        let found = join_all(owners.iter().map(|owner| take(ledger, &name, owner, MINUTE))).await;
        let holders: Vec<Lease> = found.into_iter().flatten().collect();
        assert_eq!(holders.len(), 1, "round {round}: {holders:?}");
        assert!(holders[0].token > last, "round {round}: {holders:?} after {last}");
        last = holders[0].token;
        assert_eq!(ledger.lease(&name).await.unwrap().as_ref(), holders.first());
        ledger.release_lease(&holders[0]).await.expect("release");
    }
}

/// A write under a lease that was lost changes nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn fenced_writes(ledger: &dyn Ledger, model: &ModelName) {
    let name = name(model);
    let ours = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    let run = retraining_run(model, 1, 0);
    let intended = decision(model, 1, 0);
    ledger.record_retraining_run(&run, Some(&ours)).await.expect("the lease is held");
    ledger.record_decision(&intended, Some(&ours)).await.expect("the lease is held");
    let renewed = take(ledger, &name, "a", 2 * MINUTE).await.expect("it is a's");
    ledger.record_retraining_run(&run, Some(&ours)).await.expect("renewed, it is the same turn");
    ledger.release_lease(&renewed).await.expect("release");
    refused(ledger, model, &ours, "returned").await;
    let theirs = take(ledger, &name, "b", MINUTE).await.expect("it is free");
    refused(ledger, model, &ours, "somebody else's").await;
    let next_life = Lease { owner: "b".to_owned(), ..ours.clone() };
    refused(ledger, model, &next_life, "an earlier turn of the holder").await;
    let never = Lease { name: format!("{name} never"), ..theirs.clone() };
    refused(ledger, model, &never, "never given").await;

    let completed = RetrainingRun { state: RunState::Completed, ..run };
    ledger.record_retraining_run(&completed, Some(&theirs)).await.expect("the lease is held");
    let done = PromotionDecision { state: DecisionState::Done, ..intended };
    ledger.record_decision(&done, Some(&theirs)).await.expect("the lease is held");
}

/// Neither a change nor a new record gets through under `lease`.
async fn refused(ledger: &dyn Ledger, model: &ModelName, lease: &Lease, what: &str) {
    let run = retraining_run(model, 1, 0);
    let failed = RetrainingRun { state: RunState::Failed, ..run.clone() };
    let new = retraining_run(model, 2, 0);
    for write in [&failed, &new] {
        let error = ledger.record_retraining_run(write, Some(lease)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
    }
    let intended = decision(model, 1, 0);
    let done = PromotionDecision { state: DecisionState::Done, ..intended.clone() };
    for write in [&done, &intended, &decision(model, 2, 0)] {
        let error = ledger.record_decision(write, Some(lease)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
    }
    assert_eq!(ledger.retraining_runs(model, None, 9).await.unwrap().items, [run], "{what}");
    assert_eq!(ledger.decisions(model, None, 9).await.unwrap().items, [intended], "{what}");
}

/// A lease that has expired is lost, whoever takes it next has a greater token.
///
/// # Panics
///
/// When the clause is broken.
pub async fn lease_expiry<Sleep: Future<Output = ()> + Send>(
    ledger: &dyn Ledger,
    model: &ModelName,
    length: Duration,
    sleep: impl Fn(Duration) -> Sleep + Send + Sync,
) {
    let name = name(model);
    let long = take(ledger, &name, "a", MINUTE).await.expect("it is free");
    ledger.record_retraining_run(&retraining_run(model, 1, 0), Some(&long)).await.expect("held");
    ledger.record_decision(&decision(model, 1, 0), Some(&long)).await.expect("held");
    assert_eq!(take(ledger, &name, "b", length).await, None);
    // A renewal may also shorten.
    let ours = take(ledger, &name, "a", length).await.expect("it is a's");
    assert_eq!(ours.token, long.token);
    assert!(ours.expires_at < long.expires_at, "{ours:?} {long:?}");
    sleep(length + length / 4).await;
    assert_eq!(ledger.lease(&name).await.unwrap(), None);
    refused(ledger, model, &ours, "expired").await;
    let again = take(ledger, &name, "a", MINUTE).await.expect("it is over");
    assert!(again.token > ours.token, "the same owner, another turn: {again:?} {ours:?}");
    refused(ledger, model, &ours, "of the turn before").await;
    ledger.release_lease(&ours).await.expect("nothing happens");
    assert_eq!(ledger.lease(&name).await.unwrap(), Some(again.clone()));

    let again = take(ledger, &name, "a", length).await.expect("it is a's");
    sleep(length + length / 4).await;
    let theirs = take(ledger, &name, "b", MINUTE).await.expect("it is over");
    assert!(theirs.token > again.token, "{theirs:?} {again:?}");
    refused(ledger, model, &again, "expired and taken").await;
    let run = RetrainingRun { state: RunState::Abandoned, ..retraining_run(model, 1, 0) };
    ledger.record_retraining_run(&run, Some(&theirs)).await.expect("held");
}

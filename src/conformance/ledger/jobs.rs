//! The clauses about jobs.

use std::future::Future;
use std::time::Duration;

use super::super::join_all;
use super::leases::MINUTE;
use super::records::{assert_kind, at};
use crate::ErrorKind;
use crate::ledger::{JobClaim, JobRun, JobState, Ledger};
use crate::registry::ModelName;

/// Text that must come back as it is.
const TEXT: &str = "it's \"quoted\"; DROP TABLE job_runs;-- é \u{202e}\u{1f600} \r\n $1 ?1";

async fn claim(ledger: &dyn Ledger, claim: &JobClaim<'_>) -> Option<JobRun> {
    ledger.claim_job(claim).await.expect("claim")
}

/// A slot has one owner and one end, and a job goes forward, one slot at a time.
///
/// # Panics
///
/// When the clause is broken.
pub async fn jobs(ledger: &dyn Ledger, model: &ModelName) {
    let job = format!("{model} {TEXT}");
    let slot = |number: i64| at(number * 3_600_000_000);
    let ours = JobClaim { job: &job, slot: slot(2), owner: TEXT, lease: MINUTE, attempts: 3 };
    let theirs = JobClaim { owner: "b", ..ours };
    assert_eq!(ledger.job_run(&job, slot(2)).await.unwrap(), None);
    assert_eq!(ledger.job_runs(&job, None, 9).await.unwrap(), []);
    assert_kind(ledger.job_runs(&job, None, 0).await, ErrorKind::InvalidInput);
    assert_eq!(claim(ledger, &JobClaim { attempts: 0, ..ours }).await, None, "no attempt");

    let run = claim(ledger, &ours).await.expect("nobody has it");
    assert_eq!((&run.job, run.slot, run.owner.as_str()), (&job, slot(2), TEXT));
    assert_eq!((run.attempt, run.state, &run.result), (1, JobState::Running, &None));
    assert_eq!(ledger.job_run(&job, slot(2)).await.unwrap(), Some(run.clone()));
    assert_eq!(claim(ledger, &theirs).await, None, "somebody has it");
    assert_eq!(claim(ledger, &ours).await, None, "also the owner itself");
    for other in [1, 3] {
        let other = JobClaim { slot: slot(other), ..theirs };
        assert_eq!(claim(ledger, &other).await, None, "one slot at a time");
        assert_eq!(ledger.job_run(&job, other.slot).await.unwrap(), None);
    }

    let kept = ledger.extend_job(&run, 2 * MINUTE).await.expect("it is ours");
    assert!(kept.lease_until > run.lease_until, "{kept:?} {run:?}");
    assert_eq!(ledger.job_run(&job, slot(2)).await.unwrap(), Some(kept.clone()));
    let strangers = [
        JobRun { owner: "b".to_owned(), ..run.clone() },
        JobRun { attempt: 2, ..run.clone() },
        JobRun { slot: slot(3), ..run.clone() },
        JobRun { job: "another".to_owned(), ..run.clone() },
    ];
    for stranger in &strangers {
        assert_kind(ledger.extend_job(stranger, MINUTE).await, ErrorKind::Conflict);
        let end = ledger.finish_job(stranger, JobState::Done, None).await;
        assert_kind(end, ErrorKind::Conflict);
    }
    let end = ledger.finish_job(&run, JobState::Running, None).await;
    assert_kind(end, ErrorKind::InvalidInput);
    assert_eq!(ledger.job_run(&job, slot(2)).await.unwrap(), Some(kept), "nothing has changed");

    // A failure is tried again, by whoever asks, as often as that one says.
    let text = format!("{TEXT}\0");
    let failed = ledger.finish_job(&run, JobState::Failed, Some(&text)).await.expect("it is ours");
    assert_eq!(failed.result, Some(format!("{TEXT}\u{fffd}")));
    assert_eq!(ledger.job_run(&job, slot(2)).await.unwrap(), Some(failed.clone()));
    let again = ledger.finish_job(&run, JobState::Failed, Some(&text)).await;
    assert_eq!(again.unwrap(), failed, "the same once more, as after a lost answer");
    assert_kind(ledger.finish_job(&run, JobState::Done, None).await, ErrorKind::Conflict);
    assert_kind(ledger.extend_job(&run, MINUTE).await, ErrorKind::Conflict);
    assert_eq!(claim(ledger, &JobClaim { attempts: 1, ..theirs }).await, None, "no attempt left");
    let second = claim(ledger, &theirs).await.expect("it failed");
    assert_eq!((second.attempt, second.owner.as_str(), &second.result), (2, "b", &None));
    assert_kind(ledger.finish_job(&run, JobState::Done, None).await, ErrorKind::Conflict);

    // Given back, it is there for the next, and for nobody when no attempt is left.
    ledger.extend_job(&second, Duration::ZERO).await.expect("it is b's");
    let third = claim(ledger, &ours).await.expect("it was given back");
    assert_eq!(third.attempt, 3);
    assert_kind(ledger.extend_job(&second, MINUTE).await, ErrorKind::Conflict);
    ledger.extend_job(&third, Duration::ZERO).await.expect("it is ours");
    assert_eq!(claim(ledger, &theirs).await, None, "no attempt left");

    // The next slot begins anew, and what is before it is over; its end may still be told.
    let next = JobClaim { slot: slot(3), ..theirs };
    let run = claim(ledger, &next).await.expect("nobody has it");
    assert_eq!(run.attempt, 1);
    assert_kind(ledger.extend_job(&third, MINUTE).await, ErrorKind::Conflict);
    ledger
        .finish_job(&third, JobState::Done, None)
        .await
        .expect("nobody has begun that slot since");
    ledger.finish_job(&run, JobState::Done, Some("")).await.expect("it is b's");
    for over in [ours, next, JobClaim { slot: slot(0), ..ours }] {
        assert_eq!(claim(ledger, &JobClaim { attempts: 99, ..over }).await, None, "it is over");
    }

    // The history, latest first; jobs whose names begin alike are others.
    let longer = format!("{job} 2");
    let other = JobClaim { job: &longer, slot: slot(9), ..ours };
    claim(ledger, &other).await.expect("another job");
    for number in 5..9 {
        let claimed = claim(ledger, &JobClaim { slot: slot(number), ..ours }).await;
        ledger.finish_job(&claimed.expect("later"), JobState::Done, None).await.expect("ours");
    }
    let slots = async |before, limit| {
        let runs = ledger.job_runs(&job, before, limit).await.expect("list");
        assert!(runs.iter().all(|run| run.job == job), "{runs:?}");
        runs.iter().map(|run| run.slot).collect::<Vec<_>>()
    };
    let all = [8, 7, 6, 5, 3, 2].map(slot);
    assert_eq!(slots(None, usize::MAX).await, all);
    assert_eq!(slots(None, 4).await, all[..4]);
    assert_eq!(slots(Some(slot(5)), 4).await, all[4..]);
    assert_eq!(slots(Some(slot(2)), 4).await, []);

    for claim in [JobClaim { job: "a\0b", ..ours }, JobClaim { owner: "\0", ..ours }] {
        assert_kind(ledger.claim_job(&claim).await, ErrorKind::InvalidInput);
    }
}

/// Of callers who ask for a slot at the same time one gets it, and of those who ask for several
/// slots at the same time too.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_jobs(ledger: &dyn Ledger, model: &ModelName, racers: usize) {
    let owners: Vec<String> = (0..racers).map(|racer| format!("racer {racer}")).collect();
    let job = format!("{model} job");
    for round in 0..6 {
        let claims = owners.iter().zip(0..).map(|(owner, racer)| {
            // In every other round, each asks for another slot.
            let late = if round % 2 == 0 { 0 } else { racer };
            let slot = at(round * 1_000_000 + late);
            JobClaim { job: &job, slot, owner, lease: MINUTE, attempts: 1 }
        });
        let claims: Vec<JobClaim<'_>> = claims.collect();
        let found = join_all(claims.iter().map(|one| claim(ledger, one))).await;
        let found: Vec<JobRun> = found.into_iter().flatten().collect();
        assert_eq!(found.len(), 1, "round {round}: {found:?}");
        let latest = ledger.job_runs(&job, None, 1).await.expect("list");
        assert_eq!(latest, found, "round {round}");
        ledger.finish_job(&found[0], JobState::Done, None).await.expect("finish");
    }
}

/// A slot whose owner says nothing in time goes to the next, and the old owner changes nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn job_expiry<Sleep: Future<Output = ()> + Send>(
    ledger: &dyn Ledger,
    model: &ModelName,
    lease: Duration,
    sleep: impl Fn(Duration) -> Sleep + Send + Sync,
) {
    let job = format!("{model} job");
    let ours = JobClaim { job: &job, slot: at(0), owner: "a", lease, attempts: 2 };
    let theirs = JobClaim { owner: "b", ..ours };
    let old = claim(ledger, &ours).await.expect("nobody has it");
    sleep(lease + lease / 4).await;
    // Late, and nobody has taken it.
    let old = ledger.extend_job(&old, MINUTE).await.expect("still ours");
    assert_eq!(claim(ledger, &theirs).await, None);
    let old = ledger.extend_job(&old, lease).await.expect("still ours");
    sleep(lease + lease / 4).await;
    let new = claim(ledger, &theirs).await.expect("it was not finished in time");
    assert_eq!((new.attempt, new.owner.as_str()), (2, "b"));
    assert_kind(ledger.extend_job(&old, lease).await, ErrorKind::Conflict);
    assert_kind(ledger.finish_job(&old, JobState::Done, None).await, ErrorKind::Conflict);
    sleep(lease + lease / 4).await;
    // Both attempts are used up; the next slot is free, and the end of this one still counts.
    assert_eq!(claim(ledger, &ours).await, None);
    let next = JobClaim { slot: at(1), ..ours };
    claim(ledger, &next).await.expect("nobody is at it any more");
    let done = ledger.finish_job(&new, JobState::Done, Some("late")).await.expect("it is b's");
    assert_eq!(ledger.job_run(&job, at(0)).await.unwrap(), Some(done));
}

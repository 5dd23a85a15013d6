//! Two services that cannot load the version behind the alias, as processes: each is told of by its
//! name, to a receiver over HTTP, and its alert ends when it serves the right version again.

use pmmds::files::FileRegistry;
use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};
use serde_json::Value;

use crate::story::operators::{Posted, receiver};
use crate::story::replicas::Replicas;
use crate::story::serving::{Serving, found};
use crate::{ask, database, drop_database, real_data};

/// What was posted about `event`, if it is `count` alerts by now; each may have been posted again,
/// where the answer came late.
fn told(posted: &Posted, event: &str, count: usize) -> Option<Vec<Value>> {
    let all = posted.lock().unwrap();
    let mut of_event: Vec<Value> =
        all.iter().filter(|one| one["event"] == event).cloned().collect();
    of_event.sort_by_key(|one| one["alert_id"].to_string());
    of_event.dedup_by_key(|one| one["alert_id"].to_string());
    (of_event.len() == count).then_some(of_event)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_that_refuses_a_version_is_told_of_until_it_serves_what_it_should() {
    let Some(data) = real_data() else { return };
    // It asks on a runtime of its own.
    let Some(url) = tokio::task::spawn_blocking(|| database("skew")).await.unwrap() else { return };
    let replicas = Replicas { root: tempfile::tempdir().unwrap(), url };
    replicas.run("a", &["train", "--data", data.to_str().unwrap()]);
    let (hook, posted) = receiver().await;
    let services = ["a", "b"].map(|replica| {
        Serving::start(|arguments| {
            let mut command = replicas.command(replica, arguments);
            command
                .env("PMMDS_INSTANCE", format!("replica-{replica}"))
                .env("PMMDS_VERSION_SKEW_SECONDS", "1")
                .env("PMMDS_ALERT_WEBHOOK_URL", &hook);
            command
        })
    });

    // Somebody puts a version into production whose files do not fit its sums.
    let registry =
        FileRegistry::open_existing(replicas.root.path().join("registry")).await.unwrap();
    let (model, production) = (ModelName::new("churn-classifier").unwrap(), Alias::production());
    let mut files = ArtifactFiles::new();
    for (name, bytes) in registry.fetch_artifact(&model, VersionId::FIRST).await.unwrap().iter() {
        let mut bytes = bytes.to_vec();
        if name == "model.json" {
            bytes.push(b' ');
        }
        files.insert(name, bytes).unwrap();
    }
    let version = registry.register(&model, "a-run-of-others", &files).await.unwrap().version;
    registry.set_alias(&model, &production, version, Some(VersionId::FIRST)).await.unwrap();

    let posted = |what: &str, event: &str| {
        tokio::task::block_in_place(|| found(what, || told(&posted, event, 2)))
    };
    let mut opened = posted("both are told of", "opened");
    opened.sort_by_key(|one| one["message"].to_string());
    for (one, replica) in opened.iter().zip(["replica-a", "replica-b"]) {
        let message = one["message"].as_str().unwrap();
        let begin = format!("replica {replica} of churn-classifier serves version 1 since ");
        assert!(message.starts_with(&begin), "{message}");
        let reason = format!(", while version {version} is behind production: version_rejected: ");
        assert!(message.contains(&reason), "{message}");
    }
    let count = |query: String| ask(&replicas.url, &query).remove(0);
    let open = "SELECT count(*)::text FROM pmmds_store.drift_alerts WHERE resolved_at IS NULL";
    let open = || tokio::task::block_in_place(|| count(open.to_owned()));
    assert_eq!(open(), "2");

    registry.set_alias(&model, &production, VersionId::FIRST, Some(version)).await.unwrap();
    posted("both are over", "resolved");
    posted("none was opened meanwhile", "opened");
    assert_eq!(open(), "0");
    // Nobody has retrained for it.
    let runs = "SELECT count(*)::text FROM pmmds_store.retraining_runs".to_owned();
    assert_eq!(tokio::task::block_in_place(|| count(runs)), "1");
    services.into_iter().for_each(Serving::stop);
    tokio::task::block_in_place(|| drop_database(&replicas.url));
}

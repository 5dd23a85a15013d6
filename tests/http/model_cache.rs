//! A start while the registry is away, on what was loaded before.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pmmds::axum::{ModelSource, ServiceBuilder, SkewAlerts};
use pmmds::files::FileCache;
use pmmds::ledger::AlertStore;
use pmmds::lifecycle::{SkewRecord, VersionSkew};
use pmmds::memory::MemoryLedger;
use pmmds::registry::{Alias, CachedVersion, ModelCache, ModelName, VersionId};
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::{Error, ErrorKind, Timestamp};
use serde_json::{Value, json};

use crate::support::ledger::{at, model};
use crate::support::{
    ENDLESS_KEPT, Habit, RegistryMode, Server, TestLog, TestRegistry, artifact, artifact_of, body,
    quick, serve_on, until, until_asked,
};

const POLL: Duration = Duration::from_millis(30);

async fn cache(folder: &Path) -> Arc<FileCache> {
    Arc::new(FileCache::open(folder, "the registry of the tests").await.unwrap())
}

/// The number of the version that is kept.
async fn kept(folder: &Path) -> Option<u64> {
    let last = cache(folder).await.last(&model(), &Alias::production()).await.unwrap();
    last.map(|cached| cached.version.number())
}

async fn serve_with(
    folder: &Path,
    registry: &Arc<TestRegistry>,
    options: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
) -> Server {
    let cache = cache(folder).await;
    let options = |b: ServiceBuilder| options(b.limits(quick()).model_cache(cache));
    serve_on(TestLog::going(), Arc::clone(registry), options).await
}

/// What a service that has served `versions`, one after the other, leaves behind.
async fn filled(folder: &Path, versions: u32) -> Arc<TestRegistry> {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let server = serve_with(folder, &registry, |b| b).await;
    for number in 2..=versions {
        registry.promote(artifact(Habit::Good, f64::from(number)));
        assert_eq!(server.reload().await.0, 200);
    }
    until_asked("it is kept", async || kept(folder).await == Some(versions.into())).await;
    server.stop().await;
    registry
}

async fn metrics(server: &Server) -> String {
    server.client.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// No version is served, and it is said.
async fn assert_serves_nothing(server: &Server, what: &str) {
    assert_eq!(server.service.model(), None, "{what}");
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("no_model")), "{what}");
    assert_eq!(server.get("/ready").await.0, 503, "{what}");
}

#[tokio::test]
async fn without_the_registry_the_version_of_before_is_served_and_flagged_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path(), 2).await;
    let down = [RegistryMode::Down, RegistryMode::Slow(Duration::from_secs(60))];
    for mode in down {
        registry.set(mode);
        let server = serve_with(folder.path(), &registry, |b| b.poll_every(POLL)).await;
        let (status, answer) = server.predict(&body()).await;
        assert_eq!((status, &answer["model_version"]), (200, &json!("2")), "{answer}");
        let (_, info) = server.get("/model").await;
        assert_eq!((&info["version"], &info["source"]), (&json!("2"), &json!("cache")));
        assert_eq!(info["source_since"], info["loaded_at"]);
        let (status, ready) = server.get("/readyz?verbose").await;
        assert_eq!((status, &ready["status"]), (200, &json!("degraded")));
        assert_eq!(ready["model_source"], "cache");
        let check = &ready["checks"][1];
        assert_eq!((&check["name"], &check["status"]), (&json!("model"), &json!("degraded")));
        let reason = check["reason"].as_str().unwrap();
        assert!(reason.contains("version 2 is from the cache, kept at 2031-05-06T"), "{reason}");
        let text = metrics(&server).await;
        assert!(text.contains(r#"source="cache""#), "{text}");
        // Where the alias points is not known.
        assert!(!text.contains("\npmmds_model_version_skew"), "{text}");

        // An outage that goes on changes nothing, and is told who asks.
        let (status, answer) = server.reload().await;
        assert_eq!(status, 503, "{answer}");
        assert_eq!(server.service.model().unwrap().source, ModelSource::Cache);

        registry.set(RegistryMode::Up);
        let service = server.service.clone();
        let source = || service.model().unwrap().source;
        until("the registry confirms it", || source() == ModelSource::Registry).await;
        let (_, now) = server.get("/model").await;
        assert_eq!((&now["version"], &now["digest"]), (&json!("2"), &info["digest"]));
        let since = |info: &Value| info["source_since"].as_str().unwrap().parse::<Timestamp>();
        assert!(since(&now).unwrap() > since(&info).unwrap(), "{now} {info}");
        let (_, ready) = server.get("/readyz?verbose").await;
        assert_eq!(
            (&ready["checks"][1]["status"], &ready["model_source"]),
            (&json!("ok"), &json!("registry"))
        );
        assert!(metrics(&server).await.contains(r#"source="registry""#));
        // What it has answered before is counted still: it is the same version.
        assert_eq!(server.service.live_report().unwrap().report.current_rows, 1);
        // And fetched once for that, not at every look.
        let fetched = registry.fetched();
        tokio::time::sleep(5 * POLL).await;
        assert_eq!(registry.fetched(), fetched);
        server.stop().await;
    }
}

#[tokio::test]
async fn what_was_promoted_meanwhile_comes_in_as_at_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path(), 1).await;
    registry.set(RegistryMode::Down);
    let server = serve_with(folder.path(), &registry, |b| b.poll_every(POLL)).await;
    assert_eq!(server.service.model().unwrap().version.number(), 1);
    // With another schema, which a version that the registry has given would keep out.
    let schema = FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)]).unwrap();
    registry.promote(artifact_of(&Arc::new(schema), r#"{"features": {}}"#, Habit::Good, 0.0));
    registry.set(RegistryMode::Up);
    let service = server.service.clone();
    until("version 2 is served", || service.model().unwrap().version.number() == 2).await;
    assert_eq!(service.model().unwrap().source, ModelSource::Registry);
    assert_eq!(server.predict(&json!({"features": {"tenure": 3}})).await.0, 200);
}

#[tokio::test]
async fn the_registrys_version_of_the_same_number_wins() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 1).await;
    // Made anew, with another version 1.
    let registry = TestRegistry::with(&[artifact(Habit::Good, 7.0)]);
    registry.set(RegistryMode::Down);
    let server = serve_with(folder.path(), &registry, |b| b.poll_every(POLL)).await;
    let before = server.service.model().unwrap();
    assert_eq!(server.predict(&body()).await.0, 200);
    registry.set(RegistryMode::Up);
    let service = server.service.clone();
    until("it is replaced", || service.model().unwrap().source == ModelSource::Registry).await;
    assert_ne!(service.model().unwrap().digest, before.digest);
    assert_eq!(service.live_report().unwrap().report.current_rows, 0, "another profile");
}

#[tokio::test]
async fn a_registry_that_has_answered_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path(), 2).await;
    type Answer = fn(&TestRegistry);
    let answers: [(&str, Answer); 5] = [
        ("there is no such alias", |r| r.point_at(None)),
        ("who are you?", |r| r.set(RegistryMode::Unauthorized)),
        ("there is no such version", |r| r.point_at(Some(77))),
        ("its files are refused", |r| r.promote(artifact(Habit::Fickle, 0.0))),
        ("version 1 is in production, but its files are away", |r| {
            r.point_at(Some(1));
            r.set(RegistryMode::WithoutFiles);
        }),
    ];
    for (what, answer) in answers {
        answer(&registry);
        let server = serve_with(folder.path(), &registry, |b| b).await;
        assert_serves_nothing(&server, what).await;
        registry.set(RegistryMode::Up);
        registry.point_at(Some(2));
        assert_eq!(kept(folder.path()).await, Some(2), "{what}: it is kept still");
        server.stop().await;
    }
    // The version that is kept is in production, and only its files are away.
    registry.set(RegistryMode::WithoutFiles);
    let server = serve_with(folder.path(), &registry, |b| b).await;
    assert_eq!(server.service.model().unwrap().source, ModelSource::Cache);
    // A reload that is asked for ends it where nobody polls.
    registry.set(RegistryMode::Up);
    let (status, reloaded) = server.reload().await;
    assert_eq!((status, &reloaded["model"]["source"]), (200, &json!("registry")));
}

#[tokio::test]
async fn what_is_kept_is_verified_like_any_other_version() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path(), 1).await;
    registry.set(RegistryMode::Down);
    let (keeper, production) = (cache(folder.path()).await, Alias::production());
    let whole = keeper.last(&model(), &production).await.unwrap().unwrap();
    // Kept whole, and no good: it has smoke predictions of another model.
    for habit in [Habit::Fickle, Habit::Explosive, Habit::EndlessKept] {
        let mut other = whole.clone();
        other.files = artifact(habit, 0.0);
        keeper.keep(&model(), &production, &other).await.unwrap();
        let server = serve_with(folder.path(), &registry, |b| b).await;
        assert_serves_nothing(&server, &format!("{habit:?}")).await;
        server.stop().await;
    }
    ENDLESS_KEPT.let_go();
    // Damaged on the disk.
    keeper.keep(&model(), &production, &whole).await.unwrap();
    let place = folder.path().join("models/churn-classifier/production");
    let document = std::fs::read_to_string(place.join("kept.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let path = place.join(document["content"]["folder"].to_string()).join("model.json");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let server = serve_with(folder.path(), &registry, |b| b.poll_every(POLL)).await;
    assert_serves_nothing(&server, "a flipped bit").await;
    // Of another registry.
    keeper.keep(&model(), &production, &whole).await.unwrap();
    let other = Arc::new(FileCache::open(folder.path(), "another registry").await.unwrap());
    let options = |b: ServiceBuilder| b.limits(quick()).model_cache(other);
    let stranger = serve_on(TestLog::new(), Arc::clone(&registry), options).await;
    assert_serves_nothing(&stranger, "of another registry").await;
    // The registry brings the model, and the cache is mended.
    registry.set(RegistryMode::Up);
    until("it is served", || server.service.model().is_some()).await;
    assert_eq!(server.service.model().unwrap().source, ModelSource::Registry);
}

#[tokio::test]
async fn it_is_asked_at_the_start_alone() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = filled(folder.path(), 1).await;
    let server = serve_with(folder.path(), &registry, |b| b).await;
    server.stop().await;
    registry.set(RegistryMode::Down);
    let late = serve_with(empty.path(), &registry, |b| b.poll_every(POLL)).await;
    assert_serves_nothing(&late, "nothing is kept").await;
    let last = cache(folder.path()).await.last(&model(), &Alias::production()).await.unwrap();
    let keeper = cache(empty.path()).await;
    keeper.keep(&model(), &Alias::production(), &last.unwrap()).await.unwrap();
    tokio::time::sleep(3 * POLL).await;
    assert_eq!(late.reload().await.0, 503);
    assert_serves_nothing(&late, "it was kept after the start").await;
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_takes_nothing_away() {
    let registry = TestRegistry::with(&[artifact(Habit::Good, 0.0)]);
    let full = Arc::<Full>::default();
    let cache = Arc::clone(&full);
    let options = |b: ServiceBuilder| b.limits(quick()).model_cache(cache);
    let server = serve_on(TestLog::new(), Arc::clone(&registry), options).await;
    let asked = async |versions: &[u64]| {
        until("it is asked to keep it", || *full.0.lock().unwrap() == versions).await;
    };
    asked(&[1]).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    // What is refused is not to be kept: the next that it is asked for is the one after.
    registry.promote(artifact(Habit::Fickle, 0.0));
    assert_eq!(server.reload().await.0, 502);
    registry.promote(artifact(Habit::Good, 3.0));
    assert_eq!(server.reload().await.0, 200);
    asked(&[1, 3]).await;
    assert_eq!(server.service.model().unwrap().source, ModelSource::Registry);
    assert_eq!(server.predict(&body()).await.1["model_version"], "3");
}

/// A cache on a full disk: what it was asked to keep.
#[derive(Debug, Default)]
struct Full(Mutex<Vec<u64>>);

#[async_trait]
impl ModelCache for Full {
    async fn keep(&self, _: &ModelName, _: &Alias, cached: &CachedVersion) -> Result<(), Error> {
        self.0.lock().unwrap().push(cached.version.number());
        Err(Error::new(ErrorKind::Unavailable, "test cache", "the disk is full"))
    }

    async fn last(&self, _: &ModelName, _: &Alias) -> Result<Option<CachedVersion>, Error> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_version_from_the_cache_neither_lags_nor_agrees_before_it_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = filled(folder.path(), 1).await;
    let ledger = Arc::new(MemoryLedger::with_clock(|| at(0)));
    let skew = VersionSkew {
        alias: Alias::production(),
        expected: VersionId::FIRST,
        served: None,
        since: at(0),
        why: None,
    };
    let record = SkewRecord::new(Arc::clone(&ledger) as _, model(), "a");
    record.lagging(&skew, uuid::Uuid::from_u128(1), at(0)).await.unwrap();
    registry.set(RegistryMode::Down);
    let (alerts, on) = (SkewAlerts::new("a").after(POLL), Arc::clone(&ledger));
    let options = |b: ServiceBuilder| b.poll_every(POLL).ledger(on).skew_alerts(alerts);
    let server = serve_with(folder.path(), &registry, options).await;
    // It names the version that is served, and cannot give its files.
    registry.set(RegistryMode::WithoutFiles);
    let asked = registry.asked();
    until("it was looked at", || registry.asked() > asked + 20).await;
    assert_eq!(server.service.model().unwrap().source, ModelSource::Cache);
    let open = async || ledger.open_alerts(&model()).await.unwrap().len();
    assert_eq!(open().await, 1);
    assert!(!metrics(&server).await.contains("\npmmds_model_version_skew"));
    registry.set(RegistryMode::Up);
    until_asked("it agrees", async || open().await == 0).await;
    let text = metrics(&server).await;
    let mut lines = text.lines().filter(|line| line.starts_with("pmmds_model_version_skew"));
    assert!(lines.any(|line| line.ends_with(" 0")), "{text}");
    server.stop().await;
}

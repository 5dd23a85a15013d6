//! MLflow behind TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pmmds::mlflow::MlflowRegistry;
use pmmds::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry as _, VersionId};
use pmmds::{Error, ErrorKind};

use crate::server::{OLD, PASSING, PLAIN, Part, Server};
use crate::{REFUSED, address, file};

/// Longer than anything takes on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(600);

/// A patient handle that trusts one file.
fn registry(server: &Server, trusted: PathBuf) -> MlflowRegistry {
    MlflowRegistry::builder(server.url())
        .token("canary-of-the-token")
        .server_certificates(trusted)
        .connect_timeout(LONG)
        .patience(LONG)
        .write_timeout(LONG)
        .build()
        .unwrap()
}

/// The version in production.
async fn ask(registry: &MlflowRegistry) -> Result<Option<VersionId>, Error> {
    registry.resolve(&"churn".parse().unwrap(), &Alias::production()).await
}

fn version_three() -> Arc<str> {
    let body = r#"{"model_version": {"name": "churn", "version": "3"}}"#;
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_trusted_by_its_file() {
    let server = Server::start(Part::Answers("here", version_three())).await;
    let found = ask(&registry(&server, file("authority"))).await.unwrap();
    assert_eq!(found.map(VersionId::number), Some(3));

    // A certificate that is nobody's but its own is trusted by its own file.
    let server = Server::start(Part::Answers("stranger", version_three())).await;
    let found = ask(&registry(&server, file("stranger"))).await.unwrap();
    assert_eq!(found.map(VersionId::number), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trusted_is_named_asked_once_and_told_nothing() {
    for (certificate, why) in REFUSED {
        let server = Server::start(Part::Answers(certificate, version_three())).await;
        let error = ask(&registry(&server, file("authority"))).await.unwrap_err();
        let said = error.chain();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "never an absence: {said}");
        assert!(said.contains(why) && said.contains("127.0.0.1"), "{certificate}: {said}");
        assert!(!format!("{said} {error:?}").contains("canary"), "{said}");
        assert_eq!(server.connections(), 1, "{certificate}: it is no better a moment later");
    }
    // Nor does a file of others vouch for what the authority does.
    let server = Server::start(Part::Answers("here", version_three())).await;
    let error = ask(&registry(&server, file("stranger"))).await.unwrap_err();
    assert!(error.chain().contains("UnknownIssuer"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tls_is_not_spoken_and_without_tls_nothing_is_said() {
    for (bytes, why) in OLD.into_iter().chain([PLAIN]) {
        let server = Server::start(Part::Says(bytes)).await;
        let error = ask(&registry(&server, file("authority"))).await.unwrap_err();
        let said = error.chain();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(server.connections(), 1, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_moment_is_tried_again() {
    for alert in PASSING {
        let server = Server::start_after(alert, Part::Answers("here", version_three())).await;
        let found = ask(&registry(&server, file("authority"))).await.unwrap();
        assert_eq!((found.map(VersionId::number), server.connections()), (Some(3), 2));
    }
}

/// A version on its way through a proxy with a certificate of the house's own authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_through_a_proxy_that_speaks_tls() {
    let Some(behind) = address("PMMDS_TEST_MLFLOW") else { return };
    let behind = behind.strip_prefix("http://").unwrap().into();
    let proxy = Server::start(Part::StandsBefore("here", behind)).await;
    let registry = registry(&proxy, file("authority"));
    let name = format!("tls-{}-{}", std::process::id(), uuid::Uuid::now_v7().simple());
    let (model, production) = (ModelName::new(&name).unwrap(), Alias::production());
    let mut files = ArtifactFiles::new();
    files.insert("model.json", b"{}".to_vec()).unwrap();
    // More than one record of TLS, and than one read of the proxy.
    let large: Vec<u8> =
        (0..500_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    files.insert("weights.bin", large).unwrap();

    assert_eq!(registry.resolve(&model, &production).await.unwrap(), None);
    let version = registry.register(&model, "run-1", &files).await.unwrap().version;
    registry.set_alias(&model, &production, version, None).await.unwrap();
    assert_eq!(registry.resolve(&model, &production).await.unwrap(), Some(version));
    assert_eq!(registry.fetch_artifact(&model, version).await.unwrap(), files);
    assert!(proxy.connections() > 0);
}

//! L4: a server that speaks TLS, and what each `sslmode` makes of it.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::super::PostgresStore;
use super::outage::Cluster;
use super::server::run;
use crate::{Error, ErrorKind};

/// A certificate of tests/tls, whose `make` says what it is.
fn certificate(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/tls/certificates/{name}.pem")).to_str().unwrap().to_owned()
}

/// Has the server show a certificate from its next start on.
async fn show(url: &str, name: &str) {
    // By the server's own hands: the key must be of its user, and nobody else may read it.
    for (file, from) in [("server.crt", name), ("server.key", "key")] {
        let lines =
            std::fs::read_to_string(certificate(from)).unwrap().trim_end().replace('\n', "','");
        let write =
            format!("COPY (SELECT unnest(ARRAY['{lines}'])) TO PROGRAM 'umask 077; cat > {file}'");
        run(url, &write).await;
    }
    run(url, "ALTER SYSTEM SET ssl = on").await;
}

/// Whether the connection is encrypted that the driver makes.
async fn is_encrypted(url: &str) -> bool {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let ask = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    sqlx::query_scalar(ask).fetch_one(&mut connection).await.unwrap()
}

/// Opens the store at `url`, whose answer is there long before the waiting is over.
async fn open(url: &str) -> Result<(), Error> {
    let begun = Instant::now();
    let opened = PostgresStore::builder(url).wait(Duration::from_secs(1_000)).open().await;
    assert!(begun.elapsed() < Duration::from_secs(500), "{opened:?}");
    opened?.close().await;
    Ok(())
}

/// What everybody is told who opens it, now or later.
async fn refusal(url: &str) -> String {
    let (wait, limit) = (Duration::from_secs(1_000), Duration::from_secs(500));
    let (begun, store) = (Instant::now(), PostgresStore::builder(url).open_later().unwrap());
    let later = store.opened(wait).await.unwrap_err();
    assert!(begun.elapsed() < limit, "{}", later.chain());
    store.close().await;
    let now = open(url).await.unwrap_err();
    for error in [&later, &now] {
        let said = error.chain();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{said}");
        assert!(PostgresStore::is_refusal(error), "{said}");
        let (_, password) = url.split_once('@').unwrap().0.rsplit_once(':').unwrap();
        assert!(!format!("{said} {error:?}").contains(password), "{said}");
    }
    // It may say at which second the certificate was looked at.
    let same = |error: &Error| error.chain().replace(|c: char| c.is_ascii_digit(), "");
    assert!(same(&later).ends_with(&same(&now)), "{} {}", later.chain(), now.chain());
    now.chain()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_who_it_is_as_far_as_sslmode_says() {
    let Some(cluster) = Cluster::of_its_own().await else { return };
    let url = cluster.up().await;
    assert!(!is_encrypted(&url).await, "it cannot");
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = refusal(&format!("{url}?sslmode={mode}")).await;
        assert!(said.contains("server does not support TLS"), "{said}");
    }

    show(&url, "here").await;
    cluster.stop("fast").await;
    let url = cluster.up().await;
    assert!(is_encrypted(&url).await, "by default where it can be");
    assert!(!is_encrypted(&format!("{url}?sslmode=disable")).await);
    let (ours, others) = (certificate("authority"), certificate("stranger"));
    let by_name = url.replace("127.0.0.1", "localhost");
    for fine in [
        // Nobody looks.
        format!("{by_name}?sslmode=require"),
        format!("{url}?sslmode=require&sslrootcert={ours}"),
        format!("{by_name}?sslmode=verify-ca&sslrootcert={ours}"),
        format!("{url}?sslmode=verify-full&sslrootcert={ours}"),
    ] {
        open(&fine).await.unwrap_or_else(|error| panic!("{fine}: {}", error.chain()));
        assert!(is_encrypted(&fine).await, "{fine}");
    }
    for (refused, why) in [
        (format!("{url}?sslmode=verify-full"), "UnknownIssuer"),
        (format!("{url}?sslmode=verify-full&sslrootcert={others}"), "UnknownIssuer"),
        (format!("{url}?sslrootcert={others}&sslmode=require"), "UnknownIssuer"),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={ours}"),
            "not valid for name \"localhost\"",
        ),
    ] {
        let said = refusal(&refused).await;
        assert!(said.contains(why), "{refused}: {said}");
    }

    show(&url, "expired").await;
    cluster.stop("fast").await;
    let url = cluster.up().await;
    let said = refusal(&format!("{url}?sslmode=verify-full&sslrootcert={ours}")).await;
    assert!(said.contains("certificate expired"), "{said}");
    open(&url).await.unwrap();
}

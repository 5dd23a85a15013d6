//! Receivers of alerts behind TLS, who are vouched for by the authorities of the machine.
//!
//! Which these are says `SSL_CERT_FILE`, so that another machine's are not what decides here. It is
//! of a whole process: the tests are a child's, which is this very binary.

use std::process::Command;
use std::time::Duration;

use pmmds::ledger::AlertEvent;
use pmmds::lifecycle::{AlertNotice, AlertSink as _};
use pmmds::webhook::{Webhook, WebhookSink};
use pmmds::{Error, ErrorKind};

use crate::server::{OLD, PASSING, PLAIN, Part, Server};
use crate::{REFUSED, file};

const CHILD: &str = "PMMDS_TEST_TLS_CHILD";

const TAKEN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

fn sink(server: &Server) -> WebhookSink {
    let url = format!("{}/hook/canary-of-the-url?key=canary-of-the-query", server.url());
    let webhook = Webhook::new("pager", url).retries(2);
    // Time enough for a machine that has much else to do.
    webhook.timeout(Duration::from_secs(60)).budget(Duration::from_secs(300)).build().unwrap()
}

async fn deliver(server: &Server) -> Result<(), Error> {
    sink(server).deliver(&notice()).await
}

fn notice() -> AlertNotice {
    let alert = serde_json::json!({
        "id": "00000000-0000-0000-0000-000000000007", "model": "churn", "version": "3",
        "key": "drift", "severity": "significant", "message": "drift", "features": ["contract"],
        "opened_at": "2026-03-01T12:00:00Z", "quiet_runs": 0,
    });
    AlertNotice { event: AlertEvent::Opened, alert: serde_json::from_value(alert).unwrap() }
}

#[test]
fn a_receiver_is_who_its_certificate_says_or_is_told_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "webhook::as_a_child", "--nocapture"])
        .env(CHILD, "it is one")
        .env("SSL_CERT_FILE", file("authority"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("every receiver was tried"), "{said}");
}

/// Does nothing, but for a child.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_child() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let server = Server::start(Part::Answers("here", TAKEN.into())).await;
    deliver(&server).await.unwrap();
    for alert in PASSING {
        let server = Server::start_after(alert, Part::Answers("here", TAKEN.into())).await;
        deliver(&server).await.unwrap();
        assert_eq!(server.connections(), 2, "{alert:?}");
    }

    let certificates = REFUSED.map(|(name, why)| (Part::Answers(name, TAKEN.into()), why));
    let said = OLD.into_iter().chain([PLAIN]).map(|(bytes, why)| (Part::Says(bytes), why));
    for (part, why) in certificates.into_iter().chain(said) {
        let server = Server::start(part).await;
        let error = deliver(&server).await.unwrap_err();
        let said = error.chain();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "another time, perhaps: {said}");
        assert!(said.contains("pager: ") && said.contains(why), "{why}: {said}");
        assert!(!format!("{said} {error:?}").contains("canary"), "{said}");
        assert_eq!(server.connections(), 1, "it is no better a moment later: {said}");
    }
    println!("every receiver was tried");
}

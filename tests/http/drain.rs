//! The end: everything that was answered is in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pmmds::axum::Durability;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{CURL_BODY, LogMode, body, client, quick, serve, until, until_asked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_answered_prediction_is_in_the_log() {
    for durability in [Durability::Committed, Durability::Queued] {
        let mut server = serve(|b| b.durability(durability)).await;
        server.log.set(LogMode::Slow(Duration::from_millis(5)));
        let answered = Arc::new(AtomicUsize::new(0));
        let url = server.url("/api/v1/predict");
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (client, url, answered) = (client(), url.clone(), Arc::clone(&answered));
                tokio::spawn(async move {
                    loop {
                        match client.post(&url).json(&body()).send().await {
                            Ok(response) if response.status() == 200 => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(response) => assert_eq!(response.status(), 503),
                            // The service is gone; nothing was answered.
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        until("there is load", || answered.load(Ordering::Relaxed) > 50).await;
        let log = Arc::clone(&server.log);
        server.begin_stop();
        let account = server.stopped().await;
        for client in clients {
            client.await.unwrap();
        }
        let answered = answered.load(Ordering::Relaxed);
        assert_eq!((account.lost, account.queued), (0, 0), "{account:?}");
        assert_eq!(account.written, log.events().len() as u64);
        assert!(log.events().len() >= answered, "{} < {answered}", log.events().len());
    }
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let mut server = serve(|b| b).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        CURL_BODY.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The service asks for the body, so it is at this request.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&CURL_BODY.as_bytes()[..100]).await.unwrap();
    let log = Arc::clone(&server.log);
    server.begin_stop();
    until_asked("the door is closed", async || TcpStream::connect(server.address).await.is_err())
        .await;
    stream.write_all(&CURL_BODY.as_bytes()[100..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.stopped().await.written, 1);
    assert_eq!(log.events().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_written_in_time_is_told() {
    let server = serve(|b| b.durability(Durability::Queued).limits(quick())).await;
    server.log.set(LogMode::Down);
    for _ in 0..3 {
        assert_eq!(server.predict(&body()).await.0, 200);
    }
    let account = server.stop().await;
    assert_eq!((account.accepted, account.lost, account.queued), (3, 3, 0));
}

#[tokio::test]
async fn readiness_turns_before_the_door_closes() {
    let limits = quick().drain_delay(Duration::from_secs(5));
    let mut server = serve(|b| b.limits(limits)).await;
    server.begin_stop();
    until_asked("it is not ready", async || server.get("/ready").await.0 == 503).await;
    let (_, ready) = server.get("/ready").await;
    assert_eq!(ready["reason"], "the service is shutting down");
    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(server.predict(&body()).await.0, 200, "still served");
    let (address, account) = (server.address, server.stopped().await);
    assert_eq!(account.written, 1);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_embedded_service_refuses_once_it_is_shut_down() {
    let server = serve(|b| b).await;
    assert_eq!(server.predict(&body()).await.0, 200);
    assert_eq!(server.service.shutdown().await.written, 1);
    let (status, answer) = server.predict(&body()).await;
    assert_eq!((status, &answer["detail"]["code"]), (503, &json!("draining")));
    assert_eq!(server.service.shutdown().await.written, 1, "a second one changes nothing");
}

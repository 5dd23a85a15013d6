//! What goes wrong between client and server, by the numbers of the fault list.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::super::MlflowRegistry;
use super::fake::{Fake, Reply, answer, error, json, with};
use crate::registry::{Alias, ArtifactFiles, ModelName, ModelRegistry, VersionId};
use crate::{Error, ErrorKind};

const ALIAS: &str = "registered-models/alias";
const MODEL: &str = "registered-models/get";

fn churn() -> ModelName {
    ModelName::new("churn").unwrap()
}

async fn resolve(registry: &MlflowRegistry) -> Result<Option<VersionId>, Error> {
    registry.resolve(&churn(), &Alias::production()).await
}

/// Neither "none" nor "not found".
#[track_caller]
fn away(answer: Result<Option<VersionId>, Error>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    error.chain()
}

fn version(number: &str) -> Reply {
    json(200, &format!(r#"{{"model_version": {{"name": "churn", "version": {number}}}}}"#))
}

/// H1
#[tokio::test]
async fn nobody_there_no_such_name_and_no_tls_are_outages() {
    // Bound and never listening: nobody answers, and nobody else is given the port.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let plain = Fake::always(|| json(200, "{}")).await;
    for uri in [
        format!("http://{}", closed.local_addr().unwrap()),
        "http://no-such-host.invalid:5000".to_owned(),
        plain.uri.replace("http:", "https:"),
    ] {
        let begun = Instant::now();
        let registry = MlflowRegistry::builder(&uri).build().unwrap();
        let said = away(resolve(&registry).await);
        assert!(said.contains(uri.split("//").nth(1).unwrap()), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{uri}: {:?}", begun.elapsed());
    }
}

/// H3
#[tokio::test]
async fn credentials_that_are_refused_are_not_tried_again() {
    for (status, body, hint) in [
        (401, "", "it wants credentials: MLFLOW_TRACKING_USERNAME"),
        (403, "", "the credentials do not allow it"),
        (
            403,
            "Invalid Host header - possible DNS rebinding attack detected",
            "start it with --allowed-hosts",
        ),
    ] {
        let fake = Fake::always(move || answer(status, "text/plain", body)).await;
        let error = resolve(&fake.registry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!(fake.asked().len(), 1, "it was asked once");
    }
    let fake = Fake::always(|| answer(401, "text/plain", "")).await;
    let error = resolve(&fake.builder().token("t").build().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("does not accept the credentials"), "{error}");
    assert!(fake.heads()[0].contains("authorization: Bearer t"), "{:?}", fake.heads());
    let fake = Fake::always(|| answer(401, "text/plain", "")).await;
    let registry = fake.builder().password("user", "pass").build().unwrap();
    resolve(&registry).await.unwrap_err();
    assert!(fake.heads()[0].contains("authorization: Basic dXNlcjpwYXNz"), "{:?}", fake.heads());
}

/// H4
#[tokio::test]
async fn no_champion_is_only_what_mlflow_says_twice() {
    let absent = || error(400, "INVALID_PARAMETER_VALUE");
    let missing = || error(404, "RESOURCE_DOES_NOT_EXIST");
    let model = |aliases: &str| {
        json(200, &format!(r#"{{"registered_model": {{"name": "churn", "aliases": {aliases}}}}}"#))
    };
    type Script = Box<dyn Fn(bool) -> Reply + Send + Sync>;
    let production =
        r#"[{"alias": "staging", "version": "1"}, {"alias": "production", "version": "12"}]"#;
    let cases: [(Script, Option<Option<u64>>); 9] = [
        (Box::new(move |first| if first { absent() } else { model("[]") }), Some(None)),
        (Box::new(move |_| missing()), Some(None)),
        (Box::new(move |first| if first { missing() } else { model("[]") }), Some(None)),
        // The first answer was no absence, by the second.
        (Box::new(move |first| if first { absent() } else { model(production) }), Some(Some(12))),
        // The second answer is none.
        (Box::new(move |first| if first { absent() } else { error(503, "X") }), None),
        (Box::new(move |first| if first { missing() } else { Reply::Drop }), None),
        (Box::new(move |_| absent()), None),
        // A page that is not there is no model that is not there.
        (Box::new(|_| answer(404, "text/html", "<h1>Not Found</h1>")), None),
        (Box::new(|_| json(404, "{}")), None),
    ];
    for (number, (script, expected)) in cases.into_iter().enumerate() {
        let fake = Fake::start(move |request| script(request.is("GET", ALIAS))).await;
        let answer = resolve(&fake.registry()).await;
        match expected {
            Some(expected) => {
                let found = answer.unwrap_or_else(|e| panic!("case {number}: {}", e.chain()));
                assert_eq!(found.map(VersionId::number), expected, "case {number}");
                let asked = fake.asked();
                assert!(asked.last().unwrap().contains(MODEL), "case {number}: {asked:?}");
            }
            None => {
                let error = answer.unwrap_err();
                let kind = error.kind();
                assert_ne!(kind, ErrorKind::NotFound, "case {number}: {}", error.chain());
            }
        }
    }
}

/// H6
#[tokio::test]
async fn a_server_that_asks_for_time_gets_it_up_to_a_limit() {
    let in_a_second = || {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    for (after, least) in [
        ("1".to_owned(), 900),
        // To the second, so a little less than one.
        (in_a_second(), 0),
        ("1000000000".to_owned(), 1_900),
        ("soon".to_owned(), 50),
        ("Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), 0),
    ] {
        let asked = AtomicUsize::new(0);
        let header = after.clone();
        let fake = Fake::start(move |_| match asked.fetch_add(1, SeqCst) {
            0 => with(429, &[("Retry-After", &header)], ""),
            _ => version("\"7\""),
        })
        .await;
        let begun = Instant::now();
        let found = resolve(&fake.registry()).await.unwrap();
        let took = begun.elapsed().as_millis();
        assert_eq!(found, VersionId::new(7));
        assert!((least..55_000).contains(&took), "Retry-After {after}: {took} ms");
        assert_eq!(fake.asked().len(), 2);
    }
    // For ever is an outage, and told within the time there is.
    let fake = Fake::always(|| with(429, &[("Retry-After", "1000000000")], "")).await;
    let begun = Instant::now();
    let hasty = fake.builder().patience(Duration::from_secs(3)).build().unwrap();
    let said = away(resolve(&hasty).await);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(said.contains("429"), "{said}");
}

/// H7
#[tokio::test]
async fn questions_are_repeated_and_changes_are_not() {
    for status in [500, 502, 503, 504] {
        let asked = AtomicUsize::new(0);
        let fake = Fake::start(move |_| match asked.fetch_add(1, SeqCst) {
            0 | 1 => answer(status, "text/html", "<h1>busy</h1>"),
            _ => version("\"3\""),
        })
        .await;
        assert_eq!(resolve(&fake.registry()).await.unwrap(), VersionId::new(3));
        assert_eq!(fake.asked().len(), 3);

        let fake = Fake::always(move || answer(status, "text/html", "<h1>busy</h1>")).await;
        let said = away(resolve(&fake.registry()).await);
        assert!(said.contains(&status.to_string()), "{said}");
        assert_eq!(fake.asked().len(), 5, "four repetitions are the most");
    }
    // The same with a change: the alias may have been moved by the one that was not answered.
    let fake = Fake::start(|request| match request.method.as_str() {
        "POST" => error(503, "TEMPORARILY_UNAVAILABLE"),
        _ if request.is("GET", "model-versions/get") => {
            json(200, r#"{"model_version": {"name": "churn", "version": "2"}}"#)
        }
        _ => version("\"1\""),
    })
    .await;
    let set = fake.registry();
    let (one, two) = (VersionId::FIRST, VersionId::new(2).unwrap());
    let error = set.set_alias(&churn(), &Alias::production(), two, Some(one)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert_eq!(fake.asked().iter().filter(|asked| asked.starts_with("POST")).count(), 1);
}

/// H7
#[tokio::test]
async fn pages_of_others_and_redirects_are_no_answers() {
    for (reply, part) in [
        (answer(200, "text/html", "<h1>Sign in</h1>"), "is 127.0.0.1"),
        (answer(200, "application/json", "<h1>Sign in</h1>"), "JSON that MLflow does not write"),
        (answer(200, "application/json", "[]"), "JSON that MLflow does not write"),
        (answer(405, "text/html", "<h1>No</h1>"), "path prefix"),
    ] {
        let Reply::Raw(raw) = reply else { unreachable!() };
        let fake = Fake::always(move || Reply::Raw(raw.clone())).await;
        let said = away(resolve(&fake.registry()).await);
        assert!(said.contains(part), "{said}");
        assert_eq!(fake.asked().len(), 1, "it would say the same again");
    }
    let other = Fake::always(|| version("\"9\"")).await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!(
            "http://user:secret@{}/x?token=secret",
            other.uri.strip_prefix("http://").unwrap()
        );
        let fake = Fake::always(move || with(status, &[("Location", &to)], "")).await;
        let said = away(resolve(&fake.builder().token("ours").build().unwrap()).await);
        assert!(
            said.contains("redirect to http://127.0.0.1") && !said.contains("secret"),
            "{said}"
        );
    }
    assert_eq!(other.asked().len(), 0, "the token went nowhere else");
}

/// H8
#[tokio::test]
async fn slowness_ends_within_the_patience() {
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    type Make = fn(&[u8]) -> Reply;
    let cases: [Make; 3] = [
        |head| Reply::Drip(head.to_vec(), Duration::from_millis(20)),
        |head| Reply::Hang(head.to_vec()),
        |_| Reply::Hang(Vec::new()),
    ];
    for make in cases {
        let fake = Fake::always(move || make(head)).await;
        let begun = Instant::now();
        let registry = fake.builder().patience(Duration::from_millis(700)).build().unwrap();
        let said = away(resolve(&registry).await);
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        assert!(said.contains("no answer within 700ms"), "{said}");
        // Whoever waits no longer leaves nothing behind that hinders the next.
        let dropped = tokio::time::timeout(Duration::from_millis(50), resolve(&registry)).await;
        assert!(dropped.is_err());
        away(resolve(&registry).await);
    }
}

/// H15
#[tokio::test]
async fn impossible_json_is_refused() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for place in ["tags", "unknown"] {
        let deep = format!(
            r#"{{"model_version": {{"name": "churn", "version": "1", "{place}": {deep}}}}}"#
        );
        let fake = Fake::always(move || json(200, &deep)).await;
        match resolve(&fake.registry()).await {
            // What nobody asks for is passed over, however deep.
            Ok(found) => assert_eq!((place, found), ("unknown", Some(VersionId::FIRST))),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
    }

    // Told beforehand, and not told: neither is read to its end.
    let huge = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let told = format!("{huge}Content-Length: 1073741824\r\n\r\n{{");
    let fake = Fake::always(move || Reply::Hang(told.clone().into_bytes())).await;
    let error = resolve(&fake.registry()).await.unwrap_err();
    assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
    let endless = format!("{huge}Connection: close\r\n\r\n{}", " ".repeat(17 << 20));
    let fake = Fake::always(move || Reply::Raw(endless.clone().into_bytes())).await;
    let error = resolve(&fake.registry()).await.unwrap_err();
    assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");

    for number in
        [r#""abc""#, r#""0010""#, r#""18446744073709551616""#, r#""-1""#, r#""""#, r#""0""#]
    {
        let fake = Fake::start(move |_| version(number)).await;
        let error = resolve(&fake.registry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{number}: {}", error.chain());
    }
    // A number is not what MLflow writes there.
    let fake = Fake::start(|_| version("10")).await;
    away(resolve(&fake.registry()).await);
    // Nor is the version of another model.
    let fake =
        Fake::always(|| json(200, r#"{"model_version": {"name": "other", "version": "1"}}"#)).await;
    let error = resolve(&fake.registry()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
}

/// H12
#[tokio::test]
async fn pages_without_end_have_one() {
    let model = r#"{"registered_model": {"name": "churn"}}"#;
    let page = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        if request.is("GET", MODEL) {
            return json(200, model);
        }
        let next = page.fetch_add(1, SeqCst);
        json(200, &format!(r#"{{"model_versions": [], "next_page_token": "page-{next}"}}"#))
    })
    .await;
    let error = fake.registry().versions(&churn()).await.unwrap_err();
    assert!(error.to_string().contains("more than 1000 pages"), "{error}");
    assert_eq!(fake.asked().len(), 1_001);

    let fake = Fake::start(move |request| {
        if request.is("GET", MODEL) {
            return json(200, model);
        }
        json(200, r#"{"next_page_token": "the same"}"#)
    })
    .await;
    let error = fake.registry().versions(&churn()).await.unwrap_err();
    assert!(error.to_string().contains("round in circles"), "{error}");

    // And pages that take their time are bounded together.
    let page = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        if request.is("GET", MODEL) {
            return json(200, model);
        }
        std::thread::sleep(Duration::from_millis(20));
        json(200, &format!(r#"{{"next_page_token": "{}"}}"#, page.fetch_add(1, SeqCst)))
    })
    .await;
    let short = fake.builder().transfer_timeout(Duration::from_millis(500)).build().unwrap();
    let error = short.versions(&churn()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("took longer than 500ms"), "{error}");
}

/// L3
#[tokio::test]
async fn no_message_repeats_a_secret() {
    const CANARY: &str = "canary-9d1f";
    // A server that says back what it was told, everywhere it can.
    let fake = Fake::start(|request| {
        let said = request.head.lines().find(|line| line.starts_with("authorization")).unwrap();
        let body = format!(r#"{{"error_code": "{said}", "message": "you said {said}, {CANARY}"}}"#);
        match request.path.contains("name=a&") {
            true => json(400, &body),
            false => json(500, &body),
        }
    })
    .await;
    let basic = "Y2FuYXJ5";
    for (builder, name) in [
        (fake.builder().token(CANARY), "token"),
        (fake.builder().password("canary", CANARY), "password"),
    ] {
        let builder = builder.patience(Duration::from_secs(3));
        assert!(!format!("{builder:?}").contains(CANARY), "{name}");
        let registry = builder.build().unwrap();
        let mut said = vec![format!("{registry:?}")];
        for model in ["a", "b"] {
            let model = ModelName::new(model).unwrap();
            let (one, files) = (VersionId::FIRST, ArtifactFiles::new());
            let alias = Alias::production();
            let mut tell = |error: Error| said.extend([error.chain(), format!("{error:?}")]);
            tell(registry.resolve(&model, &alias).await.unwrap_err());
            tell(registry.register(&model, "run", &files).await.unwrap_err());
            tell(registry.tag(&model, one, "k", "v").await.unwrap_err());
            tell(registry.fetch_artifact(&model, one).await.unwrap_err());
        }
        assert!(said.iter().any(|text| text.contains("***")), "something was left out: {said:?}");
        for text in said {
            assert!(!text.contains(CANARY) && !text.contains(basic), "{name}: {text}");
        }
    }
    for uri in
        [format!("http://u:{CANARY}@h"), format!("u:{CANARY}@h"), format!("http://{CANARY} x/")]
    {
        let error = MlflowRegistry::builder(uri).build().unwrap_err();
        assert!(!error.chain().contains(CANARY), "{}", error.chain());
    }
}

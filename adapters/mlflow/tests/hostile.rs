//! A registry that wants to harm who loads from it.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::super::address::{Place, tracking_uri};
use super::super::environment;
use super::super::versions::{DIGEST_TAG, RUN_TAG};
use super::fake::{Fake, Reply, answer, error, json as reply, with};
use crate::registry::{ArtifactFiles, ModelName, ModelRegistry, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind};

fn churn() -> ModelName {
    ModelName::new("churn").unwrap()
}

fn files() -> ArtifactFiles {
    let mut files = ArtifactFiles::new();
    files.insert("model.json", b"{\"weights\": [1, 2, 3]}".to_vec()).unwrap();
    files
}

fn entry(name: &str, bytes: u64) -> Value {
    json!({ "name": name, "bytes": bytes, "sha256": Fingerprint::of_bytes(b"") })
}

/// A server with one version of `files()`, whose listing and file are as given.
async fn with_version(
    uri: &str,
    listing: Value,
    file: impl Fn() -> Reply + Send + Sync + 'static,
) -> Fake {
    let (uri, listing) = (uri.to_owned(), listing.to_string());
    let digest = files().digest();
    Fake::start(move |request| {
        if request.is("GET", "model-versions/get") {
            let tags = [(RUN_TAG, "run-1".to_owned()), (DIGEST_TAG, digest.to_string())];
            let tags = tags.map(|(key, value)| json!({ "key": key, "value": value }));
            let version = json!({ "name": "churn", "version": "1", "tags": tags });
            reply(200, &json!({ "model_version": version }).to_string())
        } else if request.is("GET", "get-download-uri") {
            reply(200, &json!({ "artifact_uri": uri }).to_string())
        } else if request.is("GET", "pmmds.json") {
            answer(200, "text/plain", &listing)
        } else if request.path.contains("/files/") {
            file()
        } else {
            error(404, "RESOURCE_DOES_NOT_EXIST")
        }
    })
    .await
}

async fn fetch(fake: &Fake) -> Result<ArtifactFiles, Error> {
    fake.registry().fetch_artifact(&churn(), VersionId::FIRST).await
}

const ROOT: &str = "mlflow-artifacts:/1/models/m-1/artifacts";

fn honest() -> Value {
    let bytes = files().get("model.json").unwrap().to_vec();
    json!({
        "format_version": 1,
        "digest": files().digest(),
        "files": [{
            "name": "model.json", "bytes": bytes.len(), "sha256": Fingerprint::of_bytes(&bytes),
        }],
    })
}

fn file(bytes: &[u8]) -> Reply {
    answer(200, "application/octet-stream", bytes)
}

/// H9
#[tokio::test]
async fn only_the_bytes_that_were_registered_are_handed_out() {
    let good = files().get("model.json").unwrap().to_vec();
    let bytes = good.clone();
    let fake = with_version(ROOT, honest(), move || file(&bytes)).await;
    assert_eq!(fetch(&fake).await.unwrap(), files(), "the harness itself is sound");

    let mut flipped = good.clone();
    flipped[3] ^= 0x10;
    let (short, long) = (good[..good.len() - 1].to_vec(), [&good[..], b" "].concat());
    for (bytes, part) in
        [(flipped, "SHA-256"), (short, "bytes, not 22"), (long, "more than 22 bytes")]
    {
        let fake = with_version(ROOT, honest(), move || file(&bytes)).await;
        let error = fetch(&fake).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
        let said = error.to_string();
        assert!(said.contains("model.json") && said.contains(part), "{said}");
    }
    // Compressed, though nobody asked for it: those bytes are not the file's.
    let fake = with_version(ROOT, honest(), || {
        with(200, &[("Content-Encoding", "gzip")], b"\x1f\x8b garbage, 22 bytes")
    })
    .await;
    let error = fetch(&fake).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
    // The end of the connection is not the end of the file.
    let fake = with_version(ROOT, honest(), move || {
        let mut raw = b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n".to_vec();
        raw.extend_from_slice(&good[..5]);
        Reply::Raw(raw)
    })
    .await;
    let error = fetch(&fake).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    let fake = with_version(ROOT, honest(), error_404).await;
    let error = fetch(&fake).await.unwrap_err();
    assert!(error.to_string().contains("model.json is missing"), "{}", error.chain());
}

fn error_404() -> Reply {
    error(404, "RESOURCE_DOES_NOT_EXIST")
}

/// H9, H10: sums that agree with the files, and not with what the version says.
#[tokio::test]
async fn a_listing_that_was_replaced_with_its_files_is_found_out() {
    let mut other = ArtifactFiles::new();
    other.insert("model.json", b"{}".to_vec()).unwrap();
    let mut listing = honest();
    listing["files"] = json!([{
        "name": "model.json", "bytes": 2, "sha256": Fingerprint::of_bytes(b"{}"),
    }]);
    for digest in [files().digest(), other.digest()] {
        listing["digest"] = json!(digest);
        let fake = with_version(ROOT, listing.clone(), || file(b"{}")).await;
        let error = fetch(&fake).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
        assert!(error.to_string().contains("have the digest"), "{error}");
    }
    listing["format_version"] = json!(2);
    let fake = with_version(ROOT, listing, || file(b"{}")).await;
    let error = fetch(&fake).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported, "{}", error.chain());
}

/// H12, H13
#[tokio::test]
async fn hostile_names_and_sizes_are_refused_before_a_file_is_asked_for() {
    let named = |name: &str| vec![entry(name, 0)];
    let many = (0..100_000).map(|n| entry(&format!("f{n}"), 0)).collect();
    let mut lists: Vec<Vec<Value>> = vec![
        many,
        vec![entry("big", 50 << 30)],
        vec![entry("big", u64::MAX), entry("more", u64::MAX)],
        vec![entry("a", 0), entry("A", 0)],
        vec![entry("a", 0), entry("a/b", 0)],
        named(&vec!["d"; 100].join("/")),
    ];
    for name in [
        "",
        "/etc/passwd",
        "../../x",
        "a/../../x",
        "a/./x",
        "C:\\x",
        "c:/x",
        "\\\\host\\x",
        "%2e%2e/x",
        "a%2fx",
        "a\0",
        "a//b",
        "~/x",
        "-rf",
        "a\nb",
        "x?y",
        "x#y",
        ".",
        "..",
        "\u{202e}x",
    ] {
        lists.push(named(name));
    }
    for list in lists {
        let shown = format!("{:.200}", json!(list).to_string());
        let mut listing = honest();
        listing["files"] = json!(list);
        let fake = with_version(ROOT, listing, || file(b"")).await;
        let error = fetch(&fake).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{shown}: {}", error.chain());
        let asked = fake.asked();
        assert!(!asked.iter().any(|a| a.contains("/files/")), "{shown}: {asked:?}");
    }
}

/// H12: time in all, over files that each come just in time.
#[tokio::test]
async fn many_slow_files_have_a_limit_together() {
    let mut all = ArtifactFiles::new();
    for number in 0..500 {
        all.insert(format!("f{number}"), Vec::new()).unwrap();
    }
    let entries: Vec<Value> = all.iter().map(|(name, _)| entry(name, 0)).collect();
    let listing = json!({ "format_version": 1, "digest": files().digest(), "files": entries });
    let fake = with_version(ROOT, listing, || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        file(b"")
    })
    .await;
    let short = fake.builder().transfer_timeout(std::time::Duration::from_millis(600));
    let error =
        short.build().unwrap().fetch_artifact(&churn(), VersionId::FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("took longer than 600ms"), "{error}");
}

/// H14: artifacts lead nowhere but to the tracking server, whatever the registry says.
#[tokio::test]
async fn artifact_uris_stay_on_the_tracking_server() {
    let other = Fake::always(|| file(b"")).await;
    let there = other.uri.strip_prefix("http://").unwrap();
    for (uri, kind) in [
        ("file:///etc/passwd", ErrorKind::Corrupt),
        ("/etc/passwd", ErrorKind::Corrupt),
        ("C:\\models", ErrorKind::Corrupt),
        ("\\\\host\\share", ErrorKind::Corrupt),
        (&format!("http://{there}/x"), ErrorKind::Corrupt),
        (&format!("mlflow-artifacts://{there}/x"), ErrorKind::Corrupt),
        ("mlflow-artifacts://169.254.169.254/latest/meta-data", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/../../../etc", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/%2e%2e/etc", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/a\\..\\b", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/a#/../../etc", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/a?x=y", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1/a\0b", ErrorKind::Corrupt),
        ("mlflow-artifacts:/1//a", ErrorKind::Corrupt),
        ("mlflow-artifacts:", ErrorKind::Corrupt),
        ("mlflow-artifacts://user:pass@127.0.0.1/x", ErrorKind::Corrupt),
        (&format!("mlflow-artifacts:/{}", "a/".repeat(40)), ErrorKind::Corrupt),
        (&format!("mlflow-artifacts:/{}", "a".repeat(3_000)), ErrorKind::Corrupt),
        ("runs:/../x", ErrorKind::Corrupt),
        ("models:/a/b", ErrorKind::Corrupt),
        ("javascript:alert(1)", ErrorKind::Corrupt),
        ("s3://bucket/models", ErrorKind::NotSupported),
        ("dbfs:/models", ErrorKind::NotSupported),
    ] {
        let fake = with_version(uri, honest(), || file(b"")).await;
        let error = fetch(&fake).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{uri}: {}", error.chain());
        let asked = fake.asked();
        assert!(asked.last().unwrap().contains("get-download-uri"), "{uri}: {asked:?}");
    }
    assert_eq!(other.asked().len(), 0);

    let base = tracking_uri("http://mlflow:5000/ml", false).unwrap();
    for uri in
        ["mlflow-artifacts:/1/a", "mlflow-artifacts://mlflow:5000/1/a", "mlflow-artifacts:///1/a/"]
    {
        let here = Place::Here(vec!["1".to_owned(), "a".to_owned()]);
        assert_eq!(Place::read(uri, &base).unwrap(), here, "{uri}");
    }
}

/// H14
#[tokio::test]
async fn tracking_uris_are_checked_before_anything_is_asked() {
    for uri in [
        "",
        "mlflow",
        "file:///srv/mlruns",
        "sqlite:///mlflow.db",
        "databricks",
        "ftp://host",
        "http://169.254.169.254",
        "http://169.254.0.1:5000/x",
        "http://[fe80::1]",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::169.254.169.254]",
        "http://[fd00:ec2::254]",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://a@b",
        "http://:p@b",
        "http://host?x",
        "http://host/#x",
        "http://",
    ] {
        let error = tracking_uri(uri, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}");
    }
    for uri in ["http://[::1]:5000", "https://mlflow.example.org/ml/", " http://127.0.0.1:5000\n"] {
        assert!(tracking_uri(uri, false).is_ok(), "{uri}");
    }
    assert!(tracking_uri("http://169.254.169.254", true).is_ok());
}

/// H10
#[test]
fn flavors_of_others_are_read_off_their_mlmodel() {
    use super::super::mlmodel::flavor_names;
    let yaml = "artifact_path: x\nflavors:\n  python_function:\n    env:\n      conda: conda.yaml\n    \
                loader_module: mlflow.sklearn\n  sklearn:\n    pickled_model: model.pkl\nrun_id: 1\n";
    assert_eq!(flavor_names(yaml.as_bytes()), ["python_function", "sklearn"]);
    assert_eq!(flavor_names(br#"{"flavors": {"onnx": {}, "pmmds": {}}}"#), ["onnx", "pmmds"]);
    for odd in ["", "flavors:", "flavors: {a: b}", "{\"flavors\": 1}", "flavors:\n\u{1F980}\n  :\n"]
    {
        let names = flavor_names(odd.as_bytes());
        assert!(names.iter().all(String::is_empty), "{odd:?}: {names:?}");
    }
}

/// What MLflow's clients read of the environment.
#[test]
fn the_environment_says_where_and_as_whom() {
    let read = |variables: &[(&str, &str)]| {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        environment::server(&get).and_then(|builder| builder.build())
    };
    let at = ("MLFLOW_TRACKING_URI", "http://mlflow:5000\n");
    for fine in [
        vec![at],
        vec![at, ("MLFLOW_TRACKING_TOKEN", "secret\n")],
        vec![at, ("MLFLOW_TRACKING_USERNAME", "u"), ("MLFLOW_TRACKING_PASSWORD", "p")],
        vec![at, ("MLFLOW_TRACKING_INSECURE_TLS", "false"), ("MLFLOW_TRACKING_TOKEN", "")],
        vec![at, ("MLFLOW_EXPERIMENT_NAME", "churn")],
    ] {
        read(&fine).unwrap_or_else(|e| panic!("{fine:?}: {}", e.chain()));
    }
    for (bad, part) in [
        (vec![], "MLFLOW_TRACKING_URI is not set"),
        (vec![("MLFLOW_TRACKING_URI", " ")], "MLFLOW_TRACKING_URI is not set"),
        (vec![at, ("MLFLOW_TRACKING_USERNAME", "u")], "set either"),
        (vec![at, ("MLFLOW_TRACKING_PASSWORD", "p")], "set either"),
        (
            vec![
                at,
                ("MLFLOW_TRACKING_TOKEN", "t"),
                ("MLFLOW_TRACKING_USERNAME", "u"),
                ("MLFLOW_TRACKING_PASSWORD", "p"),
            ],
            "set either",
        ),
        (vec![at, ("MLFLOW_TRACKING_INSECURE_TLS", "true")], "certificates are always checked"),
        (vec![at, ("MLFLOW_TRACKING_SERVER_CERT_PATH", "/no/such.pem")], "/no/such.pem"),
        (vec![at, ("MLFLOW_TRACKING_CLIENT_CERT_PATH", "/no/such.pem")], "/no/such.pem"),
    ] {
        let error = read(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(part), "{bad:?}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no.pem");
    std::fs::write(&path, "secret, and no certificate").unwrap();
    let error = read(&[at, ("MLFLOW_TRACKING_SERVER_CERT_PATH", path.to_str().unwrap())]);
    let error = error.unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{}", error.chain());
}

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// Serves `answers`, one per connection, then nothing more. An empty answer is silence.
async fn serve(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/telco.csv", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            socket.write_all(&answer).await.unwrap();
        }
    });
    url
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// Expects `body` from `url`.
fn remote(url: String, body: &[u8]) -> Remote {
    Remote {
        url,
        sha256: sha256(body),
        connect_timeout: LONG,
        total_timeout: LONG,
        max_bytes: 1000,
    }
}

/// The message of a download that must fail.
async fn failure(remote: &Remote) -> String {
    fetched(remote, &ProgressBar::hidden()).await.unwrap_err().to_string()
}

const BODY: &[u8] = b"a,b\n1,2\n3,4\n";

#[tokio::test]
async fn a_named_file_is_used_as_it_is_and_what_it_is_not_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.csv");
    fs::write(&path, BODY).unwrap();
    let csv = load(Some(&path), folder.path(), &ProgressBar::hidden()).await.unwrap();
    assert_eq!(csv.bytes, BODY);
    assert_eq!(csv.source, Source::File(path.clone()));
    assert_eq!(csv.rows(), 2);
    assert!(!csv.is_original());
    let text = csv.to_string();
    assert!(text.starts_with(&format!("DATA: your file, {}\n", path.display())), "{text}");
    assert!(text.contains(&format!("2 rows, SHA-256 {}", sha256(BODY))), "{text}");
    assert!(text.contains("note: it is not IBM's Telco file"), "{text}");
}

#[tokio::test]
async fn a_named_file_that_is_missing_is_an_error_even_with_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.csv");
    let error = load(Some(&path), folder.path(), &ProgressBar::hidden()).await.unwrap_err();
    assert!(matches!(&error, DataError::Read { path: p, .. } if *p == path));
    assert_eq!(error.to_string(), format!("cannot read {}, named by --data", path.display()));
    let folder_itself = load(Some(folder.path()), folder.path(), &ProgressBar::hidden()).await;
    assert!(matches!(folder_itself, Err(DataError::Read { .. })));
}

#[tokio::test]
async fn a_download_is_verified_kept_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("deep/cache");
    let remote = remote(serve(vec![ok(BODY)]).await, BODY);
    let csv = load_or_generate(&remote, &cache, &ProgressBar::hidden()).await;
    assert_eq!((csv.bytes.as_slice(), csv.notes.len()), (BODY, 0));
    assert_eq!(csv.source, Source::Download { url: remote.url.clone() });
    assert_eq!(fs::read(cache_path(&cache)).unwrap(), BODY);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "no temporary file is left");

    // The server has gone.
    let again = load_or_generate(&remote, &cache, &ProgressBar::hidden()).await;
    assert_eq!(again.bytes, BODY);
    assert_eq!(again.source, Source::Cache(cache_path(&cache)));
}

#[tokio::test]
async fn a_damaged_cache_is_not_used_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for damaged in [&BODY[..5], b"", &[b'x'; 5000]] {
        fs::write(cache_path(folder.path()), damaged).unwrap();
        let remote = remote(serve(vec![ok(BODY)]).await, BODY);
        let csv = load_or_generate(&remote, folder.path(), &ProgressBar::hidden()).await;
        assert_eq!(csv.bytes, BODY);
        assert_eq!(csv.source, Source::Download { url: remote.url });
        assert!(csv.notes[0].contains("is damaged and not used"), "{:?}", csv.notes);
        assert_eq!(fs::read(cache_path(folder.path())).unwrap(), BODY);
    }
}

#[tokio::test]
async fn without_file_and_network_the_look_alike_comes_quickly_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and never listening: nobody answers, and nobody else is given the port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let remote = remote(format!("http://{}/telco.csv", closed.local_addr().unwrap()), BODY);
    let started = Instant::now();
    let csv = load_or_generate(&remote, folder.path(), &ProgressBar::hidden()).await;
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    assert_eq!((csv.source.clone(), csv.rows()), (Source::Generated, look_alike::ROWS));
    let text = csv.to_string();
    assert!(text.starts_with("DATA: GENERATED, NOT REAL"), "{text}");
    assert!(
        text.contains(&format!("note: cannot download {}: error sending", remote.url)),
        "{text}"
    );
    assert!(text.contains("refused"), "the reason, down to its root: {text}");
    assert!(!cache_path(folder.path()).exists(), "invented data never enters the cache");
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let mut remote = remote(serve(vec![Vec::new()]).await, BODY);
    remote.total_timeout = Duration::from_millis(600);
    let started = Instant::now();
    let message = failure(&remote).await;
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    assert!(message.contains("timed out"), "{message}");
    assert!(message.ends_with("; if you have the file, name it with --data FILE"), "{message}");
}

#[tokio::test]
async fn other_bytes_than_expected_are_refused() {
    let remote = remote(serve(vec![ok(b"<html>")]).await, BODY);
    let message = failure(&remote).await;
    let expected = format!(
        "the 6 bytes received have SHA-256 {}, expected {}",
        sha256(b"<html>"),
        sha256(BODY)
    );
    assert!(message.contains(&expected), "{message}");
}

#[tokio::test]
async fn an_error_status_is_named() {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    let message = failure(&remote(serve(vec![answer]).await, BODY)).await;
    assert!(message.contains("the server answered 404 Not Found, expected 200 OK"), "{message}");
}

#[tokio::test]
async fn too_long_an_answer_is_cut_off_whether_it_says_its_length_or_not() {
    let long = [b'x'; 1001];
    let unsaid = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".as_slice(), &long].concat();
    for answer in [ok(&long), unsaid] {
        let message = failure(&remote(serve(vec![answer]).await, &long)).await;
        assert!(message.contains("longer than the 1000 bytes allowed"), "{message}");
    }
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
    };
    let stays = remote(serve(vec![to("/elsewhere.csv"), ok(BODY)]).await, BODY);
    assert_eq!(fetch(&stays, &ProgressBar::hidden()).await.unwrap(), BODY);

    let leaves = remote(serve(vec![to("http://localhost:9/telco.csv"), ok(BODY)]).await, BODY);
    let message = failure(&leaves).await;
    assert!(message.contains("redirects to another host, localhost"), "{message}");

    let circles = remote(serve(vec![to("/again.csv"); 20]).await, BODY);
    let message = failure(&circles).await;
    assert!(message.contains("more than 5 redirects"), "{message}");
}

#[tokio::test]
async fn an_unwritable_cache_costs_the_cache_not_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file, not a folder");
    fs::write(&file, "").unwrap();
    let remote = remote(serve(vec![ok(BODY)]).await, BODY);
    let csv = load_or_generate(&remote, &file, &ProgressBar::hidden()).await;
    assert_eq!(csv.bytes, BODY);
    assert!(csv.notes.iter().any(|n| n.contains("the download is not kept")), "{:?}", csv.notes);
    assert!(matches!(write_cache(&csv, &file), Err(DataError::Write { .. })));
}

#[test]
fn writing_replaces_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/file");
    write_atomically(&path, b"longer than the next").unwrap();
    write_atomically(&path, b"short").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"short");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

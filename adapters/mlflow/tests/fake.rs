//! A server that misbehaves as it is told, alone or in front of a real one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::{MlflowBuilder, MlflowRegistry};

/// What came in.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    // with its query
    pub(super) path: String,
    pub(super) head: String,
    raw: Vec<u8>,
}

impl Request {
    /// Whether it is for this route of MLflow's API.
    pub(super) fn is(&self, method: &str, route: &str) -> bool {
        let path = self.path.split('?').next().unwrap();
        self.method == method && path.ends_with(route)
    }
}

/// What becomes of it.
pub(super) enum Reply {
    /// these bytes, and the end of the connection
    Raw(Vec<u8>),
    /// these bytes, then the same byte again and again after this time each
    Drip(Vec<u8>, Duration),
    /// these bytes, and then nothing
    Hang(Vec<u8>),
    /// what the server behind says
    Pass,
    /// the server behind is asked, and its answer is lost
    Lose,
    /// nothing at all, the server behind is not asked
    Drop,
}

/// An answer with status, type and body.
pub(super) fn answer(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Reply {
    with(status, &[("Content-Type", content_type)], body)
}

/// An answer with these headers.
pub(super) fn with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut raw = format!("HTTP/1.1 {status} As-Told\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    raw.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    raw.extend_from_slice(body);
    Reply::Raw(raw)
}

/// An answer of MLflow's API.
pub(super) fn json(status: u16, body: &str) -> Reply {
    answer(status, "application/json", body)
}

/// An error of MLflow's API.
pub(super) fn error(status: u16, code: &str) -> Reply {
    json(status, &format!(r#"{{"error_code": "{code}", "message": "as told"}}"#))
}

/// The server.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) uri: String,
    log: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// A server that answers by `script`.
    pub(super) async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::before(None, script).await
    }

    /// The same in front of the server at `behind`.
    pub(super) async fn before(
        behind: Option<&str>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let behind = behind.map(|uri| uri.strip_prefix("http://").unwrap().to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let (log, script) = (Arc::new(Mutex::new(Vec::new())), Arc::new(script));
        let seen = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (behind, seen) = (behind.clone(), Arc::clone(&seen));
                let script = Arc::clone(&script);
                connections.spawn(async move {
                    // A client that goes away is part of what is tested.
                    let _ = serve(client, behind.as_deref(), &seen, &*script).await;
                });
            }
        });
        Self { uri, log, task }
    }

    /// A server that answers everything alike.
    pub(super) async fn always(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |_| reply()).await
    }

    /// What has been asked, as `GET path`.
    pub(super) fn asked(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// The first lines and headers of what has been asked.
    pub(super) fn heads(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|request| request.head.clone()).collect()
    }

    /// For a handle that bears with a machine that has much else to do.
    pub(super) fn builder(&self) -> MlflowBuilder {
        super::server::patient(&self.uri)
    }

    /// A handle that bears with a machine that has much else to do.
    pub(super) fn patient(&self) -> MlflowRegistry {
        super::server::handle(&self.uri)
    }

    pub(super) fn registry(&self) -> MlflowRegistry {
        self.builder().build().unwrap()
    }
}

async fn serve(
    mut client: TcpStream,
    behind: Option<&str>,
    seen: &Mutex<Vec<Request>>,
    script: &(dyn Fn(&Request) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let Some(request) = receive(&mut client).await? else { return Ok(()) };
    seen.lock().unwrap().push(request.clone());
    match script(&request) {
        Reply::Raw(bytes) => client.write_all(&bytes).await?,
        Reply::Drip(bytes, every) => {
            client.write_all(&bytes).await?;
            loop {
                client.write_all(b" ").await?;
                tokio::time::sleep(every).await;
            }
        }
        Reply::Hang(bytes) => {
            client.write_all(&bytes).await?;
            std::future::pending::<()>().await;
        }
        Reply::Pass => {
            let answer = forward(behind.unwrap(), &request).await?;
            client.write_all(&answer).await?;
        }
        Reply::Lose => drop(forward(behind.unwrap(), &request).await?),
        Reply::Drop => {}
    }
    client.shutdown().await
}

async fn receive(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut raw = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            return Ok(None);
        }
        raw.extend_from_slice(&buffer[..n]);
        let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        if raw.len() < end + 4 + length.unwrap_or(0) {
            continue;
        }
        let mut first = head.lines().next().unwrap().split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap(), first.next().unwrap());
        return Ok(Some(Request { method, path, head, raw }));
    }
}

/// The answer of the server behind, to its end.
async fn forward(behind: &str, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(behind).await?;
    let end = request.raw.windows(2).position(|w| w == b"\r\n").unwrap();
    server.write_all(&request.raw[..end]).await?;
    server.write_all(b"\r\nConnection: close").await?;
    server.write_all(&request.raw[end..]).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

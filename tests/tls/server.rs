//! A server that shows a certificate.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::file;

/// What it does.
#[derive(Clone)]
pub(crate) enum Part {
    /// Shows a certificate, and gives the same answer to every request.
    Answers(&'static str, Arc<str>),
    /// Shows a certificate, and hands on what it hears to the server at this address.
    StandsBefore(&'static str, Arc<str>),
    /// Says these bytes to whoever begins to speak.
    Says(&'static [u8]),
}

pub(crate) struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(part: Part) -> Self {
        Self::start_with(None, part).await
    }

    /// One that says these bytes to the first who comes.
    pub(crate) async fn start_after(bytes: &'static [u8], part: Part) -> Self {
        Self::start_with(Some(Part::Says(bytes)), part).await
    }

    async fn start_with(mut first: Option<Part>, part: Part) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                // A client that goes away is what is tested.
                let part = first.take().unwrap_or_else(|| part.clone());
                open.spawn(serve(stream, part));
            }
        });
        Self { address, connections, task }
    }

    /// Its URL, below which everything is.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How often somebody has come.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve(mut stream: TcpStream, part: Part) -> io::Result<()> {
    let (certificate, behind) = match part {
        Part::Answers(certificate, answer) => {
            let mut session = Session::new(stream, certificate);
            let mut heard = Vec::new();
            loop {
                match session.read().await? {
                    bytes if bytes.is_empty() => return Ok(()),
                    bytes => heard.extend(bytes),
                }
                if is_whole(&heard) {
                    session.write(answer.as_bytes()).await?;
                    session.end().await?;
                    // Until the client has gone: what it says last must not find a closed door.
                    while !session.read().await?.is_empty() {}
                    return Ok(());
                }
            }
        }
        Part::StandsBefore(certificate, address) => (certificate, address),
        Part::Says(bytes) => {
            // All of its greeting, or the connection would be reset under the answer.
            let mut record = [0; 5];
            stream.read_exact(&mut record).await?;
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            stream.read_exact(&mut vec![0; length]).await?;
            stream.write_all(bytes).await?;
            stream.shutdown().await?;
            return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop);
        }
    };
    let mut session = Session::new(stream, certificate);
    let mut server = TcpStream::connect(&*behind).await?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        tokio::select! {
            read = session.stream.read(&mut session.buffer) => {
                let read = read?;
                let bytes = session.decrypted(read).await?;
                server.write_all(&bytes).await?;
                if read == 0 {
                    return Ok(());
                }
            }
            read = server.read(&mut buffer) => match read? {
                0 => return session.end().await,
                read => session.write(&buffer[..read]).await?,
            },
        }
    }
}

/// Whether this is a request with all of its body.
fn is_whole(heard: &[u8]) -> bool {
    let Some(end) = heard.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&heard[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    heard.len() >= end + 4 + length
}

/// TLS on one connection.
struct Session {
    stream: TcpStream,
    tls: ServerConnection,
    buffer: Vec<u8>,
}

impl Session {
    fn new(stream: TcpStream, certificate: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(file(certificate)).unwrap();
        let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        tls.set_buffer_limit(None);
        Self { stream, tls, buffer: vec![0; 1 << 16] }
    }

    /// What the first `read` bytes of the buffer say, which may be nothing.
    async fn decrypted(&mut self, read: usize) -> io::Result<Vec<u8>> {
        let (mut encrypted, mut said) = (&self.buffer[..read], Vec::new());
        let mut problem = None;
        while !encrypted.is_empty() && problem.is_none() {
            self.tls.read_tls(&mut encrypted)?;
            problem = self.tls.process_new_packets().err();
            match self.tls.reader().read_to_end(&mut said) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        // The answer of the handshake, or what is wrong with the client's.
        self.flush().await?;
        problem.map_or(Ok(said), |problem| Err(io::Error::other(problem)))
    }

    /// The next words of the client; none at the end.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            let said = self.decrypted(read).await?;
            if read == 0 || !said.is_empty() {
                return Ok(said);
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        self.flush().await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush().await?;
        self.stream.shutdown().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            let mut encrypted = Vec::new();
            self.tls.write_tls(&mut encrypted)?;
            self.stream.write_all(&encrypted).await?;
        }
        Ok(())
    }
}

/// What servers say that know no TLS after 1.0 or 1.1: that they do not speak the client's, in the
/// bytes of OpenSSL 3.0; or the choice of 1.0 and of 1.1, by those that never heard of newer ones.
pub(crate) const OLD: [(&[u8], &str); 3] = [
    (b"\x15\x03\x03\0\x02\x02\x46", "ProtocolVersion"),
    (
        b"\x16\x03\x01\0\x2a\x02\0\0\x26\x03\x01pmmds pmmds pmmds pmmds pmmds pm\0\xc0\x13\0",
        "Tls12Or13",
    ),
    (
        b"\x16\x03\x02\0\x2a\x02\0\0\x26\x03\x02pmmds pmmds pmmds pmmds pmmds pm\0\xc0\x13\0",
        "Tls12Or13",
    ),
];

/// What a server says that speaks no TLS at its port.
pub(crate) const PLAIN: (&[u8], &str) =
    (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "InvalidContentType");

/// Alerts of a fault that is over a moment later: an internal error, a record that was damaged, and
/// a handshake that was broken off.
pub(crate) const PASSING: [&[u8]; 3] =
    [b"\x15\x03\x03\0\x02\x02\x50", b"\x15\x03\x03\0\x02\x02\x14", b"\x15\x03\x03\0\x02\x02\x5a"];

//! Listening, and leaving in good order.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::log_writer::LogAccount;
use super::routes;
use super::service::{AXUM, Service};
use crate::{Error, ErrorKind};

/// Pause after an accept that failed for want of something, file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Service {
    /// Serves [`router`](Self::router) on `listener` until `shutdown` resolves, then leaves in good
    /// order: readiness turns to 503, requests in flight are finished for at most
    /// [`Limits::drain_timeout`](super::Limits::drain_timeout), the log is flushed. The result
    /// tells how many events were [`lost`](LogAccount::lost); after a good end it is 0.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the address is not a loopback one and there
    /// is no admin token: then anybody could steer the model.
    ///
    /// ```no_run
    /// # async fn run(service: pmmds::axum::Service) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// let stop = async { drop(tokio::signal::ctrl_c().await) };
    /// let account = service.serve(listener, stop).await?;
    /// std::process::exit(i32::from(account.lost > 0));
    /// # }
    /// ```
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<LogAccount, Error> {
        self.serve_app(routes::alone(&self.state), listener, shutdown).await
    }

    /// [`serve`](Self::serve) for an application of which the routes of this service are a part.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// ```no_run
    /// # use pmmds::axum::Service;
    /// # async fn run(service: Service) -> Result<(), Box<dyn std::error::Error>> {
    /// let app = ::axum::Router::new()
    ///     .route("/", ::axum::routing::get(|| async { "The shop is open." }))
    ///     .nest("/ml", service.router());
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let stop = async { drop(tokio::signal::ctrl_c().await) };
    /// service.serve_app(app, listener, stop).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_app(
        &self,
        app: Router,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<LogAccount, Error> {
        let failed = |context: String| Error::new(ErrorKind::InvalidInput, AXUM, context);
        let address = listener
            .local_addr()
            .map_err(|e| failed("the listener has no address".to_owned()).with_source(e))?;
        if !self.state.admin.has_token() {
            if !address.ip().to_canonical().is_loopback() {
                return Err(failed(format!(
                    "{address} is not a loopback address, and there is no admin token: anybody \
                     could steer the model"
                )));
            }
            tracing::warn!(%address, "without an admin token, admin routes are open to this machine");
        }
        tracing::info!(%address, "serving");
        let limits = &self.state.limits;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
        let places = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut open = JoinSet::new();

        let accept = |(stream, peer): (TcpStream, SocketAddr), place, open: &mut JoinSet<()>| {
            // Answers are small; waiting to fill a packet only costs time.
            let _ = stream.set_nodelay(true);
            let service = WithPeer { app: TowerToHyperService::new(app.clone()), peer };
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            open.spawn(async move {
                // A connection ends as its client likes; there is nobody to tell.
                let _ = connection.await;
                drop(place);
            });
        };
        let mut shutdown = pin!(shutdown);
        let mut leave_at = None;
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let leave = async {
                match leave_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut shutdown, if leave_at.is_none() => {
                    tracing::info!("shutting down");
                    self.begin_drain();
                    leave_at = Some(tokio::time::Instant::now() + limits.drain_delay);
                }
                () = leave => break,
                Some(_) = open.join_next() => {}
                (accepted, place) = next => match accepted {
                    Ok(accepted) => accept(accepted, place, &mut open),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = open.len(), "requests in flight are broken off");
        }
        open.shutdown().await;
        Ok(self.shutdown().await)
    }
}

/// Tells the routes who is on the other side.
struct WithPeer {
    app: TowerToHyperService<Router>,
    peer: SocketAddr,
}

impl hyper::service::Service<hyper::Request<Incoming>> for WithPeer {
    type Response = ::axum::response::Response;
    type Error = std::convert::Infallible;
    type Future =
        <TowerToHyperService<Router> as hyper::service::Service<hyper::Request<Body>>>::Future;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        hyper::service::Service::call(&self.app, request)
    }
}

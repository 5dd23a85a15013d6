//! Who may use the admin routes.
//!
//! With a token: whoever sends it as `Authorization: Bearer`. Without one: whoever is on this
//! machine. A `Host` and an `Origin` check keep web pages that a browser on this machine shows from
//! being that somebody. Tokens in query strings are not looked at.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ::axum::extract::{ConnectInfo, Request, State as Shared};
use ::axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::middleware::Next;
use ::axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::state::State;
use crate::schema::Fingerprint;

/// Fewest characters of an admin token.
///
/// ```
/// let token = "from a secret, and long enough to be one";
/// assert!(token.chars().count() >= pmmds::axum::TOKEN_CHARS);
/// ```
pub const TOKEN_CHARS: usize = 32;

/// Names of this machine as it sees itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules for the admin routes.
#[derive(Debug)]
pub(super) struct Admin {
    // hash of the token: nothing to leak, and of one length to compare
    token: Option<Fingerprint>,
    // lower case, without port; empty: any with a token, LOOPBACK without
    hosts: Vec<String>,
    refused: AtomicU64,
}

impl Admin {
    pub(super) fn new(token: Option<&str>, hosts: &[String]) -> Self {
        Self {
            token: token.map(|token| Fingerprint::of_bytes(token.as_bytes())),
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn check(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<(), Problem> {
        let forbidden = |code, message: &str| Problem::new(StatusCode::FORBIDDEN, code, message);
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let authority = text(HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.allows(host_of(&authority)) {
            return Err(forbidden("host_not_allowed", "This host name is not allowed here"));
        }
        let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        let same = |origin: &str| {
            let rest = origin.split_once("://").map_or("", |(_, rest)| rest);
            !rest.is_empty() && rest.eq_ignore_ascii_case(&authority)
        };
        let from_page = text(FETCH_SITE).is_some_and(|s| s != "same-origin" && s != "none");
        if from_page || origin.is_some_and(|origin| !same(origin)) {
            let message = "Pages of other origins may not use this route";
            return Err(forbidden("origin_not_allowed", message));
        }
        let Some(token) = &self.token else {
            return if peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
                Ok(())
            } else {
                let message = "Without an admin token this route is open on loopback only";
                Err(forbidden("loopback_only", message))
            };
        };
        let sent = text(AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, sent)| Fingerprint::of_bytes(sent.trim().as_bytes()));
        let right =
            sent.is_some_and(|sent| sent.as_bytes()[..].ct_eq(&token.as_bytes()[..]).into());
        if right {
            return Ok(());
        }
        let message = "This route needs the admin token as Authorization: Bearer";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
    }

    fn allows(&self, host: &str) -> bool {
        if self.hosts.is_empty() {
            self.has_token() || LOOPBACK.contains(&host)
        } else {
            self.hosts.iter().any(|allowed| allowed == host)
        }
    }
}

/// `authority` without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The middleware before every admin route.
pub(super) async fn guard(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    match state.admin.check(request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            // At 1, 2, 4, 8 ... refusals: guessing does not fill the log.
            let refused = state.admin.refused.fetch_add(1, Ordering::Relaxed) + 1;
            if refused.is_power_of_two() {
                tracing::warn!(refused, ?peer, ?problem, "admin requests were refused");
            }
            problem.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn check(admin: &Admin, headers: &[(&'static str, &str)], peer: &str) -> Result<(), u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let peer = Some(peer.parse().unwrap());
        admin.check(&map, peer).map_err(|problem| problem.into_response().status().as_u16())
    }

    const HERE: &str = "127.0.0.1:40000";
    const THERE: &str = "192.0.2.7:40000";

    #[test]
    fn without_a_token_only_this_machine_may() {
        let admin = Admin::new(None, &[]);
        assert_eq!(check(&admin, &[("host", "localhost:8000")], HERE), Ok(()));
        assert_eq!(check(&admin, &[("host", "[::1]:8000")], "[::1]:4000"), Ok(()));
        assert_eq!(check(&admin, &[("host", "localhost:8000")], "[::ffff:127.0.0.1]:1"), Ok(()));
        assert_eq!(check(&admin, &[("host", "localhost:8000")], THERE), Err(403));
        // Who is on the other side is who connects, whatever headers say.
        for forged in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            let forged = (forged, "for=127.0.0.1");
            assert_eq!(check(&admin, &[("host", "localhost"), forged], THERE), Err(403));
        }
        // DNS rebinding: the browser is here, the page is not.
        assert_eq!(check(&admin, &[("host", "evil.example:8000")], HERE), Err(403));
        assert_eq!(check(&admin, &[], HERE), Err(403));
    }

    #[test]
    fn the_token_is_taken_from_one_place() {
        let admin = Admin::new(Some(TOKEN), &[]);
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(check(&admin, &[("authorization", &bearer)], THERE), Ok(()));
        let lower = format!("bearer {TOKEN}");
        assert_eq!(check(&admin, &[("authorization", &lower)], THERE), Ok(()));
        let wrong = format!("Bearer {TOKEN}x");
        assert_eq!(check(&admin, &[("authorization", &wrong)], THERE), Err(401));
        let basic = format!("Basic {TOKEN}");
        assert_eq!(check(&admin, &[("authorization", &basic)], THERE), Err(401));
        assert_eq!(check(&admin, &[], HERE), Err(401));
        assert!(!format!("{admin:?}").contains(TOKEN));
    }

    #[test]
    fn pages_of_other_origins_may_not() {
        let admin = Admin::new(None, &[]);
        let host = ("host", "localhost:8000");
        for (header, ok) in [
            (("origin", "http://localhost:8000"), true),
            (("origin", "http://localhost:9000"), false),
            (("origin", "https://evil.example"), false),
            (("origin", "null"), false),
            (("sec-fetch-site", "same-origin"), true),
            (("sec-fetch-site", "none"), true),
            (("sec-fetch-site", "cross-site"), false),
        ] {
            assert_eq!(check(&admin, &[host, header], HERE).is_ok(), ok, "{header:?}");
        }
    }

    #[test]
    fn a_list_of_hosts_holds_with_a_token_too() {
        let admin = Admin::new(Some(TOKEN), &["ML.example".to_owned()]);
        let bearer = format!("Bearer {TOKEN}");
        let auth = ("authorization", bearer.as_str());
        assert_eq!(check(&admin, &[("host", "ml.example:443"), auth], THERE), Ok(()));
        assert_eq!(check(&admin, &[("host", "other.example"), auth], THERE), Err(403));
    }
}

//! Requests by route, method and status.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::axum::http::{Method, StatusCode};
use arc_swap::ArcSwap;

use super::family::{Sample, Value};
use super::histogram::Histogram;

/// Most routes that are told apart; an application that nests more has them counted as one.
const MOST_ROUTES: usize = 128;

/// What the rest is called.
const OTHER: &str = "other";

/// The methods that are told apart.
const METHODS: [&str; 4] = ["GET", "POST", "HEAD", OTHER];

/// From 100 to 599, as HTTP has them.
const STATUSES: usize = 500;

/// The counts of one route.
#[derive(Debug, Default)]
pub(in super::super) struct RouteCounts {
    // as METHODS; made when first used
    by_method: [OnceLock<Box<[AtomicU64]>>; METHODS.len()],
    latency: Histogram,
}

impl RouteCounts {
    pub(in super::super) fn observe(&self, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.iter().position(|name| *name == method.as_str());
        let counts = &self.by_method[known.unwrap_or(METHODS.len() - 1)];
        let counts = counts.get_or_init(|| (0..STATUSES).map(|_| AtomicU64::new(0)).collect());
        if let Some(count) = counts.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.latency.observe(took);
    }
}

/// The counts of every route, found without a lock.
#[derive(Debug, Default)]
pub(in super::super) struct Requests {
    // by the path as it is routed; replaced when a route answers for the first time
    routes: ArcSwap<HashMap<Arc<str>, Arc<RouteCounts>>>,
}

impl Requests {
    /// The counts of `route`.
    pub(in super::super) fn route(&self, route: &str) -> Arc<RouteCounts> {
        if let Some(known) = self.routes.load().get(route) {
            return Arc::clone(known);
        }
        self.routes.rcu(|routes| {
            let mut routes = HashMap::clone(routes);
            if !routes.contains_key(route) {
                let name = if routes.len() < MOST_ROUTES { route } else { OTHER };
                routes.entry(Arc::from(name)).or_default();
            }
            routes
        });
        let routes = self.routes.load();
        routes.get(route).or_else(|| routes.get(OTHER)).map(Arc::clone).unwrap_or_default()
    }

    /// The counts and the times, in the order of the routes.
    pub(super) fn samples(&self) -> (Vec<Sample>, Vec<Sample>) {
        let routes = self.routes.load();
        let mut routes: Vec<_> = routes.iter().collect();
        routes.sort_by_key(|(route, _)| Arc::clone(route));
        let (mut counts, mut latencies) = (Vec::new(), Vec::new());
        for (route, found) in routes {
            for (method, by_status) in METHODS.iter().zip(&found.by_method) {
                let by_status = by_status.get().map_or(&[][..], |counts| counts);
                for (status, count) in (100_u16..).zip(by_status) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = vec![
                            ("route", route.to_string()),
                            ("method", (*method).to_owned()),
                            ("status", status.to_string()),
                        ];
                        counts.push(Sample::new(labels, Value::Count(count)));
                    }
                }
            }
            let labels = vec![("route", route.to_string())];
            latencies.push(Sample::new(labels, found.latency.value()));
        }
        (counts, latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_methods_are_bounded() {
        let requests = Requests::default();
        for number in 0..10 * MOST_ROUTES {
            let counts = requests.route(&format!("/{number}"));
            counts.observe(&Method::PUT, StatusCode::OK, Duration::ZERO);
            counts.observe(&Method::DELETE, StatusCode::OK, Duration::ZERO);
        }
        let (counts, latencies) = requests.samples();
        assert_eq!((counts.len(), latencies.len()), (MOST_ROUTES + 1, MOST_ROUTES + 1));
        let total = counts.iter().map(|sample| match sample.value {
            Value::Count(count) => count,
            _ => panic!("a count"),
        });
        assert_eq!(total.sum::<u64>(), 20 * MOST_ROUTES as u64, "none is lost");
        assert!(counts.iter().all(|sample| sample.labels[1].1 == OTHER));
    }
}

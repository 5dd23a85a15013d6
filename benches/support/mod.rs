//! What every bench shares: times of alternatives taken in turn, and a ratio with its limit in a
//! line of its own, since criterion prints neither.
//!
//! Include it with `mod support;`. A bench that is run as a test runs each body once and prints
//! nothing that looks like a measurement.

#![allow(dead_code, reason = "no bench uses all of it")]

pub(crate) mod data;

use std::time::Instant;

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod traffic;

/// What a figure has to keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// not more than this
    AtMost(f64),
    /// not less than this
    AtLeast(f64),
    /// it is only told
    None,
}

/// Whether this run measures (`cargo bench`) or only tries the bodies (`cargo test --benches`).
pub(crate) fn measured() -> bool {
    let mut bench = false;
    for argument in std::env::args() {
        match argument.as_str() {
            "--test" | "--list" => return false,
            "--bench" => bench = true,
            _ => {}
        }
    }
    bench
}

/// Median seconds of each of `bodies`. They run in turn, `rounds` times, so that what else the
/// machine does falls on all of them alike; the first round warms up and does not count.
pub(crate) fn medians<const N: usize>(
    rounds: usize,
    mut bodies: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    let rounds = if measured() { rounds } else { 0 };
    for round in 0..=rounds {
        for (times, body) in times.iter_mut().zip(&mut bodies) {
            let start = Instant::now();
            body();
            if round > 0 || rounds == 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    times.map(|mut times: Vec<f64>| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Prints `kernel 10 bins / plain sum: 5.40 (limit 8)`, from times, or whatever else they count.
pub(crate) fn ratio(what: &str, baseline: &str, a: f64, b: f64, limit: Limit) {
    figure(&format!("{what} / {baseline}"), a / b, "", limit);
}

/// Prints `kernel 10 bins: 0.44 ns per value (limit 1)`.
pub(crate) fn figure(what: &str, value: f64, unit: &str, limit: Limit) {
    if !measured() {
        return;
    }
    let (kept, limit) = match limit {
        Limit::AtMost(most) => (value <= most, format!(" (limit {most})")),
        Limit::AtLeast(least) => (value >= least, format!(" (at least {least})")),
        Limit::None => (true, String::new()),
    };
    let space = if unit.is_empty() { "" } else { " " };
    let missed = if kept { "" } else { " MISSED" };
    println!("{what}: {value:.3}{space}{unit}{limit}{missed}");
}

//! How often does a drift rule cry wolf, and how often does it see one? By simulation, on data with
//! a known truth:
//!
//! ```text
//! cargo run --release --example detection_quality -- --data telco-customer-churn.csv
//! ```
//!
//! Reference and window are drawn, with replacement, from the same population: the real Telco file,
//! columns of heavy ties, or one category with many rare levels. In some windows the truth was
//! changed. Every rule sees the same draws; what it flags is counted. The rules of other systems
//! stand beside ours, as does ours without its test of significance.
//!
//! Takes some ten minutes on two cores; `--windows 100 --drifted-windows 30` is a first look. `--seed`
//! draws everything anew: what is reported was not tuned on the seed that it is reported for.

mod cells;
mod population;
mod rules;
mod table;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use cells::{Cell, Counted};
use population::{Change, Population};

/// A result whose error is for a person.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// PSI from which every rule with a fixed threshold flags, and from which a feature has truly
/// drifted.
const THRESHOLD: f64 = 0.2;

/// False-alarm and detection rates of drift rules, by simulation.
#[derive(Debug, Clone, Parser)]
#[command(name = "detection_quality", version)]
struct Arguments {
    /// IBM's Telco file; `full_stack download-data` leaves it where the default looks
    #[arg(long, value_name = "FILE", default_value = ".pmmds/data/telco-customer-churn.csv")]
    data: PathBuf,
    /// Windows per cell without drift; two fifths of them above 200 rows, a fifth above 1,000
    #[arg(long, default_value_t = NonZeroUsize::new(5_000).expect("not 0"))]
    windows: NonZeroUsize,
    /// Windows per cell with drift; two fifths of them above 200 rows, a fifth above 1,000
    #[arg(long, default_value_t = NonZeroUsize::new(200).expect("not 0"))]
    drifted_windows: NonZeroUsize,
    /// Rows of each reference; a new one is drawn for every window
    #[arg(long, default_value_t = NonZeroUsize::new(5_000).expect("not 0"))]
    reference: NonZeroUsize,
    /// Rows of the windows
    #[arg(long, value_delimiter = ',', default_values_t = [100, 200, 500, 1_000, 10_000])]
    rows: Vec<usize>,
    /// What everything is drawn by
    #[arg(long, default_value_t = 3)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<ExitCode> {
    let path = arguments.data.display();
    let csv = std::fs::read(&arguments.data).map_err(|error| {
        format!(
            "cannot read {path}: {error}; `make download-data` fetches it, or name it by --data"
        )
    })?;
    let mut populations = vec![Population::telco(&csv)?, Population::ties()?];
    for levels in [10, 50, 100] {
        populations.push(Population::zipf(levels)?);
    }
    let cells = simulate(arguments, &populations)?;
    print!("{}", table::Tables::new(arguments, &populations, &cells));
    Ok(ExitCode::SUCCESS)
}

/// Every cell of the table, on all cores. The draws of a window depend on the seed, the cell and the
/// window alone, so that the number of cores changes nothing.
fn simulate(arguments: &Arguments, populations: &[Population]) -> Outcome<Vec<Counted>> {
    let mut cells = Vec::new();
    for population in populations {
        for change in Change::ALL {
            for &rows in &arguments.rows {
                let windows = match change {
                    Change::None => arguments.windows,
                    _ => arguments.drifted_windows,
                };
                // The more rows, the less is left to chance and the longer it takes.
                let windows = match rows {
                    ..=200 => windows.get(),
                    201..=1_000 => (windows.get() * 2 / 5).max(1),
                    _ => (windows.get() / 5).max(1),
                };
                cells.push(Cell { population, change, rows, windows });
            }
        }
    }
    let bar = ProgressBar::new(cells.iter().map(|cell| cell.windows as u64).sum());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} windows, {eta} left")?);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counted = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(cell) = cells.get(at) else { return Ok(counted) };
            counted.push((at, cell.count(arguments, at, &bar)?));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let parts: Vec<Outcome<Vec<(usize, Counted)>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(part) => part,
            Err(_) => Err("a worker stopped".into()),
        };
        workers.into_iter().map(joined).collect()
    });
    bar.finish_and_clear();
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, counted)| counted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_quiet_without_drift_and_sees_a_strong_one() {
        let arguments = Arguments::parse_from([
            "detection_quality",
            "--windows=40",
            "--drifted-windows=20",
            "--rows=500",
            "--reference=2000",
        ]);
        let cells = simulate(&arguments, &[Population::ties().unwrap()]).unwrap();
        let ours = rules::all().iter().position(|rule| rule.is_ours()).unwrap();
        let rate = |change: Change| {
            let cell = cells.iter().find(|cell| cell.change == change).unwrap();
            cell.hits[ours].share()
        };
        assert!(rate(Change::None) <= 0.05, "{}", rate(Change::None));
        assert!(rate(Change::Strong) >= 0.95, "{}", rate(Change::Strong));
    }
}

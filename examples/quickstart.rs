//! A first drift report from two CSV files:
//!
//! ```text
//! cargo run --example quickstart -- reference.csv current.csv
//! ```
//!
//! Without files it makes two of its own, parcels of March and of April, and compares those.

use std::error::Error;
use std::fmt::Write as _;

use pmmds::csv::{Reader, read_table};
use pmmds::drift::{Counts, DriftDetector, DriftReport, Profile};
use pmmds::record::{Columns, Table};
use pmmds::schema::FeatureSchema;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let (reference, current) = match paths.as_slice() {
        [reference, current] => (read_table(reference)?, read_table(current)?),
        [] => (parcels(2_000, Month::March)?, parcels(600, Month::April)?),
        _ => return Err("give two CSV files, or none".into()),
    };
    print!("{}", compare(&reference, &current)?);
    Ok(())
}

fn compare(reference: &Table, current: &Table) -> Result<DriftReport, Box<dyn Error>> {
    // 1. What the columns are. A proposal, to be reviewed and kept: `inferred.schema().to_toml()`.
    let inferred = FeatureSchema::infer(reference).build()?;
    println!("{inferred}");

    // 2. What the reference looks like, frozen: bins, levels, exact counts. It serialises to JSON
    //    and belongs to the model that was trained on these rows.
    let reference = Columns::read(inferred.schema(), reference)?;
    let profile = Profile::fit(&reference.batch())?;

    // 3. What came in, counted by the same bins. Counts of shards and of hours add up exactly.
    let current = Columns::read(inferred.schema(), current)?;
    let counts = Counts::of(&profile, &current.batch(), None)?;

    // 4. What changed. `serde_json::to_string(&report)` has every number behind the table.
    Ok(DriftDetector::default().detect(&profile, &counts))
}

#[derive(Clone, Copy, PartialEq)]
enum Month {
    March,
    April,
}

/// Made-up parcels. In April a new zone opens, parcels get heavier, one scale in ten fails, and
/// more senders declare a value.
fn parcels(rows: u32, month: Month) -> Result<Table, pmmds::Error> {
    let april = month == Month::April;
    let mut random = Random(if april { 4 } else { 3 });
    let mut csv = String::from("parcel_id,weight_kg,zone,express,declared_value\n");
    for row in 0..rows {
        let zone = match random.share() {
            x if april && x < 0.15 => "island",
            x if x < 0.6 => "city",
            _ => "country",
        };
        // The sum of two draws: most parcels are of a middling weight.
        let weight = (random.share() + random.share()) * if april { 6.0 } else { 5.0 };
        let broken = april && random.share() < 0.1;
        let weight = if broken { String::new() } else { format!("{weight:.2}") };
        let express = if random.share() < 0.3 { "yes" } else { "no" };
        let declared = random.share() < if april { 0.6 } else { 0.33 };
        let value = if declared { random.share() * 500.0 } else { 0.0 };
        let _ = writeln!(csv, "p{row},{weight},{zone},{express},{value:.0}");
    }
    Reader::new().read(csv.as_bytes())
}

/// Numbers that look random and are the same every time (G. Marsaglia's xorshift).
struct Random(u64);

impl Random {
    /// At least 0, below 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bits = u32::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_what_this_prints() {
        let report =
            compare(&parcels(2_000, Month::March).unwrap(), &parcels(600, Month::April).unwrap());
        let report = report.unwrap().to_string();
        let readme = include_str!("../README.md");
        assert!(readme.contains(report.trim_end()), "not in README.md:\n{report}");
    }
}

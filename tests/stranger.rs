//! A stranger's file: other columns, another domain, nothing but the public API.
//!
//! Bicycles: stations as text, temperature with a decimal point, member yes or no, rain that is
//! mostly zero, a column of ids.

use std::fmt::Write as _;

use pmmds::csv::Reader;
use pmmds::drift::{
    Counts, DriftDetector, DriftReport, FeatureStatus, Profile, Severity, Signal, Verdict,
};
use pmmds::record::{Columns, Table};
use pmmds::schema::{FeatureKind, FeatureSchema, infer::Reason};

/// Numbers that look random and are the same every time: a hash of row and column.
fn draw(row: u32, column: u32, seed: u32) -> f64 {
    let mut x = u64::from(seed) << 48 | u64::from(column) << 32 | u64::from(row);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((x ^ x >> 31) >> 32).unwrap()) / f64::from(u32::MAX)
}

const STATIONS: [&str; 5] = ["Central, north exit", "Quai d'Été", "Harbour", "Museum", "Żoliborz"];

/// Rides of an ordinary month.
fn rides(rows: u32, seed: u32) -> String {
    rides_with(rows, seed, |_, _, _| {})
}

/// Rides of a month, each changed by `change`, which gets the row, the temperature and the rain.
fn rides_with(rows: u32, seed: u32, change: impl Fn(u32, &mut f64, &mut f64)) -> String {
    let mut csv = String::from("ride_id,start_station,temperature,member,rain_mm,minutes\r\n");
    for row in 0..rows {
        let at = |column| draw(row, column, seed);
        let station = STATIONS.iter().zip([0.4, 0.65, 0.8, 0.92, 1.1]).find(|(_, x)| at(0) < *x);
        let mut temperature = 6.0_f64.mul_add(at(1) + at(2), 8.0);
        let mut rain = if at(3) < 0.85 { 0.0 } else { 12.0 * at(4) };
        change(row, &mut temperature, &mut rain);
        let member = if at(5) < 0.7 { "yes" } else { "no" };
        let minutes = 43.0 * at(6) * at(7);
        let station = station.unwrap().0;
        write!(
            csv,
            "R-{seed}-{row},\"{station}\",{temperature:.1},{member},{rain:.1},{minutes:.0}\r\n"
        )
        .unwrap();
    }
    csv
}

fn read(csv: &str) -> Table {
    Reader::new().read(csv.as_bytes()).unwrap()
}

/// File, schema, profile, counts, report; schema and profile go through their files on the way.
fn report(reference: &str, current: &str) -> DriftReport {
    let table = read(reference);
    let inferred = FeatureSchema::infer(&table).build().unwrap();
    let schema = FeatureSchema::from_toml(&inferred.schema().to_toml()).unwrap().into();
    let profile = Profile::fit(&Columns::read(&schema, &table).unwrap().batch()).unwrap();
    let profile: Profile = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
    let current = Columns::read(&schema, &read(current)).unwrap();
    let counts = Counts::of(&profile, &current.batch(), None).unwrap();
    DriftDetector::default().detect(&profile, &counts)
}

#[test]
fn the_schema_is_what_a_person_would_say() {
    let table = read(&rides(2_000, 1));
    let inferred = FeatureSchema::infer(&table).build().unwrap();
    let kind = |name: &str| {
        let schema = inferred.schema();
        schema.get(schema.id(name).unwrap()).unwrap().kind().clone()
    };
    assert!(
        matches!(kind("start_station"), FeatureKind::Categorical { levels, .. } if levels.len() == 5)
    );
    assert!(
        matches!(kind("member"), FeatureKind::Categorical { levels, .. } if levels == ["no", "yes"])
    );
    assert!(matches!(kind("temperature"), FeatureKind::Numeric { integer: false, .. }));
    assert!(matches!(kind("rain_mm"), FeatureKind::Numeric { integer: false, .. }));
    assert!(matches!(kind("minutes"), FeatureKind::Numeric { integer: true, .. }));
    let [left_out] = inferred.left_out() else { panic!("{inferred}") };
    assert_eq!(left_out.column(), "ride_id");
    assert_eq!(*left_out.reason(), Reason::Identifier { rows: 2_000 });
}

#[test]
fn another_month_like_the_last_is_stable() {
    for (seed, rows) in (2..12).zip([100, 150, 300, 500, 800, 1_000, 1_500, 2_000, 3_000, 5_000]) {
        let report = report(&rides(2_000, 1), &rides(rows, seed));
        assert_eq!(report.verdict, Verdict::Stable, "{report}");
        assert_eq!(report.signals, [], "{report}");
    }
}

#[test]
fn a_warm_and_dry_month_is_found_and_named() {
    let warm = rides_with(600, 2, |_, temperature, rain| {
        *temperature += 4.0;
        *rain = 0.0;
    });
    let report = report(&rides(2_000, 1), &warm);
    assert_eq!(report.verdict, Verdict::FeatureDrift, "{report}");
    let drifted: Vec<&str> = report.drifted().map(|feature| feature.name.as_str()).collect();
    assert_eq!(drifted, ["temperature", "rain_mm"], "{report}");
    assert_eq!(report.features[0].severity, Severity::Major);
    assert!(report.features[0].sentence.starts_with("mean 14.0 -> 17.9; "), "{report}");
    // Zero has a bin of its own, so that its share can be seen to rise.
    let zero = report.feature("rain_mm").unwrap().slots.iter().find(|slot| slot.label == "0");
    assert_eq!(zero.map(|slot| slot.current), Some(600), "{:?}", report.feature("rain_mm"));
    for name in ["start_station", "member", "minutes"] {
        assert_eq!(report.feature(name).unwrap().status, FeatureStatus::Stable, "{report}");
    }
}

#[test]
fn a_new_station_and_a_broken_thermometer_are_found() {
    let current = rides_with(600, 2, |row, temperature, _| {
        if row % 5 == 0 {
            *temperature = f64::NAN;
        }
    });
    let current = current.replace("Museum", "Airport");
    let report = report(&rides(2_000, 1), &current);
    let missing = |signal: &Signal| matches!(signal, Signal::MissingValues { feature, .. } if feature == "temperature");
    let unseen = |signal: &Signal| matches!(signal, Signal::UnseenCategories { feature, .. } if feature == "start_station");
    assert!(report.signals.iter().any(missing), "{report}");
    assert!(report.signals.iter().any(unseen), "{report}");
    assert_eq!(report.feature("temperature").unwrap().sentence, "missing 0.0 % -> 20.0 %");
    assert_eq!(report.drifted().count(), 2, "{report}");
}

#[test]
fn a_file_without_the_columns_says_which() {
    let schema = FeatureSchema::infer(&read(&rides(50, 1))).build().unwrap();
    let error = Columns::read(schema.schema(), &read("minutes,rain_mm\n3,0.0\n")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the table has no column for: start_station, temperature, member",
    );
}

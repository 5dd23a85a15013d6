//! The bare core as a stranger uses it: no feature of pmmds, no runtime, no file.

#[cfg(test)]
mod tests {
    use pmmds::drift::{Counts, DriftDetector, Profile, Verdict};
    use pmmds::memory::{MemoryLedger, MemoryLog, MemoryRegistry};
    use pmmds::record::{Columns, Table, decode_row};
    use pmmds::schema::FeatureSchema;
    use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};

    fn table(shift: u32) -> Table {
        let row =
            |i: u32| [(i % 50 + shift).to_string(), ["basic", "gold"][(i % 2) as usize].into()];
        Table::from_rows(["tenure", "plan"], (0..500).map(row)).unwrap()
    }

    #[test]
    fn from_texts_to_a_verdict() {
        let reference = table(0);
        let inferred = FeatureSchema::infer(&reference).build().unwrap();
        let schema = inferred.schema();
        let profile = Profile::fit(&Columns::read(schema, &reference).unwrap().batch()).unwrap();
        let verdict = |shift| {
            let live = Columns::read(schema, &table(shift)).unwrap();
            let counts = Counts::of(&profile, &live.batch(), None).unwrap();
            DriftDetector::default().detect(&profile, &counts).verdict
        };
        assert_eq!(verdict(0), Verdict::Stable);
        assert_eq!(verdict(30), Verdict::FeatureDrift);
    }

    #[test]
    fn from_a_payload_to_its_problems() {
        let inferred = FeatureSchema::infer(&table(0)).build().unwrap();
        let validator = SchemaValidator::new(inferred.schema().clone());
        let mut found = Violations::new();
        let row = decode_row(validator.schema(), br#"{"plan": 3}"#, &mut found).unwrap();
        validator.validate(&row, &mut found);
        assert_eq!(found.error_count(), 2);
    }

    #[test]
    fn the_stores_in_memory_need_nothing_either() {
        let clock = || pmmds::Timestamp::EPOCH;
        let _ =
            (MemoryRegistry::new(), MemoryLog::with_clock(clock), MemoryLedger::with_clock(clock));
    }
}

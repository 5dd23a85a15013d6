use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::conformance::traffic::Traffic;
use crate::drift::Profile;
use crate::model::Task;
use crate::record::{Batch, decode_row};
use crate::schema::{Feature, FeatureSchema};
use crate::validate::Violations;

/// What the first release wrote: see [`golden`].
static GOLDEN: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(FILE).unwrap());

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/log/wire/batch-1.bin");

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number << 64 | 0x0102_0304)
}

/// A batch with everything that a batch can have.
fn golden() -> EventBatch {
    let traffic = Traffic::new();
    let version = VersionId::new(300).unwrap();
    let mut batch =
        EventBatch::new(BatchId(id(9)), traffic.model.clone(), version, &traffic.profile);
    let given = [
        (1, 1, -77, 0.25, Some("{\"x\":0.1}"), 0),
        (2, 77, 1_772_366_400_123_456, 1.0, None, u64::MAX),
        (3, 3, 1_772_366_400_123_455, 5e-324, Some("{\"plan\":\"é\\u0000\u{1f600}\"}"), 51),
    ];
    for (event, request, at, score, features, latency) in given {
        let at = Timestamp::from_micros(at).unwrap();
        let row = decode_row(&traffic.schema, br#"{"x": 2.5}"#, &mut Violations::new()).unwrap();
        let prediction = Task::binary().prediction(score).unwrap();
        let codes = traffic.profile.encode(&row, score);
        let latency = Duration::from_micros(latency);
        let mut event = InferenceEvent::new(id(event), id(request), at, prediction, latency, codes);
        event.features = features.map(str::to_owned);
        event.correlation_id = (event.id == id(3)).then(|| "checkout-7".parse().unwrap());
        batch.push(&traffic.profile, &row, event);
    }
    let mut problems = Violations::new();
    let _ = decode_row(&traffic.schema, br#"{"x": "one"}"#, &mut problems);
    batch.push_rejected(&traffic.schema, &problems);
    batch
}

#[test]
fn the_form_of_the_first_release_is_still_read_and_written() {
    assert_eq!(EventBatch::from_bytes(&GOLDEN).unwrap(), golden());
    assert_eq!(golden().to_bytes(), *GOLDEN);
}

#[test]
fn what_has_no_events_or_no_label_comes_back() {
    let traffic = Traffic::new();
    let empty = traffic.batch(1, 0);
    let amounts = traffic.predicting(2, 3, Task::Regression, -1.5e300);
    for batch in [empty, amounts, traffic.batch(3, 500)] {
        assert_eq!(EventBatch::from_bytes(&batch.to_bytes()).unwrap(), batch);
    }
}

#[test]
fn numbers_of_any_size_come_back() {
    let mut out = Vec::new();
    let (plain, signed) =
        ([0, 1, 127, 128, 1 << 62, u64::MAX], [0, -1, 1, 63, -64, 64, i64::MAX, i64::MIN]);
    plain.iter().for_each(|number| put_number(&mut out, *number));
    signed.iter().for_each(|number| put_signed(&mut out, *number));
    let mut input = Input(&out);
    plain.iter().for_each(|number| assert_eq!(input.number("n"), Ok(*number)));
    signed.iter().for_each(|number| assert_eq!(input.signed("n"), Ok(*number)));
    assert!(input.0.is_empty());
    assert!(Input(&[0xff; 11]).number("n").is_err());
}

fn altered(change: impl FnOnce(&mut EventBatch)) -> WireError {
    let mut batch = golden();
    change(&mut batch);
    EventBatch::from_bytes(&batch.to_bytes()).unwrap_err()
}

#[test]
fn counts_of_other_events_are_refused() {
    let missing = altered(|batch| drop(batch.events.pop()));
    let why = "the counts of a batch cannot be: 3 rows, 3 summarised, of 2 events";
    assert_eq!(missing.to_string(), why);
    let other = altered(|batch| batch.events[0].codes = Codes::from_bytes([0, 0]));
    assert!(other.to_string().ends_with("the codes of the events say something else"), "{other}");
    let beyond = altered(|batch| batch.events[0].codes = Codes::from_bytes([250, 0]));
    assert!(matches!(beyond, WireError::Value { what: "the codes", .. }), "{beyond}");
}

#[test]
fn a_number_takes_no_memory_that_the_bytes_do_not_pay_for() {
    let batch = Traffic::new().batch(1, 0);
    let mut bytes = batch.to_bytes();
    // The last byte is the number of events.
    bytes.pop();
    put_number(&mut bytes, u64::MAX);
    let error = EventBatch::from_bytes(&bytes).unwrap_err();
    assert_eq!(error, WireError::Short { what: "the events" });
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    for end in 0..GOLDEN.len() {
        assert!(EventBatch::from_bytes(&GOLDEN[..end]).is_err(), "the first {end} bytes");
    }
    let longer = [&GOLDEN[..], b"!"].concat();
    let error = EventBatch::from_bytes(&longer).unwrap_err();
    assert_eq!(error, WireError::Long { bytes: 1 });
}

proptest! {
    #[test]
    fn random_batches_come_back(
        scores in prop::collection::vec((0.0_f64..=1.0, any::<i32>(), any::<u128>(), any::<Option<String>>()), 0..40),
        xs in prop::collection::vec(prop::num::f64::ANY, 40),
    ) {
        let schema = FeatureSchema::new([Feature::numeric("x").nullable()]).unwrap();
        let data = ndarray::Array2::from_shape_vec((40, 1), xs).unwrap();
        let rows = Batch::from_array(&schema, data.view()).unwrap();
        let profile = Profile::fit(&rows).unwrap();
        let name: ModelName = "a-model".parse().unwrap();
        let mut batch = EventBatch::new(BatchId(id(1)), name, VersionId::FIRST, &profile);
        for (number, (score, at, uuid, features)) in scores.into_iter().enumerate() {
            let row = rows.row(number);
            let at = Timestamp::from_micros(i64::from(at) * 1_000_003).unwrap();
            let prediction = Task::binary().prediction(score).unwrap();
            let codes = profile.encode(&row, score);
            let latency = Duration::from_micros(number as u64 * 1_000);
            let uuid = Uuid::from_u128(uuid);
            let mut event = InferenceEvent::new(uuid, uuid, at, prediction, latency, codes);
            event.features = features;
            batch.push(&profile, &row, event);
        }
        prop_assert_eq!(EventBatch::from_bytes(&batch.to_bytes()).unwrap(), batch);
    }

    // What is read in spite of the change is a whole batch, whose counts are those of its events.
    #[test]
    fn no_bytes_make_it_panic(
        flips in prop::collection::vec((0..GOLDEN.len(), any::<u8>()), 1..6),
        end in 0..=GOLDEN.len(),
    ) {
        let mut bytes = GOLDEN.to_vec();
        flips.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        for bytes in [&bytes[..], &bytes[..end]] {
            if let Ok(batch) = EventBatch::from_bytes(bytes) {
                prop_assert_eq!(batch.counts().rows(), batch.events().len() as u64);
                prop_assert_eq!(EventBatch::from_bytes(&batch.to_bytes()).unwrap(), batch);
            }
        }
    }

    #[test]
    fn random_bytes_are_no_batch(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(EventBatch::from_bytes(&bytes).is_err());
        if let Some(first) = bytes.first_mut() {
            *first = WIRE_VERSION;
        }
        prop_assert!(EventBatch::from_bytes(&bytes).is_err());
    }
}

/// Writes the golden file of a new form; an old one never changes.
#[test]
#[ignore = "writes a file of the repository"]
fn write_golden() {
    std::fs::write(FILE, golden().to_bytes()).unwrap();
}

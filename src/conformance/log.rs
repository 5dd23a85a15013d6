//! What every [`InferenceLog`] has to do.
//!
//! [`all`] runs every clause. A clause by itself takes a log and a model that nobody has used:
//!
//! ```
//! use pmmds::Timestamp;
//! use pmmds::conformance::log::{self, Options};
//! use pmmds::memory::MemoryLog;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
//! log::all(async || MemoryLog::with_clock(move || noon), &Options::new()).await;
//!
//! let model = Options::new().model("outcomes");
//! log::outcomes(&MemoryLog::with_clock(move || noon), &model).await;
//! # }
//! ```

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

use super::join_all;
use crate::drift::{Counts, Profile, ProfileOptions};
use crate::log::{
    Appended, BatchId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, MAX_CORRELATION_BYTES, Outcome, OutcomeReceipt, Page,
};
use crate::model::{Prediction, Task};
use crate::record::{Columns, Row, Value, decode_row};
use crate::registry::{ModelName, VersionId};
use crate::schema::{Feature, FeatureSchema, Fingerprint, LevelId};
use crate::validate::Violations;
use crate::{ErrorKind, Timestamp, Window};

/// How the suite is run; nothing that the contract says.
///
/// ```
/// use pmmds::conformance::log::Options;
///
/// // A server that keeps what earlier runs of the suite wrote.
/// let options = Options::new().prefix("run-17").batches(20);
/// assert_eq!(options.model("pages").as_str(), "run-17-pages");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    // begins a model name
    prefix: String,
    // at least 2
    racers: usize,
    batches: u32,
    seed: u64,
    unique_requests: bool,
    deferred: bool,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        let prefix = "conformance".to_owned();
        Self { prefix, racers: 8, batches: 60, seed: 1, unique_requests: false, deferred: false }
    }

    /// What the names of all models begin with, and what all ids are made of. Another one for each
    /// run makes a server fresh that keeps what it was given. Defaults to `conformance`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many callers race for one thing, at least 2. Defaults to 8.
    pub fn racers(mut self, racers: usize) -> Self {
        self.racers = racers.max(2);
        self
    }

    /// How many random batches are counted in random windows, at least 1. Defaults to 60.
    pub fn batches(mut self, batches: u32) -> Self {
        self.batches = batches.max(1);
        self
    }

    /// Seed of the random batches and windows. Defaults to 1.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The log was told to keep one event per request id and model. Defaults to one that keeps all.
    pub fn unique_requests(mut self) -> Self {
        self.unique_requests = true;
        self
    }

    /// The log takes batches in before it asks the store, so that what the store refuses for ever is
    /// known only later, and left out. Defaults to one that answers for the store.
    pub fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }

    /// The model of the clause `clause`.
    ///
    /// # Panics
    ///
    /// When the prefix cannot begin a model name.
    #[must_use]
    pub fn model(&self, clause: &str) -> ModelName {
        let name = ModelName::new(format!("{}-{clause}", self.prefix));
        name.unwrap_or_else(|problem| panic!("prefix {:?}: {problem}", self.prefix))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs every clause, each on a fresh log from `make`.
///
/// "Fresh" means without the models of [`Options::prefix`], and without events and outcomes from
/// before 1900; one server may stand behind all of them.
///
/// # Panics
///
/// When a clause is broken.
pub async fn all<L, Made>(make: impl Fn() -> Made + Send + Sync, options: &Options)
where
    L: InferenceLog,
    Made: Future<Output = L> + Send,
{
    macro_rules! run {
        ($($clause:ident $(($($option:ident),+))?),+ $(,)?) => {$(
            let model = options.model(stringify!($clause));
            $clause(&make().await, &model $($(, options.$option)+)?).await;
        )+};
    }
    run!(
        nothing_there,
        once,
        racing_appends(racers),
        whole_or_not_at_all(deferred),
        dropped_appends,
        random_windows(batches, seed),
        apart,
        rejections_alone(deferred),
        round_trip,
        extreme_numbers,
        regressions,
        large_batch,
        pages,
        outcomes,
        labelled(unique_requests),
        purge,
        clock,
    );
    if options.unique_requests {
        run!(unique_requests);
    }
}

// What the clauses write. All of it follows from the name of the model, so that a clause that runs
// again on a server that keeps things needs no more than another name.

/// 2024-05-01T00:00:00Z.
const START: i64 = 1_714_521_600_000_000;
const SECOND: i64 = 1_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros).expect("a year of four digits")
}

fn window(start: i64, end: i64) -> Window {
    Window::new(at(start), at(end)).expect("start before end")
}

const YEAR: i64 = 365 * 86_400 * SECOND;

/// Everything that the clauses write, but for refused requests: from 1874 to 2099.
fn ever() -> Window {
    window(OLD, 76 * YEAR)
}

/// 1874: what is purged is from before everything else, which is from 1901 on.
const OLD: i64 = -150 * YEAR;

fn id(model: &ModelName, what: &str, number: u64) -> Uuid {
    let print = Fingerprint::of_bytes(format!("{model} {what} {number}").as_bytes());
    Uuid::from_u128(print.as_bytes()[..16].iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn version(number: u64) -> VersionId {
    VersionId::new(number).expect("from 1")
}

struct Traffic<'m> {
    model: &'m ModelName,
    schema: Arc<FeatureSchema>,
    profile: Profile,
    // of the same schema, with other edges
    other: Profile,
}

impl<'m> Traffic<'m> {
    fn new(model: &'m ModelName) -> Self {
        let features = [
            Feature::numeric("x").nullable(),
            Feature::integer("months"),
            Feature::categorical("plan", ["basic", "pro \"é\""]).nullable(),
        ];
        let schema = Arc::new(FeatureSchema::new(features).expect("three features"));
        let percent = |row: u8| f64::from(row) / 100.0;
        let (profile, other) = (fit(&schema, 0.0, percent), fit(&schema, 3.0, percent));
        Self { model, schema, profile, other }
    }

    fn row(&self, number: u64) -> Row {
        let mut row = Row::missing(&self.schema);
        let small =
            |modulus: u64| f64::from(u32::try_from(number % modulus).expect("a small modulus"));
        if !number.is_multiple_of(11) {
            set(&self.schema, &mut row, 0, Value::Number(small(23) / 1.5 - 1.0));
        }
        set(&self.schema, &mut row, 1, Value::Number(small(30)));
        let plan = match number % 7 {
            0 => Value::Missing,
            1 => Value::Level(LevelId::OTHER),
            other => level(usize::from(other % 2 == 0)),
        };
        set(&self.schema, &mut row, 2, plan);
        row
    }

    fn event(&self, profile: &Profile, row: &Row, number: u64, at: Timestamp) -> InferenceEvent {
        let score = match number % 5 {
            0 => 0.0,
            1 => 1.0,
            2 => 5e-324,
            3 => 1.0_f64.next_down(),
            _ => 0.1 + 0.2,
        };
        let prediction = Prediction::from_stored(score, Some(u8::from(number.is_multiple_of(3))));
        InferenceEvent::new(
            id(self.model, "event", number),
            id(self.model, "request", number),
            at,
            prediction.expect("a probability"),
            Duration::from_micros(number * 17),
            profile.encode(row, score),
        )
    }

    fn empty(&self, number: u64) -> EventBatch {
        let id = BatchId(id(self.model, "batch", number));
        EventBatch::new(id, self.model.clone(), VersionId::FIRST, &self.profile)
    }

    /// Batch `number` of the first version with the events `(number, moment)`.
    fn batch(&self, number: u64, events: impl IntoIterator<Item = (u64, i64)>) -> EventBatch {
        let mut batch = self.empty(number);
        for (number, micros) in events {
            let row = self.row(number);
            batch.push(&self.profile, &row, self.event(&self.profile, &row, number, at(micros)));
        }
        batch
    }

    /// The same with raw features.
    fn batch_with_features(
        &self,
        number: u64,
        events: impl IntoIterator<Item = (u64, u64, i64)>,
    ) -> EventBatch {
        let mut batch = self.empty(number);
        for (number, request, micros) in events {
            let row = self.row(number);
            let mut event = self.event(&self.profile, &row, number, at(micros));
            event.request_id = id(self.model, "request", request);
            batch.push(&self.profile, &row, event.with_features(row.to_json(&self.schema)));
        }
        batch
    }

    /// A request that was refused for two reasons.
    fn refuse(&self, batch: &mut EventBatch) {
        let mut violations = Violations::new();
        let json = r#"{"x": 1, "plan": "gold 'é'"}"#;
        let _ = decode_row(&self.schema, json.as_bytes(), &mut violations);
        assert!(!violations.is_valid(), "an unlisted plan and no months");
        batch.push_rejected(&self.schema, &violations);
    }
}

/// The profile of 100 rows, of which row `i` has the score `score(i)`.
fn fit(schema: &Arc<FeatureSchema>, shift: f64, score: impl Fn(u8) -> f64) -> Profile {
    let mut columns = Columns::new(Arc::clone(schema));
    let mut scores = Vec::new();
    for i in 0..100_u8 {
        let mut row = Row::missing(schema);
        set(schema, &mut row, 0, Value::Number(f64::from(i) / 7.0 + shift));
        set(schema, &mut row, 1, Value::Number(f64::from(i % 24)));
        set(schema, &mut row, 2, level(usize::from(i % 2)));
        columns.push(&row);
        scores.push(score(i));
    }
    ProfileOptions::new().scores(&scores).fit(&columns.batch()).expect("a profile")
}

fn set(schema: &FeatureSchema, row: &mut Row, feature: usize, value: Value) {
    let feature = schema.ids().nth(feature).expect("three features");
    row.set(feature, value);
}

fn level(index: usize) -> Value {
    Value::Level(LevelId::new(index).expect("two levels"))
}

async fn write(log: &dyn InferenceLog, batch: &EventBatch) {
    assert_eq!(log.append(batch).await.expect("append"), Appended::Written);
}

/// Every page of `window`, `limit` items each.
async fn scan(
    log: &dyn InferenceLog,
    model: &ModelName,
    window: Window,
    limit: usize,
) -> Vec<LoggedEvent> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Page { items, next } = log.scan(model, window, after, limit).await.expect("scan");
        assert!(items.len() <= limit, "{} items on a page of {limit}", items.len());
        assert!(next.is_none() || !items.is_empty(), "an empty page is the last");
        found.extend(items);
        match next {
            None => return found,
            Some(next) => after = Some(next),
        }
    }
}

/// Every page of `window`, `limit` items each.
async fn scan_labelled(
    log: &dyn InferenceLog,
    model: &ModelName,
    window: Window,
    limit: usize,
) -> Vec<LabelledEvent> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = log.labelled(model, window, after, limit).await.expect("labelled");
        assert!(page.items.len() <= limit, "{} items on a page of {limit}", page.items.len());
        found.extend(page.items);
        match page.next {
            None => return found,
            Some(next) => after = Some(next),
        }
    }
}

fn place(event: &InferenceEvent) -> Cursor {
    Cursor { at: event.at, id: event.id }
}

/// Bit for bit: rows and slots.
#[track_caller]
fn same_rows(found: &Counts, expected: &Counts, profile: &Profile, what: &str) {
    assert_eq!(found.profile(), expected.profile(), "profile: {what}");
    assert_eq!(found.rows(), expected.rows(), "rows: {what}");
    for column in 0..profile.columns().count() {
        assert_eq!(found.slots(column), expected.slots(column), "column {column}: {what}");
    }
}

/// Counts exactly, means but for rounding: they depend on the order.
#[track_caller]
fn same_summaries(found: &Counts, expected: &Counts, what: &str) {
    assert_eq!(found.summarised(), expected.summarised(), "summarised: {what}");
    assert_eq!(found.rejected_requests(), expected.rejected_requests(), "rejected: {what}");
    assert_eq!(found.rejected(), expected.rejected(), "rejected: {what}");
    for (found, expected) in found.summaries().iter().zip(expected.summaries()) {
        assert_eq!(found.moments.count(), expected.moments.count(), "numbers: {what}");
        assert_eq!(found.below, expected.below, "below: {what}");
        assert_eq!(found.above, expected.above, "above: {what}");
        assert_eq!(found.infinite, expected.infinite, "infinite: {what}");
        assert_eq!(found.unseen, expected.unseen, "unseen: {what}");
        assert_eq!(found.unseen_more, expected.unseen_more, "unseen: {what}");
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            (a, b) => a.is_none() && b.is_none(),
        };
        let (a, b) = (&found.moments, &expected.moments);
        assert!(close(a.mean(), b.mean()), "means {:?} {:?}: {what}", a.mean(), b.mean());
        assert!(close(a.std(), b.std()), "spreads {:?} {:?}: {what}", a.std(), b.std());
    }
}

/// A model without events is no error: there is nothing.
///
/// # Panics
///
/// When the clause is broken.
pub async fn nothing_there(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let counts = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(counts.counts, Counts::empty(&traffic.profile));
    assert_eq!(counts.foreign_rows, 0);
    assert_eq!(scan(log, model, ever(), 10).await, []);
    assert_eq!(scan_labelled(log, model, ever(), 10).await, []);
}

/// A batch is written once, whatever comes under its id later; an empty one is refused.
///
/// # Panics
///
/// When the clause is broken.
pub async fn once(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let error = log.append(&traffic.empty(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "an empty batch: {error}");

    let batch = traffic.batch(1, [(1, 10), (2, 20), (3, 30)]);
    write(log, &batch).await;
    assert_eq!(log.append(&batch).await.unwrap(), Appended::AlreadyThere);
    let others = traffic.batch(1, [(4, 40), (5, 50)]);
    assert_eq!(log.append(&others).await.unwrap(), Appended::AlreadyThere);

    let mut refused = traffic.empty(2);
    traffic.refuse(&mut refused);
    write(log, &refused).await;
    assert_eq!(log.append(&refused).await.unwrap(), Appended::AlreadyThere);

    let events: Vec<InferenceEvent> =
        scan(log, model, ever(), 100).await.into_iter().map(|logged| logged.event).collect();
    assert_eq!(events, batch.events());
}

/// Of callers who send one batch at the same time, one writes it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn racing_appends(log: &dyn InferenceLog, model: &ModelName, racers: usize) {
    let traffic = Traffic::new(model);
    for round in 0..4 {
        let batch = traffic.batch(round, (0..20).map(|i| (100 * round + i, SECOND)));
        let answers = join_all((0..racers).map(|_| log.append(&batch))).await;
        let written = answers.iter().filter(|answer| matches!(answer, Ok(Appended::Written)));
        assert_eq!(written.count(), 1, "{answers:?}");
        for answer in &answers {
            assert!(answer.is_ok(), "a racer was answered {answer:?}");
        }
    }
    let rows = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(rows.counts.rows(), 80);
}

/// A batch that a store refuses leaves nothing behind, and one that it takes is there in full. A
/// `deferred` log leaves out the events alone that its store refuses.
///
/// # Panics
///
/// When the clause is broken.
pub async fn whole_or_not_at_all(log: &dyn InferenceLog, model: &ModelName, deferred: bool) {
    let traffic = Traffic::new(model);
    write(log, &traffic.batch(1, [(7, 70)])).await;
    // The last event is there already, under another batch.
    let batch = traffic.batch(2, [(1, 10), (2, 20), (7, 70)]);
    let (rows, summarised) = match log.append(&batch).await {
        Ok(Appended::WithoutDuplicates { duplicates: 1 }) => (3, 1),
        Ok(appended) => {
            assert_eq!(appended, Appended::Written);
            if deferred { (3, 1) } else { (4, 4) }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            let again = log.append(&batch).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Conflict, "the same question, the same answer");
            (1, 1)
        }
    };
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!((found.counts.rows(), found.counts.summarised()), (rows, summarised));
    let mut one = traffic.batch(3, [(8, 80)]);
    traffic.refuse(&mut one);
    write(log, &one).await;
}

/// An append that is dropped half way, at whatever point, leaves all or nothing, and the log in
/// working order: sending the same batch again settles it.
///
/// # Panics
///
/// When the clause is broken.
pub async fn dropped_appends(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    for polls in 1..=40 {
        let first = 1_000 * polls;
        let batch = traffic.batch(polls, (first..first + 3).map(|n| (n, SECOND)));
        let mut left = polls;
        let mut append = Box::pin(log.append(&batch));
        let answer = std::future::poll_fn(|context| {
            left -= 1;
            match pin!(&mut append).poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(append);
        let again = log.append(&batch).await.expect("the log still works");
        if let Some(answer) = answer {
            assert_eq!(answer.expect("append"), Appended::Written);
            assert_eq!(again, Appended::AlreadyThere);
        }
        let rows = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
        assert_eq!(rows.counts.rows(), 3 * polls, "dropped after {polls} polls");
    }
}

/// In random windows the counts are those of the codes that a scan returns, summaries and
/// rejections those of the batches that lie inside, and adjacent windows add up to the whole.
///
/// # Panics
///
/// When the clause is broken.
pub async fn random_windows(log: &dyn InferenceLog, model: &ModelName, batches: u32, seed: u64) {
    const HOUR: u64 = 3_600_000_000;
    let traffic = Traffic::new(model);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut written = Vec::new();
    let mut next = 0;
    for number in 0..u64::from(batches) {
        // Short stretches, so that some batches lie in a window and some across its ends; a
        // coarse grid, so that many events fall on the same microsecond.
        let start = random.next_u64() % HOUR;
        let length = 1 + random.next_u64() % (HOUR / 20);
        let size = random.next_u64() % 40;
        let events = (next..next + size).map(|n| {
            let moment = start + random.next_u64() % length;
            (n, i64::try_from(moment - moment % 250_000).expect("an hour"))
        });
        let mut batch = traffic.batch(number, events.collect::<Vec<_>>());
        next += size;
        if number.is_multiple_of(4) && size > 0 {
            traffic.refuse(&mut batch);
        }
        if !batch.is_empty() {
            write(log, &batch).await;
            written.push(batch);
        }
    }
    let events: Vec<&InferenceEvent> = written.iter().flat_map(EventBatch::events).collect();
    let mut moments: Vec<Timestamp> = events.iter().map(|event| event.at).collect();
    moments.sort_unstable();
    let whole = (at(0), at(2 * i64::try_from(HOUR).expect("an hour")));
    for _ in 0..60 {
        // Ends on an event, a microsecond beside one, or anywhere.
        let mut end = || {
            let moment = moments[usize::try_from(random.next_u64() % 1_000_000_000)
                .expect("a small number")
                % moments.len()];
            match random.next_u64() % 3 {
                0 => moment,
                1 => moment.saturating_add(Duration::from_micros(1)),
                _ => whole.0.saturating_add(Duration::from_micros(random.next_u64() % HOUR)),
            }
        };
        let (a, b) = (end(), end());
        let (a, b) = (a.min(b), a.max(b).saturating_add(Duration::from_micros(1)));
        let mut parts = Counts::empty(&traffic.profile);
        for (start, end) in [(whole.0, a), (a, b), (b, whole.1)] {
            let Ok(window) = Window::new(start, end) else { continue };
            let what = window.to_string();
            let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await;
            let found = found.expect("counts");
            assert_eq!(found.foreign_rows, 0);

            let mut expected = Counts::empty(&traffic.profile);
            let inside = events.iter().filter(|event| window.contains(event.at));
            inside.for_each(|event| expected.observe_codes(&event.codes));
            same_rows(&found.counts, &expected, &traffic.profile, &what);
            let mut scanned = Counts::empty(&traffic.profile);
            for logged in scan(log, model, window, 97).await {
                scanned.observe_codes(&logged.event.codes);
            }
            same_rows(&found.counts, &scanned, &traffic.profile, &what);

            for batch in &written {
                if batch.events().iter().all(|event| window.contains(event.at)) {
                    expected.merge_summaries(batch.counts()).expect("one profile");
                }
            }
            same_summaries(&found.counts, &expected, &what);
            parts.merge(&found.counts).expect("one profile");
        }
        let window = Window::new(whole.0, whole.1).expect("two hours");
        let all = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        same_rows(&all.counts, &parts, &traffic.profile, "the parts add up");
        assert_eq!(all.counts.rows(), events.len() as u64);
    }
}

/// Models, versions and profiles are counted apart; rows of another profile are counted as such.
///
/// # Panics
///
/// When the clause is broken.
pub async fn apart(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut next = 0;
    let mut batch = |model: &ModelName, version, profile: &Profile, size: u64| {
        let id = BatchId(id(traffic.model, "batch", next));
        let mut batch = EventBatch::new(id, model.clone(), version, profile);
        for number in next..next + size {
            let row = traffic.row(number);
            batch.push(profile, &row, traffic.event(profile, &row, number, at(SECOND)));
        }
        next += size;
        traffic.refuse(&mut batch);
        batch
    };
    let (one, two) = (version(1), version(12));
    write(log, &batch(model, one, &traffic.profile, 2)).await;
    write(log, &batch(model, one, &traffic.other, 3)).await;
    write(log, &batch(model, two, &traffic.profile, 5)).await;
    write(log, &batch(&stranger, one, &traffic.profile, 7)).await;

    let cases = [
        (model, one, &traffic.profile, 2, 3),
        (model, one, &traffic.other, 3, 2),
        (model, two, &traffic.profile, 5, 0),
        (model, two, &traffic.other, 0, 5),
        (model, version(2), &traffic.profile, 0, 0),
        (&stranger, one, &traffic.profile, 7, 0),
        (&stranger, two, &traffic.profile, 0, 0),
    ];
    for (model, version, profile, rows, foreign) in cases {
        let found = log.counts(model, version, ever(), profile).await.expect("counts");
        let what = format!("{model} version {version} profile {}", profile.fingerprint().short());
        assert_eq!(found.counts.profile(), profile.fingerprint(), "{what}");
        assert_eq!(found.counts.rows(), rows, "{what}");
        assert_eq!(found.counts.summarised(), rows, "{what}");
        assert_eq!(found.counts.rejected_requests(), u64::from(rows > 0), "{what}");
        assert_eq!(found.foreign_rows, foreign, "{what}");
    }
    let scanned = scan(log, model, ever(), 100).await;
    assert_eq!(scanned.len(), 10, "all versions of the model, and no other model");
    for logged in scanned {
        let ours = logged.profile == traffic.profile.fingerprint();
        assert!(ours || (logged.profile, logged.version) == (traffic.other.fingerprint(), one));
    }
    assert_eq!(scan(log, &stranger, ever(), 100).await.len(), 7);
}

/// Refused requests of a batch without events count when the batch was written.
///
/// # Panics
///
/// When the clause is broken.
pub async fn rejections_alone(log: &dyn InferenceLog, model: &ModelName, deferred: bool) {
    let traffic = Traffic::new(model);
    let mut batch = traffic.empty(1);
    traffic.refuse(&mut batch);
    traffic.refuse(&mut batch);
    let before = log.now().await.expect("now");
    write(log, &batch).await;
    if deferred {
        // Written is what a read finds.
        assert_eq!(scan(log, model, ever(), 1).await, []);
    }
    let after = log.now().await.expect("now").saturating_add(Duration::from_micros(1));

    let rejected = async |start, end| {
        let window = Window::new(start, end).expect("start before end");
        let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        assert_eq!(found.counts.rows(), 0);
        found.counts
    };
    let now = rejected(before, after).await;
    same_summaries(&now, batch.counts(), "written in this window");
    assert_eq!(now.rejected().iter().map(|r| r.count).sum::<u64>(), 4, "{:?}", now.rejected());
    assert_eq!(
        rejected(before.saturating_sub(Duration::from_secs(1)), before).await.rejected_requests(),
        0
    );
    assert_eq!(
        rejected(after, after.saturating_add(Duration::from_secs(1))).await.rejected_requests(),
        0
    );
}

/// Events come back as they were given, every bit of them.
///
/// # Panics
///
/// When the clause is broken.
pub async fn round_trip(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let mut batch = traffic.empty(1);
    let texts = [
        r#"{"plan":"it's \"quoted\"; DROP TABLE prediction_logs;--"}"#.to_owned(),
        r#"{"plan":"\u0000\u001b[31m\r\n"}"#.to_owned(),
        "{\"plan\":\"\u{202e}\u{1f600} é e\u{301} %s ?1 :name $1 @x\"}".to_owned(),
        format!("{{\"plan\":\"{}\"}}", "long ".repeat(20_000)),
        r#"{"x":5e-324,"months":1.7976931348623157e308}"#.to_owned(),
        "{}".to_owned(),
    ];
    let times = [at(-123 * YEAR), at(-1), at(0), at(1), at(SECOND), at(75 * YEAR)];
    let long = "Aa0._-zZ".repeat(MAX_CORRELATION_BYTES / 8);
    let names = [Some("-".to_owned()), None, Some(long), Some("a.1_b-2".to_owned()), None, None];
    let latencies = [0, 1, 999, 1_000_000, 86_400_000_000, i64::MAX.unsigned_abs()];
    for (number, at) in times.iter().enumerate() {
        let row = traffic.row(number as u64);
        let mut event = traffic.event(&traffic.profile, &row, number as u64, *at);
        event.latency = Duration::from_micros(latencies[number]);
        if number % 2 == 0 {
            event.request_id = event.id;
        }
        if number > 0 {
            event = event.with_features(texts[number - 1].clone());
        }
        event.correlation_id = names[number].as_deref().map(|name| name.parse().expect("plain"));
        batch.push(&traffic.profile, &row, event);
    }
    write(log, &batch).await;
    let found = scan(log, model, ever(), 4).await;
    assert_eq!(found.len(), batch.events().len());
    for (logged, event) in found.iter().zip(batch.events()) {
        assert_eq!(&logged.event, event);
        let bits = |event: &InferenceEvent| event.prediction.score().to_bits();
        assert_eq!(bits(&logged.event), bits(event));
        assert_eq!((logged.version, logged.profile), (VersionId::FIRST, batch.profile()));
    }
}

/// The largest and smallest numbers harm no summary: what was written can be counted.
///
/// # Panics
///
/// When the clause is broken.
pub async fn extreme_numbers(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let numbers = [f64::MAX, -f64::MAX, 5e-324, -0.0, 1e200, f64::INFINITY, f64::NAN];
    let mut batch = traffic.empty(1);
    for (number, x) in (0..).zip(numbers) {
        let mut row = traffic.row(number);
        set(&traffic.schema, &mut row, 0, Value::Number(x));
        batch.push(&traffic.profile, &row, traffic.event(&traffic.profile, &row, number, at(1)));
    }
    write(log, &batch).await;
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(&found.counts, batch.counts());
}

/// Predictions without a label come back without one, whatever number they are, and so do their
/// outcomes; beside them, predictions with a label keep theirs.
///
/// # Panics
///
/// When the clause is broken.
pub async fn regressions(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    // The profile of a model that predicts amounts: its scores are no probabilities.
    let profile = fit(&traffic.schema, 0.0, |row| 120.0 * (f64::from(row) - 20.0));
    let numbers = [
        -2_400.0,
        9_380.0,
        0.0,
        1.0,
        0.1 + 0.2,
        -5e-324,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_992.0,
        -1e-7,
    ];
    let mut batch =
        EventBatch::new(BatchId(id(model, "batch", 1)), model.clone(), VersionId::FIRST, &profile);
    let mut outcomes = Vec::new();
    for (number, score) in (0..).zip(numbers) {
        let row = traffic.row(number);
        let prediction = Task::Regression.prediction(score).expect("a finite number");
        let event = InferenceEvent { prediction, ..traffic.event(&profile, &row, number, at(10)) };
        let event = InferenceEvent { codes: profile.encode(&row, score), ..event };
        batch.push(&profile, &row, event.with_features(row.to_json(&traffic.schema)));
        outcomes.push(outcome(model, number, -score));
    }
    write(log, &batch).await;
    write(log, &traffic.batch(2, [(20, 20), (21, 21)])).await;
    log.record_outcomes(&outcomes).await.expect("any finite number");

    let found = scan(log, model, window(0, 15), 4).await;
    let mut expected: Vec<&InferenceEvent> = batch.events().iter().collect();
    expected.sort_unstable_by_key(|event| place(event));
    assert_eq!(found.len(), expected.len());
    for (logged, expected) in found.iter().zip(expected) {
        assert_eq!(&logged.event, expected);
        let bits = |event: &InferenceEvent| event.prediction.score().to_bits();
        assert_eq!(bits(&logged.event), bits(expected));
    }
    let labels: Vec<bool> = scan(log, model, window(15, 30), 4)
        .await
        .iter()
        .map(|logged| logged.event.prediction.label().is_some())
        .collect();
    assert_eq!(labels, [true, true]);
    for labelled in scan_labelled(log, model, ever(), 3).await {
        let expected = -labelled.event.prediction.score() + 0.0;
        let found = labelled.outcome + 0.0;
        assert_eq!(found.to_bits(), expected.to_bits(), "outcome {found}, not {expected}");
    }
    assert_eq!(scan_labelled(log, model, ever(), 100).await.len(), numbers.len());
    let counts = log.counts(model, VersionId::FIRST, ever(), &profile).await.unwrap();
    assert_eq!(counts.foreign_rows, 2);
    assert_eq!(&counts.counts, batch.counts());
}

/// Thousands of events in one batch are one batch.
///
/// # Panics
///
/// When the clause is broken.
pub async fn large_batch(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let batch = traffic.batch(1, (0..5_003).map(|n| (n, i64::try_from(n / 3).expect("small"))));
    write(log, &batch).await;
    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(&found.counts, batch.counts());
    assert_eq!(scan(log, model, ever(), 1_000).await.len(), 5_003);
    let page = log.scan(model, ever(), None, usize::MAX).await.expect("one page");
    assert_eq!((page.items.len(), page.next), (5_003, None));
}

/// Pages of any size hold every event once, in the order of time and id.
///
/// # Panics
///
/// When the clause is broken.
pub async fn pages(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    // Written out of order, five on each microsecond.
    for number in [2, 0, 1] {
        let events = (0..10).map(|n| (10 * number + n, i64::try_from((7 * n) % 2).expect("small")));
        write(log, &traffic.batch(number, events)).await;
    }
    let mut expected: Vec<Cursor> = Vec::new();
    for number in 0..30 {
        let moment = at(i64::try_from((7 * (number % 10)) % 2).expect("small"));
        expected.push(Cursor { at: moment, id: id(model, "event", number) });
    }
    expected.sort_unstable();
    for limit in [1, 2, 7, 29, 30, 31] {
        let found = scan(log, model, ever(), limit).await;
        let found: Vec<Cursor> = found.iter().map(|logged| place(&logged.event)).collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
    let page = log.scan(model, ever(), None, 30).await.expect("scan");
    assert_eq!(page.next, None, "no page after the last item");
    for limit in [0, 0] {
        let error = log.scan(model, ever(), None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a page of 0: {error}");
        let error = log.labelled(model, ever(), None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a page of 0: {error}");
    }

    // The window holds, wherever the cursor is.
    let second = window(1, 2);
    assert_eq!(scan(log, model, second, 4).await.len(), 15);
    let count = async |after: Cursor| {
        log.scan(model, second, Some(after), 100).await.expect("scan").items.len()
    };
    assert_eq!(count(expected[0]).await, 15, "a cursor before the window");
    assert_eq!(count(expected[15]).await, 14, "a cursor on the first item");
    assert_eq!(count(expected[29]).await, 0, "a cursor on the last item");
    assert_eq!(count(Cursor { at: at(9), id: Uuid::nil() }).await, 0, "a cursor behind the window");
    assert_eq!(count(Cursor { at: at(1), id: Uuid::max() }).await, 0, "behind every id");
    let gone = Cursor { at: at(1), id: Uuid::nil() };
    assert_eq!(count(gone).await, 15, "a cursor on an item that is not there");
}

fn outcome(model: &ModelName, request: u64, outcome: f64) -> Outcome {
    Outcome { request_id: id(model, "request", request), outcome, observed_at: None }
}

/// Outcomes are idempotent, the last value holds, and one that is no number spoils the lot.
///
/// # Panics
///
/// When the clause is broken.
pub async fn outcomes(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let receipt = async |outcomes: &[Outcome]| {
        let OutcomeReceipt { recorded, unchanged, corrected } =
            log.record_outcomes(outcomes).await.expect("outcomes");
        (recorded, unchanged, corrected)
    };
    let of = |request, value| outcome(model, request, value);
    assert_eq!(receipt(&[]).await, (0, 0, 0));
    assert_eq!(receipt(&[of(1, 1.0), of(2, 0.0)]).await, (2, 0, 0), "before their event");
    write(log, &traffic.batch_with_features(1, [(1, 1, 10), (2, 2, 20), (3, 3, 30)])).await;
    assert_eq!(receipt(&[of(1, 1.0), of(2, -0.0)]).await, (0, 2, 0), "again");
    assert_eq!(receipt(&[of(2, 1.0), of(3, 0.25)]).await, (1, 0, 1), "corrected, and new");
    assert_eq!(receipt(&[of(4, 0.0), of(4, 0.0), of(4, 1.0)]).await, (1, 1, 1), "in one call");
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = log.record_outcomes(&[of(1, 0.0), of(5, bad)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(receipt(&[of(1, 1.0), of(4, 1.0)]).await, (0, 2, 0), "nothing of the bad lots");

    let found = scan_labelled(log, model, ever(), 100).await;
    let found: Vec<(Uuid, f64)> =
        found.iter().map(|labelled| (labelled.event.request_id, labelled.outcome)).collect();
    let request = |number| id(model, "request", number);
    assert_eq!(found, [(request(1), 1.0), (request(2), 1.0), (request(3), 0.25)]);
}

/// Labelled events have raw features and an outcome, are the first of their request, and come in
/// order. In a log of `unique_requests` there is no other.
///
/// # Panics
///
/// When the clause is broken.
pub async fn labelled(log: &dyn InferenceLog, model: &ModelName, unique_requests: bool) {
    let traffic = Traffic::new(model);
    if !unique_requests {
        // Requests 0 to 9 twice, the later one first to arrive; two on each microsecond.
        write(log, &traffic.batch_with_features(1, (0..10).map(|n| (100 + n, n, 1_000)))).await;
    }
    let moment = |n: u64| i64::try_from(n / 2).expect("small");
    write(log, &traffic.batch_with_features(2, (0..10).map(|n| (n, n, moment(n))))).await;
    // Request 20 has no features at first, request 21 never.
    let without = [(20, 20), (21, 21)];
    write(log, &traffic.batch(3, without.into_iter().skip(usize::from(unique_requests)))).await;
    write(log, &traffic.batch_with_features(4, [(220, 20, 300)])).await;
    // Request 0 again, of another model.
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut foreign = EventBatch::new(
        BatchId(id(model, "batch", 5)),
        stranger.clone(),
        version(3),
        &traffic.profile,
    );
    let row = traffic.row(300);
    let mut event = traffic.event(&traffic.profile, &row, 300, at(-5));
    event.request_id = id(model, "request", 0);
    foreign.push(&traffic.profile, &row, event.with_features("{}".to_owned()));
    write(log, &foreign).await;
    assert_eq!(scan_labelled(log, model, ever(), 10).await, [], "no outcomes yet");

    // All but request 5, and one that nobody asked.
    let known = [0, 1, 2, 3, 4, 6, 7, 8, 9, 20, 21, 77];
    let outcomes = known.map(|n| outcome(model, n, f64::from(u8::try_from(n % 2).expect("0, 1"))));
    log.record_outcomes(&outcomes).await.expect("outcomes");

    let mut expected: Vec<Cursor> = [0, 1, 2, 3, 4, 6, 7, 8, 9]
        .map(|n| Cursor { at: at(moment(n)), id: id(model, "event", n) })
        .to_vec();
    expected.push(Cursor { at: at(300), id: id(model, "event", 220) });
    expected.sort_unstable();
    for limit in [1, 3, 9, 10, 11] {
        let found = scan_labelled(log, model, ever(), limit).await;
        let places: Vec<Cursor> = found.iter().map(|labelled| place(&labelled.event)).collect();
        assert_eq!(places, expected, "pages of {limit}");
        for LabelledEvent { event, version, outcome } in found {
            assert_eq!(version, VersionId::FIRST);
            let request = known.into_iter().find(|n| id(model, "request", *n) == event.request_id);
            let request = request.expect("one of those with an outcome");
            let number = if request == 20 { 220 } else { request };
            assert_eq!(event.features, Some(traffic.row(number).to_json(&traffic.schema)));
            let odd = outcome > 0.5;
            assert_eq!(odd, request % 2 == 1, "outcome {outcome} of {event:?}");
        }
    }
    // A request is in one of two adjacent windows: that of its first event.
    assert_eq!(scan_labelled(log, model, window(0, 3), 2).await.len(), 5);
    assert_eq!(scan_labelled(log, model, window(3, 2_000), 2).await.len(), 5);
    assert_eq!(scan_labelled(log, model, window(1_000, 2_000), 2).await, []);
    let found = scan_labelled(log, &stranger, ever(), 10).await;
    assert_eq!(found.len(), 1, "the other model has its own first event");
    assert_eq!(found[0].version, version(3));
}

/// Where one event per request is kept: those of requests that are there are left out, the others of
/// their batch are written and counted, and the batch is known.
///
/// # Panics
///
/// When the clause is broken.
pub async fn unique_requests(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let first = traffic.batch_with_features(1, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
    write(log, &first).await;
    let mut second = traffic.batch_with_features(2, [(12, 2, 4), (4, 4, 5), (14, 4, 6), (5, 5, 7)]);
    traffic.refuse(&mut second);
    let third = traffic.batch(3, [(5, 8), (1, 9)]);
    for (batch, duplicates) in [(&second, 2), (&third, 2)] {
        let appended = log.append(batch).await.expect("append");
        assert_eq!(appended, Appended::WithoutDuplicates { duplicates });
        assert_eq!(log.append(batch).await.expect("append"), Appended::AlreadyThere);
    }
    let found = scan(log, model, ever(), 9).await;
    let mut scanned = Counts::empty(&traffic.profile);
    found.iter().for_each(|logged| scanned.observe_codes(&logged.event.codes));
    let ids: Vec<Uuid> = found.iter().map(|logged| logged.event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(|number| id(model, "event", number)));
    for window in [ever(), window(1, 100)] {
        let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        same_rows(&found.counts, &scanned, &traffic.profile, "of what was written");
        assert_eq!(found.counts.summarised(), 3, "of the batch that is whole");
        assert_eq!(found.counts.rejected_requests(), 1);
    }
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut foreign = EventBatch::new(
        BatchId(id(model, "batch", 4)),
        stranger,
        VersionId::FIRST,
        &traffic.profile,
    );
    let row = traffic.row(6);
    let mut event = traffic.event(&traffic.profile, &row, 6, at(1));
    event.request_id = id(model, "request", 1);
    foreign.push(&traffic.profile, &row, event);
    write(log, &foreign).await;

    // Of several at once each request is written by one.
    let racing: Vec<EventBatch> = (0..8_u64)
        .map(|n| traffic.batch_with_features(10 + n, (20..40).map(|r| (100 * (n + 1) + r, r, 50))))
        .collect();
    let mut left_out = 0;
    for appended in join_all(racing.iter().map(|batch| log.append(batch))).await {
        left_out += match appended.expect("append") {
            Appended::WithoutDuplicates { duplicates } => duplicates,
            Appended::Written => 0,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(left_out, 7 * 20);
    assert_eq!(scan(log, model, window(50, 51), 99).await.len(), 20);
}

/// What is purged is gone, raw features and summaries with it; the rest stays, and a purged batch
/// that is sent again is still known.
///
/// # Panics
///
/// When the clause is broken.
pub async fn purge(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let mut old = traffic.batch_with_features(1, [(1, 1, OLD), (2, 2, OLD + 9)]);
    traffic.refuse(&mut old);
    let across = traffic.batch_with_features(2, [(3, 3, OLD + 5), (4, 4, OLD + 10)]);
    let young = traffic.batch_with_features(3, [(5, 5, OLD + 10), (6, 6, OLD + 20)]);
    for batch in [&old, &across, &young] {
        write(log, batch).await;
    }
    let observed = |request, micros| Outcome {
        observed_at: Some(at(OLD + micros)),
        ..outcome(model, request, 1.0)
    };
    let outcomes = [observed(1, 3), observed(4, 9), observed(5, 10), observed(6, 30)];
    log.record_outcomes(&outcomes).await.expect("outcomes");

    let purged = log.purge(at(OLD + 10)).await.expect("purge");
    assert_eq!((purged.events, purged.outcomes), (3, 2));
    let ids: Vec<Uuid> = scan(log, model, ever(), 100).await.iter().map(|l| l.event.id).collect();
    let mut expected = [4, 5, 6].map(|number| id(model, "event", number));
    expected[..2].sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(scan_labelled(log, model, ever(), 100).await.len(), 2);

    let found = log.counts(model, VersionId::FIRST, ever(), &traffic.profile).await.unwrap();
    assert_eq!(found.counts.rows(), 3);
    same_summaries(&found.counts, young.counts(), "of the batch that is still whole");
    for batch in [&old, &across, &young] {
        assert_eq!(log.append(batch).await.unwrap(), Appended::AlreadyThere);
    }
    let again = log.purge(at(OLD + 10)).await.expect("purge");
    assert_eq!((again.events, again.outcomes), (0, 0));
    assert_eq!(scan(log, model, ever(), 100).await.len(), 3);
}

/// The clock does not run backwards.
///
/// # Panics
///
/// When the clause is broken.
pub async fn clock(log: &dyn InferenceLog, _: &ModelName) {
    let mut last = log.now().await.expect("now");
    for _ in 0..100 {
        let now = log.now().await.expect("now");
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
}

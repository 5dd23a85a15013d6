//! How long one prediction takes, and a fair way to compare two models by it.

use std::hint::black_box;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{float, mean};
use crate::model::Model;
use crate::record::Row;
use crate::tails::binomial_tail;

/// About the time of one piece of a pass.
const PIECE: Duration = Duration::from_micros(100);

/// A piece that takes so much longer than it usually does may have been interrupted: schedulers give
/// the processor to somebody else for hardly less.
const INTERRUPTION_MS: f64 = 0.5;

/// A chance below which it is no chance that one model is interrupted more often than the other.
const OWN: f64 = 0.001;

/// Milliseconds per prediction.
///
/// ```
/// use std::time::Duration;
/// use pmmds::promote::Latency;
///
/// let champion = Latency::from_samples(&[Duration::from_millis(2), Duration::from_millis(4)]).unwrap();
/// assert_eq!((champion.mean_ms(), champion.p50_ms(), champion.calls()), (3.0, 3.0, 2));
/// let challenger = Latency::from_samples(&[Duration::from_millis(6)]).unwrap();
/// assert_eq!(challenger.ratio_to(&champion), Some(2.0));
/// assert_eq!(Latency::from_samples(&[]), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    // all finite and at least 0
    mean_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    // at least 1
    calls: u64,
}

impl Latency {
    /// The latency of single calls that took `samples`; `None` without samples.
    ///
    /// The mean is the plain one. Percentiles interpolate linearly between the two nearest samples
    /// (numpy's default), so with fewer than 100 samples the 99th is close to the slowest.
    #[must_use]
    pub fn from_samples(samples: &[Duration]) -> Option<Self> {
        let samples: Vec<f64> = samples.iter().map(|sample| milliseconds(*sample)).collect();
        (!samples.is_empty()).then(|| Self::of(mean(samples.iter().copied()), samples))
    }

    // At least one sample.
    fn of(mean_ms: f64, mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self {
            mean_ms,
            p50_ms: percentile(&samples, 50),
            p95_ms: percentile(&samples, 95),
            p99_ms: percentile(&samples, 99),
            calls: samples.len() as u64,
        }
    }

    /// The mean; of a [`measure_interleaved`] run the robust one described there.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.mean_ms
    }

    /// The median.
    #[must_use]
    pub fn p50_ms(&self) -> f64 {
        self.p50_ms
    }

    /// What 95 % of the calls do not exceed.
    #[must_use]
    pub fn p95_ms(&self) -> f64 {
        self.p95_ms
    }

    /// What 99 % of the calls do not exceed.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.p99_ms
    }

    /// Calls that were timed on their own.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// This mean over the mean of `champion`: 1.2 is 20 % slower. `None` where the quotient is no
    /// number, as when the champion was too fast for the clock.
    #[must_use]
    pub fn ratio_to(&self, champion: &Self) -> Option<f64> {
        let ratio = self.mean_ms / champion.mean_ms;
        (champion.mean_ms > 0.0 && ratio.is_finite() && ratio >= 0.0).then_some(ratio)
    }
}

/// Times two models on the same rows, alternating between them, by a `clock` that counts up from
/// anywhere.
///
/// Measured one after the other, two identical models came out at 1.196, with 1.20 as the limit:
/// caches warm up, clock rates change, a neighbour wakes. Here whatever drifts touches both alike:
///
/// * two passes over the rows with each model warm up, and tell how many rows make a *piece* of about
///   a tenth of a millisecond: long enough for two readings of the clock to weigh little, and short
///   enough to be interrupted rarely;
/// * then, `rounds` times, both models pass over the rows, piece by piece in turns, each piece timed
///   as a whole; odd rounds go first-second, even ones second-first;
/// * then, in the same alternation row by row, each call is timed on its own for the percentiles
///   (which include one reading of the clock, and interruptions).
///
/// The mean is that of all pieces but the *interrupted* ones, which took half a millisecond longer
/// than their median over the rounds: a busy machine gives the processor to others for milliseconds,
/// and the plain mean would blame the model that happened to run. A model that now and then takes
/// that long by itself (a lock, an allocation, a hard case) looks the same, but for one thing: others
/// interrupt each model in proportion to the time that it runs. So if one of them has more of it
/// than its share (a binomial test of the two counts, p < 0.001: J. Przyborowski, H. Wilenski, 1940,
/// DOI 10.1093/biomet/31.3-4.313), nothing is left out of either. With an even number of rounds a
/// linear drift cancels exactly where nothing is left out. Calls of each model:
/// `rows * (2 * rounds + 2)`.
///
/// `None` without rows or rounds. Rows must be of the models' schema.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
/// use pmmds::model::{Model, Task};
/// use pmmds::promote::measure_interleaved;
/// use pmmds::record::Row;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// #[derive(Debug)]
/// struct Constant(Arc<FeatureSchema>);
/// impl Model for Constant {
///     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
///     fn task(&self) -> Task { Task::binary() }
///     fn score(&self, _: &Row) -> f64 { 0.5 }
/// }
///
/// let model = Constant(Arc::new(FeatureSchema::new([Feature::numeric("x")])?));
/// let rows = vec![Row::missing(model.schema()); 50];
/// let start = Instant::now();
/// let (first, second) =
///     measure_interleaved(&model, &model, &rows, 10, &|| start.elapsed()).unwrap();
/// assert_eq!((first.calls(), second.calls()), (500, 500));
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[must_use]
pub fn measure_interleaved(
    first: &dyn Model,
    second: &dyn Model,
    rows: &[Row],
    rounds: usize,
    clock: &dyn Fn() -> Duration,
) -> Option<(Latency, Latency)> {
    if rows.is_empty() || rounds == 0 {
        return None;
    }
    let models = [first, second];
    let timed = |model: &dyn Model, rows: &[Row]| {
        let start = clock();
        for row in rows {
            black_box(model.score(black_box(row)));
        }
        clock().saturating_sub(start)
    };
    let warm_up = || models.map(|model| timed(model, rows));
    let (before, [first, second]) = (warm_up(), warm_up());
    let pass = before[0].min(first).max(before[1].min(second));
    let pieces: Vec<&[Row]> = rows.chunks(rows_of_a_piece(rows.len(), pass)).collect();
    let mut times = [(); 2].map(|()| vec![Vec::with_capacity(rounds); pieces.len()]);
    let mut calls = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for (number, piece) in pieces.iter().enumerate() {
            for side in order {
                times[side][number].push(milliseconds(timed(models[side], piece)));
            }
        }
        for row in rows {
            for side in order {
                calls[side].push(milliseconds(timed(models[side], std::slice::from_ref(row))));
            }
        }
    }
    let passes = times.map(Pass::of);
    let [first, second] = &passes;
    let are_own = first.has_more_than_its_share(second) || second.has_more_than_its_share(first);
    let [first_mean, second_mean] = passes.map(|pass| {
        let took = if are_own { pass.all_ms } else { pass.undisturbed_ms };
        took / float(rows.len())
    });
    let [first_calls, second_calls] = calls;
    Some((Latency::of(first_mean, first_calls), Latency::of(second_mean, second_calls)))
}

/// How many of `rows` make a piece, all of which took `pass`: at least one.
fn rows_of_a_piece(rows: usize, pass: Duration) -> usize {
    let all = rows as u128 * PIECE.as_nanos() / pass.as_nanos().max(1);
    usize::try_from(all).unwrap_or(rows).clamp(1, rows)
}

/// The mean pass of one model over all rows.
struct Pass {
    all_ms: f64,
    // without the pieces that may have been interrupted
    undisturbed_ms: f64,
    interruptions: usize,
}

impl Pass {
    /// Of the times of each piece, one per round: at least one.
    fn of(pieces: Vec<Vec<f64>>) -> Self {
        let mut pass = Self { all_ms: 0.0, undisturbed_ms: 0.0, interruptions: 0 };
        for mut times in pieces {
            times.sort_unstable_by(f64::total_cmp);
            let usual = percentile(&times, 50);
            let undisturbed = times.partition_point(|time| *time <= usual + INTERRUPTION_MS);
            pass.all_ms += mean(times.iter().copied());
            pass.undisturbed_ms += mean(times[..undisturbed].iter().copied());
            pass.interruptions += times.len() - undisturbed;
        }
        pass
    }

    /// Whether it was interrupted more often than others would do it.
    fn has_more_than_its_share(&self, other: &Self) -> bool {
        let share = self.undisturbed_ms / (self.undisturbed_ms + other.undisturbed_ms);
        binomial_tail(float(self.interruptions), float(other.interruptions), share) < OWN
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value that `percent` of the ascending, non-empty `sorted` do not exceed, by linear
/// interpolation.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let position = (sorted.len() - 1) * percent;
    let (below, part) = (sorted[position / 100], float(position % 100) / 100.0);
    let above = sorted[position.div_ceil(100)];
    (above - below).mul_add(part, below)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::model::Task;
    use crate::schema::{Feature, FeatureSchema};

    /// A machine on which time passes only while a model scores, by a plan of its own.
    #[derive(Debug)]
    struct Machine {
        schema: Arc<FeatureSchema>,
        nanos: AtomicU64,
        calls: AtomicU64,
        // by how many nanoseconds each call is slower than the one before
        drift: u64,
        // every so many calls, one takes 50 ms
        hiccup_every: Option<u64>,
        // others want the processor: when it is given to them next, and by whose luck
        given_away: Option<Mutex<(u64, ChaCha8Rng)>>,
    }

    impl Machine {
        fn new(drift: u64, hiccup_every: Option<u64>) -> Self {
            let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
            Self { schema, nanos: 0.into(), calls: 0.into(), drift, hiccup_every, given_away: None }
        }

        /// One on which others run, a few milliseconds in turns.
        fn busy(seed: u64) -> Self {
            let random = ChaCha8Rng::seed_from_u64(seed);
            Self { given_away: Some(Mutex::new((0, random))), ..Self::new(0, None) }
        }

        fn now(&self) -> Duration {
            Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
        }

        fn work(&self, base: u64) {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let hiccup = self.hiccup_every.is_some_and(|every| call % every == every - 1);
            let took = base + self.drift * call + if hiccup { 50_000_000 } else { 0 };
            let now = self.nanos.fetch_add(took, Ordering::Relaxed) + took;
            if let Some(given_away) = &self.given_away {
                let (at, random) = &mut *given_away.lock().unwrap();
                if now >= *at {
                    let mut turn = || 500_000 + u64::from(random.next_u32() % 5_500_000);
                    let others = turn() + turn();
                    *at = now + others + turn();
                    self.nanos.fetch_add(others, Ordering::Relaxed);
                }
            }
        }
    }

    #[derive(Debug)]
    struct Timed<'a> {
        machine: &'a Machine,
        base: u64,
    }

    impl Model for Timed<'_> {
        fn schema(&self) -> &Arc<FeatureSchema> {
            &self.machine.schema
        }

        fn task(&self) -> Task {
            Task::binary()
        }

        fn score(&self, _: &Row) -> f64 {
            self.machine.work(self.base);
            0.5
        }
    }

    /// A share of the calls takes so many times as long.
    #[derive(Debug)]
    struct Unsteady<'a> {
        model: Timed<'a>,
        share: f64,
        times: u64,
        random: Mutex<ChaCha8Rng>,
    }

    impl Model for Unsteady<'_> {
        fn schema(&self) -> &Arc<FeatureSchema> {
            self.model.schema()
        }

        fn task(&self) -> Task {
            self.model.task()
        }

        fn score(&self, row: &Row) -> f64 {
            let drawn = f64::from(self.random.lock().unwrap().next_u32()) / f64::from(u32::MAX);
            let calls = if drawn < self.share { self.times } else { 1 };
            self.model.machine.work(self.model.base * (calls - 1));
            self.model.score(row)
        }
    }

    fn interleaved(machine: &Machine, first: u64, second: u64, rounds: usize) -> f64 {
        let rows = vec![Row::missing(&machine.schema); 20];
        let (a, b) = (Timed { machine, base: first }, Timed { machine, base: second });
        let (a, b) = measure_interleaved(&a, &b, &rows, rounds, &|| machine.now()).unwrap();
        b.ratio_to(&a).unwrap()
    }

    #[test]
    fn identical_models_on_a_drifting_machine_come_out_equal() {
        // One after the other, the same machine makes the second look 20 % slower.
        let machine = Machine::new(10, None);
        let pass = |calls: u64| {
            let start = machine.now();
            (0..calls).for_each(|_| machine.work(8_000));
            machine.now() - start
        };
        let (first, second) = (pass(200), pass(200));
        let sequential = second.as_secs_f64() / first.as_secs_f64();
        assert!((1.20..1.25).contains(&sequential), "{sequential}");

        let machine = Machine::new(10, None);
        let ratio = interleaved(&machine, 8_000, 8_000, 10);
        assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn a_slower_model_is_found_through_drift_and_hiccups() {
        let ratio = interleaved(&Machine::new(1, Some(97)), 1_000_000, 1_500_000, 20);
        assert!((1.49..1.51).contains(&ratio), "{ratio}");
    }

    /// How many times longer than a steady model of `base` nanoseconds one of `slower` takes on
    /// `machine`, which now and then takes `times` as long.
    fn unsteady(machine: &Machine, base: u64, slower: u64, (share, times): (f64, u64)) -> f64 {
        let rows = vec![Row::missing(&machine.schema); 500];
        let steady = Timed { machine, base };
        let random = Mutex::new(ChaCha8Rng::seed_from_u64(7));
        let model = Unsteady { model: Timed { machine, base: slower }, share, times, random };
        let measured = measure_interleaved(&steady, &model, &rows, 20, &|| machine.now());
        let (a, b) = measured.unwrap();
        b.ratio_to(&a).unwrap()
    }

    #[test]
    fn on_a_busy_machine_no_model_is_blamed_for_its_neighbours() {
        for seed in 0..20 {
            for (base, slower, is) in
                [(5_000, 5_000, 1.0), (5_000, 10_000, 2.0), (60_000, 60_000, 1.0)]
            {
                let ratio = unsteady(&Machine::busy(seed), base, slower, (0.0, 1));
                assert!((ratio / is - 1.0).abs() < 0.05, "{ratio} for {is}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_a_model_does_now_and_then_is_its_own() {
        // Twice as long on average, in calls that take 0.36 ms, and 1 ms, and 2.4 ms.
        for (base, now_and_then) in [(60_000, (0.2, 6)), (10_000, (0.01, 100)), (400_000, (0.2, 6))]
        {
            let ratio = unsteady(&Machine::new(0, None), base, base, now_and_then);
            assert!((1.8..2.2).contains(&ratio), "{ratio} of {base}");
            for seed in 0..5 {
                let ratio = unsteady(&Machine::busy(seed), base, base, now_and_then);
                // Less exactly, and far from passing for the same.
                assert!((1.5..2.7).contains(&ratio), "{ratio} of {base}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_warm_up_that_is_interrupted_makes_no_smaller_pieces() {
        let machine = Machine::new(0, None);
        let rows = vec![Row::missing(&machine.schema); 500];
        let [a, b] = [150, 188].map(|base| Timed { machine: &machine, base });
        let readings = AtomicU64::new(0);
        // Reading it takes 30 ns, and somebody comes between the first reading and the second.
        let clock = || {
            let late = if readings.fetch_add(1, Ordering::Relaxed) == 1 { 60_000_000 } else { 0 };
            machine.nanos.fetch_add(30 + late, Ordering::Relaxed);
            machine.now()
        };
        let (a, b) = measure_interleaved(&a, &b, &rows, 20, &clock).unwrap();
        let ratio = b.ratio_to(&a).unwrap();
        assert!((ratio / (188.0 / 150.0) - 1.0).abs() < 0.001, "{ratio}");
    }

    #[test]
    fn nothing_measured_is_none() {
        let machine = Machine::new(0, None);
        let model = Timed { machine: &machine, base: 1 };
        let row = [Row::missing(&machine.schema)];
        assert_eq!(measure_interleaved(&model, &model, &[], 3, &|| machine.now()), None);
        assert_eq!(measure_interleaved(&model, &model, &row, 0, &|| machine.now()), None);
        // A clock that stands still, or runs backwards, gives no ratio.
        let (a, b) = measure_interleaved(&model, &model, &row, 3, &|| Duration::ZERO).unwrap();
        assert_eq!(b.ratio_to(&a), None);
        let left = AtomicU64::new(1_000);
        let backwards = || Duration::from_nanos(left.fetch_sub(1, Ordering::Relaxed));
        let (a, b) = measure_interleaved(&model, &model, &row, 3, &backwards).unwrap();
        assert_eq!(b.ratio_to(&a), None);
    }

    #[test]
    fn percentiles_interpolate() {
        let samples: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        let latency = Latency::from_samples(&samples).unwrap();
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} for {want}");
        close(latency.mean_ms(), 51.0);
        close(latency.p50_ms(), 51.0);
        close(latency.p95_ms(), 96.0);
        close(latency.p99_ms(), 100.0);
        let two = Latency::from_samples(&[Duration::from_millis(1), Duration::from_millis(2)]);
        close(two.unwrap().p95_ms(), 1.95);
    }
}

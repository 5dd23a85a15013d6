//! Laws: what works on whole columns gives what the naive twin gives, sorting or going row by row.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::record::{Batch, Column, Columns, Row, Value};
use crate::schema::{Feature, FeatureSchema, LevelId, Unlisted};

/// Relative to the largest number: sums in another order.
const ROUNDING: f64 = 1e-9;

/// Numbers at which comparisons, sums and bits are at their worst.
const CORNERS: [f64; 16] = [
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    f64::MIN_POSITIVE,
    1.0,
    -1.0,
    1.5,
    1e300,
    -1e300,
    f64::MAX,
    -f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    2.0,
];

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -50.0..50.0_f64,
        2 => (-5_i32..5).prop_map(f64::from),
        1 => select(&CORNERS[..]),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => (-20.0..20.0_f64).prop_map(f64::exp),
    ]
}

/// A column that may be long, in which some values occur often: a few numbers, each drawn many times
/// or moved a little each time.
fn column() -> impl Strategy<Value = Vec<f64>> {
    let heap = (number(), 1_usize..3_000, select(&[0.0, 0.0, 1.0, 1e-3, 1e-300][..]));
    (vec(heap, 1..8), vec(number(), 0..60), any::<u64>()).prop_map(|(heaps, mut values, seed)| {
        let mut state = seed | 1;
        for (value, times, spread) in heaps {
            values.extend((0..times).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let unit = f64::from((state >> 32) as u32) / f64::from(u32::MAX);
                if spread > 0.0 { value + spread * unit } else { value }
            }));
        }
        // Turned about, so that heaps do not lie one after the other.
        let step = usize::try_from(1 + seed % 97).unwrap();
        (0..step).flat_map(|from| values.iter().skip(from).step_by(step).copied()).collect()
    })
}

/// Increasing edges, some of them among `values` or next to them.
fn edges(values: &[f64], extra: &[f64], least: usize) -> Vec<f64> {
    let near = values.iter().step_by(7).flat_map(|x| [*x, x.next_down()]);
    let mut edges: Vec<f64> = extra.iter().copied().chain(near.take(least)).collect();
    edges.retain(|edge| edge.is_finite());
    edges.iter_mut().for_each(|edge| *edge += 0.0);
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup();
    edges.truncate(MAX_BINS - 1);
    edges
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// The quantile of sorted numbers, read off them.
fn sorted_quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let position = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    let lower = (position.floor() as usize).min(last);
    let (a, b) = (sorted[lower], sorted[(lower + 1).min(last)]);
    let part = position - lower as f64;
    let value = match b - a {
        span if span.is_infinite() => a.mul_add(1.0 - part, b * part),
        span if part < 0.5 => span.mul_add(part, a),
        span => span.mul_add(part - 1.0, b),
    };
    value + 0.0
}

/// The edges by sorting: every run of equal values is looked at.
fn sorted_edges(sorted: &[f64], bins: usize, atoms: bool, integer: bool) -> Vec<f64> {
    let mut edges = Vec::new();
    let runs: Vec<&[f64]> = sorted.chunk_by(|a, b| a >= b).collect();
    if atoms && integer && (1..=20).contains(&runs.len()) {
        edges.extend(runs[..runs.len() - 1].iter().map(|run| run[0]));
    } else if !sorted.is_empty() {
        for run in runs.iter().filter(|run| atoms && run.len() * bins >= sorted.len()) {
            edges.extend([run[0].next_down(), run[0]]);
        }
        edges.extend((1..bins).map(|k| sorted_quantile(sorted, k as f64 / bins as f64)));
    }
    edges.retain(|edge| edge.is_finite());
    edges.iter_mut().for_each(|edge| *edge += 0.0);
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup_by(|b, a| *b <= *a);
    edges
}

fn one_by_one(binning: &NumericBinning, values: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; binning.bins() + 1];
    values.iter().for_each(|x| counts[binning.bin(*x).unwrap_or(binning.bins())] += 1);
    counts
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= ROUNDING * scale || a.to_bits() == b.to_bits()
}

fn welford(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().filter(|x| x.is_finite()).for_each(|x| moments.observe(*x));
    moments
}

/// The same up to rounding, where nothing comes near the largest number.
fn same_moments(ours: &Moments, twin: &Moments, values: &[f64]) -> bool {
    let largest =
        values.iter().filter(|x| x.is_finite()).fold(1.0_f64, |most, x| most.max(x.abs()));
    let std = |moments: &Moments| moments.std().unwrap_or_default();
    ours.count() == twin.count()
        && (largest > 1e100
            || close(ours.mean().unwrap_or_default(), twin.mean().unwrap_or_default(), largest)
                && close(std(ours), std(twin), largest))
}

proptest! {
    #[test]
    fn bins_are_counted_as_one_by_one(
        values in column(), extra in vec(number(), 0..300), few in any::<bool>(),
        left in any::<bool>(),
    ) {
        let extra = if few { &extra[..extra.len().min(9)] } else { &extra[..] };
        let edges = edges(&values, extra, if few { 6 } else { 100 });
        let closed = if left { Closed::Left } else { Closed::Right };
        let binning = NumericBinning::closed(edges, closed).unwrap();
        prop_assert_eq!(binning.count(&values), one_by_one(&binning, &values));
    }

    #[test]
    fn levels_are_counted_as_one_by_one(
        ids in vec((0_usize..256, 1_usize..600), 0..30), known in 1_usize..254,
    ) {
        let level = |id: usize| match id {
            255 => LevelId::MISSING,
            id => LevelId::new(id).unwrap_or(LevelId::OTHER),
        };
        let repeated = ids.iter().flat_map(|(id, times)| std::iter::repeat_n(*id, *times));
        let levels: Vec<LevelId> = repeated.map(level).collect();
        for known in [known, known % 13 + 1] {
            let binning = Binning::levels((0..known).map(|level| level.to_string()));
            let mut twin = vec![0_u64; binning.slots()];
            levels.iter().for_each(|id| {
                twin[usize::from(binning.code(Value::Level(*id)))] += 1;
            });
            prop_assert_eq!(binning.count(&Column::Levels(&levels)), twin);
        }
    }

    #[test]
    fn a_fit_is_what_sorting_gives(
        values in column(), bins in 2_usize..=MAX_REQUESTED_BINS, ten in any::<bool>(),
        atoms in any::<bool>(), integer in any::<bool>(),
    ) {
        let bins = if ten { 10 } else { bins };
        let values: Vec<f64> =
            if integer { values.iter().map(|x| x.round()).collect() } else { values };
        let mut sorted: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let twin = NumericBinning::new(sorted_edges(&sorted, bins, atoms, integer)).unwrap();

        let strategy = BinningStrategy::Quantile { bins, atoms };
        let alone = NumericBinning::fit(&values, &strategy, integer).unwrap();
        prop_assert_eq!(bits(alone.edges()), bits(twin.edges()));

        let feature = if integer { Feature::integer("x") } else { Feature::numeric("x") };
        let schema = FeatureSchema::new([feature.nullable()]).unwrap();
        let batch = Batch::new(&schema, vec![Column::Numbers((&values).into())]).unwrap();
        let profile = ProfileOptions::new().strategy(strategy).fit(&batch).unwrap();
        let feature = &profile.features()[0];
        let Binning::Numeric(ours) = feature.binning() else { panic!() };
        prop_assert_eq!(bits(ours.edges()), bits(twin.edges()));
        prop_assert_eq!(feature.counts(), one_by_one(&twin, &values));

        let summary = feature.summary();
        let end = |x: Option<&f64>| x.map(|x| (x + 0.0).to_bits());
        prop_assert_eq!(summary.min.map(f64::to_bits), end(sorted.first()));
        prop_assert_eq!(summary.max.map(f64::to_bits), end(sorted.last()));
        let quantiles = summary.quantiles.map(|quantiles| bits(&quantiles));
        let shares = [0.05, 0.25, 0.5, 0.75, 0.95];
        let twins = (!sorted.is_empty()).then(|| bits(&shares.map(|s| sorted_quantile(&sorted, s))));
        prop_assert_eq!(quantiles, twins);
        prop_assert!(same_moments(&summary.moments, &welford(&sorted), &sorted));
    }

    #[test]
    fn uniform_bins_lie_between_the_extremes(values in column(), bins in 2_usize..30) {
        let strategy = BinningStrategy::Uniform { bins };
        let fitted = NumericBinning::fit(&values, &strategy, false).unwrap();
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let twin = match (finite().reduce(f64::min), finite().reduce(f64::max)) {
            (Some(min), Some(max)) => {
                NumericBinning::uniform(min, max, bins, Closed::Right).unwrap()
            }
            _ => NumericBinning::new([]).unwrap(),
        };
        prop_assert_eq!(bits(fitted.edges()), bits(twin.edges()));
    }

    #[test]
    fn a_batch_is_counted_as_row_by_row(
        reference in column(), live in column(),
        plans in vec((0_usize..8, any::<bool>()), 1..400), strict in any::<bool>(),
        named in any::<bool>(),
    ) {
        let unlisted = if strict { Unlisted::Reject } else { Unlisted::Other };
        let plan = Feature::categorical("plan", ["a", "b", "c"]).unlisted(unlisted).nullable();
        let plan = if named { plan } else { plan.sensitive() };
        let schema =
            std::sync::Arc::new(FeatureSchema::new([Feature::numeric("x").nullable(), plan]).unwrap());
        // Through the text of a table, so that there are refused cells and kept texts.
        let rows: Vec<[String; 2]> = plans.iter().zip(live.iter().cycle()).map(|((plan, bad), x)| {
            let plan = ["a", "b", "c", "", "gold", "silver", "bronze", "tin"][*plan];
            let x = if *bad { "none".to_owned() } else { format!("{x:e}") };
            [x, plan.to_owned()]
        }).collect();
        let table = crate::record::Table::from_rows(["x", "plan"], rows).unwrap();
        let mut out = crate::validate::Violations::new();
        let mut columns = Columns::from_table(&schema, &table, &mut out).unwrap();
        // And rows as requests bring them.
        let mut row = Row::missing(&schema);
        for value in [Value::Invalid, Value::Level(LevelId::OTHER), Value::Missing] {
            row.set(schema.id("plan").unwrap(), value);
            row.set(schema.id("x").unwrap(), Value::Invalid);
            columns.push(&row);
        }
        let scores: Vec<f64> = (0..columns.rows()).map(|row| live[row % live.len()]).collect();
        let levels = vec![LevelId::MISSING; reference.len()];
        let fitted = vec![Column::Numbers((&reference).into()), Column::Levels(&levels)];
        let finite: Vec<f64> = reference.iter().map(|x| x.clamp(-9.0, 9.0).max(-9.0)).collect();
        let profile = ProfileOptions::new()
            .scores(&finite)
            .fit(&Batch::new(&schema, fitted).unwrap())
            .unwrap();

        let batch = columns.batch();
        let counts = Counts::of(&profile, &batch, Some(&scores)).unwrap();
        let mut twin = Counts::empty(&profile);
        let mut unseen = TrafficSummary::default();
        for (at, score) in scores.iter().enumerate() {
            let row = batch.row(at);
            twin.observe(&profile, &row, &profile.encode(&row, *score));
            if matches!(row.values()[1], Value::Level(LevelId::OTHER) | Value::Invalid) {
                let text = table.column("plan").and_then(|column| column.cells().nth(at));
                unseen.observe_unseen(text.filter(|_| named));
            }
        }
        prop_assert_eq!((counts.rows(), counts.summarised()), (twin.rows(), twin.summarised()));
        for column in 0..3 {
            prop_assert_eq!(counts.slots(column), twin.slots(column));
        }
        let (ours, theirs) = (&counts.summaries()[0], &twin.summaries()[0]);
        prop_assert_eq!(
            (ours.below, ours.above, ours.infinite),
            (theirs.below, theirs.above, theirs.infinite)
        );
        prop_assert!(same_moments(&ours.moments, &theirs.moments, &live));
        let ours = &counts.summaries()[1];
        prop_assert_eq!(&ours.unseen, &unseen.unseen);
        prop_assert_eq!(ours.unseen_more, unseen.unseen_more);
        prop_assert_eq!(ours.unseen_total(), twin.summaries()[1].unseen_total());

        let without = Counts::of(&profile, &batch, None).unwrap();
        prop_assert_eq!(without.slots(1), counts.slots(1));
        prop_assert!(without.slots(2).is_empty());
    }
}

#[test]
fn long_columns_of_every_kind_are_fitted_exactly() {
    // Beyond the sample, each a way of its own through the order.
    let rows = 30_000;
    let turn = |row: usize| (row * 7_919 % rows) as f64;
    let shapes: [&dyn Fn(usize) -> f64; 9] = [
        &|row| turn(row),
        &|row| (turn(row) / 2_000.0).exp(),
        &|row| if row % 2 == 0 { 0.0 } else { turn(row) },
        &|row| if row % 3 == 0 { -1.0 } else { 1.0 / (1.0 + turn(row)) - 1.0 },
        &|row| (turn(row) / 4_000.0).floor(),
        &|row| if row == 17 { 3.0 } else { 8.0 },
        &|row| if row < 25 { row as f64 } else { 100.0 },
        &|row| if row % 50 == 0 { f64::MAX } else { -turn(row) * 1e300 },
        &|row| if row % 4 == 0 { f64::NAN } else { turn(row) - 15_000.0 },
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let values: Vec<f64> = (0..rows).map(shape).collect();
        let mut sorted: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let different: BTreeSet<u64> = sorted.iter().map(|x| x.to_bits()).collect();
        for integer in [false, true] {
            let twin = NumericBinning::new(sorted_edges(&sorted, 10, true, integer)).unwrap();
            let ours = NumericBinning::fit(&values, &BinningStrategy::default(), integer).unwrap();
            let what = format!("shape {number}, {} different values", different.len());
            assert_eq!(bits(ours.edges()), bits(twin.edges()), "{what}");
            assert_eq!(ours.count(&values), one_by_one(&twin, &values), "{what}");
        }
    }
}

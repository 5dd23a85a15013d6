//! Exact order statistics of a column, without sorting it.
//!
//! One pass counts the numbers per cell of a [`Grid`] that a sample suggests. A cell keeps the order,
//! so the counts say in which cell each wanted rank lies; a second pass keeps the numbers of those few
//! cells, and only they are looked into. The sample and the grid decide how fast that is, never what
//! comes out: where the grid is bad, more is kept and selected from. A value that many rows share
//! would fill a cell, so it is counted by itself, and a column with few different values is counted
//! value by value.
//!
//! # Reference
//!
//! Narrowing to where the ranks lie, by a sample: R. W. Floyd and R. L. Rivest, *Expected Time Bounds
//! for Selection*, Communications of the ACM 18, 1975, DOI 10.1145/360680.360691.

use std::cmp::Ordering;

use super::grid::{CELLS, Grid, ORDERED, SPIKE};
use super::kernel::{self, STRIP, Totals};

/// Most different values that are counted one by one.
pub(super) const FEW: usize = 20;

/// Numbers that suggest the grid.
const SAMPLE: usize = 1024;

/// One number in so many lies outside the grid at either end, in its first or last cell.
const TRIMMED: usize = 256;

/// A value is counted by itself from one number in so many.
const SPIKE_SHARE: usize = 20;

/// What is known of the finite numbers of a column in their order; -0.0 is 0.0.
#[derive(Debug, Clone)]
pub(super) struct Order {
    totals: Totals,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Every value, increasing, each with how many are at most it.
    Few(Vec<(f64, u64)>),
    /// The wanted ranks, and the cells that they lie in.
    Cells {
        spike: Spike,
        // of the numbers beside the spike
        cells: Cells,
        // increasing ranks among the numbers beside the spike, each with the number that has it
        ranked: Vec<(usize, f64)>,
    },
}

/// A value that many rows share.
#[derive(Debug, Clone, Copy)]
struct Spike {
    // NaN, which nothing equals, where there is none
    value: f64,
    count: u64,
    // how many numbers are less
    less: u64,
}

#[derive(Debug, Clone)]
struct Cells {
    grid: Grid,
    // how many numbers lie in earlier cells, per cell; and how many there are
    before: Vec<u64>,
    // where the numbers of a cell begin in `kept`, per cell; and how many there are
    starts: Vec<usize>,
    // the numbers of the wanted cells, cell after cell
    kept: Vec<f64>,
}

impl Order {
    /// The order of `values`, of which the finite numbers at `ranks` are wanted: a function of how
    /// many there are.
    pub(super) fn of(values: &[f64], ranks: impl FnOnce(usize) -> Vec<usize>) -> Self {
        let sample = sample(values);
        let different = sample.chunk_by(|a, b| a >= b).count();
        if different <= FEW
            && let Some(order) = few(values, &sample)
        {
            return order;
        }
        let (spike, grid) = suggest(&sample);
        let survey = survey(values, &grid, spike);
        let mut ranks = ranks(index(survey.totals.moments.count()));
        ranks.retain(|rank| (*rank as u64) < survey.totals.moments.count());
        ranks.sort_unstable();
        ranks.dedup();
        Self { totals: survey.totals, kind: select(values, grid, survey, &ranks) }
    }

    /// What is told of the column whatever its order.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many finite numbers there are.
    pub(super) fn count(&self) -> usize {
        index(self.totals.moments.count())
    }

    /// The finite number at `rank`, from 0; `None` where it was not wanted.
    pub(super) fn at(&self, rank: usize) -> Option<f64> {
        match &self.kind {
            Kind::Few(values) => {
                let at = values.partition_point(|(_, most)| *most <= rank as u64);
                values.get(at).map(|(value, _)| *value)
            }
            Kind::Cells { spike, ranked, .. } => {
                let Some(beside) = spike.beside(rank) else {
                    return Some(spike.value);
                };
                let at = ranked.binary_search_by_key(&beside, |(rank, _)| *rank).ok()?;
                Some(ranked[at].1)
            }
        }
    }

    /// The different values, when they are [`FEW`] and were counted as such.
    pub(super) fn few(&self) -> Option<impl Iterator<Item = f64>> {
        match &self.kind {
            Kind::Few(values) => Some(values.iter().map(|(value, _)| *value)),
            Kind::Cells { .. } => None,
        }
    }

    /// How many finite numbers are at most `x`; `None` where that is not known.
    pub(super) fn at_most(&self, x: f64) -> Option<u64> {
        self.lower(x, |number| number <= x)
    }

    /// How many finite numbers equal `x`; `None` where that is not known.
    pub(super) fn equal(&self, x: f64) -> Option<u64> {
        Some(self.at_most(x)? - self.lower(x, |number| number < x)?)
    }

    /// How many finite numbers are `lower`, which all below `x` are and none above it.
    fn lower(&self, x: f64, lower: impl Fn(f64) -> bool) -> Option<u64> {
        match &self.kind {
            Kind::Few(values) => {
                let at = values.partition_point(|(value, _)| lower(*value));
                Some(at.checked_sub(1).map_or(0, |at| values[at].1))
            }
            Kind::Cells { spike, cells, .. } => {
                let cell = cells.grid.cell_of(x);
                let inside = cells.inside(cell);
                if cells.before[cell + 1] - cells.before[cell] != inside.len() as u64 {
                    return None;
                }
                let found = inside.iter().map(|number| u64::from(lower(*number))).sum::<u64>();
                let spikes = if lower(spike.value) { spike.count } else { 0 };
                Some(cells.before[cell] + found + spikes)
            }
        }
    }
}

impl Spike {
    /// The rank among the numbers beside the spike of the one at `rank`; `None` for the spike.
    fn beside(&self, rank: usize) -> Option<usize> {
        let rank = rank as u64;
        if rank < self.less {
            Some(index(rank))
        } else {
            rank.checked_sub(self.count).filter(|rank| *rank >= self.less).map(index)
        }
    }
}

impl Cells {
    /// The cell of the number at `rank`.
    fn of_rank(before: &[u64], rank: u64) -> usize {
        // The last cell that begins at or before the rank holds it; empty cells begin there too.
        before.partition_point(|before| *before <= rank) - 1
    }

    /// The numbers of `cell`, if they were wanted.
    fn inside(&self, cell: usize) -> &[f64] {
        &self.kept[self.starts[cell]..self.starts[cell + 1]]
    }
}

/// Whether `a` is the number `b`; NaN is none.
fn same(a: f64, b: f64) -> bool {
    a.partial_cmp(&b).is_some_and(Ordering::is_eq)
}

/// A number of rows as an index: columns are slices, so it is one.
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Finite numbers from all over `values`, sorted: all of them when they are no more than [`SAMPLE`].
fn sample(values: &[f64]) -> Vec<f64> {
    let mut sample: Vec<f64> = if values.len() <= SAMPLE {
        values.to_vec()
    } else {
        // Multiples of the golden ratio: evenly spread, and in step with no pattern of the rows.
        const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        let place = |turn: u64| {
            let share = u128::from(turn.wrapping_mul(RATIO));
            usize::try_from((share * values.len() as u128) >> 64).unwrap_or_default()
        };
        (0..SAMPLE as u64).map(|turn| values[place(turn)]).collect()
    };
    sample.retain(|x| x.is_finite());
    sample.sort_unstable_by(f64::total_cmp);
    sample
}

/// The order of `values` by counting each value, those of `sample` first; `None` when there are more
/// than [`FEW`] different ones.
fn few(values: &[f64], sample: &[f64]) -> Option<Order> {
    let mut different: Vec<f64> = sample.chunk_by(|a, b| a >= b).map(|run| run[0] + 0.0).collect();
    let mut counts = vec![0; different.len()];
    let mut totals = Totals::default();
    for strip in values.chunks(STRIP) {
        kernel::add_totals(strip, &mut totals);
        if kernel::equal(strip, &different, &mut counts) == 0 {
            continue;
        }
        for x in strip.iter().filter(|x| x.is_finite()) {
            if let Err(at) = different.binary_search_by(|value| value.total_cmp(&(x + 0.0))) {
                if different.len() == FEW {
                    return None;
                }
                different.insert(at, x + 0.0);
                let found = strip.iter().filter(|y| same(**y, *x)).count();
                counts.insert(at, found as u64);
            }
        }
    }
    let mut most = 0;
    let running = different.into_iter().zip(counts).map(|(value, count)| {
        most += count;
        (value, most)
    });
    Some(Order { kind: Kind::Few(running.collect()), totals })
}

/// The value to count by itself, and the grid for the others, that a sorted sample suggests.
fn suggest(sample: &[f64]) -> (f64, Grid) {
    let runs = sample.chunk_by(|a, b| a >= b);
    let spike = match runs.max_by_key(|run| run.len()) {
        Some(run) if run.len() * SPIKE_SHARE >= sample.len() => run[0] + 0.0,
        _ => f64::NAN,
    };
    let others: Vec<f64> = sample.iter().copied().filter(|x| !same(*x, spike)).collect();
    // A sample of everything has no tails to guess.
    let trimmed = if sample.len() < SAMPLE { 0 } else { others.len() / TRIMMED };
    let ends = others.get(trimmed).zip(others.get(others.len().saturating_sub(1 + trimmed)));
    (spike, ends.map_or(Grid::ONE, |(low, high)| Grid::best(&others, *low, *high)))
}

/// What one pass over a column tells.
struct Survey {
    totals: Totals,
    spike: Spike,
    // how many other finite numbers lie in earlier cells, per cell; and how many there are
    before: Vec<u64>,
}

fn survey(values: &[f64], grid: &Grid, spike: f64) -> Survey {
    let mut totals = Totals::default();
    let mut counts = vec![0_u64; CELLS];
    // Counts that no part of this length overflows.
    for part in values.chunks(1 << 31) {
        let mut tables = [[0_u32; CELLS]; 2];
        for strip in part.chunks(STRIP) {
            kernel::add_totals(strip, &mut totals);
            kernel::histogram(strip, grid, spike, &mut tables);
        }
        let [even, odd] = &tables;
        for (count, (a, b)) in counts.iter_mut().zip(even.iter().zip(odd)) {
            *count += u64::from(*a) + u64::from(*b);
        }
    }
    let mut before = Vec::with_capacity(ORDERED + 1);
    let mut sum = 0;
    before.push(sum);
    before.extend(counts[..ORDERED].iter().map(|count| {
        sum += count;
        sum
    }));
    let count = counts[index(SPIKE)];
    Survey { totals, spike: Spike { value: spike, count, less: 0 }, before }
}

/// The numbers at the increasing `ranks`, from the cells that they lie in.
fn select(values: &[f64], grid: Grid, survey: Survey, ranks: &[usize]) -> Kind {
    let Survey { totals: _, mut spike, before } = survey;
    let mut wanted = [0_u8; CELLS];
    let home = if spike.count > 0 { Some(grid.cell_of(spike.value)) } else { None };
    for rank in ranks {
        let rank = *rank as u64;
        let cell = match home {
            Some(home) if rank >= before[home] => {
                // The spike lies between what is less and what is more in its cell.
                let after = rank.checked_sub(spike.count).filter(|rank| *rank >= before[home + 1]);
                after.map_or(home, |rank| Cells::of_rank(&before, rank))
            }
            _ => Cells::of_rank(&before, rank),
        };
        wanted[cell] = 1;
    }
    if let Some(home) = home {
        wanted[home] = 1;
    }
    let mut starts = vec![0; ORDERED + 1];
    for cell in 0..ORDERED {
        let inside = if wanted[cell] == 1 { before[cell + 1] - before[cell] } else { 0 };
        starts[cell + 1] = starts[cell] + index(inside);
    }
    let mut kept = Vec::with_capacity(starts[ORDERED]);
    kernel::collect(values, &grid, spike.value, &wanted, &mut kept);
    group(&mut kept, &grid, &starts);
    let mut cells = Cells { grid, before, starts, kept };
    if let Some(home) = home {
        let less = cells.inside(home).iter().map(|x| u64::from(*x < spike.value)).sum::<u64>();
        spike.less = cells.before[home] + less;
    }
    let mut ranked: Vec<(usize, f64)> =
        ranks.iter().filter_map(|rank| spike.beside(*rank)).map(|rank| (rank, 0.0)).collect();
    let cell = |rank: usize| Cells::of_rank(&cells.before, rank as u64);
    for in_cell in ranked.chunk_by_mut(|(a, _), (b, _)| cell(*a) == cell(*b)) {
        let cell = cell(in_cell[0].0);
        let (start, end) = (cells.starts[cell], cells.starts[cell + 1]);
        nested(&mut cells.kept[start..end], index(cells.before[cell]), in_cell);
    }
    Kind::Cells { spike, cells, ranked }
}

/// Puts `kept` in the order of its cells, which begin at `starts`.
fn group(kept: &mut Vec<f64>, grid: &Grid, starts: &[usize]) {
    if starts.windows(2).filter(|pair| pair[0] < pair[1]).count() < 2 {
        return;
    }
    let mut next = starts.to_vec();
    let mut grouped = vec![0.0; kept.len()];
    for x in &*kept {
        let next = &mut next[grid.cell_of(*x)];
        grouped[*next] = *x + 0.0;
        *next += 1;
    }
    *kept = grouped;
}

/// Finds the numbers at the increasing ranks `ranked` in `values`, whose smallest has the rank
/// `first`: the middle rank first, then the others on their side of it.
fn nested(values: &mut [f64], first: usize, ranked: &mut [(usize, f64)]) {
    let middle = ranked.len() / 2;
    let Some((rank, found)) = ranked.get_mut(middle) else {
        return;
    };
    let at = *rank - first;
    let (left, value, right) = values.select_nth_unstable_by(at, f64::total_cmp);
    let value = *value;
    *found = value + 0.0;
    // Equal numbers fill the ranks beside it: a value that many rows share is done with at once.
    let less = left.iter().map(|x| u64::from(*x < value)).sum::<u64>();
    let not_more = right.iter().map(|x| u64::from(*x <= value)).sum::<u64>();
    let (less, not_more) = (first as u64 + less, first as u64 + at as u64 + not_more);
    let (before, after) = ranked.split_at_mut(middle);
    let cut = before.partition_point(|(rank, _)| (*rank as u64) < less);
    before[cut..].iter_mut().for_each(|(_, found)| *found = value + 0.0);
    nested(left, first, &mut before[..cut]);
    let cut = after.partition_point(|(rank, _)| *rank as u64 <= not_more);
    after[..cut].iter_mut().for_each(|(_, found)| *found = value + 0.0);
    nested(right, first + at + 1, &mut after[cut..]);
}

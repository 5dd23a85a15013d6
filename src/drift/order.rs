//! Exact order statistics of a column, without sorting it.
//!
//! One pass counts the numbers per cell of a [`Grid`] that a sample suggests. A cell keeps the order,
//! so the counts say in which cell each wanted rank lies; a second pass keeps the numbers of those few
//! cells, and only they are looked into. The sample and the grid decide how fast that is, never what
//! comes out: where the grid is bad, or one value fills a cell, more is kept and selected from.
//!
//! A column with few different values is counted value by value instead.
//!
//! # Reference
//!
//! Narrowing to where the ranks lie, by a sample: R. W. Floyd and R. L. Rivest, *Expected Time Bounds
//! for Selection*, Communications of the ACM 18, 1975, DOI 10.1145/360680.360691.

use super::grid::{CELLS, Grid};
use super::kernel::{self, STRIP, Totals};

/// Most different values that are counted one by one.
pub(super) const FEW: usize = 20;

/// Numbers that suggest the grid.
const SAMPLE: usize = 1024;

/// Share of the sample that lies outside the grid at either end, in its first or last cell.
const TRIMMED: usize = SAMPLE / 256;

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
        grid: Grid,
        // how many numbers lie in earlier cells, per cell; and how many there are
        before: Vec<u64>,
        // where the numbers of a cell begin in `kept`, per cell; and how many there are
        starts: Vec<usize>,
        // the numbers of the wanted cells, cell after cell
        kept: Vec<f64>,
        // increasing ranks, each with the number that has it
        ranked: Vec<(usize, f64)>,
    },
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
        let (low, high) = match sample.len() {
            0..SAMPLE => (sample.first(), sample.last()),
            _ => (sample.get(TRIMMED), sample.get(SAMPLE - 1 - TRIMMED)),
        };
        let grid = match (low, high) {
            (Some(low), Some(high)) => Grid::best(&sample, *low, *high),
            _ => Grid::ONE,
        };
        let (totals, before) = survey(values, &grid);
        let count = before[CELLS - 1];
        let mut ranks = ranks(usize::try_from(count).unwrap_or(usize::MAX));
        ranks.retain(|rank| (*rank as u64) < count);
        ranks.sort_unstable();
        ranks.dedup();
        let kind = select(values, grid, before, &ranks);
        Self { totals, kind }
    }

    /// What is told of the column whatever its order.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many finite numbers there are.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.totals.moments.count()).unwrap_or(usize::MAX)
    }

    /// The finite number at `rank`, from 0; `None` where it was not wanted.
    pub(super) fn at(&self, rank: usize) -> Option<f64> {
        match &self.kind {
            Kind::Few(values) => {
                let at = values.partition_point(|(_, most)| *most <= rank as u64);
                values.get(at).map(|(value, _)| *value)
            }
            Kind::Cells { ranked, .. } => {
                let at = ranked.binary_search_by_key(&rank, |(rank, _)| *rank).ok()?;
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
            Kind::Cells { grid, before, starts, kept, .. } => {
                let cell = grid.cell_of(x);
                let inside = &kept[starts[cell]..starts[cell + 1]];
                let known = before[cell + 1] - before[cell] == inside.len() as u64;
                let found = inside.iter().map(|number| u64::from(lower(*number))).sum::<u64>();
                known.then_some(before[cell] + found)
            }
        }
    }
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
                let found = strip.iter().filter(|y| *y >= x && *y <= x).count();
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

/// The totals of `values`, and how many finite ones lie before each cell of `grid`.
fn survey(values: &[f64], grid: &Grid) -> (Totals, Vec<u64>) {
    let mut totals = Totals::default();
    let mut before = vec![0; CELLS];
    // Counts that no part of this length overflows.
    for part in values.chunks(1 << 31) {
        let mut tables = [[0_u32; CELLS]; 2];
        for strip in part.chunks(STRIP) {
            kernel::add_totals(strip, &mut totals);
            kernel::histogram(strip, grid, &mut tables);
        }
        let [even, odd] = &tables;
        // The cell of what is not finite comes last, and is not among them.
        for (before, (a, b)) in before[1..].iter_mut().zip(even.iter().zip(odd)) {
            *before += u64::from(*a) + u64::from(*b);
        }
    }
    let mut sum = 0;
    for before in &mut before {
        sum += *before;
        *before = sum;
    }
    (totals, before)
}

/// The numbers at the increasing `ranks`, from the cells that they lie in.
fn select(values: &[f64], grid: Grid, before: Vec<u64>, ranks: &[usize]) -> Kind {
    let mut wanted = [0_u8; CELLS];
    for rank in ranks {
        // The last cell that begins at or before the rank holds it; empty cells begin there too.
        let cell = before.partition_point(|before| *before <= *rank as u64) - 1;
        wanted[cell] = 1;
    }
    let mut starts = vec![0; CELLS];
    for cell in 0..CELLS - 1 {
        let inside = usize::from(wanted[cell]) as u64 * (before[cell + 1] - before[cell]);
        starts[cell + 1] = starts[cell] + usize::try_from(inside).unwrap_or(usize::MAX);
    }
    let mut kept = Vec::with_capacity(starts[CELLS - 1]);
    kernel::collect(values, &grid, &wanted, &mut kept);
    group(&mut kept, &grid, &starts);
    let mut ranked: Vec<(usize, f64)> = ranks.iter().map(|rank| (*rank, 0.0)).collect();
    for in_cell in ranked.chunk_by_mut(|(a, _), (b, _)| {
        let cell = |rank: usize| before.partition_point(|before| *before <= rank as u64);
        cell(*a) == cell(*b)
    }) {
        let cell = before.partition_point(|before| *before <= in_cell[0].0 as u64) - 1;
        let first = usize::try_from(before[cell]).unwrap_or(usize::MAX);
        nested(&mut kept[starts[cell]..starts[cell + 1]], first, in_cell);
    }
    Kind::Cells { grid, before, starts, kept, ranked }
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

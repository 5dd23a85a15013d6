//! The loops over whole columns of numbers and of levels: what counting and summing cost.
//!
//! They are plain loops over slices, in a shape that the compiler turns into vector instructions,
//! built twice for x86-64: as the target asks for, and with AVX2, which is chosen at run time. Their
//! code is fragile: bodies that look alike differ by a factor of 2 to 10, so `benches/kernel_count.rs`
//! watches them. Sums run in a fixed number of lanes, so that their bits are those of every machine.
//!
//! Callers that do several things to a column go through it in [`STRIP`]s, which stay in the cache.

use multiversion::multiversion;

use super::counter::LookUp;
use super::grid::{CELLS, Grid, NOT_FINITE, SPIKE};
use super::numeric_binning::Closed;
use super::summary::Moments;
use crate::schema::LevelId;

/// Numbers that are counted against a few edges before the next edges are.
const BLOCK: usize = 512;

/// Numbers that fit in the nearest cache, together with what is done to them.
pub(super) const STRIP: usize = 4 * BLOCK;

/// Sums in flight at once.
const LANES: usize = 16;

/// How an edge and a number are compared.
type Test = u8;
const ABOVE: Test = 0;
const AT_OR_ABOVE: Test = 1;
const EQUAL: Test = 2;

/// How many numbers of `block` pass the test with each of `edges`.
#[inline(always)]
fn pass<const N: usize, const TEST: Test>(block: &[f64], edges: &[f64; N]) -> [u64; N] {
    let mut counts = [0_u64; N];
    for x in block {
        for k in 0..N {
            #[expect(clippy::float_cmp, reason = "the same value, not a close one")]
            let passed = match TEST {
                ABOVE => *x > edges[k],
                AT_OR_ABOVE => *x >= edges[k],
                _ => *x == edges[k],
            };
            counts[k] += u64::from(passed);
        }
    }
    counts
}

/// Three edges at a time: more would not fit in the registers of AVX2, fewer load each number more
/// often. Returns the sum of what was added.
#[inline(always)]
fn passes<const TEST: Test>(block: &[f64], edges: &[f64], counts: &mut [u64]) -> u64 {
    let mut sum = 0;
    let (triples, rest) = edges.as_chunks::<3>();
    let (of_triples, of_rest) = counts.as_chunks_mut::<3>();
    for (edges, counts) in triples.iter().zip(of_triples) {
        let found = pass::<3, TEST>(block, edges);
        for k in 0..3 {
            counts[k] += found[k];
            sum += found[k];
        }
    }
    for (edge, count) in rest.iter().zip(of_rest) {
        let [found] = pass::<1, TEST>(block, &[*edge]);
        *count += found;
        sum += found;
    }
    sum
}

/// Adds to each of `counts` how many of `values` lie beyond its edge: above it, or with
/// [`Closed::Left`] at or above it.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn beyond(values: &[f64], edges: &[f64], closed: Closed, counts: &mut [u64]) {
    for block in values.chunks(BLOCK) {
        match closed {
            Closed::Right => passes::<ABOVE>(block, edges, counts),
            Closed::Left => passes::<AT_OR_ABOVE>(block, edges, counts),
        };
    }
}

/// How many of `values` lie below `min`, and above `max`.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn outside(values: &[f64], min: f64, max: f64) -> (u64, u64) {
    let (mut below, mut above) = (0_u64, 0_u64);
    for x in values {
        below += u64::from(*x < min);
        above += u64::from(*x > max);
    }
    (below, above)
}

/// How many of `values` are NaN.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn nan(values: &[f64]) -> u64 {
    values.iter().map(|x| u64::from(x.is_nan())).sum()
}

/// What is told of a column of numbers whatever its bins are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Totals {
    /// of the finite numbers
    pub(super) moments: Moments,
    pub(super) nan: u64,
    /// negative infinities
    pub(super) lowest: u64,
    /// positive infinities
    pub(super) highest: u64,
}

/// Adds `values` to `totals`.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn add_totals(values: &[f64], totals: &mut Totals) {
    for block in values.chunks(BLOCK) {
        let finite: u64 = block.iter().map(|x| u64::from(x.abs() <= f64::MAX)).sum();
        if finite == block.len() as u64 {
            add_moments::<false>(block, finite, &mut totals.moments);
            continue;
        }
        totals.nan += block.iter().map(|x| u64::from(x.is_nan())).sum::<u64>();
        totals.lowest += block.iter().map(|x| u64::from(*x < -f64::MAX)).sum::<u64>();
        totals.highest += block.iter().map(|x| u64::from(*x > f64::MAX)).sum::<u64>();
        if finite > 0 {
            add_moments::<true>(block, finite, &mut totals.moments);
        }
    }
}

/// Adds the `finite` finite numbers of `block`, in two passes: their mean, then the squares about
/// it. With `MIXED` there are others among them.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "at most BLOCK")]
fn add_moments<const MIXED: bool>(block: &[f64], finite: u64, moments: &mut Moments) {
    let taken = |x: f64, term: f64| if !MIXED || x.abs() <= f64::MAX { term } else { 0.0 };
    let mean = lanes(block, |x| taken(x, x)) / finite as f64;
    let squares = lanes(block, |x| taken(x, (x - mean) * (x - mean)));
    if squares.is_finite() {
        moments.merge(&Moments::of_parts(finite, mean, squares));
    } else {
        // The sum or a square is beyond the largest number: one by one, where that is held.
        block.iter().filter(|x| x.is_finite()).for_each(|x| moments.observe(*x));
    }
}

#[inline(always)]
fn lanes(block: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        for k in 0..LANES {
            sums[k] += term(chunk[k]);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += term(*x);
    }
    sums.iter().sum()
}

/// Adds the finite numbers of `block` that equal each of `values` to `counts`; the number of finite
/// ones that equal none.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn equal(block: &[f64], values: &[f64], counts: &mut [u64]) -> u64 {
    let finite: u64 = block.iter().map(|x| u64::from(x.abs() <= f64::MAX)).sum();
    finite - passes::<EQUAL>(block, values, counts)
}

/// Codes of one strip, in the width in which they are computed.
type Indices = [u64; BLOCK];

/// A slot of a table by a code that is known to be in it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "cut to the table")]
fn slot(index: u64) -> usize {
    index as usize & (CELLS - 1)
}

#[inline(always)]
#[expect(clippy::float_cmp, reason = "the same value, not a close one")]
fn cells<const LOG: bool>(grid: &Grid, spike: f64, block: &[f64], indices: &mut Indices) {
    for (index, x) in indices.iter_mut().zip(block) {
        let cell = grid.cell::<LOG>(*x);
        let cell = if *x == spike { SPIKE } else { cell };
        *index = if x.abs() <= f64::MAX { cell } else { NOT_FINITE };
    }
}

/// Adds to `counts` how many of `values` fall in each cell of `grid`, equal `spike`, or are not
/// finite.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn histogram(values: &[f64], grid: &Grid, spike: f64, counts: &mut [[u32; CELLS]; 2]) {
    let mut indices = [0; BLOCK];
    let [even, odd] = counts;
    for block in values.chunks(BLOCK) {
        if grid.is_logarithmic() {
            cells::<true>(grid, spike, block, &mut indices);
        } else {
            cells::<false>(grid, spike, block, &mut indices);
        }
        // Two tables, so that equal neighbours do not wait for each other.
        let (pairs, rest) = indices[..block.len()].as_chunks::<2>();
        for [a, b] in pairs {
            even[slot(*a)] += 1;
            odd[slot(*b)] += 1;
        }
        for a in rest {
            even[slot(*a)] += 1;
        }
    }
}

/// Appends those of `values` to `kept` whose cell is `wanted`.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn collect(
    values: &[f64],
    grid: &Grid,
    spike: f64,
    wanted: &[u8; CELLS],
    kept: &mut Vec<f64>,
) {
    let mut indices = [0; BLOCK];
    let mut found = [0.0; BLOCK];
    for block in values.chunks(BLOCK) {
        if grid.is_logarithmic() {
            cells::<true>(grid, spike, block, &mut indices);
        } else {
            cells::<false>(grid, spike, block, &mut indices);
        }
        // Every number is written, and only the wanted ones are stepped over: no branch to guess.
        let mut count = 0;
        for (x, index) in block.iter().zip(&indices) {
            found[count & (BLOCK - 1)] = *x;
            count += usize::from(wanted[slot(*index)]);
        }
        kept.extend_from_slice(&found[..count.min(BLOCK)]);
    }
}

/// Most levels that are counted by comparing with each of them.
const COMPARED_LEVELS: usize = 12;

/// Ids that one instruction compares.
const BYTES: usize = 32;

/// Groups of ids after which a count of one byte could be full.
const GROUPS: usize = 255;

/// How many of the `groups`, at most [`GROUPS`], equal each of `ids`.
#[inline(always)]
fn level_pass<const N: usize>(groups: &[[LevelId; BYTES]], ids: &[LevelId; N]) -> [u64; N] {
    let mut counts = [[0_u8; BYTES]; N];
    for group in groups {
        for k in 0..N {
            for at in 0..BYTES {
                counts[k][at] += u8::from(group[at] == ids[k]);
            }
        }
    }
    counts.map(|counts| counts.iter().map(|count| u64::from(*count)).sum())
}

/// How often each id occurs in `levels`, by the byte that it is. What is none of the `known` levels
/// and not missing may stand as [`LevelId::OTHER`].
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn levels(levels: &[LevelId], known: usize) -> [u64; 256] {
    let mut counts = [0_u64; 256];
    if known <= COMPARED_LEVELS {
        let (groups, rest) = levels.as_chunks::<BYTES>();
        let ids = (0..known).filter_map(LevelId::new).chain([LevelId::MISSING]);
        let mut padded = [LevelId::MISSING; COMPARED_LEVELS + 1];
        padded.iter_mut().zip(ids).for_each(|(slot, id)| *slot = id);
        let ids = &padded[..=known];
        for groups in groups.chunks(GROUPS) {
            let (pairs, single) = ids.as_chunks::<2>();
            for pair in pairs {
                let found = level_pass::<2>(groups, pair);
                pair.iter().zip(found).for_each(|(id, n)| counts[usize::from(id.byte())] += n);
            }
            for id in single {
                let [found] = level_pass::<1>(groups, &[*id]);
                counts[usize::from(id.byte())] += found;
            }
        }
        for level in rest {
            counts[usize::from(level.byte())] += 1;
        }
        let counted: u64 = counts.iter().sum();
        counts[usize::from(LevelId::OTHER.byte())] += levels.len() as u64 - counted;
        return counts;
    }
    let mut tables = [[0_u64; 256]; 4];
    let (fours, rest) = levels.as_chunks::<4>();
    for four in fours {
        for (table, level) in tables.iter_mut().zip(four) {
            table[usize::from(level.byte())] += 1;
        }
    }
    for level in rest {
        tables[0][usize::from(level.byte())] += 1;
    }
    for table in &tables {
        counts.iter_mut().zip(table).for_each(|(count, more)| *count += more);
    }
    counts
}

/// Adds to `counts` how many of `values` fall in each bin of `table`, NaN in the first.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn look_up(values: &[f64], table: &LookUp, counts: &mut [u64]) {
    match (table.closed, table.grid.is_logarithmic()) {
        (Closed::Right, false) => look_up_as::<ABOVE, false>(values, table, counts),
        (Closed::Right, true) => look_up_as::<ABOVE, true>(values, table, counts),
        (Closed::Left, false) => look_up_as::<AT_OR_ABOVE, false>(values, table, counts),
        (Closed::Left, true) => look_up_as::<AT_OR_ABOVE, true>(values, table, counts),
    }
}

#[inline(always)]
fn look_up_as<const TEST: Test, const LOG: bool>(
    values: &[f64],
    table: &LookUp,
    counts: &mut [u64],
) {
    let mut indices = [0; BLOCK];
    let mut tables = [[0_u64; 256]; 2];
    for block in values.chunks(BLOCK) {
        for (index, x) in indices.iter_mut().zip(block) {
            *index = table.grid.cell::<LOG>(*x);
        }
        for (at, (x, index)) in block.iter().zip(&indices).enumerate() {
            let mut bin = table.first[slot(*index)];
            for _ in 0..table.steps {
                let edge = table.edges[usize::from(bin)];
                bin += u8::from(if TEST == ABOVE { *x > edge } else { *x >= edge });
            }
            tables[at % 2][usize::from(bin)] += 1;
        }
    }
    for table in &tables {
        counts.iter_mut().zip(table).for_each(|(count, more)| *count += more);
    }
}

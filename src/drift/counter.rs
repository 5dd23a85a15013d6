//! Counting numbers into bins, in the way that is the fastest for these edges.
//!
//! | edges | way | ns per number |
//! |---|---|---|
//! | up to 26 | compare with each of them, without a branch | 0.05 per edge |
//! | more | look up where to begin in a [`Grid`], and step over the edges of one cell | 1.3 |
//! | more, too close together for a grid; or few numbers | binary search | 3 to 8 |

use super::grid::{CELLS, Grid};
use super::kernel;
use super::numeric_binning::{Closed, NumericBinning};

/// Most edges that are compared one by one.
const COMPARED_EDGES: usize = 26;

/// Most edges in one cell of a grid that is worth it.
const STEPS: usize = 8;

/// Fewest numbers that pay for a grid.
const GRID_ROWS: usize = 2 * CELLS;

/// Counts strips of a column of numbers into bins.
#[derive(Debug)]
pub(super) struct BinCounter<'b> {
    binning: &'b NumericBinning,
    way: Way,
    // beyond each edge, or in each bin: NaN, which passes no edge, is in the first
    counts: Vec<u64>,
}

#[derive(Debug)]
enum Way {
    Compare,
    LookUp(Box<LookUp>),
    Search,
}

/// Where the bins of each cell begin.
#[derive(Debug)]
pub(super) struct LookUp {
    pub(super) grid: Grid,
    /// edges in earlier cells, per cell
    pub(super) first: [u8; CELLS],
    /// as the binning has them, then NaN, which no number is above
    pub(super) edges: [f64; 256],
    pub(super) closed: Closed,
    /// most edges in a cell
    pub(super) steps: usize,
}

impl<'b> BinCounter<'b> {
    /// A counter for about `rows` numbers.
    pub(super) fn new(binning: &'b NumericBinning, rows: usize) -> Self {
        let edges = binning.edges();
        let way = if edges.len() <= COMPARED_EDGES {
            Way::Compare
        } else if rows < GRID_ROWS {
            Way::Search
        } else {
            LookUp::new(binning).map_or(Way::Search, |found| Way::LookUp(Box::new(found)))
        };
        let counts = match &way {
            Way::Compare => vec![0; edges.len()],
            Way::LookUp(_) => vec![0; 256],
            Way::Search => vec![0; binning.bins()],
        };
        Self { binning, way, counts }
    }

    /// Counts `values`.
    pub(super) fn add(&mut self, values: &[f64]) {
        match &self.way {
            Way::Compare => {
                let (edges, closed) = (self.binning.edges(), self.binning.end());
                kernel::beyond(values, edges, closed, &mut self.counts);
            }
            Way::LookUp(table) => kernel::look_up(values, table, &mut self.counts),
            Way::Search => {
                values.iter().for_each(|x| self.counts[self.binning.bin(*x).unwrap_or(0)] += 1);
            }
        }
    }

    /// The counts of all bins, and last `nan`: how many NaN were among the `rows` numbers.
    pub(super) fn finish(self, rows: u64, nan: u64) -> Vec<u64> {
        let bins = self.binning.bins();
        let mut counts = self.counts;
        match self.way {
            Way::Compare => between(&counts, rows, nan),
            Way::LookUp(_) | Way::Search => {
                counts.truncate(bins);
                counts[0] -= nan;
                counts.push(nan);
                counts
            }
        }
    }
}

/// The counts of the bins between edges, of which `beyond` says how many of `rows` numbers lie beyond
/// each; and last those that are `nan`.
pub(super) fn between(beyond: &[u64], rows: u64, nan: u64) -> Vec<u64> {
    let mut left = rows - nan;
    let mut counts = Vec::with_capacity(beyond.len() + 2);
    for beyond in beyond {
        counts.push(left - beyond);
        left = *beyond;
    }
    counts.extend([left, nan]);
    counts
}

impl LookUp {
    /// The table of `binning`; `None` when its edges are too close together.
    fn new(binning: &NumericBinning) -> Option<Self> {
        let edges = binning.edges();
        let (low, high) = (*edges.first()?, *edges.last()?);
        let crowd = |grid: &Grid| {
            let cells = edges.chunk_by(|a, b| grid.cell_of(*a) == grid.cell_of(*b));
            cells.map(<[f64]>::len).max().unwrap_or_default()
        };
        let (linear, logarithmic) = (Grid::linear(low, high), Grid::logarithmic(low, high));
        let grid = if crowd(&logarithmic) < crowd(&linear) { logarithmic } else { linear };
        let steps = crowd(&grid);
        if steps > STEPS {
            return None;
        }
        let mut first = [0_u8; CELLS];
        for edge in edges {
            first[grid.cell_of(*edge) + 1] += 1;
        }
        // At most MAX_BINS - 1 edges in all.
        for cell in 1..CELLS {
            first[cell] += first[cell - 1];
        }
        let mut padded = [f64::NAN; 256];
        padded[..edges.len()].copy_from_slice(edges);
        Some(Self { grid, first, edges: padded, closed: binning.end(), steps })
    }
}

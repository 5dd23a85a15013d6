//! A cheap rule that puts numbers into cells in their order: what sorting and searching start from.

/// Codes of cells, those two included that are not of a [`Grid`] itself.
pub(super) const CELLS: usize = 2048;

/// Cells of a [`Grid`], which are in the order of the numbers in them.
pub(super) const ORDERED: usize = CELLS - 2;

/// The code beside the grid for a value that is counted by itself.
pub(super) const SPIKE: u64 = ORDERED as u64;

/// The code beside the grid for NaN and infinities.
pub(super) const NOT_FINITE: u64 = SPIKE + 1;

const LAST: u64 = ORDERED as u64 - 1;

/// 2^52: a number below it that is added has its whole part in the lowest bits.
const MAGIC: f64 = 4_503_599_627_370_496.0;

/// Cells from `low` to `high`, of one width or of one width in the logarithm.
///
/// What lies outside falls in the first or the last. A greater number never falls in an earlier
/// cell: subtracting, multiplying and rounding keep the order. -0.0 falls where 0.0 does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    // finite, low <= high
    low: f64,
    high: f64,
    // of equal widths: cells per unit, finite, so that `high` falls in LAST
    scale: f64,
    // of logarithmic widths: the ordered bits of `low`, and how many bits of a difference to drop
    base: u64,
    shift: Option<u32>,
}

impl Grid {
    /// Everything in one cell.
    pub(super) const ONE: Self = Self { low: 0.0, high: 0.0, scale: 0.0, base: 0, shift: None };

    /// Cells of equal width; one cell where there are no such cells.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand cells")]
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let scale = LAST as f64 / (high - low);
        // Neither a range without width nor one beyond the largest number.
        if scale.is_finite() && scale > 0.0 {
            Self { low, high, scale, base: 0, shift: None }
        } else {
            Self::ONE
        }
    }

    /// Cells whose width grows with the distance from 0.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let (low, high) = (low + 0.0, high + 0.0);
        let (base, top) = (ordered(low), ordered(high));
        let bits = u64::BITS - top.saturating_sub(base).leading_zeros();
        let shift = bits.saturating_sub((CELLS - 1).count_ones());
        let shift = if top.saturating_sub(base) >> shift > LAST { shift + 1 } else { shift };
        Self { low, high, scale: 0.0, base, shift: Some(shift) }
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.shift.is_some()
    }

    /// The cell of `x`, for loops that know whether the grid is logarithmic. NaN falls in the first.
    #[inline(always)]
    pub(super) fn cell<const LOG: bool>(&self, x: f64) -> u64 {
        // Comparisons that NaN fails, unlike `clamp`.
        let x = if x > self.low { x } else { self.low };
        let x = if x < self.high { x } else { self.high };
        if LOG {
            (ordered(x + 0.0) - self.base) >> self.shift.unwrap_or_default()
        } else {
            // Not fused: the product has to be rounded the same way on every machine.
            #[expect(clippy::suboptimal_flops, reason = "one instruction less to wait for")]
            let moved = (x - self.low) * self.scale + MAGIC;
            moved.to_bits() & (CELLS as u64 - 1)
        }
    }

    /// The cell of `x`.
    pub(super) fn cell_of(&self, x: f64) -> usize {
        let cell = if self.is_logarithmic() { self.cell::<true>(x) } else { self.cell::<false>(x) };
        usize::try_from(cell).unwrap_or_default()
    }

    /// Which of the two kinds of cells from `low` to `high` tells `sorted` apart better.
    pub(super) fn best(sorted: &[f64], low: f64, high: f64) -> Self {
        let crowd = |grid: &Self| -> usize {
            let cells = sorted.chunk_by(|a, b| grid.cell_of(*a) == grid.cell_of(*b));
            cells.map(|cell| cell.len() * cell.len()).sum()
        };
        let (linear, logarithmic) = (Self::linear(low, high), Self::logarithmic(low, high));
        if crowd(&logarithmic) < crowd(&linear) { logarithmic } else { linear }
    }
}

/// The bits of a number, turned so that they are in its order.
#[inline(always)]
fn ordered(x: f64) -> u64 {
    let bits = x.to_bits();
    let negative = 0_u64.wrapping_sub(bits >> 63);
    bits ^ (negative | 1 << 63)
}

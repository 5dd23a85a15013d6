//! The law of Kolmogorov's statistic: one sample of `n` values against the law that it is from.
#![expect(clippy::suboptimal_flops, reason = "formulas stand as their sources print them")]

use std::f64::consts::{PI, TAU};

use statrs::function::factorial::ln_factorial;

/// Values up to which the tail is summed up exactly; above a limit law does.
const MOST_TERMS: u64 = 1_000_000;

/// Chance that the largest difference between the cumulative shares of `n` values and their own
/// law is `d` or more; `n` is at least 1.
///
/// Which formula is exact, or exact enough, depends on `n` and `d`. Both tails keep their digits:
/// those of the upper are computed as such, not as 1 less the rest.
///
/// # Reference
///
/// R. Simard and P. L'Ecuyer, *Computing the Two-Sided Kolmogorov-Smirnov Distribution*, 2011, DOI
/// 10.18637/jss.v039.i11.
#[expect(clippy::cast_precision_loss, reason = "a number of rows stays below 2^53")]
pub(in crate::drift) fn tail(n: u64, d: f64) -> f64 {
    let rows = n as f64;
    let (t, z2) = (rows * d, rows * d * d);
    if d <= 0.0 || t <= 0.5 {
        return 1.0;
    }
    if d >= 1.0 || z2 >= 370.0 {
        return 0.0;
    }
    // From here on one of the two one-sided events has to happen, and both cannot, or hardly.
    if d >= 0.5 || t >= rows - 1.0 || z2 >= if n <= 140 { 4.0 } else { 2.2 } {
        return (2.0 * one_sided(n, d)).min(1.0);
    }
    let below = if t <= 1.0 {
        // n! (2 d - 1/n)^n: every value lies in a place of its own.
        let log =
            0.5 * (TAU * rows).ln() - rows + stirling(n) + rows * 2.0f64.mul_add(t, -1.0).ln();
        log.exp()
    } else if n <= 140 || (n <= 100_000 && t * d.sqrt() <= 1.4) {
        durbin(n, d)
    } else {
        pelz_good(rows, rows.sqrt() * d)
    };
    (1.0 - below).clamp(0.0, 1.0)
}

/// Chance that the difference in one direction is `d` or more, `0 < d < 1`.
///
/// ```text
/// sum over j <= n (1 - d) of d (n over j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j)
/// ```
///
/// Every term is written as the largest that it could be, times what it falls short by: then no
/// large logarithms cancel.
///
/// # Reference
///
/// Z. W. Birnbaum and F. H. Tingey, *One-Sided Confidence Contours for Probability Distribution
/// Functions*, 1951, DOI 10.1214/aoms/1177729550.
#[expect(clippy::cast_precision_loss, reason = "at most MOST_TERMS")]
fn one_sided(n: u64, d: f64) -> f64 {
    let rows = n as f64;
    if n > MOST_TERMS {
        // The limit, corrected to the first order in 1 / sqrt(n).
        let z = 1.0 / (6.0 * rows.sqrt()) + rows.sqrt() * d;
        return (-2.0 * z * z).exp();
    }
    let reach = rows * d;
    let mut sum = (rows * (-d).ln_1p()).exp();
    for j in 1..n {
        let (before, after) = (j as f64, (n - j) as f64);
        if reach >= after {
            break;
        }
        let short = before.mul_add((reach / before).ln_1p(), after * (-reach / after).ln_1p());
        let peak = stirling(n) - stirling(j) - stirling(n - j);
        let share = d + before / rows;
        sum += d / share * (rows / (TAU * before * after)).sqrt() * (short + peak).exp();
    }
    sum.min(1.0)
}

/// `ln n!` less Stirling's formula for it, `n` at least 1.
#[expect(clippy::cast_precision_loss, reason = "a number of rows stays below 2^53")]
fn stirling(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        return ln_factorial(n) - ((x + 0.5) * x.ln() - x + 0.5 * TAU.ln());
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / x
}

/// Chance of less than `d`, exactly, as an element of the `n`-th power of a matrix.
///
/// # Reference
///
/// G. Marsaglia, W. W. Tsang and J. Wang, *Evaluating Kolmogorov's Distribution*, 2003, DOI
/// 10.18637/jss.v008.i18.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "n d is between 1 and a few dozens"
)]
fn durbin(n: u64, d: f64) -> f64 {
    let k = (n as f64 * d).floor() as usize + 1;
    let h = k as f64 - n as f64 * d;
    let size = 2 * k - 1;
    let mut matrix = Scaled::zero(size);
    for i in 0..size {
        for j in 0..=(i + 1).min(size - 1) {
            matrix.cells[i * size + j] = 1.0;
        }
    }
    // The first column and the last row know where in its cell the bound lies.
    let mut power = 1.0;
    for i in 0..size {
        power *= h;
        matrix.cells[i * size] -= power;
        matrix.cells[(size - 1) * size + size - 1 - i] -= power;
    }
    if h > 0.5 {
        matrix.cells[(size - 1) * size] += (2.0 * h - 1.0).powi(size as i32);
    }
    for i in 0..size {
        let mut factorial = 1.0;
        for j in (0..=i).rev() {
            factorial *= (i - j + 1) as f64;
            matrix.cells[i * size + j] /= factorial;
        }
    }
    let power = matrix.power(n);
    let mut value = power.cells[(k - 1) * size + k - 1];
    let mut exponent = power.exponent;
    for i in 1..=n {
        value *= i as f64 / n as f64;
        if value < SMALL {
            value /= SMALL;
            exponent -= 1;
        }
    }
    value * SMALL.powi(-exponent)
}

/// Numbers are kept between this and its inverse: 2^-460.
const SMALL: f64 = f64::from_bits((1023 - 460) << 52);

/// A square matrix times a power of [`SMALL`].
#[derive(Debug, Clone)]
struct Scaled {
    size: usize,
    // row by row
    cells: Vec<f64>,
    // the matrix is `cells / SMALL^exponent`
    exponent: i32,
}

impl Scaled {
    fn zero(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size], exponent: 0 }
    }

    fn times(&self, other: &Self) -> Self {
        let size = self.size;
        let mut product = Self { exponent: self.exponent + other.exponent, ..Self::zero(size) };
        for (row, out) in self.cells.chunks(size).zip(product.cells.chunks_mut(size)) {
            for (factor, other) in row.iter().zip(other.cells.chunks(size)) {
                out.iter_mut().zip(other).for_each(|(out, x)| *out = factor.mul_add(*x, *out));
            }
        }
        if product.cells[(size / 2) * size + size / 2] > 1.0 / SMALL {
            product.cells.iter_mut().for_each(|x| *x *= SMALL);
            product.exponent += 1;
        }
        product
    }

    fn power(&self, n: u64) -> Self {
        let mut result: Option<Self> = None;
        for bit in (0..u64::BITS - n.leading_zeros()).rev() {
            if let Some(so_far) = result.take() {
                result = Some(so_far.times(&so_far));
            }
            if n >> bit & 1 == 1 {
                result = Some(result.map_or_else(|| self.clone(), |so_far| so_far.times(self)));
            }
        }
        result.unwrap_or_else(|| self.clone())
    }
}

/// Chance of less than `z / sqrt(n)`: the limit law and three terms in powers of `1 / sqrt(n)`.
///
/// # Reference
///
/// W. Pelz and I. J. Good, *Approximating the Lower Tail-Areas of the Kolmogorov-Smirnov One-Sample
/// Statistic*, Journal of the Royal Statistical Society B 38, 1976.
pub(in crate::drift) fn pelz_good(n: f64, z: f64) -> f64 {
    let z2 = z * z;
    let (z4, z6, z8) = (z2 * z2, z2 * z2 * z2, z2 * z2 * z2 * z2);
    let pi2 = PI * PI;
    let mut sums = [0.0; 4];
    // Odd multiples of pi / 2 first, then multiples of pi; later terms are below the last bit.
    for k in 0..40 {
        let a2 = pi2 * (f64::from(k) + 0.5) * (f64::from(k) + 0.5);
        let (a4, a6) = (a2 * a2, a2 * a2 * a2);
        let weight = (-a2 / (2.0 * z2)).exp();
        let second = 6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * a2 + (1.0 - 2.0 * z2) * a4;
        let third = -30.0 * z6 - 90.0 * z8
            + (135.0 * z4 - 96.0 * z6) * a2
            + (212.0 * z4 - 60.0 * z2) * a4
            + (5.0 - 30.0 * z2) * a6;
        sums[0] += weight;
        sums[1] += weight * (a2 - z2);
        sums[2] += weight * second;
        sums[3] += weight * third;
        let b2 = pi2 * f64::from(k) * f64::from(k);
        let weight = (-b2 / (2.0 * z2)).exp();
        // Both are over the common denominators below.
        sums[2] -= weight * b2 * 2.0 * z4;
        sums[3] += weight * b2 * (3.0 * z2 - b2) * 30.0 * z4;
    }
    let root = n.sqrt();
    let terms = [
        sums[0] / z,
        sums[1] / (6.0 * z4 * root),
        sums[2] / (72.0 * z6 * z * n),
        sums[3] / (6480.0 * z8 * z2 * n * root),
    ];
    TAU.sqrt() * terms.iter().sum::<f64>()
}

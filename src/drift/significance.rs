//! Is a shift more than chance? The two-sample chi-square test, and corrections for many tests.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::gamma::checked_gamma_ur;

use super::hypergeometric::hypergeometric;
use super::metric::BinnedPair;
use crate::schema::Hasher;

/// Expected count below which the chi-square distribution is not trusted (W. G. Cochran, 1954,
/// DOI 10.2307/3001666).
const SMALLEST_EXPECTED: f64 = 5.0;

/// Simulated tables that are at least as extreme as the observed one, at which a simulation stops:
/// its p-value is then known to a quarter of itself, and far from small.
const ENOUGH_EXTREMES: u64 = 20;

/// Simulated tables, at least and at most.
const SIMULATIONS: (u64, u64) = (9_999, 199_999);

/// How p-values are corrected for testing many features at once.
///
/// ```
/// use pmmds::drift::Correction;
/// let p_values = [0.01, 0.02, 0.03];
/// assert_eq!(Correction::Holm.adjust(&p_values), [0.03, 0.04, 0.04]);
/// assert_eq!(Correction::BenjaminiHochberg.adjust(&p_values), [0.03, 0.03, 0.03]);
/// assert_eq!(Correction::None.adjust(&p_values), p_values);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Correction {
    /// Bounds the chance of *any* false alarm among the features (S. Holm, *A Simple Sequentially
    /// Rejective Multiple Test Procedure*, 1979, DOI 10.2307/4615733).
    #[default]
    Holm,
    /// Bounds the share of false alarms *among the alarms* (Y. Benjamini and Y. Hochberg, 1995, DOI
    /// 10.1111/j.2517-6161.1995.tb02031.x). Finds more, and errs more often.
    BenjaminiHochberg,
    /// Every feature by itself.
    None,
}

impl Correction {
    /// The corrected p-values, in the order of `p_values`, each in `[0, 1]`.
    ///
    /// ```
    /// use pmmds::drift::Correction;
    /// assert_eq!(Correction::Holm.adjust(&[0.03, 0.01]), [0.03, 0.02]);
    /// ```
    #[must_use]
    pub fn adjust(self, p_values: &[f64]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..p_values.len()).collect();
        order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
        let mut adjusted = p_values.to_vec();
        #[expect(clippy::cast_precision_loss, reason = "a number of features")]
        let float = |count: usize| count as f64;
        match self {
            Self::None => {}
            Self::Holm => {
                let mut largest = 0.0_f64;
                for (rank, at) in order.iter().enumerate() {
                    largest = largest.max(p_values[*at] * float(order.len() - rank));
                    adjusted[*at] = largest.min(1.0);
                }
            }
            Self::BenjaminiHochberg => {
                let mut smallest = 1.0_f64;
                for (rank, at) in order.iter().enumerate().rev() {
                    smallest = smallest.min(p_values[*at] * (float(order.len()) / float(rank + 1)));
                    adjusted[*at] = smallest;
                }
            }
        }
        adjusted
    }
}

/// How a p-value was found.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let before = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// # let after = &before + 300.0;
/// # let before = pmmds::record::Batch::from_array(&schema, before.view())?;
/// # let after = pmmds::record::Batch::from_array(&schema, after.view())?;
/// use pmmds::drift::{DriftDetector, TestMethod};
/// let report = DriftDetector::default().compare(&before, &after)?;
/// let test = report.feature("x").unwrap().significance.unwrap();
/// assert_eq!(test.method, TestMethod::Asymptotic); // 100 rows in every bin are enough
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TestMethod {
    /// From the chi-square distribution.
    Asymptotic,
    /// By simulation of tables with the same margins, where an expected count is below 5.
    MonteCarlo,
}

/// The outcome of one test, before correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PearsonTest {
    pub(super) statistic: f64,
    pub(super) degrees_of_freedom: u64,
    pub(super) method: TestMethod,
    pub(super) p_value: f64,
}

/// Pearson's two-sample chi-square test on the raw counts of a pair: both samples count, so that a
/// small reference is not taken for the truth. `None` where a single slot is used.
///
/// ```text
/// X2 = sum_i sum_side (observed - expected)^2 / expected,  expected_i = (r_i + c_i) n / (n + m)
/// ```
///
/// Where an expected count is below 5 the p-value comes from simulated tables with the same
/// margins (multivariate hypergeometric), seeded by the counts: the same pair gives the same
/// answer every time. The simulation is sequential: it stops once 20 tables were at least as
/// extreme (J. Besag and P. Clifford, *Sequential Monte Carlo p-values*, 1991, DOI
/// 10.1093/biomet/78.2.301).
///
/// `tests` is how many tests the p-value will be corrected for, `alpha` the level: together they
/// say how small a p-value must be able to get.
///
/// # Reference
///
/// K. Pearson, 1900, DOI 10.1080/14786440009463897.
pub(super) fn pearson(pair: BinnedPair<'_>, tests: usize, alpha: f64) -> Option<PearsonTest> {
    let slots: Vec<(u64, u64)> = pair.used().collect();
    let degrees_of_freedom = (slots.len() as u64).checked_sub(1).filter(|free| *free > 0)?;
    let table = Table::new(&slots);
    let statistic = table.statistic(slots.iter().map(|(_, c)| *c));
    #[expect(clippy::cast_precision_loss, reason = "at most 255 slots")]
    let shape = degrees_of_freedom as f64 / 2.0;
    let (method, p_value) = if table.smallest_expected() < SMALLEST_EXPECTED {
        (TestMethod::MonteCarlo, table.simulate(statistic, simulations(tests, alpha)))
    } else {
        let p_value = if statistic > 0.0 {
            // An argument that it refuses is one that overflowed: nothing is left of the tail.
            checked_gamma_ur(shape, statistic / 2.0).unwrap_or(0.0).clamp(0.0, 1.0)
        } else {
            1.0
        };
        (TestMethod::Asymptotic, p_value)
    };
    Some(PearsonTest { statistic, degrees_of_freedom, method, p_value })
}

/// The smallest PSI that the test can call significant, to first order: PSI is about
/// `X2 (1/n + 1/m)`, and the first step of Holm's procedure tests at `alpha / tests`.
pub(super) fn provable_psi(pair: BinnedPair<'_>, tests: usize, alpha: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a number of slots or features")]
    let [slots, tests] = [pair.used().count(), tests.max(1)].map(|count| count as f64);
    let distribution = ChiSquared::new(slots - 1.0).ok().filter(|_| slots > 1.0)?;
    let bound = distribution.inverse_cdf(1.0 - alpha / tests);
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let [n, m] = [pair.reference_rows(), pair.current_rows()].map(|rows| rows as f64);
    Some(bound * (1.0 / n + 1.0 / m))
}

/// Enough tables for the smallest p-value that correction can ask for, with ten to spare.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded up and clamped to SIMULATIONS"
)]
fn simulations(tests: usize, alpha: f64) -> u64 {
    let wanted = (10.0 * tests as f64 / alpha).ceil();
    (wanted as u64).clamp(SIMULATIONS.0, SIMULATIONS.1)
}

/// A table of two rows with fixed margins.
struct Table {
    // rows of each slot, both sides together, each at least 1
    totals: Vec<u64>,
    reference_rows: u64,
    current_rows: u64,
    seed: [u8; 32],
}

impl Table {
    fn new(slots: &[(u64, u64)]) -> Self {
        let mut hasher = Hasher::new("pmmds chi-square seed 1");
        slots.iter().for_each(|(r, c)| {
            hasher.number(*r).number(*c);
        });
        Self {
            totals: slots.iter().map(|(r, c)| r.saturating_add(*c)).collect(),
            reference_rows: slots.iter().map(|(r, _)| r).sum(),
            current_rows: slots.iter().map(|(_, c)| c).sum(),
            seed: *hasher.finish().as_bytes(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn sides(&self) -> (f64, f64) {
        (self.reference_rows as f64, self.current_rows as f64)
    }

    /// X2 of a table, given by its counts of the window.
    ///
    /// The two terms of a slot have the same numerator, so that they are one fraction.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn statistic(&self, current: impl Iterator<Item = u64>) -> f64 {
        let (n, m) = self.sides();
        let share = m / (n + m);
        let terms = self.totals.iter().zip(current).map(|(total, c)| {
            let total = *total as f64;
            let deviation = share.mul_add(-total, c as f64);
            deviation * deviation / total
        });
        terms.sum::<f64>() * ((n + m) / n) * ((n + m) / m)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn smallest_expected(&self) -> f64 {
        let (n, m) = self.sides();
        let smallest = self.totals.iter().copied().min().unwrap_or(0) as f64;
        smallest * n.min(m) / (n + m)
    }

    #[expect(clippy::cast_precision_loss, reason = "at most SIMULATIONS.1")]
    fn simulate(&self, observed: f64, simulations: u64) -> f64 {
        let mut rng = ChaCha8Rng::from_seed(self.seed);
        // Tables with the statistic of the observed one must not be lost to rounding.
        let bar = observed * (1.0 - 1e-9);
        let mut drawn = vec![0; self.totals.len()];
        let mut extremes = 0;
        for made in 1..=simulations {
            self.draw(&mut rng, &mut drawn);
            if self.statistic(drawn.iter().copied()) >= bar {
                extremes += 1;
                if extremes == ENOUGH_EXTREMES {
                    return extremes as f64 / made as f64;
                }
            }
        }
        (extremes + 1) as f64 / (simulations + 1) as f64
    }

    /// Deals the rows of the window onto the slots, as chance would.
    fn draw(&self, rng: &mut ChaCha8Rng, drawn: &mut [u64]) {
        let mut rows = self.reference_rows + self.current_rows;
        let mut left = self.current_rows;
        for (slot, total) in drawn.iter_mut().zip(&self.totals) {
            *slot = hypergeometric(rng, rows, *total, left);
            rows -= total;
            left -= *slot;
        }
    }
}

//! Pearson's chi-square, the likelihood ratio G, and Cramér's V.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::counts::NotComparable;
use super::hypergeometric::hypergeometric;
use super::metric::{BinnedPair, DriftMetric};
use super::significance::{TestMethod, TestResult};
use crate::schema::Hasher;
use crate::tails::chi_square_tail;

/// Expected count below which the chi-square distribution is not trusted (W. G. Cochran, 1954,
/// DOI 10.2307/3001616).
const SMALLEST_EXPECTED: f64 = 5.0;

/// Simulated tables that are at least as extreme as the observed one, at which a simulation stops:
/// its p-value is then known to a quarter of itself, and far from small.
const ENOUGH_EXTREMES: u64 = 20;

/// Simulated tables, at least and at most.
const SIMULATIONS: (u64, u64) = (9_999, 199_999);

/// Pearson's chi-square: how far the counts are from equal proportions, in units of chance.
///
/// # Formula
///
/// ```text
/// X2 = sum_i sum_side (observed - expected)^2 / expected,  expected_i = (r_i + c_i) n / (n + m)
/// ```
///
/// where `r_i` and `c_i` are the raw counts of reference and window in slot `i`, `n` and `m` their
/// rows (`m` in place of `n` for the expectation of the window). Both samples count, so a small
/// reference is not taken for the truth. No unit, in `[0, n + m]`: 0 for equal proportions (but for
/// rounding), `n + m` for slots without a row in common. Slots that are empty on both sides are left
/// out, one that is empty on one side counts as any other, and nothing is smoothed. A single slot in
/// use measures 0, and has no p-value. With no drift it is about `K - 1` for `K` slots.
///
/// The statistic is no *size*: the same shift gives ten times the number at ten times the rows. It
/// does not know an order, and with many slots of few rows sees a small shift badly. For a size take [`CramersV`] or [`Psi`](super::Psi), for the proof [`test`](Self::test).
///
/// # Reference
///
/// K. Pearson, *On the Criterion that a Given System of Deviations...*, 1900, DOI
/// 10.1080/14786440009463897.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, ChiSquare, DriftMetric, TestMethod};
/// let binning = Binning::levels(["a", "b"]);
/// let equal = BinnedPair::new(&binning, &[300, 100, 0, 0], &[30, 10, 0, 0])?;
/// assert!(ChiSquare.measure(equal)? < 1e-15);
/// let turned = BinnedPair::new(&binning, &[300, 100, 0, 0], &[100, 300, 0, 0])?;
/// assert!((ChiSquare.measure(turned)? - 200.0).abs() < 1e-9);
/// let disjoint = BinnedPair::new(&binning, &[300, 0, 0, 0], &[0, 100, 0, 0])?;
/// assert!((ChiSquare.measure(disjoint)? - 400.0).abs() < 1e-9);
/// assert!(ChiSquare.test(turned)?.p_value < 1e-40);
///
/// // Few rows: the p-value is simulated, the same one every time.
/// let few = BinnedPair::new(&binning, &[3, 1, 0, 0], &[1, 3, 0, 0])?;
/// let test = ChiSquare.test(few)?;
/// assert_eq!((test.method, Ok(test)), (TestMethod::MonteCarlo, ChiSquare.test(few)));
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChiSquare;

impl ChiSquare {
    /// The statistic with its p-value: from the chi-square law with one degree of freedom less than
    /// slots in use, or, where an expected count is below 5, by simulation.
    ///
    /// Simulated are tables with the same margins (multivariate hypergeometric), seeded by the
    /// counts. The simulation is sequential: it stops once 20 tables were at least as extreme, and
    /// else after 9,999, so that no p-value of it is below 1e-4.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] where a single slot is in use, and there is nothing to test.
    ///
    /// # Reference
    ///
    /// J. Besag and P. Clifford, *Sequential Monte Carlo p-values*, 1991, DOI
    /// 10.1093/biomet/78.2.301.
    pub fn test(&self, pair: BinnedPair<'_>) -> Result<TestResult, NotComparable> {
        Table::of(pair)
            .ok_or_else(single_slot)
            .map(|table| table.test(Statistic::Pearson, SIMULATIONS.0))
    }

    /// The same with the p-value from the chi-square law, however small the expected counts are.
    ///
    /// # Errors
    ///
    /// As [`test`](Self::test).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, ChiSquare};
    /// let binning = Binning::levels(["a", "b"]);
    /// let few = BinnedPair::new(&binning, &[3, 1, 0, 0], &[1, 3, 0, 0])?;
    /// // Far too sure: 34 of 70 tables with these margins are as extreme.
    /// assert!((ChiSquare.asymptotic(few)?.p_value - 0.157).abs() < 1e-3);
    ///
    /// let one = BinnedPair::new(&binning, &[4, 0, 0, 0], &[4, 0, 0, 0])?;
    /// let error = ChiSquare.asymptotic(one).unwrap_err();
    /// assert_eq!(error.why(), "a single slot is in use, there is nothing to test");
    /// # Ok::<(), pmmds::drift::NotComparable>(())
    /// ```
    pub fn asymptotic(&self, pair: BinnedPair<'_>) -> Result<TestResult, NotComparable> {
        Table::of(pair).ok_or_else(single_slot).map(|table| table.asymptotic(Statistic::Pearson))
    }
}

impl DriftMetric for ChiSquare {
    fn name(&self) -> &'static str {
        "chi_square"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        Ok(Table::of(pair).map_or(0.0, |table| table.observed(Statistic::Pearson)))
    }
}

/// The likelihood ratio of one distribution for both samples against one for each.
///
/// # Formula
///
/// ```text
/// G = 2 sum_i sum_side observed ln(observed / expected),  expected_i = (r_i + c_i) n / (n + m)
/// ```
///
/// where `r_i` and `c_i` are the raw counts of reference and window in slot `i`, `n` and `m` their
/// rows; an empty slot adds 0. Twice the nats that knowing the side saves in telling the slots: `2
/// (n + m)` times the mutual information. From 0 for equal proportions (but for rounding) to `2 n
/// ln((n + m) / n) + 2 m ln((n + m) / m)` for slots without a row in common. Nothing is smoothed, and
/// slots that are empty on one side are no problem; a single slot in use measures 0. With no drift it
/// is about `K - 1` for `K` slots.
///
/// As [`ChiSquare`] it grows with the rows, and is no size, and it does not know an order. Its p-values are close to those of
/// Pearson's, which are the better ones for slots of few rows.
///
/// # Reference
///
/// S. S. Wilks, *The Large-Sample Distribution of the Likelihood Ratio for Testing Composite
/// Hypotheses*, 1938, DOI 10.1214/aoms/1177732360.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, DriftMetric, GTest};
/// let binning = Binning::levels(["a", "b"]);
/// let equal = BinnedPair::new(&binning, &[300, 100, 0, 0], &[30, 10, 0, 0])?;
/// assert!(GTest.measure(equal)? < 1e-15);
/// let disjoint = BinnedPair::new(&binning, &[100, 0, 0, 0], &[0, 100, 0, 0])?;
/// assert!((GTest.measure(disjoint)? - 400.0 * std::f64::consts::LN_2).abs() < 1e-9);
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GTest;

impl GTest {
    /// The statistic with its p-value, found as in [`ChiSquare::test`].
    ///
    /// # Errors
    ///
    /// [`NotComparable`] where a single slot is in use, and there is nothing to test.
    pub fn test(&self, pair: BinnedPair<'_>) -> Result<TestResult, NotComparable> {
        Table::of(pair)
            .ok_or_else(single_slot)
            .map(|table| table.test(Statistic::LikelihoodRatio, SIMULATIONS.0))
    }

    /// The same with the p-value from the chi-square law, however small the expected counts are.
    ///
    /// # Errors
    ///
    /// As [`test`](Self::test).
    ///
    /// ```
    /// use pmmds::drift::{BinnedPair, Binning, GTest};
    /// let binning = Binning::levels(["a", "b"]);
    /// let few = BinnedPair::new(&binning, &[3, 1, 0, 0], &[1, 3, 0, 0])?;
    /// assert!((GTest.asymptotic(few)?.p_value - 0.148).abs() < 1e-3);
    /// # Ok::<(), pmmds::drift::NotComparable>(())
    /// ```
    pub fn asymptotic(&self, pair: BinnedPair<'_>) -> Result<TestResult, NotComparable> {
        Table::of(pair)
            .ok_or_else(single_slot)
            .map(|table| table.asymptotic(Statistic::LikelihoodRatio))
    }
}

impl DriftMetric for GTest {
    fn name(&self) -> &'static str {
        "g"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        Ok(Table::of(pair).map_or(0.0, |table| table.observed(Statistic::LikelihoodRatio)))
    }
}

/// Cramér's V: the size of the shift behind a [`ChiSquare`], the same at any number of rows.
///
/// # Formula
///
/// ```text
/// V = sqrt(X2 / (n + m))
/// ```
///
/// where `X2` is Pearson's statistic of the two sides and `n` and `m` are their rows; with two
/// sides the smaller dimension of the table less one is 1. No unit, in `[0, 1]`: 0 for equal
/// proportions, 1 for slots without a row in common. Nothing is smoothed.
///
/// It is a poor choice for samples of very different sizes, where it is small: half of a window of 100
/// rows, moved to a slot of its own, measures 0.58 against 100 rows and 0.07 against 10,000. It does
/// not know an order. With no drift it is about `sqrt((K - 1) / (n + m))` for `K`
/// slots, not 0.
///
/// # Reference
///
/// H. Cramér, *Mathematical Methods of Statistics*, Princeton, 1946, section 21.9, DOI
/// 10.1515/9781400883868.
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, CramersV, DriftMetric};
/// let binning = Binning::levels(["a", "b"]);
/// for times in [1, 1000] {
///     let (r, c) = ([300 * times, 100 * times, 0, 0], [100 * times, 300 * times, 0, 0]);
///     let v = CramersV.measure(BinnedPair::new(&binning, &r, &c)?)?;
///     assert!((v - 0.5).abs() < 1e-12);
/// }
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CramersV;

impl DriftMetric for CramersV {
    fn name(&self) -> &'static str {
        "cramers_v"
    }

    fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let rows = pair.reference_rows() as f64 + pair.current_rows() as f64;
        Ok((ChiSquare.measure(pair)? / rows).sqrt().min(1.0))
    }
}

fn single_slot() -> NotComparable {
    NotComparable::new("a single slot is in use, there is nothing to test")
}

/// [`ChiSquare::test`] with enough simulated tables for a p-value as small as `level`. `None` where
/// a single slot is used.
pub(super) fn pearson(pair: BinnedPair<'_>, level: f64) -> Option<TestResult> {
    Some(Table::of(pair)?.test(Statistic::Pearson, simulations(level)))
}

/// Enough tables for the smallest p-value that correction can ask for, with ten to spare.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded up and clamped to SIMULATIONS"
)]
fn simulations(level: f64) -> u64 {
    // Not one more table because 0.005 / 19 is no binary number.
    let wanted = (10.0 / level * (1.0 - 1e-12)).ceil();
    (wanted as u64).clamp(SIMULATIONS.0, SIMULATIONS.1)
}

/// What is added up over a table.
#[derive(Debug, Clone, Copy)]
enum Statistic {
    Pearson,
    LikelihoodRatio,
}

/// A table of two rows with fixed margins, and more than one column.
struct Table {
    // rows of the window in each slot
    current: Vec<u64>,
    // rows of each slot, both sides together, each at least 1
    totals: Vec<u64>,
    reference_rows: u64,
    current_rows: u64,
    seed: [u8; 32],
}

impl Table {
    /// The used slots of `pair`; `None` where there is a single one.
    fn of(pair: BinnedPair<'_>) -> Option<Self> {
        let slots: Vec<(u64, u64)> = pair.used().collect();
        if slots.len() < 2 {
            return None;
        }
        let mut hasher = Hasher::new("pmmds chi-square seed 1");
        slots.iter().for_each(|(r, c)| {
            hasher.number(*r).number(*c);
        });
        Some(Self {
            current: slots.iter().map(|(_, c)| *c).collect(),
            totals: slots.iter().map(|(r, c)| r.saturating_add(*c)).collect(),
            reference_rows: slots.iter().map(|(r, _)| r).sum(),
            current_rows: slots.iter().map(|(_, c)| c).sum(),
            seed: *hasher.finish().as_bytes(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn sides(&self) -> (f64, f64) {
        (self.reference_rows as f64, self.current_rows as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 255 slots")]
    fn freedom(&self) -> f64 {
        (self.totals.len() - 1) as f64
    }

    fn observed(&self, statistic: Statistic) -> f64 {
        self.statistic(statistic, &self.current)
    }

    /// The statistic of a table, given by its counts of the window.
    fn statistic(&self, statistic: Statistic, current: &[u64]) -> f64 {
        match statistic {
            Statistic::Pearson => self.pearson(current),
            Statistic::LikelihoodRatio => self.likelihood_ratio(current),
        }
    }

    /// The two terms of a slot have the same numerator, so that they are one fraction.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn pearson(&self, current: &[u64]) -> f64 {
        let (n, m) = self.sides();
        let share = m / (n + m);
        let terms = self.totals.iter().zip(current).map(|(total, c)| {
            let total = *total as f64;
            let deviation = share.mul_add(-total, *c as f64);
            deviation * deviation / total
        });
        terms.sum::<f64>() * ((n + m) / n) * ((n + m) / m)
    }

    /// Deviations add up to 0 on either side. Taken off term by term they leave nothing to cancel:
    /// every term is at least 0.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn likelihood_ratio(&self, current: &[u64]) -> f64 {
        let (n, m) = self.sides();
        let term = |observed: f64, expected: f64| {
            if observed > 0.0 {
                let u = (observed - expected) / expected;
                (expected * (1.0 + u).mul_add(u.ln_1p(), -u)).max(0.0)
            } else {
                expected
            }
        };
        let terms = self.totals.iter().zip(current).map(|(total, c)| {
            let (total, r, c) = (*total as f64, (total - c) as f64, *c as f64);
            term(r, total * n / (n + m)) + term(c, total * m / (n + m))
        });
        2.0 * terms.sum::<f64>()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn smallest_expected(&self) -> f64 {
        let (n, m) = self.sides();
        let smallest = self.totals.iter().copied().min().unwrap_or(0) as f64;
        smallest * n.min(m) / (n + m)
    }

    fn test(&self, statistic: Statistic, simulations: u64) -> TestResult {
        if self.smallest_expected() >= SMALLEST_EXPECTED {
            return self.asymptotic(statistic);
        }
        let observed = self.observed(statistic);
        let p_value = self.simulate(statistic, observed, simulations);
        TestResult::new(observed, p_value, TestMethod::MonteCarlo).freedom(self.freedom())
    }

    fn asymptotic(&self, statistic: Statistic) -> TestResult {
        let (observed, freedom) = (self.observed(statistic), self.freedom());
        let p_value = chi_square_tail(observed, freedom);
        TestResult::new(observed, p_value, TestMethod::Asymptotic).freedom(freedom)
    }

    #[expect(clippy::cast_precision_loss, reason = "at most SIMULATIONS.1")]
    fn simulate(&self, statistic: Statistic, observed: f64, simulations: u64) -> f64 {
        let mut rng = ChaCha8Rng::from_seed(self.seed);
        // Tables with the statistic of the observed one must not be lost to rounding.
        let bar = observed * (1.0 - 1e-9);
        let mut drawn = vec![0; self.totals.len()];
        let mut extremes = 0;
        for made in 1..=simulations {
            self.draw(&mut rng, &mut drawn);
            if self.statistic(statistic, &drawn) >= bar {
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

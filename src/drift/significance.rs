//! What a test answers, and how its p-value was found.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::metric::BinnedPair;

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
    /// From the law that the statistic comes close to with many rows.
    Asymptotic,
    /// By simulation of tables with the same margins, where an expected count is below 5.
    MonteCarlo,
    /// From the law of the statistic at these numbers of rows, by counting all orders of the pooled
    /// values, or all signs of differences.
    Exact,
    /// From a published table, between its ends: the first stands for "at most", the last for "at
    /// least".
    Interpolated,
}

/// The outcome of one test, before any [correction](super::Correction).
///
/// ```
/// use pmmds::drift::{BinnedPair, Binning, ChiSquare, TestMethod};
/// let binning = Binning::levels(["a", "b"]);
/// let pair = BinnedPair::new(&binning, &[300, 100, 0, 0], &[60, 40, 0, 0])?;
/// let test = ChiSquare.test(pair)?;
/// assert!((test.statistic - 8.929).abs() < 1e-3 && (test.p_value - 0.00281).abs() < 1e-5);
/// assert_eq!((test.degrees_of_freedom, test.method), (Some(1.0), TestMethod::Asymptotic));
/// # Ok::<(), pmmds::drift::NotComparable>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TestResult {
    /// the statistic of the test, in the unit that the test states
    pub statistic: f64,
    /// of the law that the p-value is from, where it has them
    pub degrees_of_freedom: Option<f64>,
    /// chance of such a statistic, or a more extreme one, if nothing had changed; in `[0, 1]`
    pub p_value: f64,
    /// how the p-value was found
    pub method: TestMethod,
}

impl TestResult {
    pub(crate) fn new(statistic: f64, p_value: f64, method: TestMethod) -> Self {
        let p_value = p_value.clamp(0.0, 1.0);
        Self { statistic, degrees_of_freedom: None, p_value, method }
    }

    pub(crate) fn freedom(self, degrees: f64) -> Self {
        Self { degrees_of_freedom: Some(degrees), ..self }
    }
}

/// The statistic that the chi-square law reaches with chance `level`; `None` without degrees of
/// freedom.
pub(super) fn chi_square_bound(level: f64, freedom: f64) -> Option<f64> {
    Some(ChiSquared::new(freedom).ok()?.inverse_cdf(1.0 - level))
}

/// The smallest PSI that the chi-square test can call significant at `level`, to first order: PSI
/// is about `X2 (1/n + 1/m)`. `None` where a single slot is used.
pub(super) fn provable_psi(pair: BinnedPair<'_>, level: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "at most 255 slots")]
    let slots = pair.used().count() as f64;
    let bound = chi_square_bound(level, slots - 1.0)?;
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let [n, m] = [pair.reference_rows(), pair.current_rows()].map(|rows| rows as f64);
    Some(bound * (1.0 / n + 1.0 / m))
}

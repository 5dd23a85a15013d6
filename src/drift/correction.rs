//! Corrections for testing many features at once, and one p-value out of many.

use serde::{Deserialize, Serialize};

use super::significance::{TestMethod, TestResult};
use crate::tails::chi_square_tail;

/// How p-values are corrected for testing many features at once.
///
/// # Formula
///
/// ```text
/// Holm                 max over j <= i of min(1, (k + 1 - j) p_j)
/// Bonferroni           min(1, k p_i)
/// Sidak                1 - (1 - p_i)^k
/// BenjaminiHochberg    min over j >= i of min(1, k p_j / j)
/// BenjaminiYekutieli   min over j >= i of min(1, h k p_j / j),  h = 1 + 1/2 + ... + 1/k
/// ```
///
/// where `p_1 <= p_2 <= ... <= p_k` are the p-values of `k` tests in ascending order. What comes out
/// is compared with the level as a p-value is. It has no unit, is in `[0, 1]` and at least `p_i`. No
/// p-values give none, and a single one is not changed.
///
/// ```
/// use pmmds::drift::Correction;
/// let p_values = [0.01, 0.02, 0.03];
/// assert_eq!(Correction::Holm.adjust(&p_values), [0.03, 0.04, 0.04]);
/// assert_eq!(Correction::BenjaminiHochberg.adjust(&p_values), [0.03, 0.03, 0.03]);
/// assert_eq!(Correction::Bonferroni.adjust(&p_values), [0.03, 0.06, 0.09]);
/// assert_eq!(Correction::None.adjust(&p_values), p_values);
/// assert_eq!(Correction::Holm.adjust(&[0.5, 0.9]), [1.0, 1.0]);
/// assert!(Correction::Holm.adjust(&[]).is_empty());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Correction {
    /// Bounds the chance of *any* false alarm among the features, whatever they have to do with each
    /// other (S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979, JSTOR
    /// 4615733).
    #[default]
    Holm,
    /// Bounds the same chance, by one factor for all p-values (O. J. Dunn, *Multiple Comparisons
    /// among Means*, 1961, DOI 10.1080/01621459.1961.10482090). [`Holm`](Self::Holm) finds all that
    /// it finds, and more.
    Bonferroni,
    /// Bounds the same chance where the features are *independent*, a little less strictly than
    /// [`Bonferroni`](Self::Bonferroni): `1 - (1 - p)^k` for `k` tests (Z. Šidák, 1967, DOI
    /// 10.1080/01621459.1967.10482935).
    Sidak,
    /// Bounds the share of false alarms *among the alarms* (Y. Benjamini and Y. Hochberg, 1995, DOI
    /// 10.1111/j.2517-6161.1995.tb02031.x). Finds more, and errs more often.
    BenjaminiHochberg,
    /// Bounds the same share whatever the features have to do with each other, for the price of the
    /// factor `1 + 1/2 + ... + 1/k` (Y. Benjamini and D. Yekutieli, 2001, DOI
    /// 10.1214/aos/1013699998).
    BenjaminiYekutieli,
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
        let tests = float(p_values.len());
        match self {
            Self::None => p_values.to_vec(),
            Self::Bonferroni => p_values.iter().map(|p| (p * tests).min(1.0)).collect(),
            // By logarithms, so that a small p-value keeps its digits; there and back can lose the
            // last digit of a single one, which would then be adjusted to less than it was.
            Self::Sidak => {
                p_values.iter().map(|p| (-(tests * (-p).ln_1p()).exp_m1()).max(*p)).collect()
            }
            Self::Holm => {
                let order = ascending(p_values);
                let mut adjusted = p_values.to_vec();
                let mut largest = 0.0_f64;
                for (rank, at) in order.iter().enumerate() {
                    largest = largest.max(p_values[*at] * float(order.len() - rank));
                    adjusted[*at] = largest.min(1.0);
                }
                adjusted
            }
            Self::BenjaminiHochberg => step_up(p_values, 1.0),
            Self::BenjaminiYekutieli => step_up(p_values, harmonic(p_values.len())),
        }
    }

    /// The level at which the smallest of `tests` p-values is tested so that the whole is tested at
    /// `alpha`: no p-value above it is significant by itself.
    ///
    /// ```
    /// use pmmds::drift::Correction;
    /// assert_eq!(Correction::Holm.first_level(0.005, 20), 0.00025);
    /// assert_eq!(Correction::None.first_level(0.005, 20), 0.005);
    /// assert!(Correction::Sidak.first_level(0.005, 20) > 0.00025);
    /// assert!(Correction::BenjaminiYekutieli.first_level(0.005, 20) < 0.00025);
    /// ```
    #[must_use]
    pub fn first_level(self, alpha: f64, tests: usize) -> f64 {
        let tests = tests.max(1);
        match self {
            Self::None => alpha,
            Self::Holm | Self::Bonferroni | Self::BenjaminiHochberg => alpha / float(tests),
            Self::BenjaminiYekutieli => alpha / (float(tests) * harmonic(tests)),
            Self::Sidak => -((-alpha).ln_1p() / float(tests)).exp_m1(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of features")]
fn float(count: usize) -> f64 {
    count as f64
}

/// `1 + 1/2 + ... + 1/count`.
fn harmonic(count: usize) -> f64 {
    (1..=count).map(|k| 1.0 / float(k)).sum()
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    order
}

/// From the largest p-value down, each times `factor k / rank` and at most the one before.
fn step_up(p_values: &[f64], factor: f64) -> Vec<f64> {
    let order = ascending(p_values);
    let mut adjusted = p_values.to_vec();
    let mut smallest = 1.0_f64;
    for (rank, at) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[*at] * (factor * float(order.len()) / float(rank + 1)));
        adjusted[*at] = smallest;
    }
    adjusted
}

/// One p-value for the question whether *anything* has changed, out of those of independent tests.
///
/// # Formula
///
/// ```text
/// F = -2 sum_i ln(p_i), of the chi-square law with 2 k degrees of freedom
/// ```
///
/// where `k` is the number of p-values. `F` is from 0, without upper bound; a p-value of 0 makes
/// it infinite and the answer 0, and where all are 1 it is 0 and the answer 1. It has no unit. `None` without p-values, or with one outside `[0, 1]`.
///
/// It takes the tests for independent. Features of one row seldom are: then the answer is too
/// small, and [`Correction::Holm`] is the safe choice. It also needs p-values that can take any
/// value: those of a [simulation](TestMethod::MonteCarlo) end at one over its size.
///
/// # Reference
///
/// R. A. Fisher, *Statistical Methods for Research Workers*, 4th edition, 1932, section 21.1;
/// F. Mosteller and R. A. Fisher, 1948, DOI 10.2307/2681650.
///
/// ```
/// use pmmds::drift::fisher_combined;
/// // Four small hints are more than one.
/// let all = fisher_combined(&[0.06, 0.08, 0.05, 0.1]).unwrap();
/// assert!(all.p_value < 0.01);
/// assert_eq!(fisher_combined(&[]), None);
/// assert_eq!(fisher_combined(&[f64::NAN]), None);
/// ```
#[must_use]
pub fn fisher_combined(p_values: &[f64]) -> Option<TestResult> {
    if p_values.is_empty() || !p_values.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let statistic: f64 = p_values.iter().map(|p| -2.0 * p.ln()).sum();
    let freedom = 2.0 * float(p_values.len());
    let p_value = chi_square_tail(statistic, freedom);
    Some(TestResult::new(statistic, p_value, TestMethod::Asymptotic).freedom(freedom))
}

//! Tests and distances of two samples of raw numbers, where a user has them.
//!
//! Live traffic is kept as counts, and [`DriftMetric`](super::DriftMetric)s work on those. Where
//! the numbers themselves are at hand (two files, a notebook, a back-test) nothing has to be binned:
//!
//! ```
//! use pmmds::drift::two_sample::{
//!     Alternative, Method, Sample, kolmogorov_smirnov, wasserstein_distance,
//! };
//!
//! let march = Sample::new(&[4.1, 3.8, 5.0, 4.4, 4.9, f64::NAN, 4.2, 3.9])?;
//! let april = Sample::new(&[6.0, 5.4, 5.1, 6.3, 4.8, 5.9, 5.2])?;
//! assert_eq!((march.len(), march.missing()), (7, 1));
//!
//! let test = kolmogorov_smirnov(&march, &april, Alternative::TwoSided, Method::Auto);
//! assert!((test.statistic - 6.0 / 7.0).abs() < 1e-15 && test.p_value < 0.01);
//! assert!((wasserstein_distance(&march, &april)? - 1.2).abs() < 1e-12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which one?
//!
//! | | sees | statistic | p-value |
//! |---|---|---|---|
//! | [`kolmogorov_smirnov`] | any difference, best near the middle | largest difference of the cumulative shares | exact or asymptotic |
//! | [`cramer_von_mises`] | any difference | squared difference of the cumulative shares | exact or asymptotic |
//! | [`anderson_darling`] | any difference, the tails too | the same, weighted by the tails | from a table, 0.001 to 0.25 |
//! | [`mann_whitney`] | whether one side is *higher* | pairs in which the window is higher | exact or asymptotic |
//! | [`welch`] | a difference of the means | difference in standard errors | Student's t |
//! | [`wasserstein_distance`] | how *far* values went | in the unit of the values | |
//! | [`energy_distance`] | any difference | root of the unit of the values | |
//!
//! Many features make many tests: [`Correction`](super::Correction). At many rows every test finds
//! differences that matter to nobody: a distance beside it tells the size.
//!
//! # Missing, infinite and equal values
//!
//! A [`Sample`] leaves NaN out and counts them. Infinities keep their place in rank tests; what
//! needs a difference of values is [`NotComparable`](super::NotComparable) with them
//! ([`Sample::finite`] leaves them out). All take `O(n log n)` time for sorting, and exact p-values
//! are bounded in their work: the [`TestMethod`](super::TestMethod) of a result says what it is.
//! Equal values (ties) share their mean rank; exact laws take values for different, which makes
//! p-values of tied samples a little too large with Kolmogorov-Smirnov.

mod anderson_darling;
mod cramer_von_mises;
mod distances;
mod kolmogorov;
mod mann_whitney;
mod sample;
pub(super) mod smirnov;
#[cfg(test)]
mod tests;
mod welch;

pub use anderson_darling::anderson_darling;
pub use cramer_von_mises::cramer_von_mises;
pub use distances::{energy_distance, wasserstein_distance};
pub use mann_whitney::mann_whitney;
pub use sample::{Sample, SampleError};
pub use smirnov::kolmogorov_smirnov;
pub use welch::welch;

#[cfg(test)]
pub(super) mod laws {
    //! The laws behind the p-values, for the oracles.
    pub(in crate::drift) use super::kolmogorov::{pelz_good, tail as kolmogorov};
    pub(in crate::drift) use super::mann_whitney::Counted as MannWhitney;
    pub(in crate::drift) use crate::tails::{normal_tail as normal, student_tail as student};
}

/// What a p-value is the chance of, if nothing had changed.
///
/// It speaks of the *values*, in every test: "higher" are the values of the window. (For the same
/// question libraries that name the side of the distribution function say `less` in one test and
/// `greater` in another.)
///
/// ```
/// use pmmds::drift::two_sample::{Alternative, Method, Sample, kolmogorov_smirnov, mann_whitney};
/// let (low, high) = (Sample::new(&[1.0, 2.0, 3.0, 4.0])?, Sample::new(&[5.0, 6.0, 7.0, 8.0])?);
/// for test in [kolmogorov_smirnov, mann_whitney] {
///     assert!(test(&low, &high, Alternative::Higher, Method::Exact).p_value < 0.02);
///     assert!(test(&low, &high, Alternative::Lower, Method::Exact).p_value > 0.99);
/// }
/// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alternative {
    /// A difference as large, in either direction.
    #[default]
    TwoSided,
    /// Values of the window as much higher than those of the reference.
    Higher,
    /// Values of the window as much lower than those of the reference.
    Lower,
}

/// How a p-value is to be found.
///
/// ```
/// use pmmds::drift::TestMethod;
/// use pmmds::drift::two_sample::{Alternative, Method, Sample, kolmogorov_smirnov};
/// let few = Sample::new(&[1.0, 2.0, 3.0])?;
/// let many = Sample::new(&(0..20_000).map(f64::from).collect::<Vec<_>>())?;
/// let method = |a, b| kolmogorov_smirnov(a, b, Alternative::TwoSided, Method::Auto).method;
/// assert_eq!(method(&few, &few), TestMethod::Exact);
/// assert_eq!(method(&few, &many), TestMethod::Asymptotic);
/// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// Exact where samples are small enough for each test's own limit, else asymptotic.
    #[default]
    Auto,
    /// Exact, but asymptotic where that would take more than about a second; the result says which.
    Exact,
    /// Asymptotic, as long as there is a limit law to speak of.
    Asymptotic,
}

//! Fits a logistic regression.

use std::sync::Arc;

use ::linfa::Dataset as Targets;
use ::linfa::traits::Fit;
use ndarray::{Array1, Array2};

use super::encoding::{Encoded, Encoding};
use super::linear::{LinearModel, Term, logistic};
use super::{classes, error, linear_format};
use crate::model::{Progress, TrainedModel, Trainer};
use crate::record::Dataset;
use crate::{Error, ErrorKind};

/// Trains a [`LinearModel`] by L2-regularised maximum likelihood.
///
/// How features become columns is said on the [module page](super).
///
/// # Formula
///
/// ```text
/// minimise  sum over rows of -ln p(label | row)  +  alpha/2 * sum of squared weights
/// ```
///
/// where the weights are those of the standardised columns, the intercept is not among them, and
/// `alpha` is the inverse of scikit-learn's `C`. The solver is linfa-logistic's L-BFGS with
/// More-Thuente line search. The same rows in the same order give the same model, bit for bit, on
/// the same kind of processor: the array products use its vector instructions.
///
/// # Calibration
///
/// The score is used as the model gives it. TODO
///
/// # Reference
///
/// D. R. Cox, *The Regression Analysis of Binary Sequences*, J. R. Stat. Soc. B 20 (1958);
/// D. C. Liu and J. Nocedal, *On the limited memory BFGS method for large scale optimization*,
/// Math. Program. 45 (1989), doi:10.1007/BF01589116.
///
/// ```
/// use pmmds::linfa::LogisticRegression;
/// use pmmds::model::Trainer;
///
/// let trainer = LogisticRegression::builder().alpha(0.1).threshold(0.3).build()?;
/// assert_eq!(trainer.name(), "logistic_regression");
/// # Ok::<(), pmmds::linfa::SettingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticRegression {
    // positive, finite
    alpha: f64,
    // at least 1
    max_iterations: u64,
    // positive, finite; per row
    gradient_tolerance: f64,
    // in [0, 1]
    threshold: f64,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { alpha: 1.0, max_iterations: 500, gradient_tolerance: 1e-7, threshold: 0.5 }
    }
}

/// Sets up a [`LogisticRegression`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[must_use]
pub struct LogisticRegressionBuilder(LogisticRegression);

impl LogisticRegressionBuilder {
    /// How strongly weights are drawn to 0. Must be positive: without it nothing holds the weight
    /// of a level that only one class has. Defaults to 1.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.0.alpha = alpha;
        self
    }

    /// Most steps of the solver. A model that is not done by then is still a model, and
    /// [`params`](TrainedModel::params) says `converged = false`. Defaults to 500.
    pub fn max_iterations(mut self, max_iterations: u64) -> Self {
        self.0.max_iterations = max_iterations;
        self
    }

    /// Length of the gradient, per row of training, at which the solver is done. Defaults to 1e-7.
    pub fn gradient_tolerance(mut self, gradient_tolerance: f64) -> Self {
        self.0.gradient_tolerance = gradient_tolerance;
        self
    }

    /// Probability from which the model's label is 1. Defaults to 0.5.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.0.threshold = threshold;
        self
    }

    /// The trainer.
    ///
    /// # Errors
    ///
    /// A [`SettingError`] with the value and what it must be.
    ///
    /// ```
    /// use pmmds::linfa::LogisticRegression;
    /// let error = LogisticRegression::builder().alpha(-1.0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "alpha -1 is not a positive number");
    /// ```
    pub fn build(self) -> Result<LogisticRegression, SettingError> {
        let LogisticRegression { alpha, max_iterations, gradient_tolerance, threshold } = self.0;
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if !positive(alpha) {
            return Err(SettingError::Alpha { alpha });
        }
        if max_iterations == 0 {
            return Err(SettingError::MaxIterations);
        }
        if !positive(gradient_tolerance) {
            return Err(SettingError::GradientTolerance { gradient_tolerance });
        }
        if !(0.0..=1.0).contains(&threshold) {
            return Err(SettingError::Threshold { threshold });
        }
        Ok(self.0)
    }
}

/// A setting of a trainer is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// Not a positive number.
    #[error("alpha {alpha} is not a positive number")]
    Alpha {
        /// the value given
        alpha: f64,
    },
    /// No step at all.
    #[error("max_iterations 0 is not at least 1")]
    MaxIterations,
    /// Not a positive number.
    #[error("gradient_tolerance {gradient_tolerance} is not a positive number")]
    GradientTolerance {
        /// the value given
        gradient_tolerance: f64,
    },
    /// Not a probability.
    #[error("threshold {threshold} is not between 0 and 1")]
    Threshold {
        /// the value given
        threshold: f64,
    },
}

/// What the solver found, in terms of the array's columns.
struct Solution {
    intercept: f64,
    weights: Array1<f64>,
}

impl LogisticRegression {
    /// Settings to change.
    ///
    /// ```
    /// use pmmds::linfa::LogisticRegression;
    /// assert_eq!(LogisticRegression::builder().build()?, LogisticRegression::default());
    /// # Ok::<(), pmmds::linfa::SettingError>(())
    /// ```
    pub fn builder() -> LogisticRegressionBuilder {
        LogisticRegressionBuilder::default()
    }

    fn solve(&self, array: Array2<f64>, classes: Vec<bool>) -> Result<(Solution, f64), Error> {
        #[expect(clippy::cast_precision_loss, reason = "rows in memory are far below 2^53")]
        let rows = classes.len() as f64;
        let targets = Targets::new(array, Array1::from(classes));
        let fitted = linfa_logistic::LogisticRegression::default()
            .alpha(self.alpha)
            .max_iterations(self.max_iterations)
            .gradient_tolerance(self.gradient_tolerance * rows)
            .fit(&targets)
            .map_err(|e| error(ErrorKind::Other, "the solver failed").with_source(e))?;
        // linfa calls the class with more rows positive, whatever its label.
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let solution =
            Solution { intercept: sign * fitted.intercept(), weights: fitted.params() * sign };
        let gradient = self.gradient(&targets, &solution) / rows;
        Ok((solution, gradient))
    }

    /// Length of the gradient at `solution`.
    fn gradient(&self, targets: &Targets<f64, bool, ndarray::Ix1>, solution: &Solution) -> f64 {
        let mut residuals = targets.records.dot(&solution.weights) + solution.intercept;
        for (residual, class) in residuals.iter_mut().zip(&targets.targets) {
            *residual = logistic(*residual) - f64::from(u8::from(*class));
        }
        let slopes = targets.records.t().dot(&residuals) + &solution.weights * self.alpha;
        slopes.dot(&slopes).sqrt().hypot(residuals.sum())
    }
}

impl Trainer for LogisticRegression {
    fn name(&self) -> &str {
        "logistic_regression"
    }

    fn fit(&self, data: &Dataset, progress: &dyn Progress) -> Result<TrainedModel, Error> {
        progress.step(self.name(), 0, 1);
        let classes = classes(data)?;
        let encoding = Encoding::fit(data)?;
        let (solution, gradient) = self.solve(encoding.array(data), classes)?;
        let weight = |column: Option<usize>| column.map_or(0.0, |column| solution.weights[column]);
        let term = |encoded: &Encoded| match encoded {
            Encoded::Number { mean, std, value, missing } => Term::Number {
                mean: *mean,
                weight: weight(*value) / std,
                missing: weight(*missing),
            },
            Encoded::Slots(slots) => Term::Slots(slots.iter().map(|slot| weight(*slot)).collect()),
        };
        let terms = encoding.features().iter().map(term).collect();
        let model = LinearModel::new(data.schema(), self.threshold, solution.intercept, terms)
            .map_err(|e| error(ErrorKind::Other, "the solver found no model").with_source(e))?;
        progress.step(self.name(), 1, 1);
        let document = model.to_document();
        Ok(TrainedModel::new(Arc::new(model), linear_format::NAME, document)
            .param("trainer", self.name())
            .param("alpha", self.alpha)
            .param("max_iterations", self.max_iterations)
            .param("gradient_tolerance", self.gradient_tolerance)
            .param("threshold", self.threshold)
            .param("rows", data.rows())
            .param("columns", encoding.columns())
            .param("gradient", format!("{gradient:e}"))
            .param("converged", gradient <= self.gradient_tolerance))
    }
}

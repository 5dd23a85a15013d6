//! Scores of rows by models that were not trained on them.

use super::{Progress, Trainer};
use crate::record::Dataset;
use crate::schema::Hasher;
use crate::{Error, ErrorKind};

/// Most folds of a [`Folds`].
pub const MAX_FOLDS: usize = 1_000;

/// Parts rows into folds by a hash of the entity that each is about.
///
/// An entity is in the same fold in every data set, for ever, and so are all its rows: nothing a
/// model has learned about a customer helps it with that customer's other rows.
///
/// ```
/// use pmmds::model::Folds;
///
/// let folds = Folds::new(5)?;
/// assert_eq!(folds.of("7590-VHVEG"), 2);
/// assert_eq!(Folds::new(1).unwrap_err().to_string(), "1 folds, expected 2 to 1000");
/// # Ok::<(), pmmds::model::FoldsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folds {
    // 2 to MAX_FOLDS
    count: usize,
    seed: u64,
}

impl Folds {
    /// `count` folds.
    ///
    /// # Errors
    ///
    /// [`FoldsError::Count`] for fewer than 2 or more than [`MAX_FOLDS`].
    pub fn new(count: usize) -> Result<Self, FoldsError> {
        if (2..=MAX_FOLDS).contains(&count) {
            Ok(Self { count, seed: 0 })
        } else {
            Err(FoldsError::Count { count })
        }
    }

    /// Parts the entities another way, for example inside a fold of the first way. Defaults to 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Number of folds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The fold of `entity`, from 0.
    #[must_use]
    pub fn of(&self, entity: &str) -> usize {
        let mut hasher = Hasher::new("pmmds folds 1");
        let print = hasher.count(self.count).number(self.seed).text(entity).finish();
        // The rest of a long division, byte by byte: nothing is cut off, on any width of usize.
        print.as_bytes().iter().fold(0, |rest, byte| (rest * 256 + usize::from(*byte)) % self.count)
    }

    /// The fold of every row of `data`.
    ///
    /// # Errors
    ///
    /// [`FoldsError::Class`] when a fold lacks rows of a class: it could not be judged, and its
    /// complement might not be learned from.
    pub fn assign(&self, data: &Dataset) -> Result<Vec<usize>, FoldsError> {
        let folds: Vec<usize> = (0..data.rows()).map(|row| self.of(data.entity(row))).collect();
        let mut rows = vec![[0; 2]; self.count];
        for (fold, label) in folds.iter().zip(data.labels()) {
            rows[*fold][usize::from(*label != 0.0)] += 1;
        }
        for (fold, [negative, positive]) in rows.into_iter().enumerate() {
            if negative == 0 || positive == 0 {
                let class = u8::from(negative != 0);
                return Err(FoldsError::Class { fold, class, rows: negative + positive });
            }
        }
        Ok(folds)
    }
}

/// Why rows cannot be parted into folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldsError {
    /// Too few or too many.
    #[error("{count} folds, expected 2 to {MAX_FOLDS}")]
    Count {
        /// the number given
        count: usize,
    },
    /// A fold lacks a class.
    #[error(
        "fold {fold} has {rows} rows and none with label {class}; use fewer folds or more rows"
    )]
    Class {
        /// the fold, from 0
        fold: usize,
        /// the label that none of its rows has
        class: u8,
        /// rows of the fold
        rows: usize,
    },
}

/// The score of every row of `data` by a model that was trained on the other folds only.
///
/// These scores are what the model does on rows it has not seen: use them for the reference of
/// the score's drift, for calibration and for evaluation. As many models are trained as there are
/// folds; `progress` hears of each.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) when a fold lacks a class, and whatever the trainer
/// answers.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::linfa::LogisticRegression;
/// use pmmds::model::{Folds, out_of_fold_scores};
/// use pmmds::record::{Dataset, Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
/// let mut data = Dataset::new(Arc::clone(&schema));
/// for customer in 0..40 {
///     let mut row = Row::missing(&schema);
///     row.set(schema.id("tenure").unwrap(), Value::Number(f64::from(customer)));
///     data.push(&row, f64::from(u8::from(customer < 20)), format!("customer {customer}"));
/// }
/// let scores = out_of_fold_scores(&LogisticRegression::default(), &data, Folds::new(3)?, &())?;
/// assert!(scores[0] > 0.9 && scores[39] < 0.1);
///
/// let few = data.select(&[0, 39]);
/// let error = out_of_fold_scores(&LogisticRegression::default(), &few, Folds::new(3)?, &());
/// assert_eq!(error.unwrap_err().kind(), pmmds::ErrorKind::InvalidInput);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn out_of_fold_scores(
    trainer: &dyn Trainer,
    data: &Dataset,
    folds: Folds,
    progress: &dyn Progress,
) -> Result<Vec<f64>, Error> {
    let assigned = folds.assign(data).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "model", "cannot cross-validate").with_source(e)
    })?;
    let total = folds.count() as u64;
    let mut scores = vec![f64::NAN; data.rows()];
    for fold in 0..folds.count() {
        progress.step("folds", fold as u64, total);
        let (held, rest): (Vec<usize>, Vec<usize>) =
            (0..data.rows()).partition(|row| assigned[*row] == fold);
        let model = trainer.fit(&data.select(&rest), &())?.model;
        let held_scores = model.score_batch(&data.select(&held).columns().batch());
        for (row, score) in held.iter().zip(held_scores) {
            scores[*row] = score;
        }
    }
    progress.step("folds", total, total);
    Ok(scores)
}

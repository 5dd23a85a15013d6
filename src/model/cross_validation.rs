//! Scores of rows by models that were not trained on them.

use super::{Progress, Trainer};
use crate::record::{Dataset, Target};
use crate::schema::Hasher;
use crate::{Error, ErrorKind};

/// Most folds of a [`Folds`].
///
/// ```
/// use pmmds::model::{Folds, MAX_FOLDS};
/// assert_eq!(Folds::new(MAX_FOLDS)?.count(), 1_000);
/// # Ok::<(), pmmds::model::FoldsError>(())
/// ```
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
/// assert_eq!(folds.of("7590-VHVEG"), 1);
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

    /// Parts the entities another way, for example inside a fold of the first way, where the
    /// first way again would leave one fold empty. Defaults to 0.
    ///
    /// ```
    /// use pmmds::model::Folds;
    /// let entities: Vec<String> = (0..20).map(|n| format!("customer {n}")).collect();
    /// let of = |folds: Folds| entities.iter().map(|entity| folds.of(entity)).collect::<Vec<_>>();
    /// assert_ne!(of(Folds::new(5)?), of(Folds::new(5)?.seed(1)));
    /// # Ok::<(), pmmds::model::FoldsError>(())
    /// ```
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
    /// [`FoldsError::Class`] when a fold lacks rows of a class, [`FoldsError::Empty`] when the
    /// labels are numbers and a fold has none: it could not be judged, and its complement might not
    /// be learned from.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::model::Folds;
    /// use pmmds::record::{Dataset, Row};
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
    /// let mut data = Dataset::new(Arc::clone(&schema));
    /// data.push(&Row::missing(&schema), 1.0, "7590-VHVEG");
    /// assert_eq!(
    ///     Folds::new(2)?.assign(&data).unwrap_err().to_string(),
    ///     "fold 0 has 1 rows and none with label 0; use fewer folds or more rows",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn assign(&self, data: &Dataset) -> Result<Vec<usize>, FoldsError> {
        let folds: Vec<usize> = (0..data.rows()).map(|row| self.of(data.entity(row))).collect();
        let mut rows = vec![[0; 2]; self.count];
        for (fold, label) in folds.iter().zip(data.labels()) {
            rows[*fold][usize::from(*label != 0.0)] += 1;
        }
        for (fold, [negative, positive]) in rows.into_iter().enumerate() {
            if data.target() == Target::Number {
                if negative + positive == 0 {
                    return Err(FoldsError::Empty { fold });
                }
            } else if negative == 0 || positive == 0 {
                let class = u8::from(negative != 0);
                return Err(FoldsError::Class { fold, class, rows: negative + positive });
            }
        }
        Ok(folds)
    }
}

/// Why rows cannot be parted into folds.
///
/// ```
/// use pmmds::model::{Folds, FoldsError};
/// assert_eq!(Folds::new(1), Err(FoldsError::Count { count: 1 }));
/// ```
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
    /// A fold lacks rows.
    #[error("fold {fold} has no rows; use fewer folds or more rows")]
    Empty {
        /// the fold, from 0
        fold: usize,
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
/// [`InvalidInput`](ErrorKind::InvalidInput) when a fold lacks a class or rows, and whatever the
/// trainer answers.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::model::{
///     Folds, Model, Progress, Task, TrainedModel, Trainer, out_of_fold_scores,
/// };
/// use pmmds::record::{Dataset, Row};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// /// Scores every row with the share of positive rows in training.
/// #[derive(Debug)]
/// struct BaseRate;
///
/// #[derive(Debug)]
/// struct Constant(Arc<FeatureSchema>, f64);
///
/// impl Model for Constant {
///     fn schema(&self) -> &Arc<FeatureSchema> { &self.0 }
///     fn task(&self) -> Task { Task::binary() }
///     fn score(&self, _: &Row) -> f64 { self.1 }
/// }
///
/// impl Trainer for BaseRate {
///     fn name(&self) -> &str { "base_rate" }
///     fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, pmmds::Error> {
///         let share = data.labels().iter().sum::<f64>() / data.rows() as f64;
///         let model = Constant(Arc::clone(data.schema()), share);
///         Ok(TrainedModel::new(Arc::new(model), "constant", share.to_string().into_bytes()))
///     }
/// }
///
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
/// let mut data = Dataset::new(Arc::clone(&schema));
/// for customer in 0..40 {
///     data.push(&Row::missing(&schema), f64::from(customer % 2), customer.to_string());
/// }
/// let scores = out_of_fold_scores(&BaseRate, &data, Folds::new(3)?, &())?;
/// assert!(scores.iter().all(|score| (0.4..0.6).contains(score)));
///
/// let error = out_of_fold_scores(&BaseRate, &data.select(&[0]), Folds::new(3)?, &());
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::{Model, Task, TrainedModel};
    use crate::record::{Row, Value};
    use crate::schema::{Feature, FeatureSchema};

    /// Scores a row 1 where training had a row with the same number, else 0.
    #[derive(Debug)]
    struct Memory(Arc<FeatureSchema>, Vec<f64>);

    impl Model for Memory {
        fn schema(&self) -> &Arc<FeatureSchema> {
            &self.0
        }

        fn task(&self) -> Task {
            Task::binary()
        }

        fn score(&self, row: &Row) -> f64 {
            let known = |x: &f64| row.values()[0] == Value::Number(*x);
            f64::from(u8::from(self.1.iter().any(known)))
        }
    }

    #[derive(Debug)]
    struct ByHeart;

    impl Trainer for ByHeart {
        fn name(&self) -> &str {
            "by_heart"
        }

        fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, Error> {
            let number = |row| match data.columns().row(row).values()[0] {
                Value::Number(number) => number,
                _ => f64::NAN,
            };
            let seen = (0..data.rows()).map(number).collect();
            let model = Arc::new(Memory(Arc::clone(data.schema()), seen));
            Ok(TrainedModel::new(model, "none", Vec::new()))
        }
    }

    /// `rows` rows, each entity with three of them, all three with the entity's number.
    fn data(rows: u32) -> Dataset {
        let schema = Arc::new(FeatureSchema::new([Feature::integer("entity")]).unwrap());
        let mut data = Dataset::new(Arc::clone(&schema));
        for number in 0..rows {
            let mut row = Row::missing(&schema);
            row.set(schema.id("entity").unwrap(), Value::Number(f64::from(number / 3)));
            data.push(&row, f64::from(number % 2), (number / 3).to_string());
        }
        data
    }

    #[test]
    fn no_row_is_scored_by_a_model_that_knew_its_entity() {
        let data = data(300);
        let folds = Folds::new(5).unwrap();
        let scores = out_of_fold_scores(&ByHeart, &data, folds, &()).unwrap();
        assert_eq!(scores.len(), 300);
        assert!(scores.iter().all(|score| *score == 0.0));
    }

    #[test]
    fn every_entity_has_one_fold_and_every_fold_its_share() {
        let folds = Folds::new(7).unwrap();
        let assigned = folds.assign(&data(3_000)).unwrap();
        assert!(assigned.chunks(3).all(|rows| rows[0] == rows[1] && rows[1] == rows[2]));
        for fold in 0..7 {
            let rows = assigned.iter().filter(|of| **of == fold).count();
            assert!((3_000 / 10..3_000 / 5).contains(&rows), "fold {fold} has {rows} rows");
        }
        let other = folds.seed(1).assign(&data(3_000)).unwrap();
        let same = assigned.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!((3_000 / 10..3_000 / 5).contains(&same), "{same} rows kept their fold");
    }

    #[test]
    fn a_fold_without_a_class_is_named() {
        let mut one_sided = data(300);
        one_sided = one_sided.select(&(0..300).step_by(2).collect::<Vec<_>>());
        let error = Folds::new(2).unwrap().assign(&one_sided).unwrap_err();
        assert!(matches!(error, FoldsError::Class { fold: 0, class: 1, .. }), "{error}");
        let error = Folds::new(2).unwrap().assign(&data(0)).unwrap_err();
        let message = "fold 0 has 0 rows and none with label 0; use fewer folds or more rows";
        assert_eq!(error.to_string(), message);
        let error = out_of_fold_scores(&ByHeart, &data(3), Folds::new(9).unwrap(), &());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn numbers_take_rows_and_no_classes() {
        let mut numbers = Dataset::with_target(Arc::clone(data(0).schema()), Target::Number);
        for row in 0..300_u16 {
            numbers.push(&data(300).columns().row(row.into()), 1.5, (row / 3).to_string());
        }
        let folds = Folds::new(5).unwrap();
        assert_eq!(folds.assign(&numbers), folds.assign(&data(300)));
        let scores = out_of_fold_scores(&ByHeart, &numbers, folds, &()).unwrap();
        assert!(scores.iter().all(|score| *score == 0.0));
        let error = folds.assign(&numbers.select(&[0])).unwrap_err();
        assert_eq!(error.to_string(), "fold 0 has no rows; use fewer folds or more rows");
    }

    #[test]
    fn every_fold_is_heard() {
        #[derive(Default)]
        struct Ears(Mutex<Vec<(u64, u64)>>);
        impl Progress for Ears {
            fn step(&self, _: &str, done: u64, total: u64) {
                self.0.lock().unwrap().push((done, total));
            }
        }
        let ears = Ears::default();
        out_of_fold_scores(&ByHeart, &data(300), Folds::new(3).unwrap(), &ears).unwrap();
        assert_eq!(*ears.0.lock().unwrap(), [(0, 3), (1, 3), (2, 3), (3, 3)]);
    }
}

//! The weak learner of the boosting: one question about one column.

use std::collections::BTreeMap;

use ::linfa::DatasetBase;
use ::linfa::traits::{Fit, PredictInplace};
use linfa_trees::DecisionTree;
use ndarray::{Array1, Array2, Axis};

/// One question about one column of the array: a tree of depth 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stump {
    // of the array
    pub(super) column: usize,
    // negative infinity where there is no question, else finite
    pub(super) edge: f64,
    // class of what lies below the edge
    pub(super) below: bool,
    // class of the rest
    pub(super) above: bool,
}

impl Stump {
    /// The class of a row with `x` in the column.
    pub(super) fn class(&self, x: f64) -> bool {
        if x < self.edge { self.below } else { self.above }
    }
}

/// The rows to learn from, with equal ones of a feature told apart once.
///
/// linfa-trees walks every row of every column for each stump, with three look-ups in a hash table
/// per step. A stump asks about one feature, though, and the rows of one class with equal columns
/// of that feature are, to it, one row of their weight. So linfa-trees gets one small table per
/// feature, and the best of its answers is the stump: the same as of the whole array.
#[derive(Debug)]
pub(super) struct Stumps {
    features: Vec<Feature>,
}

/// The columns of one feature.
#[derive(Debug)]
struct Feature {
    // of the array
    first: usize,
    // the different rows of these columns, ascending
    distinct: Array2<f64>,
    // per row of the array, the row of `distinct` that it equals
    kind: Vec<usize>,
}

/// A question of linfa-trees: column, edge, and by how much it lowers the impurity.
type Split = (usize, f64, f64);

/// A row of the array and how often it was drawn, by class.
type Drawn = (usize, [u32; 2]);

impl Feature {
    fn new(first: usize, columns: &Array2<f64>) -> Self {
        // A total order of the numbers, equal where they are equal: -0.0 does not occur.
        let key = |row: usize| -> Vec<u64> {
            let sortable = |x: &f64| {
                let bits = x.to_bits();
                if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
            };
            columns.row(row).iter().map(sortable).collect()
        };
        let mut kinds = BTreeMap::new();
        for row in 0..columns.nrows() {
            kinds.entry(key(row)).or_insert((row, 0));
        }
        kinds.values_mut().enumerate().for_each(|(kind, (_, number))| *number = kind);
        let firsts: Vec<usize> = kinds.values().map(|(row, _)| *row).collect();
        let distinct = columns.select(Axis(0), &firsts);
        let kind = (0..columns.nrows()).map(|row| kinds[&key(row)].1).collect();
        Self { first, distinct, kind }
    }

    /// How often each kind of row was drawn, by class.
    fn count(&self, drawn: &[Drawn]) -> Vec<[u32; 2]> {
        let mut counts = vec![[0; 2]; self.distinct.nrows()];
        for (row, [negative, positive]) in drawn {
            let count = &mut counts[self.kind[*row]];
            count[0] += negative;
            count[1] += positive;
        }
        counts
    }

    /// The question about this feature that linfa-trees asks of rows with these `counts`.
    fn split(&self, counts: &[[u32; 2]]) -> Result<Split, ::linfa::Error> {
        let rows = counts
            .iter()
            .enumerate()
            .flat_map(|(kind, [negative, positive])| [(kind, 0, *negative), (kind, 1, *positive)]);
        let rows: Vec<(usize, usize, u32)> = rows.filter(|(_, _, count)| *count > 0).collect();
        #[expect(clippy::cast_precision_loss, reason = "at most MOST_ROWS")]
        let weights = rows.iter().map(|(_, _, count)| *count as f32).collect();
        let classes: Array1<usize> = rows.iter().map(|(_, class, _)| *class).collect();
        // Cell by cell: `select` makes a view of every row first.
        let shape = (rows.len(), self.distinct.ncols());
        let table =
            Array2::from_shape_fn(shape, |(at, column)| self.distinct[(rows[at].0, column)]);
        let data = DatasetBase::new(table, classes).with_weights(weights);
        let tree = DecisionTree::params().max_depth(Some(1)).fit(&data)?;
        Ok(tree.root_node().split())
    }
}

impl Stumps {
    /// Most rows that linfa-trees counts exactly: it does so in single precision.
    pub(super) const MOST_ROWS: usize = 1 << 24;

    /// Stumps that ask about the columns of `array`; `columns` says how many each feature has.
    pub(super) fn new(array: &Array2<f64>, columns: impl IntoIterator<Item = usize>) -> Self {
        let mut first = 0;
        let mut features = Vec::new();
        for columns in columns.into_iter().filter(|columns| *columns > 0) {
            let of: Vec<usize> = (first..first + columns).collect();
            features.push(Feature::new(first, &array.select(Axis(1), &of)));
            first += columns;
        }
        Self { features }
    }

    /// The rows in `data`, each once: what was drawn is counted here and not again per feature.
    fn drawn(&self, data: &Numbered) -> Vec<Drawn> {
        let rows = self.features.first().map_or(0, |feature| feature.kind.len());
        let mut counts = vec![[0; 2]; rows];
        for (row, class) in data.records.iter().zip(&data.targets) {
            counts[*row][usize::from(*class == 1)] += 1;
        }
        counts.into_iter().enumerate().filter(|(_, count)| *count != [0; 2]).collect()
    }

    /// The rows as linfa-ensemble shall draw them: by number.
    pub(super) fn rows(count: usize) -> Array2<usize> {
        Array1::from_iter(0..count).insert_axis(Axis(1))
    }
}

/// A stump that finds the columns of a row by its number.
#[derive(Debug)]
pub(super) struct Fitted<'s> {
    pub(super) stump: Stump,
    // whose column the stump asks about
    feature: &'s Feature,
}

type Numbered = DatasetBase<Array2<usize>, Array1<usize>>;

impl<'s> Fit<Array2<usize>, Array1<usize>, ::linfa::Error> for &'s Stumps {
    type Object = Fitted<'s>;

    /// The stump of the rows with these numbers.
    ///
    /// Which classes it answers is counted here: where a leaf has as many rows of one class as of
    /// the other, linfa's tree answers either, differently from run to run.
    fn fit(&self, data: &Numbered) -> Result<Fitted<'s>, ::linfa::Error> {
        let drawn = self.drawn(data);
        let mut best: Option<(&'s Feature, Vec<[u32; 2]>, Split)> = None;
        for feature in &self.features {
            let counts = feature.count(&drawn);
            let split = feature.split(&counts)?;
            if best.as_ref().is_none_or(|(_, _, (_, _, gain))| split.2 > *gain) {
                best = Some((feature, counts, split));
            }
        }
        let Some((feature, counts, (column, edge, gain))) = best else {
            return Err(::linfa::Error::Parameters("no column to ask about".to_owned()));
        };
        // A question whose two answers are the same is pruned, but linfa keeps what it was. No
        // gain, no question.
        let edge = if gain > 0.0 { edge } else { f64::NEG_INFINITY };
        let mut surplus = [0_i64; 2];
        for (x, [negative, positive]) in feature.distinct.column(column).iter().zip(counts) {
            surplus[usize::from(*x >= edge)] += i64::from(positive) - i64::from(negative);
        }
        let [below, above] = surplus.map(|surplus| surplus > 0);
        Ok(Fitted { stump: Stump { column: feature.first + column, edge, below, above }, feature })
    }
}

impl PredictInplace<Array2<usize>, Array1<usize>> for Fitted<'_> {
    fn predict_inplace(&self, rows: &Array2<usize>, classes: &mut Array1<usize>) {
        let column = self.feature.distinct.column(self.stump.column - self.feature.first);
        for (class, row) in classes.iter_mut().zip(rows) {
            *class = usize::from(self.stump.class(column[self.feature.kind[*row]]));
        }
    }

    fn default_target(&self, rows: &Array2<usize>) -> Array1<usize> {
        Array1::zeros(rows.nrows())
    }
}

#[cfg(test)]
mod tests {
    use linfa_ensemble::AdaBoostParams;
    use linfa_rng::ChaCha8Rng;
    use linfa_rng::rand_core::{RngCore, SeedableRng};
    use ndarray::array;

    use super::*;

    fn tree(depth: usize) -> linfa_trees::DecisionTreeParams<f64, usize> {
        DecisionTree::params().max_depth(Some(depth))
    }

    /// Two features, one of them one-hot, and labels that lean on both.
    fn sample(seed: u64, rows: usize) -> (Array2<f64>, Array1<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut array = Array2::zeros((rows, 5));
        let mut classes = Array1::zeros(rows);
        for row in 0..rows {
            let [x, level, luck] = [40, 3, 10].map(|below| rng.next_u32() % below);
            array[(row, 0)] = (f64::from(x) - 20.0) / 8.0;
            array[(row, 1)] = f64::from(u8::from(x == 7));
            array[(row, 2 + level as usize)] = 1.0;
            classes[row] = usize::from(x + 12 * level + 3 * luck > 45);
        }
        (array, classes)
    }

    #[test]
    fn a_stump_is_the_one_that_linfa_finds_in_the_whole_array() {
        for seed in 0..50 {
            let (array, classes) = sample(seed, 200);
            let stumps = Stumps::new(&array, [2, 3]);
            let numbered = DatasetBase::new(Stumps::rows(200), classes.clone());
            let Fitted { stump, .. } = (&stumps).fit(&numbered).unwrap();
            let whole = tree(1).fit(&DatasetBase::new(array, classes)).unwrap();
            let (column, edge, _) = whole.root_node().split();
            assert_eq!((stump.column, stump.edge.to_bits()), (column, edge.to_bits()), "{seed}");
        }
    }

    #[test]
    fn the_same_rows_by_number_and_by_value_answer_alike() {
        let (array, classes) = sample(1, 100);
        let stumps = Stumps::new(&array, [2, 3]);
        let rows = Stumps::rows(100);
        let fitted = (&stumps).fit(&DatasetBase::new(rows.clone(), classes)).unwrap();
        let mut answers = fitted.default_target(&rows);
        fitted.predict_inplace(&rows, &mut answers);
        for (row, answer) in array.rows().into_iter().zip(answers) {
            assert_eq!(usize::from(fitted.stump.class(row[fitted.stump.column])), answer);
        }
    }

    #[test]
    fn a_tie_is_the_class_0_and_no_gain_is_no_question() {
        let fit = |array: Array2<f64>, classes: Array1<usize>| {
            let stumps = Stumps::new(&array, [1]);
            let rows = Stumps::rows(classes.len());
            (&stumps).fit(&DatasetBase::new(rows, classes)).unwrap().stump
        };
        let stump = fit(array![[0.0], [0.0], [1.0], [1.0]], array![0, 1, 1, 1]);
        assert_eq!(stump, Stump { column: 0, edge: 0.5, below: false, above: true });
        let stump = fit(array![[0.0], [1.0], [0.0], [1.0]], array![0, 0, 1, 1]);
        assert_eq!(stump, Stump { column: 0, edge: f64::NEG_INFINITY, below: false, above: false });
    }

    // What follows are the limits of linfa 0.8.1 that the module page lists: when one of these
    // fails, linfa has got better and the page and this module can follow.

    #[test]
    fn limit_a_leaf_keeps_only_its_most_frequent_class() {
        let classes = array![0, 0, 0, 1, 1, 1, 1, 1];
        let array = array![[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [1.0]];
        let tree = tree(1).fit(&DatasetBase::new(array, classes)).unwrap();
        let mut leaves: Vec<_> = tree.iter_nodes().filter_map(|node| node.prediction()).collect();
        leaves.sort_unstable();
        assert_eq!(leaves, [0, 1], "the quarter of ones on the left is lost");
    }

    #[test]
    fn limit_a_tie_in_a_leaf_is_either_class() {
        let answer = || {
            let array = array![[0.0], [0.0], [1.0], [1.0]];
            let tree = tree(1).fit(&DatasetBase::new(array, array![0, 1, 1, 1])).unwrap();
            tree.num_leaves()
        };
        // 64 fair draws that all fall one way: once in 2^63.
        let answers: std::collections::BTreeSet<usize> = (0..64).map(|_| answer()).collect();
        assert_eq!(answers.len(), 2, "the tied leaf is pruned into the other or is not");
    }

    #[test]
    fn limit_deeper_trees_miss_splits_of_indicators() {
        // A class for each of the four combinations: a tree of depth 2 could tell them apart.
        let bit = |row: usize, column: usize| row >> column & 1;
        let array = Array2::from_shape_fn((400, 2), |(row, column)| {
            f64::from(u8::from(bit(row, column) == 1))
        });
        let classes: Array1<usize> = (0..400).map(|row| bit(row, 0) + 2 * bit(row, 1)).collect();
        let data = DatasetBase::new(array, classes);
        let tree = tree(2).fit(&data).unwrap();
        let mut answers = tree.default_target(&data.records);
        tree.predict_inplace(&data.records, &mut answers);
        let right = answers.iter().zip(&data.targets).filter(|(a, b)| a == b).count();
        assert_eq!(right, 300, "of 400 rows, all of which could be right");
    }

    #[test]
    fn limit_values_closer_than_1e_5_are_one() {
        let close = array![[0.0], [0.0], [9e-6], [9e-6]];
        let tree = tree(1).fit(&DatasetBase::new(close, array![0, 0, 1, 1])).unwrap();
        assert_eq!(tree.num_leaves(), 1);
    }

    #[test]
    fn limit_boosting_stops_without_a_word() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let array = Array2::from_shape_simple_fn((300, 2), || f64::from(rng.next_u32() % 9));
        let classes = Array1::from_shape_simple_fn(300, || usize::from(rng.next_u32() % 3 == 0));
        let stumps = Stumps::new(&array, [1, 1]);
        let boosted = AdaBoostParams::new_fixed_rng(&stumps, ChaCha8Rng::seed_from_u64(1))
            .n_estimators(1_000)
            .fit(&DatasetBase::new(Stumps::rows(300), classes))
            .unwrap();
        assert!(boosted.models.len() < 1_000);
    }
}

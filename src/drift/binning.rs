//! The frozen rule that puts every value of a feature into a slot.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kernel;
use super::numeric_binning::{Closed, NumericBinning};
use crate::record::{Column, Value};
use crate::schema::{Fingerprint, Hasher, LevelId};

/// The slots of one feature: bins or levels, then *other* (categorical features only), then
/// *missing*, in this order. A **code** is the index of a slot.
///
/// ```
/// use pmmds::drift::Binning;
/// use pmmds::record::Value;
///
/// let binning = Binning::levels(["Monthly", "Yearly"]);
/// assert_eq!(binning.slots(), 4);
/// assert_eq!(binning.label(0), "\"Monthly\"");
/// assert_eq!(binning.label(2), "other");
/// assert_eq!(binning.code(Value::Missing), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Binning {
    /// Bins of a numeric feature.
    Numeric(NumericBinning),
    /// Levels of a categorical feature, in schema order.
    Levels(Vec<String>),
}

impl Binning {
    /// The binning of a categorical feature with these levels.
    pub fn levels<L: Into<String>>(levels: impl IntoIterator<Item = L>) -> Self {
        Self::Levels(levels.into_iter().map(Into::into).collect())
    }

    /// Number of slots, *other* and *missing* included.
    #[must_use]
    pub fn slots(&self) -> usize {
        match self {
            Self::Numeric(numeric) => numeric.bins() + 1,
            Self::Levels(levels) => levels.len() + 2,
        }
    }

    /// The slot of missing values, always the last.
    ///
    /// ```
    /// use pmmds::drift::Binning;
    /// assert_eq!(Binning::levels(["a", "b"]).missing_slot(), 3); // after a, b and other
    /// ```
    #[must_use]
    pub fn missing_slot(&self) -> usize {
        self.slots() - 1
    }

    /// The slot of values outside the levels; none for a numeric feature.
    ///
    /// ```
    /// use pmmds::drift::{Binning, NumericBinning};
    /// assert_eq!(Binning::levels(["a", "b"]).other_slot(), Some(2));
    /// assert_eq!(Binning::Numeric(NumericBinning::new([])?).other_slot(), None);
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    #[must_use]
    pub fn other_slot(&self) -> Option<usize> {
        match self {
            Self::Numeric(_) => None,
            Self::Levels(levels) => Some(levels.len()),
        }
    }

    /// The slot of `value`. A value of the wrong kind counts as missing, a category that was
    /// refused when it was read as other.
    ///
    /// ```
    /// use pmmds::drift::Binning;
    /// use pmmds::record::Value;
    /// use pmmds::schema::LevelId;
    /// let binning = Binning::levels(["a", "b"]);
    /// assert_eq!(binning.code(Value::Level(LevelId::new(1).unwrap())), 1);
    /// assert_eq!(binning.code(Value::Level(LevelId::OTHER)), 2);
    /// assert_eq!(binning.code(Value::Number(1.0)), 3); // of the wrong kind: missing
    /// ```
    #[must_use]
    pub fn code(&self, value: Value) -> u8 {
        let slot = match (self, value) {
            (Self::Numeric(numeric), Value::Number(x)) => numeric.bin(x),
            (Self::Levels(_), Value::Level(LevelId::MISSING)) => None,
            (Self::Levels(levels), Value::Level(level)) => {
                Some(level.index().filter(|at| *at < levels.len()).unwrap_or(levels.len()))
            }
            (Self::Levels(levels), Value::Invalid) => Some(levels.len()),
            _ => None,
        };
        // Never cut: MAX_BINS and MAX_LEVELS leave room for other and missing in one byte.
        u8::try_from(slot.unwrap_or_else(|| self.missing_slot())).unwrap_or(u8::MAX)
    }

    /// How many rows of `column` fall in each slot: as [`code`](Self::code) would have it row by row,
    /// and many times faster.
    ///
    /// ```
    /// use pmmds::drift::{Binning, NumericBinning};
    /// use pmmds::record::Column;
    /// use pmmds::schema::LevelId;
    /// let binning = Binning::levels(["a", "b"]);
    /// let [a, b] = [0, 1].map(|at| LevelId::new(at).unwrap());
    /// let column = [b, a, b, LevelId::OTHER, LevelId::MISSING];
    /// assert_eq!(binning.count(&Column::Levels(&column)), [1, 2, 1, 1]);
    ///
    /// let numbers = Column::Numbers(vec![1.0, 2.0, f64::NAN].into());
    /// assert_eq!(Binning::Numeric(NumericBinning::new([1.5])?).count(&numbers), [1, 1, 1]);
    /// assert_eq!(binning.count(&numbers), [0, 0, 0, 3]); // of the wrong kind: missing
    /// # Ok::<(), pmmds::drift::BinningError>(())
    /// ```
    #[must_use]
    pub fn count(&self, column: &Column<'_>) -> Vec<u64> {
        match (self, column) {
            (Self::Numeric(numeric), Column::Numbers(numbers)) => numeric.count(numbers),
            (Self::Levels(known), Column::Levels(levels)) => {
                let bytes = kernel::levels(levels, known.len());
                let mut counts = vec![0; self.slots()];
                for (byte, count) in bytes.into_iter().enumerate() {
                    let slot = match u8::try_from(byte) {
                        Ok(byte) if byte == LevelId::MISSING.byte() => known.len() + 1,
                        _ => byte.min(known.len()),
                    };
                    counts[slot] += count;
                }
                counts
            }
            _ => {
                let mut counts = vec![0; self.slots()];
                counts[self.missing_slot()] = column.len() as u64;
                counts
            }
        }
    }

    /// What a person calls the slot: `(1, 2.5]`, `"Yearly"`, `other` or `missing`.
    #[must_use]
    pub fn label(&self, slot: usize) -> String {
        match self {
            _ if slot >= self.missing_slot() => "missing".to_owned(),
            Self::Numeric(numeric) => numeric.label(slot),
            Self::Levels(levels) => {
                levels.get(slot).map_or_else(|| "other".to_owned(), |level| format!("{level:?}"))
            }
        }
    }

    /// The hash that names this binning: counts of two binnings with the same one are comparable.
    ///
    /// ```
    /// use pmmds::drift::Binning;
    /// let one = Binning::levels(["a", "b"]);
    /// assert_eq!(one.fingerprint(), Binning::levels(["a", "b"]).fingerprint());
    /// assert_ne!(one.fingerprint(), Binning::levels(["b", "a"]).fingerprint());
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Hasher::new("pmmds binning 1");
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn hash(&self, hasher: &mut Hasher) {
        match self {
            Self::Numeric(numeric) => {
                hasher.text(match numeric.end() {
                    Closed::Right => "right",
                    Closed::Left => "left",
                });
                hasher.count(numeric.edges().len());
                numeric.edges().iter().for_each(|edge| {
                    hasher.float(*edge);
                });
            }
            Self::Levels(levels) => {
                hasher.text("levels").count(levels.len());
                levels.iter().for_each(|level| {
                    hasher.text(level);
                });
            }
        }
    }
}

impl fmt::Display for Binning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = (0..self.slots()).map(|slot| self.label(slot)).collect();
        f.write_str(&labels.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_survive_a_file_bit_for_bit() {
        let edges: Vec<f64> = (1..50).map(|k| f64::from(k) / 7.0).collect();
        let binning = Binning::Numeric(NumericBinning::new(edges).unwrap());
        let json = serde_json::to_string(&binning).unwrap();
        let read: Binning = serde_json::from_str(&json).unwrap();
        assert_eq!(read, binning);
        assert_eq!(read.fingerprint(), binning.fingerprint());
        assert!(serde_json::from_str::<Binning>(r#"{"numeric":{"edges":[2,1]}}"#).is_err());
    }

    #[test]
    fn the_most_bins_still_fit_in_a_byte() {
        let edges: Vec<f64> = (0..253).map(f64::from).collect();
        let binning = Binning::Numeric(NumericBinning::new(edges).unwrap());
        assert_eq!(binning.code(Value::Number(1e9)), 253);
        assert_eq!(binning.code(Value::Missing), 254);
        let levels = Binning::levels((0..253).map(|i| i.to_string()));
        assert_eq!(levels.code(Value::Level(LevelId::OTHER)), 253);
        assert_eq!(levels.code(Value::Missing), 254);
    }
}

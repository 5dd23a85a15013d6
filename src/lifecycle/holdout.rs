//! Which labelled rows train the challenger, and which judge it and the champion.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::schema::Hasher;

/// How rows are kept out of training, so that champion and challenger are judged on rows that
/// neither has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Holdout {
    /// A keyed hash of the entity id decides, once and for ever: an entity is never on both sides,
    /// in this retraining or a later one.
    ///
    /// For logged traffic the entity is the request id, because the log does not carry another
    /// one yet: a request is never on both sides, but rows of one customer under two request ids
    /// can be. Rows of a reference go by the entity they were given.
    ///
    /// The holdout is as old as the traffic that is used: see
    /// [`RetrainSettings::recent`](super::RetrainSettings::recent).
    Hash {
        /// share of the entities that is held out, in `(0, 1)`
        share: f64,
        /// key of the hash; another key draws another holdout
        key: String,
    },
    /// The newest rows are held out: what is asked is how the models do from now on.
    Time {
        /// share of the labelled rows that is held out, in `(0, 1)`
        share: f64,
        /// rows that are this much older than the oldest held-out row, or less, are left out of
        /// both sides, so that nothing leaks over the boundary
        gap: Duration,
    },
}

impl Default for Holdout {
    /// A fifth of the entities.
    fn default() -> Self {
        Self::Hash { share: 0.2, key: "pmmds".to_owned() }
    }
}

impl fmt::Display for Holdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash { share, key } => {
                write!(f, "{share} of the entities, by hash with key {key:?}")
            }
            Self::Time { share, gap } => {
                write!(f, "the newest {share} of the rows, {} s apart", gap.as_secs_f64())
            }
        }
    }
}

/// Which rows of the log a version was trained on, so that it is never judged on them.
///
/// ```
/// use pmmds::lifecycle::{Holdout, TrainedOn};
///
/// let trained = TrainedOn::new("2026-03-01T12:00:00Z".parse()?, Holdout::default());
/// assert!(trained.contains("2026-03-01T11:59:59Z".parse()?, "customer 2"));
/// assert!(!trained.contains("2026-03-01T11:59:59Z".parse()?, "customer 0"), "held out");
/// assert!(!trained.contains("2026-03-01T12:00:00Z".parse()?, "customer 2"), "too late");
/// # Ok::<(), pmmds::time::TimeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainedOn {
    /// rows from this moment on were not trained on
    pub before: Timestamp,
    /// of the rows before it, those that this rule holds out were not either
    pub holdout: Holdout,
}

impl TrainedOn {
    /// The rows before `before` that `holdout` does not hold out.
    #[must_use]
    pub fn new(before: Timestamp, holdout: Holdout) -> Self {
        Self { before, holdout }
    }

    /// Whether the row of `entity` that was answered `at` may have been among them.
    #[must_use]
    pub fn contains(&self, at: Timestamp, entity: &str) -> bool {
        at < self.before && self.holdout.side_of_entity(entity) == Side::Train
    }
}

/// The side that a row is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It trains the challenger.
    Train,
    /// It judges champion and challenger.
    Holdout,
    /// It is left out: too close to the boundary.
    Neither,
}

impl Holdout {
    /// The side of each row, given the time and entity of each, oldest first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::lifecycle::{Holdout, Side};
    /// use pmmds::Timestamp;
    ///
    /// let rows: Vec<(Timestamp, &str)> = (0..4)
    ///     .map(|second| (Timestamp::from_micros(second * 1_000_000).unwrap(), "c"))
    ///     .collect();
    /// let holdout = Holdout::Time { share: 0.5, gap: Duration::ZERO };
    /// assert_eq!(holdout.sides(&rows), [Side::Train, Side::Train, Side::Holdout, Side::Holdout]);
    /// ```
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the rows, between 0 and their number"
    )]
    pub fn sides(&self, rows: &[(Timestamp, &str)]) -> Vec<Side> {
        match self {
            Self::Hash { .. } => {
                rows.iter().map(|(_, entity)| self.side_of_entity(entity)).collect()
            }
            Self::Time { share, gap } => {
                let held = (share.clamp(0.0, 1.0) * rows.len() as f64).round() as usize;
                let first = rows.len() - held.min(rows.len());
                let boundary = rows.get(first).map(|(at, _)| at.saturating_sub(*gap));
                let too_close = |at: Timestamp| {
                    *gap > Duration::ZERO && boundary.is_some_and(|boundary| at >= boundary)
                };
                let side = |(index, (at, _)): (usize, &(Timestamp, &str))| {
                    if index >= first {
                        Side::Holdout
                    } else if too_close(*at) {
                        Side::Neither
                    } else {
                        Side::Train
                    }
                };
                rows.iter().enumerate().map(side).collect()
            }
        }
    }

    /// The side of an entity, whenever its row came: where time decides every row of the past
    /// trains.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits of the hash are exact")]
    pub fn side_of_entity(&self, entity: &str) -> Side {
        let Self::Hash { share, key } = self else {
            return Side::Train;
        };
        let print = Hasher::new("pmmds holdout 1").text(key).text(entity).finish();
        let mut word = [0; 8];
        word.copy_from_slice(&print.as_bytes()[..8]);
        let draw = (u64::from_le_bytes(word) >> 11) as f64 / (1_u64 << 53) as f64;
        if draw < *share { Side::Holdout } else { Side::Train }
    }

    /// Whether the share is one that leaves rows on both sides.
    ///
    /// ```
    /// use pmmds::lifecycle::{Holdout, Side};
    /// let key = || "2026".to_owned();
    /// assert!(Holdout::Hash { share: 0.2, key: key() }.is_valid());
    /// assert!(!Holdout::Hash { share: 1.0, key: key() }.is_valid(), "nothing to train on");
    /// let half = Holdout::Hash { share: 0.5, key: key() };
    /// let sides: Vec<Side> = (0..100).map(|n| half.side_of_entity(&format!("customer {n}"))).collect();
    /// assert!(sides.contains(&Side::Train) && sides.contains(&Side::Holdout));
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let (Self::Hash { share, .. } | Self::Time { share, .. }) = self;
        *share > 0.0 && *share < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a sample of raw features could leave a challenger nothing to be judged on.
    #[test]
    fn a_sample_of_requests_is_independent_of_the_holdout() {
        let (half, holdout) = (crate::log::Sample::new(0.5).unwrap(), Holdout::default());
        let sampled = (0..4_000).map(uuid::Uuid::from_u128).filter(|id| half.contains(*id));
        let is_held_out =
            |id: &uuid::Uuid| holdout.side_of_entity(&id.to_string()) == Side::Holdout;
        let held_out = sampled.filter(is_held_out).count();
        assert!((330..=470).contains(&held_out), "{held_out} of about 400");
    }

    #[test]
    fn a_hash_keeps_its_share_and_its_mind() {
        let holdout = Holdout::default();
        let entities: Vec<String> = (0..10_000).map(|i| format!("customer {i}")).collect();
        let held = |entity: &&String| holdout.side_of_entity(entity) == Side::Holdout;
        let count = entities.iter().filter(held).count();
        assert!((1850..2150).contains(&count), "{count}");
        // The side of an entity is stored in no place: it must be the same in every release.
        let first: Vec<usize> = (0..20).filter(|i| held(&&entities[*i])).collect();
        assert_eq!(first, [0, 1, 4, 14, 19]);
    }

    #[test]
    fn rows_near_the_boundary_are_left_out() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).unwrap();
        let rows: Vec<(Timestamp, &str)> = (0..10).map(|i| (at(i), "c")).collect();
        let holdout = Holdout::Time { share: 0.3, gap: Duration::from_secs(2) };
        let sides = holdout.sides(&rows);
        assert_eq!(sides.iter().filter(|side| **side == Side::Holdout).count(), 3);
        assert_eq!(sides[4..7], [Side::Train, Side::Neither, Side::Neither]);
        assert!(Holdout::Time { share: 0.5, gap: Duration::ZERO }.sides(&[]).is_empty());
    }
}

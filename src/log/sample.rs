//! Which requests keep their raw features.

use uuid::Uuid;

use crate::schema::Hasher;

/// 2 to this power: every draw and every bound below is an exact `f64`.
const BITS: u32 = 53;

/// A share of the requests, drawn by a hash of the request id.
///
/// Whoever asks gets the same answer: a replica, a retry, another release. The draw looks at the id
/// alone, so the sample differs from all traffic by chance only, as long as senders do not choose
/// ids by what is in the request.
///
/// A request that is not in the sample is in the log with its codes, and every count of drift covers
/// it. Retraining and the judgement of a challenger see the sampled requests alone, as if there had
/// been so much less traffic: an outcome of another request is kept and used for nothing.
///
/// ```
/// use pmmds::log::Sample;
/// use uuid::Uuid;
///
/// let tenth = Sample::new(0.1)?;
/// let ids = || (0..10_000).map(Uuid::from_u128);
/// let kept = ids().filter(|id| tenth.contains(*id)).count();
/// assert!((900..1_100).contains(&kept), "{kept}");
/// // A smaller sample is part of a larger one.
/// let half = Sample::new(0.5)?;
/// assert!(ids().all(|id| !tenth.contains(id) || half.contains(id)));
/// # Ok::<(), pmmds::log::InvalidShare>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sample {
    // ids are in whose draw, of 53 bits, is below it; 1 to 2^53
    below: u64,
}

/// A share that is none.
///
/// ```
/// use pmmds::log::Sample;
/// assert_eq!(
///     Sample::new(0.0).unwrap_err().to_string(),
///     "a sample of 0 of the requests, expected a share above 0 and at most 1",
/// );
/// assert!(Sample::new(1.5).is_err() && Sample::new(f64::NAN).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a sample of {share} of the requests, expected a share above 0 and at most 1")]
pub struct InvalidShare {
    share: f64,
}

impl Sample {
    /// A sample of `share` of the requests.
    ///
    /// # Errors
    ///
    /// [`InvalidShare`] unless `share` is above 0 and at most 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^53, where both are exact"
    )]
    pub fn new(share: f64) -> Result<Self, InvalidShare> {
        if share > 0.0 && share <= 1.0 {
            let all = f64::from(BITS).exp2();
            Ok(Self { below: (share * all).ceil() as u64 })
        } else {
            Err(InvalidShare { share })
        }
    }

    /// The share that it was made with, in steps of 2^-53.
    ///
    /// ```
    /// # use pmmds::log::Sample;
    /// assert_eq!(Sample::new(0.25)?.share(), 0.25);
    /// # Ok::<(), pmmds::log::InvalidShare>(())
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53, where it is exact")]
    pub fn share(&self) -> f64 {
        self.below as f64 / f64::from(BITS).exp2()
    }

    /// Whether the request `request_id` is in the sample.
    #[must_use]
    pub fn contains(&self, request_id: Uuid) -> bool {
        // A domain of its own: the draw says nothing about the side that a holdout gives the id.
        let print = Hasher::new("pmmds sample 1").bytes(request_id.as_bytes()).finish();
        let mut word = [0; 8];
        word.copy_from_slice(&print.as_bytes()[..8]);
        u64::from_le_bytes(word) >> (64 - BITS) < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_whole_and_hardly_anything_in_the_least() {
        let ids = || (0..1_000).map(Uuid::from_u128);
        let (all, least) = (Sample::new(1.0).unwrap(), Sample::new(f64::MIN_POSITIVE).unwrap());
        assert!(ids().all(|id| all.contains(id)));
        assert!(!ids().any(|id| least.contains(id)));
        for share in [-0.1, -0.0, 0.0, 1.0 + f64::EPSILON, f64::INFINITY, f64::NAN] {
            assert!(Sample::new(share).is_err(), "{share}");
        }
    }

    /// Written down once: another release draws the same.
    #[test]
    fn the_draw_is_for_ever() {
        let quarter = Sample::new(0.25).unwrap();
        let drawn: Vec<u128> = (0..32).filter(|n| quarter.contains(Uuid::from_u128(*n))).collect();
        assert_eq!(drawn, [3, 5, 9, 17, 19, 22]);
    }
}

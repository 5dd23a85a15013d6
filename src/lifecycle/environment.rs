//! What the flows need from the world and may not take by themselves: ids and a stopwatch.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::schema::Hasher;

/// Gives ids, and time that only moves forward.
///
/// The moments on record come from the stores; this clock measures how long things take.
///
/// # Implementing
///
/// A service makes ids by `Uuid::now_v7` and reads an `Instant`. A test counts:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use pmmds::lifecycle::Environment;
/// use uuid::Uuid;
///
/// #[derive(Debug, Default)]
/// struct Counting(AtomicU64);
///
/// impl Environment for Counting {
///     fn new_id(&self) -> Uuid {
///         Uuid::from_u128(self.0.fetch_add(1, Ordering::Relaxed).into())
///     }
///     fn elapsed(&self) -> Duration {
///         Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
///     }
/// }
/// assert_ne!(Counting::default().new_id(), Uuid::from_u128(1));
/// ```
pub trait Environment: Debug + Send + Sync {
    /// An id that nobody else has: a UUIDv7, so that ids sort by time.
    fn new_id(&self) -> Uuid;

    /// Time since some fixed moment, never less than before.
    fn elapsed(&self) -> Duration;
}

#[deny(clippy::missing_trait_methods)]
impl<E: Environment + ?Sized> Environment for Arc<E> {
    fn new_id(&self) -> Uuid {
        (**self).new_id()
    }

    fn elapsed(&self) -> Duration {
        (**self).elapsed()
    }
}

const _: Option<&dyn Environment> = None;

/// The id that follows from `of`: asked for again, the same.
pub(super) fn derived_id(what: &str, of: Uuid, number: u64) -> Uuid {
    let mut hasher = Hasher::new("pmmds derived id 1");
    let print = hasher.text(what).bytes(of.as_bytes()).number(number).finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&print.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

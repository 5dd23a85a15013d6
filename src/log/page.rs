//! A part of a list, and where the next begins.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Where the next page begins: after this moment and id, in the order of time.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, day, batch) = (traffic.model.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let (mut after, mut seen) = (None, 0);
/// loop {
///     let page = log.scan(&model, day, after, 2).await?;
///     seen += page.items.len();
///     let Some(next) = page.next else { break };
///     after = Some(next);
/// }
/// assert_eq!(seen, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// moment of the last item of the page before
    pub at: Timestamp,
    /// id of the last item of the page before
    pub id: Uuid,
}

/// Some items, and where to go on.
///
/// ```
/// # use pmmds::Timestamp;
/// # use pmmds::conformance::traffic::{Traffic, ever};
/// # use pmmds::memory::MemoryLog;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::with_clock(|| Timestamp::EPOCH);
/// # let traffic = Traffic::new();
/// # let (model, day, batch) = (traffic.model.clone(), ever(), traffic.batch(1, 3));
/// use pmmds::log::InferenceLog;
/// log.append(&batch).await?;
/// let page = log.scan(&model, day, None, 2).await?;
/// assert_eq!(page.items.len(), 2);
/// assert!(page.next.is_some(), "there is one more");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// the items, in order
    pub items: Vec<T>,
    /// where the next page begins; `None` at the end
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The first `limit` of `items`, of which a store asks for one more than that to know whether
    /// there is another page; `place` says where an item stands.
    ///
    /// ```
    /// use pmmds::Timestamp;
    /// use pmmds::log::{Cursor, Page};
    /// use uuid::Uuid;
    ///
    /// let place = |n: &u128| Cursor { at: Timestamp::EPOCH, id: Uuid::from_u128(*n) };
    /// let page = Page::first([7, 8, 9], 2, place);
    /// assert_eq!((page.items, page.next), (vec![7, 8], Some(place(&8))));
    /// assert_eq!(Page::first([9], 2, place).next, None);
    /// ```
    pub fn first(
        items: impl IntoIterator<Item = T>,
        limit: usize,
        place: impl Fn(&T) -> Cursor,
    ) -> Self {
        let mut items: Vec<T> = items.into_iter().take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Self { items, next }
    }
}

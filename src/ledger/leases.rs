//! Turns, each with a fencing token.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Error, Timestamp};

/// A turn at something that only one may do at a time.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// let minute = Duration::from_secs(60);
/// let lease = ledger.acquire_lease("promote/churn", "replica-1", minute).await?.unwrap();
/// assert_eq!(lease.expires_at, noon.saturating_add(minute));
/// ledger.release_lease(&lease).await?;
/// let next = ledger.acquire_lease("promote/churn", "replica-2", minute).await?.unwrap();
/// assert!(next.token > lease.token);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// what it is about
    pub name: String,
    /// who holds it
    pub owner: String,
    /// the fencing token: greater for every holder than for the one before
    pub token: u64,
    /// when it ends, by the store's clock
    pub expires_at: Timestamp,
}

/// Gives turns.
///
/// ```
/// # use std::time::Duration;
/// # use pmmds::{Timestamp, ledger::*, memory::MemoryLedger};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// # let ledger = MemoryLedger::with_clock(move || noon);
/// let store: &dyn LeaseStore = &ledger;
/// let minute = Duration::from_secs(60);
/// let ours = store.acquire_lease("monitor", "replica-1", minute).await?.unwrap();
/// assert_eq!(store.acquire_lease("monitor", "replica-2", minute).await?, None);
/// assert_eq!(store.lease("monitor").await?.unwrap().owner, "replica-1");
/// // The same owner renews, under the same token.
/// let renewed = store.acquire_lease("monitor", "replica-1", minute).await?.unwrap();
/// assert_eq!(renewed.token, ours.token);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync {
    /// Takes the lease `name` for `length`, if it is free, expired, or still `owner`'s (which
    /// renews it under the same token). `None` while somebody else holds it.
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Error>;

    /// Who holds the lease `name` now, if anybody does.
    async fn lease(&self, name: &str) -> Result<Option<Lease>, Error>;

    /// Gives a lease back. Nothing happens if it is no longer the current one.
    async fn release_lease(&self, lease: &Lease) -> Result<(), Error>;
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: LeaseStore + ?Sized> LeaseStore for $wrapper {
            async fn acquire_lease(
                &self,
                name: &str,
                owner: &str,
                length: Duration,
            ) -> Result<Option<Lease>, Error> {
                (**self).acquire_lease(name, owner, length).await
            }

            async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
                (**self).lease(name).await
            }

            async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
                (**self).release_lease(lease).await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);

const _: Option<&dyn LeaseStore> = None;

//! Who may change something: one process at a time, and one task in it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ledger::{Lease, Ledger};
use crate::{Error, ErrorKind};

/// How long a step may take before another process takes its owner for dead. Every step renews.
const LENGTH: Duration = Duration::from_secs(300);

/// Gives turns: leases of the ledger among processes, a set of names among the tasks of this one,
/// which to the ledger are one owner.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    ledger: Arc<dyn Ledger>,
    owner: String,
    length: Duration,
    // names of the turns that are taken now; shared by clones
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Turns {
    pub(super) fn new(ledger: Arc<dyn Ledger>, owner: String) -> Self {
        Self { ledger, owner, length: LENGTH, taken: Arc::default() }
    }

    /// Another length than [`LENGTH`].
    pub(super) fn of_length(self, length: Duration) -> Self {
        Self { length, ..self }
    }

    /// Takes the turn `name`; a [`Conflict`](ErrorKind::Conflict) says who has it.
    pub(super) async fn take(&self, component: &'static str, name: String) -> Result<Turn, Error> {
        let conflict = |holder: &str| {
            Error::new(ErrorKind::Conflict, component, format!("{holder} has the turn {name}"))
        };
        if !self.taken().insert(name.clone()) {
            return Err(conflict("another task of this process"));
        }
        // From here on dropping it frees the name, also when this future is.
        let place = Place { taken: Arc::clone(&self.taken), name: name.clone() };
        match self.ledger.acquire_lease(&name, &self.owner, self.length).await? {
            Some(lease) => {
                let (ledger, length) = (Arc::clone(&self.ledger), self.length);
                Ok(Turn { ledger, component, lease, length, _place: place })
            }
            None => {
                let holder = self.ledger.lease(&name).await?.map(|lease| lease.owner);
                Err(conflict(holder.as_deref().unwrap_or("another process")))
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.taken)
    }
}

/// Nothing is left half done in the set, so poison means nothing.
fn lock(taken: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name in the set of those taken, until it is dropped.
#[derive(Debug)]
struct Place {
    taken: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.name);
    }
}

/// A turn that is ours, as far as we know; the store checks the lease at every write.
#[derive(Debug)]
pub(super) struct Turn {
    ledger: Arc<dyn Ledger>,
    component: &'static str,
    lease: Lease,
    length: Duration,
    _place: Place,
}

impl Turn {
    /// The lease to write under.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps the turn for another while, also when a step took longer than the lease, as long as
    /// nobody had the turn in between: whoever had it may have changed what we have seen.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        let Lease { name, owner, token, .. } = &self.lease;
        let lost = |holder: &str| {
            let context = format!("the turn {name} was lost to {holder}");
            Error::new(ErrorKind::Conflict, self.component, context)
        };
        let Some(lease) = self.ledger.acquire_lease(name, owner, self.length).await? else {
            return Err(lost("another process"));
        };
        // Every holder has a greater token, so between one and the next there was none.
        if lease.token == *token || lease.token == token.saturating_add(1) {
            self.lease = lease;
            return Ok(());
        }
        let error = lost("another process for a while");
        self.ledger.release_lease(&lease).await?;
        Err(error)
    }

    /// Gives the turn back. What was done under it counts more than an error here, and a lease
    /// that is not given back ends by itself.
    pub(super) async fn give_back(self) {
        let _ = self.ledger.release_lease(&self.lease).await;
    }
}

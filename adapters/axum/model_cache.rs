//! The version that was loaded last, kept for a start while the registry is away.

use std::sync::{Arc, Mutex, PoisonError};

use crate::registry::{Alias, CachedVersion, ModelCache, ModelName};

/// Keeps what was loaded, without holding up whoever loads: the latest is kept last.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) cache: Arc<dyn ModelCache>,
    // what is to be kept next; a later one takes its place
    next: Mutex<Option<CachedVersion>>,
    // one writes at a time
    turn: tokio::sync::Mutex<()>,
}

impl Keeper {
    pub(super) fn new(cache: Arc<dyn ModelCache>) -> Arc<Self> {
        Arc::new(Self { cache, next: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// Has `cached` kept, in a task of its own. A failure is for the log: what is served does not
    /// depend on it.
    pub(super) fn keep(self: &Arc<Self>, model: &ModelName, alias: &Alias, cached: CachedVersion) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        let (keeper, model, alias) = (Arc::clone(self), model.clone(), alias.clone());
        tokio::spawn(async move {
            let _turn = keeper.turn.lock().await;
            let next = keeper.next.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Whoever had the turn before may have kept it.
            let Some(cached) = next else { return };
            let version = cached.version;
            match keeper.cache.keep(&model, &alias, &cached).await {
                Ok(()) => tracing::debug!(%model, %version, "the version is kept for an outage"),
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(%model, %version, error, "the version could not be kept for an \
                         outage: without the registry the next start has an older one, or none");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::registry::{ArtifactFiles, VersionId};
    use crate::{Error, ErrorKind, Timestamp};

    /// Takes its time, and fails for version 1.
    #[derive(Debug, Default)]
    struct Slow(Mutex<Vec<u64>>);

    #[async_trait]
    impl ModelCache for Slow {
        async fn keep(
            &self,
            _: &ModelName,
            _: &Alias,
            cached: &CachedVersion,
        ) -> Result<(), Error> {
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.0.lock().unwrap().push(cached.version.number());
            if cached.version == VersionId::FIRST {
                return Err(Error::new(ErrorKind::Unavailable, "test", "the disk is full"));
            }
            Ok(())
        }

        async fn last(&self, _: &ModelName, _: &Alias) -> Result<Option<CachedVersion>, Error> {
            Ok(None)
        }
    }

    // Time passes where everybody waits for it, and no sooner.
    #[tokio::test(start_paused = true)]
    async fn the_latest_is_kept_last_and_those_between_are_passed_over() {
        let cache = Arc::<Slow>::default();
        let keeper = Keeper::new(Arc::clone(&cache) as _);
        let model = ModelName::new("churn").unwrap();
        let version = |number| {
            let version = VersionId::new(number).unwrap();
            CachedVersion::new(version, ArtifactFiles::new(), Timestamp::EPOCH)
        };
        keeper.keep(&model, &Alias::production(), version(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
        for number in 2..=5 {
            keeper.keep(&model, &Alias::production(), version(number));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(*cache.0.lock().unwrap(), [1, 5]);
    }
}

//! A database that is opened in the background, because it need not be there yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::error::{COMPONENT, is_refusal};
use super::store::{LONGEST_PAUSE, jittered};
use super::{PostgresStore, PostgresStoreBuilder};
use crate::{Error, ErrorKind};

/// First pause between two attempts; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Pause after a database that answered, and cannot be used as it is: a person has to see to it.
const PAUSE_OF_REFUSED: Duration = Duration::from_secs(10);

/// How often the same trouble is logged, and how often another one of the same kind.
const SAID_AGAIN: Duration = Duration::from_secs(3_600);
const NEXT_OF_KIND: Duration = Duration::from_secs(60);

/// How far it has come.
#[derive(Debug, Clone)]
enum Stage {
    Begun,
    /// What the last attempt came to.
    Failed(Arc<Error>),
    Open,
}

/// The opening of a database by a task that tries until it is open, one attempt at a time. It ends
/// with the last clone of this.
#[derive(Debug, Clone)]
pub(super) struct Opening(watch::Receiver<Stage>);

impl Opening {
    /// Has `store` opened as `builder` says.
    pub(super) fn begin(builder: PostgresStoreBuilder, store: PostgresStore) -> Self {
        let (stage, receiver) = watch::channel(Stage::Begun);
        tokio::spawn(async move {
            tokio::select! {
                () = open(&builder, &store, &stage) => {}
                () = stage.closed() => {}
                () = store.inner.pool.close_event() => {}
            }
        });
        Self(receiver)
    }

    /// Whether the database called `name` is open; the error of `what` if not.
    ///
    /// Who asks for something concludes nothing from a database that is not open: whatever else the
    /// last attempt came to, that is no answer to the question.
    pub(super) fn check(&self, name: &str, what: &str) -> Result<(), Error> {
        let (kind, why) = match &*self.0.borrow() {
            Stage::Open => return Ok(()),
            Stage::Begun => (ErrorKind::Unavailable, None),
            Stage::Failed(error) => (error.kind(), Some(Arc::clone(error))),
        };
        let kind = match kind {
            ErrorKind::NotSupported | ErrorKind::Unauthorized => kind,
            _ => ErrorKind::Unavailable,
        };
        let context = format!("{name}: cannot {what}: the database is not open yet");
        let error = Error::new(kind, COMPONENT, context);
        Err(match why {
            Some(why) => error.with_source(why),
            None => error,
        })
    }

    /// Waits until it is open, at most `wait`, or until there is no use in waiting.
    pub(super) async fn wait(&self, name: &str, wait: Duration) -> Result<(), Error> {
        let mut stage = self.0.clone();
        let is_over = |stage: &Stage| match stage {
            Stage::Open => true,
            Stage::Begun => false,
            Stage::Failed(error) => is_refusal(error),
        };
        // Either way the last word is looked at.
        let _ = timeout(wait, stage.wait_for(is_over)).await;
        let context = format!("{name} cannot be opened");
        Err(match &*stage.borrow() {
            Stage::Open => return Ok(()),
            Stage::Begun => Error::new(ErrorKind::Unavailable, COMPONENT, context)
                .with_source(format!("no answer within {wait:?}")),
            Stage::Failed(error) => {
                Error::new(error.kind(), COMPONENT, context).with_source(Arc::clone(error))
            }
        })
    }
}

/// What was logged, so that neither the same is logged again and again, nor what changes each time.
#[derive(Debug, Default)]
struct Said {
    // of each text: its kind, and when it was logged last
    texts: HashMap<String, (Kind, Instant)>,
}

/// Of an error, and whether it is a refusal.
type Kind = (ErrorKind, bool);

impl Said {
    /// Whether `text` is to be logged `now`; it counts as logged then.
    fn is_news(&mut self, kind: Kind, text: &str, now: Instant) -> bool {
        self.texts.retain(|_, (_, at)| now.duration_since(*at) < SAID_AGAIN);
        let so_soon =
            |(of, at): &(Kind, Instant)| *of == kind && now.duration_since(*at) < NEXT_OF_KIND;
        let is_news = !self.texts.contains_key(text) && !self.texts.values().any(so_soon);
        if is_news {
            self.texts.insert(text.to_owned(), (kind, now));
        }
        is_news
    }
}

/// Tries until `store` is open or closed, and logs what stands in the way: each trouble once, and
/// now and then while it lasts.
async fn open(builder: &PostgresStoreBuilder, store: &PostgresStore, stage: &watch::Sender<Stage>) {
    let (mut pause, mut said, mut waited) = (FIRST_PAUSE, Said::default(), false);
    loop {
        let Err(error) = builder.attempt(store).await else { break };
        if store.is_closed() {
            return;
        }
        waited = true;
        let (refused, why) = (is_refusal(&error), error.chain());
        let is_news = said.is_news((error.kind(), refused), &why, Instant::now());
        if is_news && refused {
            tracing::error!(error = why, "the database cannot be used: nothing is written to it");
        } else if is_news {
            tracing::warn!(error = why, "the database cannot be opened yet");
        }
        stage.send_replace(Stage::Failed(Arc::new(error)));
        if refused {
            sleep(PAUSE_OF_REFUSED).await;
        } else {
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    if waited {
        tracing::warn!("the database is open now");
    }
    stage.send_replace(Stage::Open);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cause_is_logged_and_neither_the_same_again_nor_one_that_changes_each_time() {
        let (mut said, begun) = (Said::default(), Instant::now());
        let mut is_news = |kind, text: &str, second| {
            said.is_news((kind, false), text, begun + Duration::from_secs(second))
        };
        let away = ErrorKind::Unavailable;
        assert!(is_news(away, "refused", 0));
        assert!(!is_news(away, "refused", 1));
        assert!(is_news(ErrorKind::Unauthorized, "wrong password", 2), "another kind, at once");
        assert!(!is_news(away, "no such host", 3), "it may be one that changes each time");
        assert!(is_news(away, "no such host", 60), "it has lasted");
        for second in 61..3_600 {
            let text = if second % 2 == 0 { "refused" } else { "no such host" };
            assert!(!is_news(away, text, second), "{second}");
        }
        assert!(is_news(away, "refused", 3_600), "it lasts");
        let changing = (10_000..13_600).filter(|n| is_news(away, &n.to_string(), *n)).count();
        assert_eq!(changing, 60, "one a minute");
    }
}

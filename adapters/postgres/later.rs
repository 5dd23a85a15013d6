//! A database that is opened in the background, because it need not be there yet.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::error::COMPONENT;
use super::store::{LONGEST_PAUSE, jittered};
use super::{PostgresStore, PostgresStoreBuilder};
use crate::{Error, ErrorKind};

/// First pause between two attempts; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Pause after a database that answered, and cannot be used as it is: a person has to see to it.
const PAUSE_OF_REFUSED: Duration = Duration::from_secs(10);

/// How often the same trouble is logged.
const SAID_AGAIN: Duration = Duration::from_secs(3_600);

/// How far it has come.
#[derive(Debug, Clone)]
enum Stage {
    Begun,
    /// The last attempt, with every cause.
    Failed(ErrorKind, String),
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
            Stage::Failed(kind, why) => (*kind, Some(why.clone())),
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
            Stage::Failed(kind, _) => *kind != ErrorKind::Unavailable,
        };
        // Either way the last word is looked at.
        let _ = timeout(wait, stage.wait_for(is_over)).await;
        let (kind, why) = match &*stage.borrow() {
            Stage::Open => return Ok(()),
            Stage::Begun => (ErrorKind::Unavailable, format!("no answer within {wait:?}")),
            Stage::Failed(kind, why) => (*kind, why.clone()),
        };
        Err(Error::new(kind, COMPONENT, format!("{name} cannot be opened")).with_source(why))
    }
}

/// Tries until `store` is open or closed, and logs what stands in the way: once for each kind of
/// trouble, and now and then while it lasts.
async fn open(builder: &PostgresStoreBuilder, store: &PostgresStore, stage: &watch::Sender<Stage>) {
    let (mut pause, mut said) = (FIRST_PAUSE, None);
    loop {
        let Err(error) = builder.attempt(store).await else { break };
        if store.is_closed() {
            return;
        }
        let (kind, why) = (error.kind(), error.chain());
        let is_news = said
            .is_none_or(|(of, at): (ErrorKind, Instant)| of != kind || at.elapsed() >= SAID_AGAIN);
        if is_news && kind == ErrorKind::Unavailable {
            tracing::warn!(error = why, "the database does not answer: it is opened when it does");
        } else if is_news {
            tracing::error!(error = why, "the database cannot be used: nothing is written to it");
        }
        if is_news {
            said = Some((kind, Instant::now()));
        }
        stage.send_replace(Stage::Failed(kind, why));
        if kind == ErrorKind::Unavailable {
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            sleep(PAUSE_OF_REFUSED).await;
        }
    }
    if said.is_some() {
        tracing::warn!("the database is open now");
    }
    stage.send_replace(Stage::Open);
}

//! What a store can never take, in a file that a person can read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::disk::{Disk, unavailable};
use super::recent::Recent;
use crate::Error;
use crate::log::{BatchId, EventBatch, InferenceEvent};

const FILE: &str = "quarantine.jsonl";

/// Bytes at the end of the file that are read at the start: more than what was refused between the
/// last place that was noted and a crash.
const TAIL: u64 = 4 << 20;

/// The file, one JSON object a line.
#[derive(Debug)]
pub(super) struct Quarantine {
    path: PathBuf,
    disk: Disk,
    // what the file had last: after a crash the same is refused once more
    known: Recent<4_096>,
}

#[derive(Deserialize)]
struct Line {
    batch: BatchId,
}

impl Quarantine {
    pub(super) fn open(folder: &Path, disk: &Disk) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let text = match tail(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unavailable("read", &path, error)),
        };
        // A line that a crash cut short is written again, whole.
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let mut known = Recent::default();
        lines.for_each(|line| known.insert(line.batch));
        Ok(Self { path, disk: disk.clone(), known })
    }

    /// Keeps `batch`, which the store refused for the reason `error`, once.
    pub(super) fn keep(&mut self, batch: &EventBatch, error: &Error) -> Result<(), Error> {
        if self.known.contains(batch.id()) {
            return Ok(());
        }
        let line = json!({
            "batch": batch.id(),
            "model": batch.model(),
            "version": batch.version(),
            "profile": batch.profile(),
            "error": error.chain(),
            "refused_requests": batch.counts().rejected_requests(),
            "events": batch.events().iter().map(event).collect::<Vec<_>>(),
        });
        self.disk.append_line(&self.path, format!("{line}\n").as_bytes())?;
        self.known.insert(batch.id());
        Ok(())
    }
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut text) = (File::open(path)?, Vec::new());
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    file.read_to_end(&mut text)?;
    Ok(text)
}

fn event(event: &InferenceEvent) -> Value {
    let features = event.features.as_ref();
    // As it would be read; what is no JSON stays a text.
    let features = features.map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    json!({
        "id": event.id,
        "request_id": event.request_id,
        "at": event.at,
        "score": event.prediction.score(),
        "label": event.prediction.label(),
        "latency_us": u64::try_from(event.latency.as_micros()).unwrap_or(u64::MAX),
        "codes": event.codes.as_bytes(),
        "features": features,
        "correlation_id": event.correlation_id,
    })
}

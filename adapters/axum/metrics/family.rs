//! Metrics as data, before they are text or JSON.

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeStruct, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of one name.
#[derive(Debug)]
pub(super) struct Family {
    // of a counter without its `_total`
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        let mut object = serializer.serialize_struct("Family", 4)?;
        object.serialize_field("name", &format_args!("{}{total}", self.name))?;
        object.serialize_field("help", self.help)?;
        object.serialize_field("type", &self.kind)?;
        object.serialize_field("samples", &self.samples)?;
        object.end()
    }
}

/// One series, or the series of one histogram.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    #[serde(serialize_with = "as_object")]
    pub(super) labels: Vec<(&'static str, String)>,
    #[serde(flatten)]
    pub(super) value: Value,
}

impl Sample {
    pub(super) fn new(labels: Vec<(&'static str, String)>, value: Value) -> Self {
        Self { labels, value }
    }
}

fn as_object<S: Serializer>(
    labels: &[(&'static str, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(labels.len()))?;
    for (name, value) in labels {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[derive(Debug, Serialize)]
pub(super) enum Value {
    #[serde(rename = "value")]
    Count(u64),
    #[serde(rename = "value")]
    Number(f64),
    #[serde(rename = "histogram")]
    Buckets(Buckets),
}

impl Value {
    /// How many lines of text it is.
    pub(super) fn series(&self) -> usize {
        match self {
            Self::Count(_) | Self::Number(_) => 1,
            Self::Buckets(buckets) => buckets.counts.len() + 2,
        }
    }
}

/// A histogram as it is now.
#[derive(Debug, Serialize)]
pub(super) struct Buckets {
    pub(super) sum: f64,
    pub(super) count: u64,
    // upper bound in seconds, and how many are in this bucket alone; the last has no bound, which
    // JSON calls null
    pub(super) counts: Vec<(f64, u64)>,
}

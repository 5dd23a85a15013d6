//! Metrics as the text that Prometheus reads, `OpenMetrics` 1.0.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::family::{Family, Kind, Value};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes `families` out.
pub(super) fn encode(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, kind, samples } in &self.0 {
            let kind = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for sample in samples {
                let labels = sample.labels.as_slice();
                let mut one = family.encode_family(&labels)?;
                match (&sample.value, kind) {
                    (Value::Count(count), MetricType::Counter) => {
                        one.encode_counter::<NoLabelSet, _, u64>(count, None)?;
                    }
                    (Value::Number(number), MetricType::Counter) => {
                        one.encode_counter::<NoLabelSet, _, u64>(number, None)?;
                    }
                    (Value::Count(count), _) => one.encode_gauge(count)?,
                    (Value::Number(number), _) => one.encode_gauge(number)?,
                    (Value::Buckets(buckets), _) => one.encode_histogram::<NoLabelSet>(
                        buckets.sum,
                        buckets.count,
                        &buckets.counts,
                        None,
                    )?,
                }
            }
        }
        Ok(())
    }
}

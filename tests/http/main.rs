//! The HTTP service over real sockets: what a client, an operator and a hostile stranger see.

mod admin;
#[cfg(all(feature = "oip", feature = "mlflow-scoring"))]
mod any_bytes;
mod batch;
mod client;
mod correlation;
mod describe;
mod drain;
mod faults;
#[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
mod foreign;
mod health;
mod hostile;
mod jobs;
mod live;
mod log;
mod log_lines;
mod metrics;
mod model_cache;
mod observability;
mod observations;
mod odd_json;
#[cfg(feature = "oip")]
mod open_inference;
mod otel;
mod predict;
mod records;
mod regression;
mod reload;
mod replay;
mod schemathesis;
mod secrets;
mod shadow;
mod skew;
#[cfg(feature = "spool")]
mod spool;
#[cfg(feature = "spool")]
mod start;
mod support;

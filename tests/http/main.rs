//! The HTTP service over real sockets: what a client, an operator and a hostile stranger see.

mod admin;
mod client;
mod describe;
mod drain;
mod faults;
mod health;
mod jobs;
mod live;
mod log;
mod metrics;
mod observability;
mod odd_json;
mod predict;
mod records;
mod regression;
mod reload;
mod replay;
mod secrets;
mod support;

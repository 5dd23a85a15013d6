//! The HTTP service over real sockets: what a client, an operator and a hostile stranger see.

mod admin;
mod describe;
mod drain;
mod faults;
mod health;
mod jobs;
mod live;
mod log;
mod metrics;
mod odd_json;
mod predict;
mod records;
mod regression;
mod reload;
mod replay;
mod support;

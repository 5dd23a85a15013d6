//! Against a real server, named by `PMMDS_TEST_MLFLOW` (`scripts/services` starts one), and against
//! one that misbehaves as it is told.
//!
//! The names H1 to H17 are those of the fault list. H2 is [`server`]'s outage here and a reload in
//! tests/story/servers.rs; H11 and H17, files that are what they should be and a model that is not,
//! are in src/artifact/tests.rs and tests/http/reload.rs, for every registry.

mod artifact;
mod bytes;
mod fake;
mod faults;
mod hostile;
mod python;
mod registering;
mod server;

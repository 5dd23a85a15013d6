//! Against a real server, named by `PMMDS_TEST_MLFLOW` (`scripts/services` starts one), and against
//! one that misbehaves as it is told.

mod server;

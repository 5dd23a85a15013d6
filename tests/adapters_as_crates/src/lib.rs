//! The adapters once more, outside the crate: here `crate::` means what `pmmds` makes public, so an
//! adapter that reaches a private item, or writes an impl that only the crate itself may write,
//! does not compile. A third party's adapter has no less than ours.

#![allow(unused_imports)]

pub use pmmds::*;

#[path = "../../../adapters/axum/mod.rs"]
pub mod axum;
#[path = "../../../adapters/csv/mod.rs"]
pub mod csv;
#[path = "../../../adapters/files/mod.rs"]
pub mod files;
#[path = "../../../adapters/linfa/mod.rs"]
pub mod linfa;
#[path = "../../../adapters/mlflow/mod.rs"]
pub mod mlflow;
#[path = "../../../adapters/postgres/mod.rs"]
pub mod postgres;
#[path = "../../../adapters/rayon/mod.rs"]
pub mod rayon;
#[path = "../../../adapters/schedule/mod.rs"]
pub mod schedule;
#[path = "../../../adapters/spool/mod.rs"]
pub mod spool;
#[path = "../../../adapters/sqlite/mod.rs"]
pub mod sqlite;
#[path = "../../../adapters/system/mod.rs"]
pub mod system;
#[path = "../../../adapters/webhook/mod.rs"]
pub mod webhook;

//! Rows and columns: what a request, a file or an array becomes before anything looks at it.
//!
//! | type | what it is |
//! |---|---|
//! | [`Row`] | one request, a [`Value`] per feature |
//! | [`Batch`] | borrowed columns, one per feature, from arrays or from [`Columns`] |
//! | [`Columns`] | the same, owned |
//! | [`Table`] | texts under column names, before a schema is known |
//! | [`Dataset`] | columns with labels and entity ids, what a model is trained on; its [`Target`] says what the labels are |
//!
//! Strings become level ids here, once; nothing behind this module looks at a text again.

mod batch;
mod columns;
mod dataset;
mod json;
mod marks;
mod number;
mod row;
mod table;

pub use batch::{Batch, BatchError, Column};
pub use columns::{Columns, ReadError};
pub use dataset::{Dataset, DatasetError, Target};
pub use json::{DecodeError, Decoder, Strict, decode_row};
pub(crate) use number::read_number;
pub use row::{Row, Value};
pub use table::{Table, TableBuilder, TableError, TextColumn};

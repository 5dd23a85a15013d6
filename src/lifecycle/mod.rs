//! The flows over the traits: serve, monitor, retrain, promote, roll back. No store is named here.

mod serving;

pub use serving::{ServingModel, check_same_schema, load};

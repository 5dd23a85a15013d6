//! The I/O traits in memory: the reference that every other implementation is compared with, and
//! what tests and examples run on.
//!
//! Each keeps its contract to the letter, forgets everything when dropped, and needs neither a
//! runtime nor a clock: every future is ready at once, and the time is an argument.
//!
//! | trait | here |
//! |---|---|
//! | [`ModelRegistry`](crate::registry::ModelRegistry) | [`MemoryRegistry`] |

mod registry;

pub use registry::MemoryRegistry;

//! A first schema out of data.

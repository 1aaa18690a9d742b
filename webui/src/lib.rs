//! The local web page and its API.
//!
//! Nothing is built yet. The crate is here so that the arrows of the workspace are held by a test from the beginning.

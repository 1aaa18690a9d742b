//! The hub as leaf devices see it: sessions, device registry, twins, cloud-to-device queues, built-in endpoint.
//!
//! Nothing is built yet. The crate is here so that the arrows of the workspace are held by a test from the beginning.

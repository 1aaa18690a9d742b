//! Tidegate: an edge gateway that carries messages between leaf devices and a cloud hub.
pub mod normalise;

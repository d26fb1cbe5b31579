//! Whole pipelines between an in-memory broker and devices that do as they are told.

// A test fails by panicking, and the rig's functions are a part of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acknowledging;
mod devices;
mod failures;
mod lifecycle;
mod ordering;
mod outputs;
mod rig;

//! The bytes on the wire: frames, commands, checksums, compression and the inside of a batch.
//! Pure functions: no socket, no task, no clock.

pub mod checksum;
pub mod command;
pub mod compression;
pub mod entry;
pub mod frame;
pub mod single_metadata;

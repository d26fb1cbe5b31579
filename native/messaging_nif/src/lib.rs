//! The Elixir face of the Rust crates: handles are BEAM resources, calls return at once, and results come
//! as messages.
//!
//! The only crate that knows rustler. One file for each kind of handle ([`client`], [`producer`],
//! [`consumer`], [`processor`]); beside them what they share: [`terms`] (ids, messages, options), [`reply`]
//! (how a message reaches a process) and [`error`] (how a failure looks in Elixir).

mod atoms;
mod client;
mod codec;
mod consumer;
mod deliver;
mod devices;
mod error;
mod events;
mod parked;
mod pin;
mod processor;
mod producer;
mod reply;
mod runtime;
mod terms;

use rustler::{Env, Term};

/// The version of this library.
#[rustler::nif]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs once, when the module is loaded.
fn load(env: Env<'_>, _info: Term<'_>) -> bool {
    pin::library();
    runtime::start()
        && env.register::<client::ClientResource>().is_ok()
        && env.register::<producer::ProducerResource>().is_ok()
        && env.register::<consumer::ConsumerResource>().is_ok()
        && env.register::<processor::ProcessorResource>().is_ok()
        && env.register::<deliver::EntryBuffer>().is_ok()
}

rustler::init!("Elixir.AMDGPUFramework.Messaging.Native", load = load);

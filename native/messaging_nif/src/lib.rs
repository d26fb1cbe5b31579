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
mod slot;
mod terms;

use rustler::{Env, Term};

use slot::Slot;

/// The version of this library.
#[rustler::nif]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs once, when the module is loaded.
fn load(env: Env<'_>, _info: Term<'_>) -> bool {
    pin::library();
    runtime::start()
        && Slot::<client::ClientResource>::register(env)
        && Slot::<producer::ProducerResource>::register(env)
        && Slot::<consumer::ConsumerResource>::register(env)
        && Slot::<processor::ProcessorResource>::register(env)
        && Slot::<deliver::EntryBuffer>::register(env)
}

rustler::init!("Elixir.AMDGPUFramework.Messaging.Native", load = load);

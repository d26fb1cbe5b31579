//! Producers as resources.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pulsar_client::producer::{Admitted, ReceiptRun, Stored};
use pulsar_client::{MessageId, Producer};
use rustler::{Encoder, Env, LocalPid, Monitor, Reference, Resource, Term};

use crate::client::{instance, ClientResource};
use crate::error::{client_reason, Failure};
use crate::events::{map, HandleEvents, Kind};
use crate::parked::{Parked, Turn};
use crate::reply::Reply;
use crate::slot::{Handle, Slot};
use crate::terms::{message_id, options, outgoing};
use crate::{atoms, events, runtime};

/// A producer, and how the world hears of its end.
pub(crate) struct ProducerState {
    pub(crate) producer: Producer,
    events: HandleEvents,
    closed: AtomicBool,
}

impl ProducerState {
    pub(crate) async fn close(&self) {
        self.producer.close().await;
        self.tell_closed();
    }

    fn tell_closed(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.events.closed(None);
        }
    }
}

impl Drop for ProducerState {
    fn drop(&mut self) {
        self.tell_closed();
    }
}

/// What Elixir holds.
pub(crate) struct ProducerResource {
    pub(crate) state: Arc<ProducerState>,
    owner: LocalPid,
    pub(crate) parked: Mutex<Parked>,
}

impl Resource for Slot<ProducerResource> {
    const IMPLEMENTS_DOWN: bool = true;

    /// The owner is gone, or a caller that waited for room.
    fn down<'a>(&'a self, _env: Env<'a>, pid: LocalPid, monitor: Monitor) {
        if pid == self.owner {
            let state = self.state.clone();
            runtime::spawn(async move { state.close().await });
        } else if let Some(ticket) = self.parked().remove_caller(monitor) {
            // Nobody wants the result, and nothing of it was sent.
            self.state.producer.withdraw(ticket);
        }
    }
}

impl ProducerResource {
    pub(crate) fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a producer.
#[rustler::nif]
fn producer_open<'a>(
    env: Env<'a>,
    client: Handle<ClientResource>,
    reference: Reference<'a>,
    id: String,
    topic: String,
    opts: Term<'a>,
    owner: LocalPid,
) -> Term<'a> {
    let prepared = options::producer(opts).and_then(|options| Ok((options, instance(opts)?)));
    let (options, instance) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return failure.to_term(env),
    };
    let events = HandleEvents {
        target: client.target,
        kind: Kind::Producer,
        id,
        instance,
    };
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let sink = Arc::new(events.clone());
        match client.client.create_producer(&topic, options, sink).await {
            Err(error) => reply.send(move |env| events::failed(env, &error)),
            Ok(producer) => {
                let topic = producer.topic().to_owned();
                let closed = AtomicBool::new(false);
                let state = Arc::new(ProducerState {
                    producer,
                    events: events.clone(),
                    closed,
                });
                client.add_producer(&state);
                let resource = Slot::handle(ProducerResource {
                    state: state.clone(),
                    owner,
                    parked: Mutex::default(),
                });
                if resource.monitor(None, &owner).is_none() {
                    state.close().await;
                    return reply.send(|env| (atoms::error(), atoms::closed()).encode(env));
                }
                events.emit(["producer_created", ""], move |env| {
                    vec![(atoms::topic(), topic.encode(env))]
                });
                reply.send(move |env| (atoms::ok(), resource).encode(env));
            }
        }
    });
    atoms::ok().encode(env)
}

/// Sends a list, or one message; see the contract in `Native`.
#[rustler::nif]
fn producer_send<'a>(
    env: Env<'a>,
    producer: Handle<ProducerResource>,
    reference: Reference<'a>,
    entries: Term<'a>,
    block: bool,
) -> Term<'a> {
    let (list, alone) = match outgoing::decode(entries) {
        Ok(decoded) => decoded,
        Err(failure) => return failure.to_term(env),
    };
    let reply = Reply::new(env, reference);
    if !block || list.messages.is_empty() {
        let answer = move |runs: Vec<ReceiptRun>| reply.send(move |env| answer(env, &runs, alone));
        let sent = producer.state.producer.send(list, Box::new(answer), None);
        return match sent {
            Ok(_) => atoms::ok().encode(env),
            Err(error) => Failure::Client(error).to_term(env),
        };
    }
    let turn = Turn::new(env, producer.clone(), reference);
    let (ended, admitted) = (turn.clone(), turn.clone());
    let answer = move |runs: Vec<ReceiptRun>| {
        ended.end();
        reply.send(move |env| answer(env, &runs, alone));
    };
    let admitted = move || admitted.admit();
    let sent = producer
        .state
        .producer
        .send(list, Box::new(answer), Some(Box::new(admitted)));
    match sent {
        Ok(Admitted::Now) => atoms::ok().encode(env),
        Ok(Admitted::Later(ticket)) => {
            turn.park(env, reference, ticket);
            atoms::wait().encode(env)
        }
        Err(error) => Failure::Client(error).to_term(env),
    }
}

/// `{:ok, ids}`, or `{:error, {reason, results}}` if anything failed; without lists for a message sent
/// alone.
fn answer<'a>(env: Env<'a>, runs: &[ReceiptRun], alone: bool) -> Term<'a> {
    let failure = runs.iter().find_map(|run| run.result.as_ref().err());
    let Some(failure) = failure else {
        let mut ids = Vec::with_capacity(runs.iter().map(|run| run.count as usize).sum());
        runs.iter().for_each(|run| push_run(env, run, &mut ids));
        return match (alone, ids.first()) {
            (true, Some(id)) => (atoms::ok(), *id).encode(env),
            _ => (atoms::ok(), ids).encode(env),
        };
    };
    let reason = client_reason(failure, env);
    if alone {
        return (atoms::error(), reason).encode(env);
    }
    let mut results = Vec::new();
    for run in runs {
        match &run.result {
            Ok(_) => {
                let mut ids = Vec::with_capacity(run.count as usize);
                push_run(env, run, &mut ids);
                results.extend(ids.iter().map(|id| (atoms::ok(), *id).encode(env)));
            }
            Err(error) => {
                let result = events::failed(env, error);
                results.extend(std::iter::repeat_n(result, run.count as usize));
            }
        }
    }
    (atoms::error(), (reason, results)).encode(env)
}

fn push_run<'a>(env: Env<'a>, run: &ReceiptRun, ids: &mut Vec<Term<'a>>) {
    match &run.result {
        Ok(Stored::At {
            topic,
            partition,
            ledger_id,
            entry_id,
            batch_size,
            first_index,
        }) => {
            let id = MessageId {
                ledger_id: *ledger_id,
                entry_id: *entry_id,
                partition: *partition,
                batch_index: *first_index,
                batch_size: *batch_size,
            };
            let entry = message_id::entry_tuple(env, topic.encode(env), &id);
            let batched = *first_index >= 0;
            let index = |n: u32| if batched { *first_index + n as i32 } else { -1 };
            ids.extend((0..run.count).map(|n| message_id::wrap(env, entry, index(n))));
        }
        _ => {
            let stored = atoms::already_stored().encode(env);
            ids.extend(std::iter::repeat_n(stored, run.count as usize));
        }
    }
}

/// Withdraws a list that waits for room.
#[rustler::nif]
fn producer_cancel<'a>(
    env: Env<'a>,
    producer: Handle<ProducerResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let parked = producer.parked().remove(&Parked::key(reference));
    let withdrawn = parked.is_some_and(|(ticket, caller)| {
        producer.demonitor(Some(env), &caller);
        producer.state.producer.withdraw(ticket)
    });
    if withdrawn {
        atoms::ok().encode(env)
    } else {
        atoms::not_found().encode(env)
    }
}

/// Answers when all that was sent before is confirmed or failed.
#[rustler::nif]
fn producer_flush<'a>(
    env: Env<'a>,
    producer: Handle<ProducerResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        producer.state.producer.flush().await;
        reply.send(|env| atoms::ok().encode(env));
    });
    atoms::ok().encode(env)
}

/// Drains and closes.
#[rustler::nif]
fn producer_close<'a>(
    env: Env<'a>,
    producer: Handle<ProducerResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        producer.state.close().await;
        reply.send(|env| atoms::ok().encode(env));
    });
    atoms::ok().encode(env)
}

/// What the producer has done and holds.
#[rustler::nif]
fn producer_stats(env: Env<'_>, producer: Handle<ProducerResource>) -> Term<'_> {
    let stats = producer.state.producer.stats();
    map(
        env,
        &[
            (atoms::topic(), stats.topic.encode(env)),
            (atoms::name(), stats.name.encode(env)),
            (atoms::partitions(), stats.partitions.encode(env)),
            (atoms::connected(), stats.connected.encode(env)),
            (
                atoms::pending_messages(),
                stats.pending_messages.encode(env),
            ),
            (atoms::pending_bytes(), stats.pending_bytes.encode(env)),
            (atoms::messages_sent(), stats.messages_sent.encode(env)),
            (atoms::bytes_sent(), stats.bytes_sent.encode(env)),
            (atoms::messages_failed(), stats.messages_failed.encode(env)),
        ],
    )
}

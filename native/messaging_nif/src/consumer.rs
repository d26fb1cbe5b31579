//! Consumers as resources.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use pulsar_client::consumer::{ack_range, AckRange, SeekTarget};
use pulsar_client::{Consumer, MessageId};
use rustler::{Atom, Encoder, Env, LocalPid, Monitor, Reference, Resource, Term};

use crate::client::{instance, ClientResource};
use crate::deliver::ProcessSink;
use crate::error::Failure;
use crate::events::{map, HandleEvents, Kind};
use crate::reply::Reply;
use crate::slot::{Handle, Slot};
use crate::terms::{list, message_id, options};
use crate::{atoms, events, runtime};

/// A consumer, and how the world hears of its end.
pub(crate) struct ConsumerState {
    pub(crate) consumer: Consumer,
    pub(crate) events: HandleEvents,
    /// A pipeline acknowledges after effect: meanwhile what the owner acks or nacks is ignored.
    pub(crate) taken_over: AtomicBool,
    closed: AtomicBool,
}

impl ConsumerState {
    pub(crate) async fn close(&self) {
        self.consumer.close().await;
        self.tell_closed();
    }

    fn tell_closed(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.events.closed(None);
        }
    }
}

impl Drop for ConsumerState {
    fn drop(&mut self) {
        self.tell_closed();
    }
}

/// What Elixir holds.
pub(crate) struct ConsumerResource {
    pub(crate) state: Arc<ConsumerState>,
}

impl Resource for Slot<ConsumerResource> {
    const IMPLEMENTS_DOWN: bool = true;

    /// The owner is gone.
    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        let state = self.state.clone();
        runtime::spawn(async move { state.close().await });
    }
}

/// Topics of one consumer at most: their names are decoded on a scheduler.
const TOPICS: usize = 10_000;

/// Subscribes.
#[allow(clippy::too_many_arguments)]
#[rustler::nif]
fn consumer_open<'a>(
    env: Env<'a>,
    client: Handle<ClientResource>,
    reference: Reference<'a>,
    id: String,
    topics: Term<'a>,
    subscription: String,
    opts: Term<'a>,
    owner: LocalPid,
) -> Term<'a> {
    let prepare = || {
        let invalid = || Failure::invalid("topics", topics, "a list of at most 10000 topic names");
        let topics = list::decode::<String>(topics, TOPICS, invalid)?;
        Ok::<_, Failure>((topics, options::consumer(opts)?, instance(opts)?))
    };
    let (topics, options, instance) = match prepare() {
        Ok(prepared) => prepared,
        Err(failure) => return failure.to_term(env),
    };
    let sink = Arc::new(ProcessSink {
        owner,
        consumer_id: id.clone(),
    });
    let events = HandleEvents {
        target: client.target,
        kind: Kind::Consumer,
        id,
        instance,
    };
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let event_sink = Arc::new(events.clone());
        let subscribed = client
            .client
            .subscribe(&topics, &subscription, options, sink, event_sink)
            .await;
        match subscribed {
            Err(error) => reply.send(move |env| events::failed(env, &error)),
            Ok(consumer) => {
                let topics = consumer.stats().topics;
                let closed = AtomicBool::new(false);
                let state = Arc::new(ConsumerState {
                    consumer,
                    events: events.clone(),
                    taken_over: AtomicBool::new(false),
                    closed,
                });
                client.add_consumer(&state);
                let resource = Slot::handle(ConsumerResource {
                    state: state.clone(),
                });
                if resource.monitor(None, &owner).is_none() {
                    state.close().await;
                    return reply.send(|env| (atoms::error(), atoms::closed()).encode(env));
                }
                events.emit(["", "consumer_created"], move |env| {
                    vec![
                        (atoms::topics(), topics.encode(env)),
                        (atoms::subscription(), subscription.encode(env)),
                    ]
                });
                reply.send(move |env| (atoms::ok(), resource).encode(env));
            }
        }
    });
    atoms::ok().encode(env)
}

/// Ranges of messages, by the number of their topic.
#[derive(Default)]
struct Groups {
    ranges: Vec<(usize, Vec<AckRange>)>,
    /// Where a topic's ranges are.
    places: HashMap<usize, usize>,
    /// The topic of the last range: neighbours are mostly of one.
    last: Option<(usize, usize)>,
}

impl Groups {
    fn push(&mut self, topic: usize, range: AckRange) {
        let place = match self.last {
            Some((known, place)) if known == topic => place,
            _ => {
                let place = *self.places.entry(topic).or_insert_with(|| {
                    self.ranges.push((topic, Vec::new()));
                    self.ranges.len() - 1
                });
                self.last = Some((topic, place));
                place
            }
        };
        let ranges = &mut self.ranges[place].1;
        match ranges.last_mut() {
            Some(last) if last.key == range.key && last.last + 1 == range.first => {
                last.last = range.last;
            }
            _ => ranges.push(range),
        }
    }
}

/// Gathers ids by topic, neighbours into ranges. The messages of an entry share their entry's tuple, so
/// for most ids only the index is read.
fn groups(consumer: &Consumer, messages: Term<'_>) -> Result<Vec<(usize, Vec<AckRange>)>, Failure> {
    let env = messages.get_env();
    let allowed = "a list of at most 1000 messages or message ids";
    let invalid = || Failure::invalid("messages", messages, allowed);
    let mut groups = Groups::default();
    let mut last: Option<(Term<'_>, MessageId, usize)> = None;
    list::for_each(messages, list::CALL_LIMIT, invalid, |term| {
        let id = term
            .map_get(atoms::message_id().to_term(env))
            .unwrap_or(term);
        let entry = id.map_get(atoms::entry().to_term(env)).ok();
        let same = last
            .as_ref()
            .zip(entry)
            .filter(|((known, ..), entry)| known.as_c_arg() == entry.as_c_arg());
        let (id, topic) = match same {
            Some(((_, known, topic), _)) => {
                let id = MessageId {
                    batch_index: message_id::batch_index(id)?,
                    ..known.clone()
                };
                (message_id::plausible(id, term)?, *topic)
            }
            None => {
                let (topic, id) = locate(consumer, term)?;
                (id, topic)
            }
        };
        groups.push(topic, ack_range(&id));
        last = entry.map(|entry| (entry, id, topic));
        Ok(())
    })?;
    Ok(groups.ranges)
}

fn told(env: Env<'_>, result: Result<(), Failure>) -> Term<'_> {
    match result {
        Ok(()) => atoms::ok().encode(env),
        Err(failure) => failure.to_term(env),
    }
}

/// Tells the consumer about messages, unless a pipeline has taken it over.
fn tell_groups<'a>(
    env: Env<'a>,
    state: &ConsumerState,
    messages: Term<'a>,
    tell: fn(&Consumer, usize, Vec<AckRange>) -> Result<(), pulsar_client::Error>,
) -> Term<'a> {
    if state.taken_over.load(Ordering::Acquire) {
        return atoms::ok().encode(env);
    }
    let consumer = &state.consumer;
    let result = groups(consumer, messages).and_then(|groups| {
        let tell = |(topic, ranges)| Ok(tell(consumer, topic, ranges)?);
        groups.into_iter().try_for_each(tell)
    });
    told(env, result)
}

/// Acknowledges messages.
#[rustler::nif]
fn consumer_ack<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    messages: Term<'a>,
) -> Term<'a> {
    tell_groups(env, &consumer.state, messages, Consumer::ack)
}

/// Asks for messages again.
#[rustler::nif]
fn consumer_nack<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    messages: Term<'a>,
) -> Term<'a> {
    tell_groups(env, &consumer.state, messages, Consumer::nack)
}

/// The number of a message's topic, and its range.
fn locate(consumer: &Consumer, message: Term<'_>) -> Result<(usize, MessageId), Failure> {
    let (id, topic) = message_id::decode(message)?;
    let topic = consumer.topic_index(topic).ok_or_else(|| {
        Failure::invalid(
            "message_id",
            message,
            "an id of one of the consumer's topics",
        )
    })?;
    Ok((topic, id))
}

/// Acknowledges everything up to a message.
#[rustler::nif]
fn consumer_ack_cumulative<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    message: Term<'a>,
) -> Term<'a> {
    if consumer.state.taken_over.load(Ordering::Acquire) {
        return atoms::ok().encode(env);
    }
    let consumer = &consumer.state.consumer;
    let result = locate(consumer, message)
        .and_then(|(topic, id)| Ok(consumer.ack_cumulative(topic, ack_range(&id))?));
    told(env, result)
}

/// Lets more messages be delivered.
#[rustler::nif]
fn consumer_request(env: Env<'_>, consumer: Handle<ConsumerResource>, count: u32) -> Term<'_> {
    let requested = consumer.state.consumer.request(count);
    told(env, requested.map_err(Failure::from))
}

/// Stops delivering.
#[rustler::nif]
fn consumer_pause(consumer: Handle<ConsumerResource>) -> Atom {
    consumer.state.consumer.pause();
    atoms::ok()
}

/// Delivers again.
#[rustler::nif]
fn consumer_resume(consumer: Handle<ConsumerResource>) -> Atom {
    consumer.state.consumer.resume();
    atoms::ok()
}

fn seek_target(
    consumer: &Consumer,
    target: Term<'_>,
) -> Result<(SeekTarget, Option<usize>), Failure> {
    if let Ok(atom) = target.decode::<Atom>() {
        if atom == atoms::earliest() {
            return Ok((SeekTarget::Earliest, None));
        }
        if atom == atoms::latest() {
            return Ok((SeekTarget::Latest, None));
        }
    }
    if let Ok((tag, time)) = target.decode::<(Atom, u64)>() {
        if tag == atoms::timestamp() {
            return Ok((SeekTarget::Timestamp(time), None));
        }
    }
    let (topic, id) = locate(consumer, target)?;
    Ok((SeekTarget::After(id), Some(topic)))
}

/// Moves the subscription's cursor.
#[rustler::nif]
fn consumer_seek<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    reference: Reference<'a>,
    target: Term<'a>,
) -> Term<'a> {
    let (target, topic) = match seek_target(&consumer.state.consumer, target) {
        Ok(target) => target,
        Err(failure) => return failure.to_term(env),
    };
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let moved = consumer.state.consumer.seek(target, topic).await;
        reply.send(move |env| told(env, moved.map_err(Failure::from)));
    });
    atoms::ok().encode(env)
}

/// Removes the subscription and closes.
#[rustler::nif]
fn consumer_unsubscribe<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let removed = consumer.state.consumer.unsubscribe().await;
        if removed.is_ok() {
            consumer.state.tell_closed();
        }
        reply.send(move |env| told(env, removed.map_err(Failure::from)));
    });
    atoms::ok().encode(env)
}

/// Flushes acks and closes.
#[rustler::nif]
fn consumer_close<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        consumer.state.close().await;
        reply.send(|env| atoms::ok().encode(env));
    });
    atoms::ok().encode(env)
}

/// What the consumer has done and holds.
#[rustler::nif]
fn consumer_stats(env: Env<'_>, consumer: Handle<ConsumerResource>) -> Term<'_> {
    let stats = consumer.state.consumer.stats();
    map(
        env,
        &[
            (atoms::topics(), stats.topics.encode(env)),
            (atoms::subscription(), stats.subscription.encode(env)),
            (atoms::partitions(), stats.partitions.encode(env)),
            (atoms::connected(), stats.connected.encode(env)),
            (atoms::unacked(), stats.unacked.encode(env)),
            (atoms::queued(), stats.queued.encode(env)),
            (
                atoms::messages_received(),
                stats.messages_received.encode(env),
            ),
            (atoms::bytes_received(), stats.bytes_received.encode(env)),
            (atoms::acked(), stats.acked.encode(env)),
            (atoms::nacked(), stats.nacked.encode(env)),
            (atoms::redelivered(), stats.redelivered.encode(env)),
            (atoms::undecodable(), stats.undecodable.encode(env)),
        ],
    )
}

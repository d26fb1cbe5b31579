//! Events of handles, as maps for the process that the client was opened with.

use pulsar_client::{Event, EventSink};
use rustler::{Atom, Encoder, Env, LocalPid, Term};

use crate::reply;
use crate::terms::message_id;
use crate::{atoms, error};

/// Where a client's events go.
#[derive(Clone, Copy)]
pub(crate) struct EventTarget {
    pub(crate) pid: LocalPid,
    /// Names the manager among those that share the process.
    pub(crate) tag: u64,
}

/// The fields of an event's map.
pub(crate) type Fields<'a> = Vec<(Atom, Term<'a>)>;

impl EventTarget {
    /// Sends `{:pulsar_event, tag, map}`.
    pub(crate) fn emit(
        self,
        event_type: &'static str,
        fields: impl for<'a> FnOnce(Env<'a>) -> Fields<'a> + Send + 'static,
    ) {
        let tag = self.tag;
        reply::send(self.pid, move |env| {
            let mut fields = fields(env);
            fields.push((atoms::event_type(), event_type.encode(env)));
            (atoms::pulsar_event(), tag, map(env, &fields)).encode(env)
        });
    }
}

/// A map with atom keys.
pub(crate) fn map<'a>(env: Env<'a>, fields: &[(Atom, Term<'a>)]) -> Term<'a> {
    // Fails only on duplicate keys, of which there are none.
    Term::map_from_pairs(env, fields).unwrap_or_else(|_| Term::map_new(env))
}

/// Whether a handle is a producer or a consumer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Producer,
    Consumer,
}

/// The events of one producer or consumer.
#[derive(Clone)]
pub(crate) struct HandleEvents {
    pub(crate) target: EventTarget,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// Tells handles apart that were opened under the same id, one after the other.
    pub(crate) instance: u64,
}

impl HandleEvents {
    /// Sends an event about this handle.
    pub(crate) fn emit(
        &self,
        [producer, consumer]: [&'static str; 2],
        fields: impl for<'a> FnOnce(Env<'a>) -> Fields<'a> + Send + 'static,
    ) {
        let (event_type, key) = match self.kind {
            Kind::Producer => (producer, atoms::producer_id()),
            Kind::Consumer => (consumer, atoms::consumer_id()),
        };
        let (id, instance) = (self.id.clone(), self.instance);
        self.target.emit(event_type, move |env| {
            let mut fields = fields(env);
            fields.push((key, id.encode(env)));
            fields.push((atoms::instance(), instance.encode(env)));
            fields
        });
    }

    /// Says that the handle is closed.
    pub(crate) fn closed(&self, reason: Option<String>) {
        self.emit(["producer_closed", "consumer_closed"], move |env| {
            vec![(atoms::reason(), reason.encode(env))]
        });
    }
}

impl EventSink for HandleEvents {
    fn emit(&self, event: Event) {
        match event {
            Event::Disconnected { topic, reason } => {
                HandleEvents::emit(
                    self,
                    ["producer_disconnected", "consumer_disconnected"],
                    move |env| {
                        vec![
                            (atoms::topic(), topic.encode(env)),
                            (atoms::reason(), reason.encode(env)),
                        ]
                    },
                );
            }
            Event::Reconnected { topic } => {
                HandleEvents::emit(
                    self,
                    ["producer_reconnected", "consumer_reconnected"],
                    move |env| vec![(atoms::topic(), topic.encode(env))],
                );
            }
            Event::Stalled { topic, unacked } => {
                HandleEvents::emit(self, ["producer_stalled", "consumer_stalled"], move |env| {
                    vec![
                        (atoms::topic(), topic.encode(env)),
                        (atoms::unacked(), unacked.encode(env)),
                    ]
                });
            }
            Event::Undecodable {
                topic,
                message_id: id,
                reason,
            } => {
                HandleEvents::emit(self, ["message_undecodable"; 2], move |env| {
                    vec![
                        (atoms::message_id(), message_id::encode(env, &topic, &id)),
                        (atoms::topic(), topic.encode(env)),
                        (atoms::reason(), reason.encode(env)),
                    ]
                });
            }
            Event::EndOfTopic { topic } => {
                HandleEvents::emit(self, ["end_of_topic"; 2], move |env| {
                    vec![(atoms::topic(), topic.encode(env))]
                });
            }
            Event::Published {
                count,
                bytes,
                failed,
            } => {
                HandleEvents::emit(self, ["message_published"; 2], move |env| {
                    vec![
                        (atoms::count(), count.encode(env)),
                        (atoms::bytes(), bytes.encode(env)),
                        (atoms::failed(), failed.encode(env)),
                    ]
                });
            }
            Event::Ended { reason } => self.closed(Some(reason)),
        }
    }
}

/// `{:error, reason}` of a client's failure.
pub(crate) fn failed<'a>(env: Env<'a>, failure: &pulsar_client::Error) -> Term<'a> {
    (atoms::error(), error::client_reason(failure, env)).encode(env)
}

//! Entries as lists of `%Message{}`: the hot path of consuming.
//!
//! What the messages of an entry share (the id's tuple, topic, producer, times) is one term, and payloads
//! are slices of one resource binary. Maps are built from static key arrays in key order, which saves the
//! VM from sorting.

use std::sync::Arc;

use bytes::Bytes;
use once_cell::sync::Lazy;
use pulsar_client::consumer::MessageSink;
use pulsar_client::wire::entry::{Entry, MessageView};
use pulsar_client::MessageId;
use rustler::sys::{enif_make_list_from_array, enif_make_map_from_arrays, ErlNifTerm};
use rustler::{Atom, Binary, Encoder, Env, LocalPid, NewBinary, OwnedEnv, Resource, Term};

use crate::atoms;
use crate::slot::Slot;
use crate::terms::message_id;

/// The decompressed bytes of an entry, kept alive by the payloads cut from them.
pub(crate) struct EntryBuffer(Bytes);

impl Resource for Slot<EntryBuffer> {}

/// Delivers to a process.
pub(crate) struct ProcessSink {
    pub(crate) owner: LocalPid,
    pub(crate) consumer_id: String,
}

impl MessageSink for ProcessSink {
    fn deliver(&self, entries: Vec<Entry>) -> bool {
        let mut env = OwnedEnv::new();
        let sent = env.send_and_clear(&self.owner, |env| {
            let messages = messages(env, &entries);
            (atoms::pulsar_messages(), &self.consumer_id, messages).encode(env)
        });
        sent.is_ok()
    }
}

/// All messages of some entries, in order.
fn messages<'a>(env: Env<'a>, entries: &[Entry]) -> Term<'a> {
    let mut shared = Shared::new(env);
    let count = entries.iter().map(|entry| entry.messages.len()).sum();
    let mut terms = Vec::with_capacity(count);
    for entry in entries {
        shared.push_entry(entry, &mut terms);
    }
    list(env, &terms)
}

/// Keys of `%Message{}` in key order.
static MESSAGE_KEYS: Lazy<[ErlNifTerm; 13]> = Lazy::new(|| {
    [
        atoms::struct_(),
        atoms::event_time(),
        atoms::key(),
        atoms::message_id(),
        atoms::ordering_key(),
        atoms::payload(),
        atoms::producer_name(),
        atoms::properties(),
        atoms::publish_time(),
        atoms::redelivery_count(),
        atoms::schema_version(),
        atoms::sequence_id(),
        atoms::topic(),
    ]
    .map(raw_atom)
});

/// Keys of `%MessageId{}` in key order.
static ID_KEYS: Lazy<[ErlNifTerm; 3]> =
    Lazy::new(|| [atoms::struct_(), atoms::batch_index(), atoms::entry()].map(raw_atom));

/// Atoms are immediate terms, the same in every environment.
fn raw_atom(atom: Atom) -> ErlNifTerm {
    atom.as_c_arg()
}

/// Terms that neighbouring messages share.
struct Shared<'a> {
    env: Env<'a>,
    nil: ErlNifTerm,
    no_properties: ErlNifTerm,
    topic: Option<(Arc<str>, Term<'a>)>,
    producer: Option<(String, Term<'a>)>,
}

impl<'a> Shared<'a> {
    fn new(env: Env<'a>) -> Self {
        Shared {
            env,
            nil: raw_atom(atoms::nil()),
            no_properties: Term::map_new(env).as_c_arg(),
            topic: None,
            producer: None,
        }
    }

    fn topic(&mut self, name: &Arc<str>) -> Term<'a> {
        if let Some((known, term)) = &self.topic {
            if Arc::ptr_eq(known, name) {
                return *term;
            }
        }
        let term = binary(self.env, name.as_bytes());
        self.topic = Some((name.clone(), term));
        term
    }

    fn producer(&mut self, name: &str) -> Term<'a> {
        if let Some((known, term)) = &self.producer {
            if known == name {
                return *term;
            }
        }
        let term = binary(self.env, name.as_bytes());
        self.producer = Some((name.to_owned(), term));
        term
    }

    fn push_entry(&mut self, entry: &Entry, terms: &mut Vec<ErlNifTerm>) {
        let env = self.env;
        let topic = self.topic(&entry.topic);
        let producer_name = self.producer(&entry.producer_name).as_c_arg();
        let id = MessageId {
            ledger_id: entry.ledger_id,
            entry_id: entry.entry_id,
            partition: entry.partition,
            batch_index: -1,
            batch_size: entry.batch_size,
        };
        let entry_tuple = message_id::entry_tuple(env, topic, &id).as_c_arg();
        let publish_time = entry.publish_time.encode(env).as_c_arg();
        let redelivery_count = entry.redelivery_count.encode(env).as_c_arg();
        let schema_version = self.optional(entry.schema_version.as_deref());
        let buffer = Slot::handle(EntryBuffer(entry.buffer.clone()));
        let whole = buffer.make_binary(env, |buffer: &Slot<EntryBuffer>| &buffer.0);
        for message in &entry.messages {
            let id = [
                raw_atom(atoms::message_id_struct()),
                message.batch_index.encode(env).as_c_arg(),
                entry_tuple,
            ];
            let values = [
                raw_atom(atoms::message_struct()),
                message
                    .event_time
                    .map_or(self.nil, |time| time.encode(env).as_c_arg()),
                self.optional(message.key.as_deref()),
                map(env, &ID_KEYS, &id),
                self.optional(message.ordering_key.as_deref()),
                self.payload(&whole, message),
                producer_name,
                self.properties(message),
                publish_time,
                redelivery_count,
                schema_version,
                message.sequence_id.encode(env).as_c_arg(),
                topic.as_c_arg(),
            ];
            terms.push(map(env, &MESSAGE_KEYS, &values));
        }
    }

    fn payload(&self, whole: &Binary<'a>, message: &MessageView) -> ErlNifTerm {
        let Some(range) = message.payload.clone() else {
            return self.nil;
        };
        // The range was checked when the entry was decoded.
        match whole.make_subbinary(range.start, range.len()) {
            Ok(payload) => payload.to_term(self.env).as_c_arg(),
            Err(_) => self.nil,
        }
    }

    fn optional(&self, bytes: Option<&[u8]>) -> ErlNifTerm {
        bytes.map_or(self.nil, |bytes| binary(self.env, bytes).as_c_arg())
    }

    fn properties(&self, message: &MessageView) -> ErlNifTerm {
        if message.properties.is_empty() {
            return self.no_properties;
        }
        // One by one: where a name stands twice the last one counts, as in the Java client.
        let mut map = Term::map_new(self.env);
        for (name, value) in &message.properties {
            map = map.map_put(name, value).unwrap_or(map);
        }
        map.as_c_arg()
    }
}

/// A binary of its own.
pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

#[allow(unsafe_code)]
fn map<const N: usize>(
    env: Env<'_>,
    keys: &[ErlNifTerm; N],
    values: &[ErlNifTerm; N],
) -> ErlNifTerm {
    let mut map = raw_atom(atoms::nil());
    // SAFETY: both arrays hold N terms that belong to `env` or are atoms, and are only read. The call
    // fails only on duplicate keys, which the two static key arrays do not have; `map` is then still nil.
    unsafe {
        enif_make_map_from_arrays(env.as_c_arg(), keys.as_ptr(), values.as_ptr(), N, &mut map)
    };
    map
}

#[allow(unsafe_code)]
fn list<'a>(env: Env<'a>, terms: &[ErlNifTerm]) -> Term<'a> {
    // A delivery is at most a window of messages, far below 2^32.
    let count = terms.len() as u32;
    // SAFETY: all terms were made in `env`, and the call reads exactly `count` of them.
    unsafe {
        Term::new(
            env,
            enif_make_list_from_array(env.as_c_arg(), terms.as_ptr(), count),
        )
    }
}

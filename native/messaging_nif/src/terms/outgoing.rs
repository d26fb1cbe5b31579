//! What a send call brings: `[payload | nil | {payload | nil, options}]`, or one of these alone.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pulsar_client::producer::{Key, MessageList, MessageOptions, Outgoing};
use rustler::{Binary, Env, MapIterator, Term, TermType};

use super::{list, options, payload};
use crate::atoms;
use crate::error::Failure;

/// Payload bytes that a list may have in all: they are copied, on a scheduler.
const LIST_BYTES: usize = 4 * 1024 * 1024;

/// From this size on a payload that comes alone is shared with the VM instead of copied.
const SHARED: usize = 16 * 1024;

/// What a payload may have before compression. No consumer of this library decompresses more.
const PAYLOAD_BYTES: usize = 128 * 1024 * 1024;

/// One message, as it came.
struct Message<'a> {
    payload: Option<Binary<'a>>,
    options: Option<Box<MessageOptions>>,
}

/// The messages, and whether they came as one alone.
pub(crate) fn decode(entries: Term<'_>) -> Result<(MessageList, bool), Failure> {
    if entries.get_type() != TermType::List {
        let list = gather(entries.get_env(), vec![message(entries)?])?;
        return Ok((list, true));
    }
    let allowed = "a list of at most 1000 messages, with 4 MiB of payload in all";
    let invalid = || Failure::invalid("messages", entries, allowed);
    let mut messages = Vec::new();
    let mut bytes = 0;
    list::for_each(entries, list::CALL_LIMIT, invalid, |entry| {
        let message = message(entry)?;
        bytes += message.payload.map_or(0, |payload| payload.len());
        messages.push(message);
        if bytes > LIST_BYTES && messages.len() > 1 {
            return Err(invalid());
        }
        Ok(())
    })?;
    Ok((gather(entries.get_env(), messages)?, false))
}

/// One buffer for all payloads.
fn gather<'a>(env: Env<'a>, messages: Vec<Message<'a>>) -> Result<MessageList, Failure> {
    let length = |message: &Message<'_>| message.payload.map_or(0, |payload| payload.len());
    let total = messages.iter().map(length).sum();
    let buffer = match &messages[..] {
        [Message {
            payload: Some(payload),
            ..
        }] if payload.len() >= SHARED => share(env, payload)?,
        _ => {
            let mut buffer = Vec::with_capacity(total);
            let payloads = messages.iter().filter_map(|message| message.payload);
            payloads.for_each(|payload| buffer.extend_from_slice(&payload));
            buffer.into()
        }
    };
    let mut end = 0;
    let place = |message: Message<'_>| {
        let payload = message.payload.map(|payload| {
            let start = end;
            end += payload.len();
            start..end
        });
        Outgoing {
            payload,
            options: message.options,
        }
    };
    Ok(MessageList {
        buffer,
        messages: messages.into_iter().map(place).collect(),
    })
}

fn share<'a>(env: Env<'a>, payload: &Binary<'a>) -> Result<Bytes, Failure> {
    let (size, limit) = (payload.len(), PAYLOAD_BYTES);
    if size > limit {
        return Err(pulsar_client::Error::MessageTooLarge { size, limit }.into());
    }
    let term = payload.to_term(env);
    payload::share(term).map_err(|_| Failure::invalid("payload", term, "a binary"))
}

fn message(entry: Term<'_>) -> Result<Message<'_>, Failure> {
    if !entry.is_tuple() {
        let payload = payload_bytes(entry)?;
        return Ok(Message {
            payload,
            options: None,
        });
    }
    let (payload, options) = entry
        .decode::<(Term<'_>, Term<'_>)>()
        .map_err(|_| Failure::invalid("message", entry, "a binary, nil or {payload, options}"))?;
    Ok(Message {
        payload: payload_bytes(payload)?,
        options: Some(Box::new(message_options(options)?)),
    })
}

fn payload_bytes(payload: Term<'_>) -> Result<Option<Binary<'_>>, Failure> {
    match Binary::from_term(payload) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) if payload == atoms::nil().to_term(payload.get_env()) => Ok(None),
        Err(_) => {
            let allowed = "a binary, or nil for a tombstone";
            Err(Failure::invalid("payload", payload, allowed))
        }
    }
}
fn message_options(map: Term<'_>) -> Result<MessageOptions, Failure> {
    let invalid = || Failure::invalid("options", map, "a map of message options");
    let mut decoded = MessageOptions::default();
    for (name, value) in map.decode::<MapIterator<'_>>().map_err(|_| invalid())? {
        let name = name.decode::<rustler::Atom>().map_err(|_| invalid())?;
        if name == atoms::key() {
            let key =
                Binary::from_term(value).map_err(|_| Failure::invalid("key", value, "a binary"))?;
            decoded.key = Some(Key::from(key.as_slice()));
        } else if name == atoms::ordering_key() {
            let key = Binary::from_term(value)
                .map_err(|_| Failure::invalid("ordering_key", value, "a binary"))?;
            decoded.ordering_key = Some(key.as_slice().to_vec());
        } else if name == atoms::properties() {
            decoded.properties = options::properties(value)?;
        } else if name == atoms::event_time() {
            decoded.event_time = Some(millis("event_time", value)?);
        } else if name == atoms::sequence_id() {
            decoded.sequence_id = Some(millis("sequence_id", value)?);
        } else if name == atoms::deliver_at() {
            decoded.deliver_at = Some(signed(millis("deliver_at", value)?));
        } else if name == atoms::deliver_after() {
            let after = millis("deliver_after", value)?;
            decoded.deliver_at = Some(signed(now().saturating_add(after)));
        } else {
            return Err(invalid());
        }
    }
    Ok(decoded)
}

fn millis(name: &str, value: Term<'_>) -> Result<u64, Failure> {
    value
        .decode()
        .map_err(|_| Failure::invalid(name, value, "a number, at least 0, below 2^64"))
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

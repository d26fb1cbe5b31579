//! What a send call brings: `[payload | nil | {payload | nil, options}]`, or one of these alone.

use std::time::{SystemTime, UNIX_EPOCH};

use pulsar_client::producer::{Key, MessageList, MessageOptions, Outgoing};
use rustler::{Binary, ListIterator, MapIterator, Term, TermType};

use super::options;
use crate::atoms;
use crate::error::Failure;

/// Payloads gathered into one buffer.
struct Gathered {
    buffer: Vec<u8>,
    messages: Vec<Outgoing>,
}

/// The messages, and whether they came as one alone.
pub(crate) fn decode(entries: Term<'_>) -> Result<(MessageList, bool), Failure> {
    let alone = entries.get_type() != TermType::List;
    let mut gathered = Gathered {
        buffer: Vec::new(),
        messages: Vec::new(),
    };
    if alone {
        gathered.push(entries)?;
    } else {
        let invalid = || Failure::invalid("messages", entries, "a list of messages");
        gathered
            .messages
            .reserve(entries.list_length().map_err(|_| invalid())?);
        for entry in entries
            .decode::<ListIterator<'_>>()
            .map_err(|_| invalid())?
        {
            gathered.push(entry)?;
        }
    }
    let Gathered { buffer, messages } = gathered;
    Ok((
        MessageList {
            buffer: buffer.into(),
            messages,
        },
        alone,
    ))
}

impl Gathered {
    fn push(&mut self, entry: Term<'_>) -> Result<(), Failure> {
        if entry.is_tuple() {
            let (payload, options) = entry.decode::<(Term<'_>, Term<'_>)>().map_err(|_| {
                Failure::invalid("message", entry, "a binary, nil or {payload, options}")
            })?;
            let options = Box::new(message_options(options)?);
            return self.push_payload(payload, Some(options));
        }
        self.push_payload(entry, None)
    }

    fn push_payload(
        &mut self,
        payload: Term<'_>,
        options: Option<Box<MessageOptions>>,
    ) -> Result<(), Failure> {
        let payload = match Binary::from_term(payload) {
            Ok(bytes) => {
                let start = self.buffer.len();
                self.buffer.extend_from_slice(&bytes);
                Some(start..self.buffer.len())
            }
            Err(_) if payload == atoms::nil().to_term(payload.get_env()) => None,
            Err(_) => {
                let allowed = "a binary, or nil for a tombstone";
                return Err(Failure::invalid("payload", payload, allowed));
            }
        };
        self.messages.push(Outgoing { payload, options });
        Ok(())
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

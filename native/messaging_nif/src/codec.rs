//! JSON, and message ids as other Pulsar clients write them.
//!
//! Small inputs are coded on the spot. Large ones answer `:too_large`, and the caller comes again through
//! the variant that runs on a dirty scheduler.

use pulsar_client::MessageId;
use rustler::{Atom, Binary, Encoder, Env, MapIterator, Term, TermType};
use serde_json::{Map, Number, Value};

use crate::atoms;
use crate::deliver::binary;
use crate::error::Failure;
use crate::terms::message_id;

/// Bytes of JSON that a scheduler can code within a tenth of a millisecond.
const SMALL: usize = 16 * 1024;

/// Bytes of JSON at all: terms share what they repeat, and JSON writes it out.
const LARGEST: usize = 64 * 1024 * 1024;

/// Nesting that JSON may have, as in serde_json.
const DEPTH: usize = 128;

/// Encodes a term, unless that is much work.
#[rustler::nif]
fn json_encode<'a>(env: Env<'a>, term: Term<'a>) -> Term<'a> {
    encoded(env, term, SMALL)
}

/// Encodes a term, up to [`LARGEST`].
#[rustler::nif(schedule = "DirtyCpu")]
fn json_encode_large<'a>(env: Env<'a>, term: Term<'a>) -> Term<'a> {
    let encoded = encoded(env, term, LARGEST);
    if encoded == atoms::too_large().encode(env) {
        return Failure::invalid("json", term, "what fits into 64 MiB of JSON").to_term(env);
    }
    encoded
}

fn encoded<'a>(env: Env<'a>, term: Term<'a>, budget: usize) -> Term<'a> {
    let mut reader = Reader { budget };
    match reader.value(term, DEPTH) {
        Ok(Some(value)) => (atoms::ok(), binary(env, value.to_string().as_bytes())).encode(env),
        Ok(None) => atoms::too_large().encode(env),
        Err(failure) => failure.to_term(env),
    }
}

/// Turns terms into JSON values as long as the budget lasts.
struct Reader {
    budget: usize,
}

impl Reader {
    /// Whether there is budget for `cost` more bytes.
    fn afford(&mut self, cost: usize) -> bool {
        let left = self.budget.checked_sub(cost);
        self.budget = left.unwrap_or_default();
        left.is_some()
    }

    fn value(&mut self, term: Term<'_>, depth: usize) -> Result<Option<Value>, Failure> {
        let allowed = "maps, lists, UTF-8 text, numbers, booleans, nil and atoms, at most 128 deep";
        let invalid = || Failure::invalid("json", term, allowed);
        let depth = depth.checked_sub(1).ok_or_else(invalid)?;
        if !self.afford(8) {
            return Ok(None);
        }
        let value = match term.get_type() {
            TermType::Binary => {
                let bytes = Binary::from_term(term).map_err(|_| invalid())?;
                if !self.afford(bytes.len()) {
                    return Ok(None);
                }
                let text = std::str::from_utf8(bytes.as_slice()).map_err(|_| invalid())?;
                Value::String(text.to_owned())
            }
            TermType::Integer => {
                let signed = term.decode::<i64>().map(Number::from);
                let number = signed.or_else(|_| term.decode::<u64>().map(Number::from));
                Value::Number(number.map_err(|_| invalid())?)
            }
            TermType::Float => {
                let float = term.decode::<f64>().map_err(|_| invalid())?;
                Value::Number(Number::from_f64(float).ok_or_else(invalid)?)
            }
            TermType::Atom => atom(term).ok_or_else(invalid)?,
            TermType::List => {
                let mut list = Vec::new();
                let mut rest = term;
                while let Ok((item, tail)) = rest.list_get_cell() {
                    let Some(item) = self.value(item, depth)? else {
                        return Ok(None);
                    };
                    list.push(item);
                    rest = tail;
                }
                if !rest.is_empty_list() {
                    return Err(invalid());
                }
                Value::Array(list)
            }
            TermType::Map => {
                let mut map = Map::new();
                for (key, value) in term.decode::<MapIterator<'_>>().map_err(|_| invalid())? {
                    // Before the key is copied.
                    if !self.afford(Binary::from_term(key).map_or(8, |key| key.len())) {
                        return Ok(None);
                    }
                    let name = name(key).ok_or_else(invalid)?;
                    let Some(value) = self.value(value, depth)? else {
                        return Ok(None);
                    };
                    map.insert(name, value);
                }
                Value::Object(map)
            }
            _ => return Err(invalid()),
        };
        Ok(Some(value))
    }
}

fn atom(term: Term<'_>) -> Option<Value> {
    Some(match term.atom_to_string().ok()?.as_str() {
        "nil" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        name => Value::String(name.to_owned()),
    })
}

/// A map's key as text; `None` for keys that have no place in JSON, `__struct__` among them.
fn name(key: Term<'_>) -> Option<String> {
    match key.get_type() {
        TermType::Atom => key
            .atom_to_string()
            .ok()
            .filter(|name| name != "__struct__"),
        TermType::Integer => key.decode::<i64>().ok().map(|key| key.to_string()),
        TermType::Binary => key.decode::<String>().ok(),
        _ => None,
    }
}

/// Decodes JSON, unless that is much work.
#[rustler::nif]
fn json_decode<'a>(env: Env<'a>, text: Binary<'a>) -> Term<'a> {
    if text.len() > SMALL {
        return atoms::too_large().encode(env);
    }
    decoded(env, &text)
}

/// Decodes JSON of any size.
#[rustler::nif(schedule = "DirtyCpu")]
fn json_decode_large<'a>(env: Env<'a>, text: Binary<'a>) -> Term<'a> {
    decoded(env, &text)
}

fn decoded<'a>(env: Env<'a>, text: &[u8]) -> Term<'a> {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => (atoms::ok(), term(env, &value)).encode(env),
        Err(error) => (atoms::error(), (atoms::json(), error.to_string())).encode(env),
    }
}

fn term<'a>(env: Env<'a>, value: &Value) -> Term<'a> {
    match value {
        Value::Null => atoms::nil().encode(env),
        Value::Bool(value) => value.encode(env),
        Value::String(text) => binary(env, text.as_bytes()),
        Value::Array(list) => list
            .iter()
            .map(|item| term(env, item))
            .collect::<Vec<_>>()
            .encode(env),
        Value::Object(map) => {
            let (keys, values): (Vec<_>, Vec<_>) = map
                .iter()
                .map(|(key, value)| (binary(env, key.as_bytes()), term(env, value)))
                .unzip();
            // Keys of a JSON map are unique, which is all that can fail.
            Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| Term::map_new(env))
        }
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.encode(env),
            (_, Some(number), _) => number.encode(env),
            (_, _, number) => number.unwrap_or_default().encode(env),
        },
    }
}

/// The id as Java's `MessageId.toByteArray` writes it.
#[rustler::nif]
fn message_id_to_binary<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    match message_id::decode(id) {
        Ok((id, _topic)) => binary(env, &id.to_bytes()),
        Err(failure) => failure.to_term(env),
    }
}

/// Reads what [`message_id_to_binary`] or another Pulsar client wrote.
#[rustler::nif]
fn message_id_from_binary<'a>(env: Env<'a>, bytes: Binary<'a>, topic: &'a str) -> Term<'a> {
    let invalid: (Atom, Atom) = (atoms::error(), atoms::invalid_message_id());
    let id = MessageId::from_bytes(&bytes)
        .ok()
        .filter(message_id::is_plausible);
    match id {
        None => invalid.encode(env),
        Some(id) => (atoms::ok(), message_id::encode(env, topic, &id)).encode(env),
    }
}

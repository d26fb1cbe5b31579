//! `%MessageId{entry: {ledger, entry, partition, batch_size, topic}, batch_index: i}`.

use pulsar_client::MessageId;
use rustler::{Encoder, Env, NifResult, Term};

use crate::atoms;
use crate::error::Failure;

/// The tuple that all messages of an entry share.
pub(crate) fn entry_tuple<'a>(env: Env<'a>, topic: Term<'a>, id: &MessageId) -> Term<'a> {
    (
        id.ledger_id,
        id.entry_id,
        id.partition,
        id.batch_size,
        topic,
    )
        .encode(env)
}

/// The struct around it.
pub(crate) fn wrap<'a>(env: Env<'a>, entry: Term<'a>, batch_index: i32) -> Term<'a> {
    let fields = [
        (atoms::struct_(), atoms::message_id_struct().encode(env)),
        (atoms::batch_index(), batch_index.encode(env)),
        (atoms::entry(), entry),
    ];
    crate::events::map(env, &fields)
}

/// One id, with its topic.
pub(crate) fn encode<'a>(env: Env<'a>, topic: &str, id: &MessageId) -> Term<'a> {
    let entry = entry_tuple(env, topic.encode(env), id);
    wrap(env, entry, id.batch_index)
}

/// An id and its topic out of a `%MessageId{}` or a `%Message{}`.
pub(crate) fn decode<'a>(term: Term<'a>) -> Result<(MessageId, &'a str), Failure> {
    let read = || -> NifResult<(MessageId, &'a str)> {
        let env = term.get_env();
        let id = term
            .map_get(atoms::message_id().to_term(env))
            .unwrap_or(term);
        let batch_index = id.map_get(atoms::batch_index().to_term(env))?.decode()?;
        let entry = id.map_get(atoms::entry().to_term(env))?;
        let (ledger_id, entry_id, partition, batch_size, topic) = entry.decode()?;
        Ok((
            MessageId {
                ledger_id,
                entry_id,
                partition,
                batch_index,
                batch_size,
            },
            topic,
        ))
    };
    let (id, topic) = read().map_err(|_| invalid(term))?;
    Ok((plausible(id, term)?, topic))
}

fn invalid(term: Term<'_>) -> Failure {
    Failure::invalid("message_id", term, "a %Message{} or %MessageId{}")
}

/// The place in the batch that a `%MessageId{}` names.
pub(crate) fn batch_index(id: Term<'_>) -> Result<i32, Failure> {
    let index = id.map_get(atoms::batch_index().to_term(id.get_env()));
    index
        .and_then(|index| index.decode())
        .map_err(|_| invalid(id))
}

/// The id, unless `term`, where it comes from, cannot be meant.
pub(crate) fn plausible(id: MessageId, term: Term<'_>) -> Result<MessageId, Failure> {
    if is_plausible(&id) {
        Ok(id)
    } else {
        Err(invalid(term))
    }
}

/// Ids are plain data that anyone can make up; these bounds keep one from asking for gigabytes. A batch's
/// size may be missing: some clients write ids without it.
pub(crate) fn is_plausible(id: &MessageId) -> bool {
    let bounded = id.batch_size <= MAX_BATCH && id.batch_index < MAX_BATCH;
    bounded && (id.batch_index < 0 || id.batch_size <= 0 || id.batch_index < id.batch_size)
}

const MAX_BATCH: i32 = 1 << 20;

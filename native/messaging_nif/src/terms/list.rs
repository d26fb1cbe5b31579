//! Lists from outside: perhaps too long, perhaps improper.

use rustler::{Decoder, Term};

use crate::error::Failure;

/// Messages or ids in one call at most: what a scheduler can take in within a fraction of a millisecond.
pub(crate) const CALL_LIMIT: usize = 1000;

/// Hands each element to `take`; fails with `invalid` where the list is longer than `limit` or none.
pub(crate) fn for_each<'a>(
    list: Term<'a>,
    limit: usize,
    invalid: impl Fn() -> Failure,
    mut take: impl FnMut(Term<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rest = list;
    let mut left = limit;
    while let Ok((head, tail)) = rest.list_get_cell() {
        left = left.checked_sub(1).ok_or_else(&invalid)?;
        take(head)?;
        rest = tail;
    }
    if rest.is_empty_list() {
        Ok(())
    } else {
        Err(invalid())
    }
}

/// Decodes each element.
pub(crate) fn decode<'a, T: Decoder<'a>>(
    list: Term<'a>,
    limit: usize,
    invalid: impl Fn() -> Failure,
) -> Result<Vec<T>, Failure> {
    let mut decoded = Vec::new();
    for_each(list, limit, &invalid, |element| {
        decoded.push(element.decode().map_err(|_| invalid())?);
        Ok(())
    })?;
    Ok(decoded)
}

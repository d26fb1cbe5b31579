//! A wrong value in the words of an error: short, and cheap however large the value is.

use std::fmt::Write;

use rustler::types::tuple::get_tuple;
use rustler::{Binary, MapIterator, Term, TermType};

/// Characters of text that are shown.
const TEXT: usize = 64;

/// Elements of a collection that are shown.
const ELEMENTS: usize = 4;

/// Collections within collections that are shown.
const DEPTH: usize = 3;

/// The value, about as Elixir would write it.
pub(crate) fn describe(term: Term<'_>) -> String {
    let mut text = String::new();
    write_term(&mut text, term, DEPTH);
    text
}

fn write_term(text: &mut String, term: Term<'_>, depth: usize) {
    match term.get_type() {
        TermType::Atom => write_atom(text, term),
        TermType::Binary => write_binary(text, term),
        TermType::Integer => match (term.decode::<i64>(), term.decode::<u64>()) {
            (Ok(number), _) => put(text, format_args!("{number}")),
            (_, Ok(number)) => put(text, format_args!("{number}")),
            // The digits of a large integer cost the square of their number.
            _ => text.push_str("an integer of more than 64 bits"),
        },
        TermType::Float => match term.decode::<f64>() {
            Ok(number) => put(text, format_args!("{number:?}")),
            Err(_) => text.push_str("a float"),
        },
        TermType::List if depth > 0 => write_list(text, term, depth - 1),
        TermType::Tuple if depth > 0 => write_tuple(text, term, depth - 1),
        TermType::Map if depth > 0 => write_map(text, term, depth - 1),
        TermType::List | TermType::Tuple | TermType::Map => text.push('…'),
        // References, pids, ports and functions are short.
        _ => put(text, format_args!("{term:?}")),
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
}

fn write_atom(text: &mut String, term: Term<'_>) {
    match term.atom_to_string() {
        Ok(name) if matches!(name.as_str(), "nil" | "true" | "false") => text.push_str(&name),
        Ok(name) => match name.strip_prefix("Elixir.") {
            Some(module) => text.push_str(module),
            None => put(text, format_args!(":{name}")),
        },
        Err(_) => text.push_str("an atom"),
    }
}

fn write_binary(text: &mut String, term: Term<'_>) {
    let Ok(binary) = Binary::from_term(term) else {
        return text.push_str("a bitstring");
    };
    let bytes = binary.as_slice();
    let shown = &bytes[..bytes.len().min(TEXT)];
    match std::str::from_utf8(shown) {
        Ok(shown) => put(text, format_args!("{shown:?}")),
        Err(_) => {
            text.push_str("<<");
            for (index, byte) in shown.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                put(text, format_args!("{comma}{byte}"));
            }
            text.push_str(">>");
        }
    }
    if bytes.len() > shown.len() {
        put(text, format_args!("… ({} bytes)", bytes.len()));
    }
}

fn write_list(text: &mut String, term: Term<'_>, depth: usize) {
    text.push('[');
    let mut rest = term;
    let mut count = 0;
    while let Ok((head, tail)) = rest.list_get_cell() {
        text.push_str(if count == 0 { "" } else { ", " });
        if count == ELEMENTS {
            text.push('…');
            break;
        }
        write_term(text, head, depth);
        count += 1;
        rest = tail;
    }
    if !rest.is_list() {
        text.push_str(" | ");
        write_term(text, rest, depth);
    }
    text.push(']');
}

fn write_tuple(text: &mut String, term: Term<'_>, depth: usize) {
    let elements = get_tuple(term).unwrap_or_default();
    text.push('{');
    for (index, element) in elements.iter().take(ELEMENTS).enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        write_term(text, *element, depth);
    }
    text.push_str(if elements.len() > ELEMENTS {
        ", …}"
    } else {
        "}"
    });
}

fn write_map(text: &mut String, term: Term<'_>, depth: usize) {
    text.push_str("%{");
    let pairs = MapIterator::new(term).into_iter().flatten();
    for (index, (key, value)) in pairs.take(ELEMENTS).enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        write_term(text, key, depth);
        text.push_str(" => ");
        write_term(text, value, depth);
    }
    text.push_str(if term.map_size().is_ok_and(|size| size > ELEMENTS) {
        ", …}"
    } else {
        "}"
    });
}

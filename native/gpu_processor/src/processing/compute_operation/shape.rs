//! Sizes of operands and results, computed without overflow and bounded.

use serde::{Serialize, Serializer};

use crate::message_error::{MessageError, MessageErrorKind};

/// The most bytes that a message's decoded input, or its result, may have: 64 MiB.
pub const MAX_DATA_BYTES: usize = 64 * 1024 * 1024;

/// The dimensions of a result, outermost first; written as a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar,
    Vector(usize),
    Matrix(usize, usize),
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Scalar => serializer.collect_seq::<[usize; 0]>([]),
            Self::Vector(length) => serializer.collect_seq([length]),
            Self::Matrix(rows, columns) => serializer.collect_seq([rows, columns]),
        }
    }
}

/// The elements of a matrix of which one side may be huge; `None` beyond [`MAX_DATA_BYTES`].
fn elements(rows: usize, columns: usize, element_size: usize) -> Option<usize> {
    let count = rows.checked_mul(columns)?;
    let bytes = count.checked_mul(element_size)?;
    (bytes <= MAX_DATA_BYTES).then_some(count)
}

/// The number of elements of a `rows` by `columns` matrix.
///
/// Fails with `too_large` when it would exceed the bound; `what` names the matrix.
pub(super) fn matrix_elements(
    what: &str,
    rows: usize,
    columns: usize,
    element_size: usize,
) -> Result<usize, MessageError> {
    elements(rows, columns, element_size).ok_or_else(|| {
        let message = format!("{what} ({rows} by {columns}) exceeds {MAX_DATA_BYTES} bytes");
        MessageError::new(MessageErrorKind::TooLarge, message)
    })
}

/// Checks that the input holds exactly `expected` elements.
pub(super) fn check_length(
    input: &[u8],
    expected: usize,
    element_size: usize,
) -> Result<(), MessageError> {
    if expected.checked_mul(element_size) == Some(input.len()) {
        return Ok(());
    }
    let message = format!(
        "input_data has {} bytes, the parameters ask for {expected} elements of {element_size} bytes",
        input.len()
    );
    Err(MessageError::new(MessageErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_sizes_are_refused_without_overflow() {
        for (rows, columns) in [
            (usize::MAX, 1),
            (1, usize::MAX),
            (usize::MAX, usize::MAX),
            (1 << 32, 1 << 32),
            (1 << 20, 1 << 20),
        ] {
            let error = matrix_elements("A", rows, columns, 4).expect_err("too large");
            assert_eq!(error.kind, MessageErrorKind::TooLarge);
        }
        assert_eq!(matrix_elements("A", 4096, 4096, 4), Ok(1 << 24));
        assert!(matrix_elements("A", 4096, 4097, 4).is_err());
    }

    #[test]
    fn lengths_are_exact() {
        assert_eq!(check_length(&[0; 12], 3, 4), Ok(()));
        assert!(check_length(&[0; 11], 3, 4).is_err());
        assert!(check_length(&[0; 13], 3, 4).is_err());
        assert!(check_length(&[], usize::MAX, 8).is_err());
    }

    #[test]
    fn shapes_are_lists() {
        let text = |shape| serde_json::to_string(&shape).unwrap();
        assert_eq!(text(Shape::Scalar), "[]");
        assert_eq!(text(Shape::Vector(3)), "[3]");
        assert_eq!(text(Shape::Matrix(2, 5)), "[2,5]");
    }
}

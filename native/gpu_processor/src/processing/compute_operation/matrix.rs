//! Operations on row-major matrices.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeError};

use super::element::Element;
use super::parameters::Parameters;
use super::shape::{check_length, matrix_elements, Shape};
use crate::message_error::{MessageError, MessageErrorKind};

/// Rows and columns of a transposition are walked in tiles that stay in the first cache.
const TILE: usize = 16;

/// C = A·B for A of m by k and B of k by n.
pub(super) fn multiply<T: Element>(
    parameters: &Parameters,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<Shape, MessageError> {
    let [m, k, n] = parameters.sizes(["m", "k", "n"])?;
    let a_elements = matrix_elements("A", m, k, T::SIZE)?;
    let b_elements = matrix_elements("B", k, n, T::SIZE)?;
    let c_elements = matrix_elements("the result", m, n, T::SIZE)?;
    check_length(input, a_elements + b_elements, T::SIZE)?;

    let operands = T::decode(input);
    let (a, b) = operands.split_at(a_elements);
    let mut c = vec![T::zero(); c_elements];
    multiply_into([m, k, n], a, b, &mut c)
        .map_err(|error| MessageError::new(MessageErrorKind::InvalidInput, error.to_string()))?;
    T::encode_into(&c, output);
    Ok(Shape::Matrix(m, n))
}

fn multiply_into<T: Element>(
    [m, k, n]: [usize; 3],
    a: &[T],
    b: &[T],
    c: &mut [T],
) -> Result<(), ShapeError> {
    let a = ArrayView2::from_shape((m, k), a)?;
    let b = ArrayView2::from_shape((k, n), b)?;
    let mut c = ArrayViewMut2::from_shape((m, n), c)?;
    general_mat_mul(T::one(), &a, &b, T::zero(), &mut c);
    Ok(())
}

/// B[j][i] = A[i][j].
pub(super) fn transpose<T: Element>(
    parameters: &Parameters,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<Shape, MessageError> {
    let [rows, columns] = parameters.sizes(["rows", "cols"])?;
    let elements = matrix_elements("the matrix", rows, columns, T::SIZE)?;
    check_length(input, elements, T::SIZE)?;

    let source = T::decode(input);
    let mut target = vec![T::zero(); elements];
    for tile_row in (0..rows).step_by(TILE) {
        for tile_column in (0..columns).step_by(TILE) {
            for row in tile_row..rows.min(tile_row + TILE) {
                for column in tile_column..columns.min(tile_column + TILE) {
                    target[column * rows + row] = source[row * columns + column];
                }
            }
        }
    }
    T::encode_into(&target, output);
    Ok(Shape::Matrix(columns, rows))
}

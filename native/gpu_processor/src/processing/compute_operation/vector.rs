//! Operations on vectors.

use super::element::{decode_vector, Element};
use super::parameters::Parameters;
use super::shape::Shape;
use crate::message_error::{MessageError, MessageErrorKind};

/// a + b, element by element.
pub(super) fn add<T: Element>(input: &[u8], output: &mut Vec<u8>) -> Result<Shape, MessageError> {
    let operands = decode_pair::<T>(input)?;
    let (a, b) = operands.split_at(operands.len() / 2);
    let sums: Vec<T> = a.iter().zip(b).map(|(a, b)| *a + *b).collect();
    T::encode_into(&sums, output);
    Ok(Shape::Vector(sums.len()))
}

/// `parameters.scalar`·a.
pub(super) fn scale<T: Element>(
    parameters: &Parameters,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<Shape, MessageError> {
    let scalar = parameters.number("scalar")?;
    let factor = T::from_f64(scalar);
    if !factor.to_f64().is_finite() {
        let message = format!(
            "parameters.scalar is out of range for {}: {scalar}",
            T::TYPE.as_str()
        );
        return Err(MessageError::new(
            MessageErrorKind::InvalidParameter,
            message,
        ));
    }
    let mut values = decode_vector::<T>(input)?;
    for value in &mut values {
        *value = *value * factor;
    }
    T::encode_into(&values, output);
    Ok(Shape::Vector(values.len()))
}

/// a·b, accumulated in float64 from the first element to the last.
pub(super) fn dot<T: Element>(input: &[u8], output: &mut Vec<u8>) -> Result<Shape, MessageError> {
    let operands = decode_pair::<T>(input)?;
    let (a, b) = operands.split_at(operands.len() / 2);
    let sum = a
        .iter()
        .zip(b)
        .fold(0.0, |sum, (a, b)| sum + a.to_f64() * b.to_f64());
    T::encode_into(&[T::from_f64(sum)], output);
    Ok(Shape::Scalar)
}

fn decode_pair<T: Element>(input: &[u8]) -> Result<Vec<T>, MessageError> {
    let operands = decode_vector::<T>(input)?;
    if operands.len() % 2 == 0 {
        return Ok(operands);
    }
    let message = format!(
        "input_data has {} elements, which are not two equal vectors",
        operands.len()
    );
    Err(MessageError::new(MessageErrorKind::InvalidInput, message))
}

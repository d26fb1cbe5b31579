//! One number from a vector.

use super::element::{decode_vector, Element};
use super::parameters::Parameters;
use super::shape::Shape;
use crate::message_error::{MessageError, MessageErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Sum,
    Min,
    Max,
    Mean,
    Product,
}

impl Reduction {
    const NAMES: &'static str = "sum, min, max, mean, product";

    fn parse(name: &str) -> Option<Self> {
        match name {
            "sum" => Some(Self::Sum),
            "min" => Some(Self::Min),
            "max" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "product" => Some(Self::Product),
            _ => None,
        }
    }

    /// The result, or `None` where nothing has none.
    #[allow(clippy::cast_precision_loss)]
    fn apply<T: Element>(self, values: &[T]) -> Option<T> {
        let sum = || values.iter().fold(0.0, |sum, value| sum + value.to_f64());
        match self {
            Self::Sum => Some(T::from_f64(sum())),
            Self::Product => {
                let product = values
                    .iter()
                    .fold(1.0, |product, value| product * value.to_f64());
                Some(T::from_f64(product))
            }
            Self::Mean if values.is_empty() => None,
            Self::Mean => Some(T::from_f64(sum() / values.len() as f64)),
            Self::Min => extreme(values, |value, best| value < best),
            Self::Max => extreme(values, |value, best| value > best),
        }
    }
}

/// The first of the best elements, or the first NaN.
#[allow(clippy::eq_op)]
fn extreme<T: Element>(values: &[T], better: impl Fn(T, T) -> bool) -> Option<T> {
    let (first, rest) = values.split_first()?;
    let mut best = *first;
    for value in rest {
        if best != best {
            break;
        }
        if *value != *value || better(*value, best) {
            best = *value;
        }
    }
    Some(best)
}

/// `parameters.op` over the vector.
pub(super) fn reduce<T: Element>(
    parameters: &Parameters,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<Shape, MessageError> {
    let reduction = parameters.choice("op", Reduction::NAMES, Reduction::parse)?;
    let values = decode_vector::<T>(input)?;
    let result = reduction.apply(&values).ok_or_else(|| {
        let message = format!("input_data is empty, and {reduction:?} of nothing is not defined");
        MessageError::new(MessageErrorKind::InvalidInput, message)
    })?;
    T::encode_into(&[result], output);
    Ok(Shape::Scalar)
}

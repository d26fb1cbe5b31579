//! The operations by name.

use sha2::{Digest, Sha256};

use super::element::{Element, ElementType, Precision};
use super::parameters::Parameters;
use super::shape::Shape;
use super::{matrix, reduce, vector};
use crate::message_error::{MessageError, MessageErrorKind};

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Sha256,
    Floats(FloatOperation),
}

/// The operations on numbers, which exist in each precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloatOperation {
    MatrixMultiply,
    VectorAdd,
    VectorScale,
    VectorDot,
    Reduce,
    Transpose,
}

impl Operation {
    pub(super) fn parse(name: &str) -> Result<Self, MessageError> {
        Ok(match name {
            "matrix_multiply" => Self::Floats(FloatOperation::MatrixMultiply),
            "vector_add" => Self::Floats(FloatOperation::VectorAdd),
            "vector_scale" => Self::Floats(FloatOperation::VectorScale),
            "vector_dot" => Self::Floats(FloatOperation::VectorDot),
            "reduce" => Self::Floats(FloatOperation::Reduce),
            "transpose" => Self::Floats(FloatOperation::Transpose),
            "sha256" => Self::Sha256,
            unknown => {
                let message = format!(
                    "operation_type must be one of matrix_multiply, vector_add, vector_scale, \
                     vector_dot, reduce, transpose, sha256: {unknown}"
                );
                return Err(MessageError::new(
                    MessageErrorKind::UnknownOperation,
                    message,
                ));
            }
        })
    }

    /// Appends the result's bytes to `output` and says what they are.
    pub(super) fn execute(
        self,
        parameters: &Parameters,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(ElementType, Shape), MessageError> {
        match self {
            Self::Sha256 => {
                let digest = Sha256::digest(input);
                output.extend_from_slice(&digest);
                Ok((ElementType::Bytes, Shape::Vector(digest.len())))
            }
            Self::Floats(operation) => match parameters.precision()? {
                Precision::Float32 => operation.execute::<f32>(parameters, input, output),
                Precision::Float64 => operation.execute::<f64>(parameters, input, output),
            },
        }
    }
}

impl FloatOperation {
    fn execute<T: Element>(
        self,
        parameters: &Parameters,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(ElementType, Shape), MessageError> {
        let shape = match self {
            Self::MatrixMultiply => matrix::multiply::<T>(parameters, input, output)?,
            Self::Transpose => matrix::transpose::<T>(parameters, input, output)?,
            Self::VectorAdd => vector::add::<T>(input, output)?,
            Self::VectorScale => vector::scale::<T>(parameters, input, output)?,
            Self::VectorDot => vector::dot::<T>(input, output)?,
            Self::Reduce => reduce::reduce::<T>(parameters, input, output)?,
        };
        Ok((T::TYPE, shape))
    }
}

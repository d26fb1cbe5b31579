//! The number types of operands and results.

use ndarray::LinalgScalar;

use crate::message_error::{MessageError, MessageErrorKind};

/// The float type that a message computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Float32,
    Float64,
}

/// What the bytes of a result are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    Float32,
    Float64,
    Bytes,
}

impl ElementType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Bytes => "bytes",
        }
    }
}

/// A float type with its little-endian form.
pub(super) trait Element: LinalgScalar + PartialOrd {
    const TYPE: ElementType;
    const SIZE: usize;

    /// Reads whole elements; bytes after the last whole one are not read.
    fn decode(input: &[u8]) -> Vec<Self>;
    /// Appends the elements; written over whole chunks, which compiles to a plain copy.
    fn encode_into(values: &[Self], output: &mut Vec<u8>);
    fn to_f64(self) -> f64;
    /// Rounds to the nearest value of this type.
    fn from_f64(value: f64) -> Self;
}

/// Reads a vector, whose length only has to be whole.
pub(super) fn decode_vector<T: Element>(input: &[u8]) -> Result<Vec<T>, MessageError> {
    if input.len() % T::SIZE == 0 {
        return Ok(T::decode(input));
    }
    let message = format!(
        "input_data has {} bytes, which is not a multiple of {} ({})",
        input.len(),
        T::SIZE,
        T::TYPE.as_str()
    );
    Err(MessageError::new(MessageErrorKind::InvalidInput, message))
}

impl Element for f32 {
    const TYPE: ElementType = ElementType::Float32;
    const SIZE: usize = std::mem::size_of::<Self>();

    fn decode(input: &[u8]) -> Vec<Self> {
        let chunks = input.chunks_exact(Self::SIZE);
        chunks
            .map(|bytes| Self::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .collect()
    }

    fn encode_into(values: &[Self], output: &mut Vec<u8>) {
        let start = output.len();
        output.resize(start + values.len() * Self::SIZE, 0);
        for (bytes, value) in output[start..].chunks_exact_mut(Self::SIZE).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[allow(clippy::cast_possible_truncation)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Element for f64 {
    const TYPE: ElementType = ElementType::Float64;
    const SIZE: usize = std::mem::size_of::<Self>();

    fn decode(input: &[u8]) -> Vec<Self> {
        let chunks = input.chunks_exact(Self::SIZE);
        chunks
            .map(|bytes| Self::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .collect()
    }

    fn encode_into(values: &[Self], output: &mut Vec<u8>) {
        let start = output.len();
        output.resize(start + values.len() * Self::SIZE, 0);
        for (bytes, value) in output[start..].chunks_exact_mut(Self::SIZE).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> Self {
        value
    }
}

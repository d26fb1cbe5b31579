//! Why one message has no result.

use std::fmt;

use gpu_processor::{DeviceError, MessageError};

/// The longest text of a failure, in bytes: a kernel's panic message may quote its input.
const MAX_TEXT: usize = 512;

/// Why one message has no result: a stable code and words. Prints as `code: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable name of the failure's class.
    pub code: &'static str,
    /// What happened; at most 512 bytes.
    pub text: String,
}

impl Failure {
    /// The code of a result that the output's topic is too small for.
    pub const RESULT_TOO_LARGE: &'static str = "result_too_large";

    /// Makes a failure; a longer text is cut at a character boundary.
    #[must_use]
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > MAX_TEXT {
            let cut = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(cut.unwrap_or(0));
        }
        Failure { code, text }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        Failure::new(error.code(), error.message)
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let code = match &error {
            DeviceError::Lost => "device_lost",
            DeviceError::KernelPanicked { .. } => "kernel_panicked",
            DeviceError::OutputCount { .. } => "kernel_output_count",
            _ => "device_error",
        };
        Failure::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu_processor::MessageErrorKind;

    #[test]
    fn prints_code_and_text() {
        let error = MessageError::new(MessageErrorKind::InvalidInput, "no base64");
        assert_eq!(Failure::from(error).to_string(), "invalid_input: no base64");
        assert_eq!(Failure::from(DeviceError::Lost).code, "device_lost");
    }

    #[test]
    fn long_texts_are_cut_at_a_character_boundary() {
        for prefix in ["", "a", "aa"] {
            let text = format!("{prefix}{}", "€".repeat(400));
            let failure = Failure::new("x", text.clone());
            assert!(failure.text.len() > 500 && failure.text.len() <= 512);
            assert!(text.starts_with(&failure.text));
        }
    }
}

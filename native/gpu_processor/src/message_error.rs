use std::fmt;

/// The longest text of a [`MessageError`], in bytes; what a user sent may be quoted in it.
const MAX_TEXT: usize = 512;

/// Why one message of a batch has no output. Its neighbours are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct MessageError {
    /// The class of the failure.
    pub kind: MessageErrorKind,
    /// What is wrong, which part of the message it concerns and what is allowed; at most 512 bytes.
    pub message: String,
}

/// The classes of message failures. Retrying the same message gives the same error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageErrorKind {
    /// The payload is not the JSON object that the processing type expects.
    InvalidMessage,
    /// The operation is not one of those that exist.
    UnknownOperation,
    /// A parameter is missing, of the wrong type or out of range.
    InvalidParameter,
    /// The input data does not decode, or its length does not fit the parameters.
    InvalidInput,
    /// Input or result would exceed the size bounds.
    TooLarge,
}

impl MessageErrorKind {
    /// The stable name of the class, for message properties and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidMessage => "invalid_message",
            Self::UnknownOperation => "unknown_operation",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidInput => "invalid_input",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for MessageErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl MessageError {
    /// Builds an error; a text longer than the bound is cut at a character boundary.
    #[must_use]
    pub fn new(kind: MessageErrorKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_TEXT {
            let ellipsis = '…';
            let mut end = MAX_TEXT - ellipsis.len_utf8();
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push(ellipsis);
            message.shrink_to_fit();
        }
        Self { kind, message }
    }

    /// The stable name of the error's class; see [`MessageErrorKind::code`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.kind.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character_boundary() {
        for prefix in ["", "a", "aa", "aaa"] {
            let text = format!("{prefix}{}", "é€".repeat(1000));
            let error = MessageError::new(MessageErrorKind::InvalidInput, text.clone());
            assert!(error.message.len() <= MAX_TEXT && error.message.ends_with('…'));
            assert!(text.starts_with(error.message.trim_end_matches('…')));
        }
        assert_eq!(
            MessageError::new(MessageErrorKind::TooLarge, "short").message,
            "short"
        );
    }
}

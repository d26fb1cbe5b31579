use serde_json::Value;

/// A configuration value that is refused, with what would have been allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("invalid option {key}: {value} (allowed: {allowed})")]
pub struct InvalidOption {
    /// The option's name, as the user writes it.
    pub key: String,
    /// The value that was given.
    pub value: Value,
    /// What the option accepts, in words.
    pub allowed: String,
}

impl InvalidOption {
    pub(crate) fn new(key: &str, value: impl Into<Value>, allowed: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: value.into(),
            allowed: allowed.into(),
        }
    }
}

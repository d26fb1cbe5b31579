//! The compute message, read from JSON without copying its strings.

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

use super::parameters::Parameters;
use super::shape::MAX_DATA_BYTES;
use crate::message_error::{MessageError, MessageErrorKind};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug)]
pub(super) struct ComputeMessage<'a> {
    pub(super) message_id: Cow<'a, str>,
    pub(super) correlation_id: Option<Cow<'a, str>>,
    pub(super) operation_type: Cow<'a, str>,
    pub(super) gpu_device_id: Cow<'a, str>,
    pub(super) input_data: InputData<'a>,
    pub(super) parameters: Parameters,
}

impl<'a> ComputeMessage<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, MessageError> {
        serde_json::from_slice(payload)
            .map_err(|error| MessageError::new(MessageErrorKind::InvalidMessage, error.to_string()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ComputeMessage<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ComputeMessage<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a compute message (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut message_id: Option<Text<'de>> = None;
        let mut correlation_id: Option<Option<Text<'de>>> = None;
        let mut operation_type: Option<Text<'de>> = None;
        let mut gpu_device_id: Option<Text<'de>> = None;
        let mut user_id: Option<Text<'de>> = None;
        let mut input_data: Option<InputData<'de>> = None;
        let mut parameters: Option<Parameters> = None;
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "message_id" => read("message_id", &mut map, &mut message_id)?,
                "correlation_id" => read("correlation_id", &mut map, &mut correlation_id)?,
                "operation_type" => read("operation_type", &mut map, &mut operation_type)?,
                "gpu_device_id" => read("gpu_device_id", &mut map, &mut gpu_device_id)?,
                "user_id" => read("user_id", &mut map, &mut user_id)?,
                "input_data" => read("input_data", &mut map, &mut input_data)?,
                "parameters" => read("parameters", &mut map, &mut parameters)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        required("user_id", user_id)?;
        Ok(ComputeMessage {
            message_id: required("message_id", message_id)?.0,
            correlation_id: correlation_id.flatten().map(|text| text.0),
            operation_type: required("operation_type", operation_type)?.0,
            gpu_device_id: required("gpu_device_id", gpu_device_id)?.0,
            input_data: required("input_data", input_data)?,
            parameters: parameters.unwrap_or_default(),
        })
    }
}

/// Reads a value so that its errors name the field, which serde's own do not.
fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    field: &'static str,
    map: &mut A,
    slot: &mut Option<T>,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::duplicate_field(field));
    }
    let value = map.next_value();
    *slot = Some(value.map_err(|error| A::Error::custom(format_args!("{field}: {error}")))?);
    Ok(())
}

fn required<T, E: Error>(field: &'static str, slot: Option<T>) -> Result<T, E> {
    slot.ok_or_else(|| E::missing_field(field))
}

/// A string that stays in the payload unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The operands: base64, or the list of numbers that serde makes of a `Vec<u8>`.
#[derive(Debug)]
pub(super) enum InputData<'a> {
    Base64(Cow<'a, str>),
    Bytes(Vec<u8>),
}

impl InputData<'_> {
    pub(super) fn decode_into(&self, buffer: &mut Vec<u8>) -> Result<(), MessageError> {
        buffer.clear();
        match self {
            Self::Bytes(bytes) => buffer.extend_from_slice(bytes),
            Self::Base64(text) => {
                if text.len() / 4 * 3 > MAX_DATA_BYTES {
                    let message = format!("input_data decodes to more than {MAX_DATA_BYTES} bytes");
                    return Err(MessageError::new(MessageErrorKind::TooLarge, message));
                }
                BASE64
                    .decode_vec(text.as_bytes(), buffer)
                    .map_err(|error| {
                        let message = format!("input_data is not base64: {error}");
                        MessageError::new(MessageErrorKind::InvalidInput, message)
                    })?;
            }
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for InputData<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = InputData<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a base64 string or an array of bytes")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(InputData::Base64(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(InputData::Base64(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            if bytes.len() == MAX_DATA_BYTES {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_DATA_BYTES} bytes"
                )));
            }
            bytes.push(byte);
        }
        Ok(InputData::Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(payload: &str) -> String {
        let error = ComputeMessage::parse(payload.as_bytes()).expect_err("refused");
        assert_eq!(error.code(), "invalid_message");
        error.message
    }

    const REST: &str = r#""gpu_device_id": "0", "operation_type": "sha256", "user_id": "u""#;

    #[test]
    fn reads_strings_in_place_and_unescapes_where_needed() {
        let payload = format!(
            r#"{{"message_id": "m\u00e9", "input_data": "AQ==", "version": [1], "timestamp": 5, {REST},
               "correlation_id": null, "parameters": null}}"#
        );
        let message = ComputeMessage::parse(payload.as_bytes()).unwrap();
        assert_eq!(message.message_id, "mé");
        assert!(matches!(message.operation_type, Cow::Borrowed("sha256")));
        assert!(matches!(
            &message.input_data,
            InputData::Base64(Cow::Borrowed("AQ=="))
        ));
        assert_eq!(message.correlation_id, None);
    }

    #[test]
    fn both_forms_of_input_data_decode_alike() {
        for form in [
            "\"AAEC/w==\"",
            "\"AAEC/w\"",
            "\"AAEC\\/w==\"",
            "[0, 1, 2, 255]",
        ] {
            let payload = format!(r#"{{"message_id": "m", "input_data": {form}, {REST}}}"#);
            let message = ComputeMessage::parse(payload.as_bytes()).unwrap();
            let mut buffer = vec![9; 3];
            message.input_data.decode_into(&mut buffer).unwrap();
            assert_eq!(buffer, [0, 1, 2, 255]);
        }
    }

    #[test]
    fn errors_name_the_field() {
        assert!(error(&format!("{{{REST}}}")).starts_with("missing field `message_id`"));
        let text = error(&format!(r#"{{"message_id": 5, {REST}}}"#));
        assert!(
            text.starts_with("message_id: invalid type: integer `5`"),
            "{text}"
        );
        let text = error(&format!(r#"{{"input_data": [1, 256], {REST}}}"#));
        assert!(
            text.starts_with("input_data: invalid value: integer `256`"),
            "{text}"
        );
        let text = error(&format!(r#"{{"user_id": "twice", {REST}}}"#));
        assert!(text.starts_with("duplicate field `user_id`"), "{text}");
        let text = error(&format!(r#"{{"parameters": [4], {REST}}}"#));
        assert!(
            text.starts_with("parameters: invalid type: sequence"),
            "{text}"
        );
        assert!(error("[1]").starts_with("invalid type: sequence, expected a compute message"));
        assert!(error("{} x").contains("missing field"));
    }

    #[test]
    fn data_that_is_not_base64_is_an_input_error() {
        let data = InputData::Base64("a*b".into());
        let error = data.decode_into(&mut Vec::new()).expect_err("refused");
        assert_eq!(error.kind, MessageErrorKind::InvalidInput);
    }

    #[test]
    fn data_beyond_the_bound_is_refused_before_it_is_decoded() {
        let data = InputData::Base64("A".repeat(MAX_DATA_BYTES / 3 * 4 + 8).into());
        let mut buffer = Vec::new();
        let error = data.decode_into(&mut buffer).expect_err("refused");
        assert_eq!(
            (error.kind, buffer.capacity()),
            (MessageErrorKind::TooLarge, 0)
        );
    }
}

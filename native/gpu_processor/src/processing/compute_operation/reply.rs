//! The JSON that a computed message becomes.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use bytes::Bytes;
use serde::Serialize;
use std::time::Instant;

use super::element::ElementType;
use super::message::ComputeMessage;
use super::shape::Shape;
use crate::device::{Backend, DeviceInfo};

/// Room for the keys and short values around the strings that are counted.
const ENVELOPE_BYTES: usize = 256;

/// What a reply is made of, except the result's bytes.
pub(super) struct Reply<'a> {
    pub(super) message: &'a ComputeMessage<'a>,
    pub(super) device: &'a DeviceInfo,
    pub(super) element_type: ElementType,
    pub(super) shape: Shape,
    pub(super) started: Instant,
}

#[derive(Serialize)]
struct ReplyBody<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    operation_type: &'a str,
    status: &'static str,
    gpu_device_id: &'a str,
    device: DeviceBody<'a>,
    result: ResultBody<'a>,
    processing_time_us: u64,
}

#[derive(Serialize)]
struct DeviceBody<'a> {
    id: u32,
    backend: Backend,
    name: &'a str,
}

#[derive(Serialize)]
struct ResultBody<'a> {
    #[serde(rename = "type")]
    element_type: &'static str,
    shape: Shape,
    data: &'a str,
}

impl Reply<'_> {
    /// Writes the reply; `base64` is a buffer to work in.
    pub(super) fn to_json(&self, result: &[u8], base64: &mut String) -> Bytes {
        base64.clear();
        STANDARD.encode_string(result, base64);
        let elapsed = self.started.elapsed().as_micros();
        let body = ReplyBody {
            message_id: &self.message.message_id,
            correlation_id: self.message.correlation_id.as_deref(),
            operation_type: &self.message.operation_type,
            status: "ok",
            gpu_device_id: &self.message.gpu_device_id,
            device: DeviceBody {
                id: self.device.id,
                backend: self.device.backend,
                name: &self.device.name,
            },
            result: ResultBody {
                element_type: self.element_type.as_str(),
                shape: self.shape,
                data: base64,
            },
            processing_time_us: u64::try_from(elapsed).unwrap_or(u64::MAX),
        };
        let strings = [
            body.message_id,
            body.operation_type,
            body.gpu_device_id,
            body.device.name,
        ];
        let size = ENVELOPE_BYTES
            + body.result.data.len()
            + body.correlation_id.map_or(0, str::len)
            + strings.iter().map(|text| text.len()).sum::<usize>();
        let mut json = Vec::with_capacity(size);
        // Strings and integers into memory: there is nothing here that can fail.
        let written = serde_json::to_writer(&mut json, &body);
        debug_assert!(written.is_ok());
        Bytes::from(json)
    }
}

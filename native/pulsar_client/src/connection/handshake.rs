//! Connect and Connected, credentials included.

use bytes::BytesMut;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::{BrokerAddress, ClientConfig, SharedAuthentication};
use crate::error::Error;
use crate::transport::Stream;
use crate::wire::command::{self, PROTOCOL_VERSION};
use crate::wire::frame::{self, Inbound};

const CLIENT_VERSION: &str = concat!("amdgpu_framework-", env!("CARGO_PKG_VERSION"));

/// A broker may name any `maxMessageSize`; more than this is not believed.
const MAX_MESSAGE_SIZE_CEILING: usize = 1 << 30;

/// A stream after its handshake.
pub(super) struct Ready {
    pub(super) stream: Stream,
    /// Bytes that came after the handshake in the same read.
    pub(super) buffer: BytesMut,
    pub(super) max_message_size: usize,
    /// The highest version that both sides know.
    pub(super) protocol_version: i32,
}

/// Introduces this client and waits for the broker to accept it.
pub(super) async fn perform(
    mut stream: Stream,
    config: &ClientConfig,
    proxied: Option<&BrokerAddress>,
) -> Result<Ready, Error> {
    let credentials = match &config.authentication {
        None => None,
        Some(authentication) => Some(credentials(authentication).await?),
    };
    let (auth_method_name, auth_data) = credentials.unzip();
    let connect = command::connect(proto::CommandConnect {
        client_version: CLIENT_VERSION.to_owned(),
        auth_method_name,
        auth_data,
        protocol_version: Some(PROTOCOL_VERSION),
        proxy_to_broker_url: proxied.map(ToString::to_string),
        feature_flags: Some(proto::FeatureFlags {
            supports_auth_refresh: Some(true),
            supports_broker_entry_metadata: Some(true),
            supports_partial_producer: Some(true),
        }),
        ..Default::default()
    });
    write(&mut stream, &connect).await?;

    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        let answer = read(&mut stream, &mut buffer).await?;
        match answer.r#type() {
            Type::Connected => {
                let connected = answer.connected.unwrap_or_default();
                let protocol_version = connected.protocol_version().min(PROTOCOL_VERSION);
                let max_message_size = match connected.max_message_size {
                    Some(size) if size > 0 => (size as usize).min(MAX_MESSAGE_SIZE_CEILING),
                    _ => frame::DEFAULT_MAX_MESSAGE_SIZE,
                };
                return Ok(Ready {
                    stream,
                    buffer,
                    max_message_size,
                    protocol_version,
                });
            }
            Type::AuthChallenge => {
                let Some(authentication) = &config.authentication else {
                    return Err(Error::Protocol("the broker wants credentials".to_owned()));
                };
                let response = auth_response(authentication).await?;
                write(&mut stream, &response).await?;
            }
            Type::Error => {
                let error = answer.error.unwrap_or_default();
                return Err(Error::broker(error.error, error.message));
            }
            other => {
                return Err(Error::Protocol(format!("{other:?} instead of CONNECTED")));
            }
        }
    }
}

/// Fresh credentials, as the answer to a challenge.
pub(super) async fn auth_response(
    authentication: &SharedAuthentication,
) -> Result<BaseCommand, Error> {
    let (method, data) = credentials(authentication).await?;
    Ok(command::auth_response(proto::CommandAuthResponse {
        client_version: Some(CLIENT_VERSION.to_owned()),
        response: Some(proto::AuthData {
            auth_method_name: Some(method),
            auth_data: Some(data),
        }),
        protocol_version: Some(PROTOCOL_VERSION),
    }))
}

async fn credentials(authentication: &SharedAuthentication) -> Result<(String, Vec<u8>), Error> {
    let mut authentication = authentication.lock().await;
    let data = authentication
        .auth_data()
        .await
        .map_err(|error| Error::Broker {
            code: proto::ServerError::AuthenticationError,
            text: error.to_string(),
        })?;
    Ok((authentication.auth_method_name(), data))
}

async fn write(stream: &mut Stream, command: &BaseCommand) -> Result<(), Error> {
    let frame = frame::encode_command(command);
    let lost = |error: std::io::Error| Error::Disconnected(error.to_string());
    stream.write.write_all(&frame.head).await.map_err(lost)?;
    stream.write.flush().await.map_err(lost)
}

async fn read(stream: &mut Stream, buffer: &mut BytesMut) -> Result<BaseCommand, Error> {
    loop {
        let decoded = frame::decode(buffer, frame::DEFAULT_MAX_MESSAGE_SIZE + frame::FRAME_SLACK)
            .map_err(|error| Error::Protocol(error.to_string()))?;
        match decoded {
            Some(Inbound::Other(command)) => return Ok(*command),
            Some(_) => return Err(Error::Protocol("a message before CONNECTED".to_owned())),
            None => {}
        }
        let read = stream.read.read_buf(buffer).await;
        match read.map_err(|error| Error::Disconnected(error.to_string()))? {
            0 => {
                return Err(Error::Disconnected(
                    "closed by the broker in the handshake".to_owned(),
                ))
            }
            _ => continue,
        }
    }
}

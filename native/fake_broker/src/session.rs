//! What the broker does with a command.

use prost::Message as _;
use pulsar::message::proto::{self, MessageMetadata, ServerError};

use crate::command;
use crate::frame::Frame;
use crate::log::Received;
use crate::settings::LookupAnswer;
use crate::state::State;

/// Whether a connection goes on after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continue,
    /// Close it once what is queued is written.
    Close,
    /// Close it now.
    Cut,
}

impl State {
    /// Notes a command in the log.
    pub(crate) fn note(&mut self, connection: u64, frame: &Frame) {
        let metadata = frame
            .payload
            .as_ref()
            .and_then(|payload| MessageMetadata::decode(payload.metadata.clone()).ok());
        let command = (*frame.command).clone();
        self.log.push(Received {
            connection,
            command,
            metadata,
        });
    }

    /// Handles a command of a client.
    pub(crate) fn handle(&mut self, connection: u64, frame: Frame) -> Verdict {
        let Frame { command, payload } = frame;
        if let Some(connect) = command.connect {
            return self.connect(connection, &connect);
        }
        if !self
            .connections
            .get(&connection)
            .is_some_and(|peer| peer.connected)
        {
            return Verdict::Cut;
        }
        if let Some(send) = command.send {
            return self.receive(connection, &send, payload);
        }
        let command = *command;
        if command.ping.is_some() {
            if self.settings.answers_pings {
                self.send(connection, command::pong());
            }
        } else if let Some(ask) = command.partition_metadata {
            let partitions = self.partitions.get(&ask.topic).copied().unwrap_or(0);
            self.send(
                connection,
                command::partitions(ask.request_id, Ok(partitions)),
            );
        } else if let Some(ask) = command.lookup_topic {
            self.look_up(connection, &ask);
        } else if let Some(ask) = command.producer {
            self.open_producer(connection, ask);
        } else if let Some(ask) = command.close_producer {
            self.close_producer(connection, &ask);
        } else if let Some(ask) = command.subscribe {
            self.subscribe(connection, ask);
        } else if let Some(flow) = command.flow {
            self.flow(connection, &flow);
        } else if let Some(ack) = command.ack {
            self.ack(connection, &ack);
        } else if let Some(ask) = command.redeliver_unacknowledged_messages {
            self.redeliver(connection, &ask);
        } else if let Some(ask) = command.close_consumer {
            self.close_consumer(connection, &ask);
        } else if let Some(ask) = command.unsubscribe {
            self.unsubscribe(connection, &ask);
        } else if let Some(ask) = command.seek {
            self.seek(connection, &ask);
        } else if let Some(ask) = command.get_last_message_id {
            self.last_message_id(connection, &ask);
        }
        Verdict::Continue
    }

    fn connect(&mut self, connection: u64, connect: &proto::CommandConnect) -> Verdict {
        if let Some(token) = &self.settings.token {
            let given = connect.auth_data.as_deref();
            if connect.auth_method_name() != "token" || given != Some(token.as_bytes()) {
                let code = ServerError::AuthenticationError;
                self.send(
                    connection,
                    command::error(u64::MAX, code, "Failed to authenticate"),
                );
                return Verdict::Close;
            }
        }
        let version = self
            .settings
            .protocol_version
            .min(connect.protocol_version());
        let connected = command::connected(version, self.settings.max_message_size);
        if let Some(peer) = self.connections.get_mut(&connection) {
            peer.connected = true;
        }
        self.send(connection, connected);
        Verdict::Continue
    }

    fn look_up(&mut self, connection: u64, ask: &proto::CommandLookupTopic) {
        use proto::command_lookup_topic_response::LookupType;
        let scripted = self
            .lookups
            .get_mut(&ask.topic)
            .and_then(|answers| answers.pop_front());
        let answer = scripted.unwrap_or_else(|| LookupAnswer::Connect {
            url: self.settings.service_url.clone(),
            proxy: self.settings.proxy_through_service_url,
        });
        let response = |kind: LookupType, url, authoritative, proxy| {
            command::lookup(proto::CommandLookupTopicResponse {
                broker_service_url: Some(url),
                response: Some(kind as i32),
                request_id: ask.request_id,
                authoritative: Some(authoritative),
                proxy_through_service_url: Some(proxy),
                ..Default::default()
            })
        };
        let command = match answer {
            LookupAnswer::Connect { url, proxy } => response(LookupType::Connect, url, true, proxy),
            LookupAnswer::Redirect { url, authoritative } => {
                response(LookupType::Redirect, url, authoritative, false)
            }
            LookupAnswer::Fail(error) => command::lookup_failure(ask.request_id, error),
        };
        self.send(connection, command);
    }
}

//! The commands that the broker writes.

use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand, ServerError};

macro_rules! command {
    ($type:ident, $field:ident, $body:expr) => {
        BaseCommand {
            r#type: Type::$type as i32,
            $field: Some($body),
            ..BaseCommand::default()
        }
    };
}

/// The kind of a command, `None` for one that the protocol does not have.
pub(crate) fn kind(command: &BaseCommand) -> Option<Type> {
    Type::try_from(command.r#type).ok()
}

pub(crate) fn connected(version: i32, max_message_size: Option<i32>) -> BaseCommand {
    let body = proto::CommandConnected {
        server_version: "Fake Broker".to_owned(),
        protocol_version: Some(version),
        max_message_size,
    };
    command!(Connected, connected, body)
}

pub(crate) fn ping() -> BaseCommand {
    command!(Ping, ping, proto::CommandPing {})
}

pub(crate) fn pong() -> BaseCommand {
    command!(Pong, pong, proto::CommandPong {})
}

pub(crate) fn success(request_id: u64) -> BaseCommand {
    command!(
        Success,
        success,
        proto::CommandSuccess {
            request_id,
            schema: None
        }
    )
}

pub(crate) fn error(request_id: u64, error: ServerError, message: &str) -> BaseCommand {
    let body = proto::CommandError {
        request_id,
        error: error as i32,
        message: message.to_owned(),
    };
    command!(Error, error, body)
}

pub(crate) fn auth_challenge(version: i32) -> BaseCommand {
    let challenge = proto::AuthData {
        auth_method_name: Some("token".to_owned()),
        auth_data: Some(b"PulsarAuthRefresh".to_vec()),
    };
    let body = proto::CommandAuthChallenge {
        server_version: Some("Fake Broker".to_owned()),
        challenge: Some(challenge),
        protocol_version: Some(version),
    };
    command!(AuthChallenge, auth_challenge, body)
}

pub(crate) fn partitions(request_id: u64, answer: Result<u32, ServerError>) -> BaseCommand {
    use proto::command_partitioned_topic_metadata_response::LookupType;
    let response = if answer.is_ok() {
        LookupType::Success
    } else {
        LookupType::Failed
    };
    let body = proto::CommandPartitionedTopicMetadataResponse {
        partitions: answer.ok(),
        request_id,
        response: Some(response as i32),
        error: answer.err().map(|error| error as i32),
        message: answer.err().map(|_| "scripted failure".to_owned()),
    };
    command!(
        PartitionedMetadataResponse,
        partition_metadata_response,
        body
    )
}

/// A lookup's answer; the caller fills in what differs between its kinds.
pub(crate) fn lookup(body: proto::CommandLookupTopicResponse) -> BaseCommand {
    command!(LookupResponse, lookup_topic_response, body)
}

pub(crate) fn producer_success(request_id: u64, name: String, last: i64) -> BaseCommand {
    let body = proto::CommandProducerSuccess {
        request_id,
        producer_name: name,
        last_sequence_id: Some(last),
        schema_version: Some(Vec::new()),
        topic_epoch: None,
        producer_ready: Some(true),
    };
    command!(ProducerSuccess, producer_success, body)
}

pub(crate) fn send_receipt(
    send: &proto::CommandSend,
    ledger_id: u64,
    entry_id: u64,
) -> BaseCommand {
    let message_id = proto::MessageIdData {
        ledger_id,
        entry_id,
        ..Default::default()
    };
    let body = proto::CommandSendReceipt {
        producer_id: send.producer_id,
        sequence_id: send.sequence_id,
        message_id: Some(message_id),
        highest_sequence_id: send.highest_sequence_id,
    };
    command!(SendReceipt, send_receipt, body)
}

pub(crate) fn send_error(send: &proto::CommandSend, error: ServerError) -> BaseCommand {
    let body = proto::CommandSendError {
        producer_id: send.producer_id,
        sequence_id: send.sequence_id,
        error: error as i32,
        message: format!("{error:?}"),
    };
    command!(SendError, send_error, body)
}

pub(crate) fn message(body: proto::CommandMessage) -> BaseCommand {
    command!(Message, message, body)
}

pub(crate) fn ack_response(
    consumer_id: u64,
    request_id: u64,
    error: Option<ServerError>,
) -> BaseCommand {
    let body = proto::CommandAckResponse {
        consumer_id,
        request_id: Some(request_id),
        error: error.map(|error| error as i32),
        message: error.map(|error| format!("{error:?}")),
        ..Default::default()
    };
    command!(AckResponse, ack_response, body)
}

pub(crate) fn active_consumer_change(consumer_id: u64, is_active: bool) -> BaseCommand {
    let body = proto::CommandActiveConsumerChange {
        consumer_id,
        is_active: Some(is_active),
    };
    command!(ActiveConsumerChange, active_consumer_change, body)
}

// The broker's own closes carry a request id that nobody answers.
pub(crate) fn close_producer(producer_id: u64) -> BaseCommand {
    let body = proto::CommandCloseProducer {
        producer_id,
        request_id: u64::MAX,
    };
    command!(CloseProducer, close_producer, body)
}

pub(crate) fn close_consumer(consumer_id: u64) -> BaseCommand {
    let body = proto::CommandCloseConsumer {
        consumer_id,
        request_id: u64::MAX,
    };
    command!(CloseConsumer, close_consumer, body)
}

pub(crate) fn last_message_id(
    request_id: u64,
    last: proto::MessageIdData,
    mark_delete: proto::MessageIdData,
) -> BaseCommand {
    let body = proto::CommandGetLastMessageIdResponse {
        last_message_id: last,
        request_id,
        consumer_mark_delete_position: Some(mark_delete),
    };
    command!(GetLastMessageIdResponse, get_last_message_id_response, body)
}

/// The failure of `command` in the form that its kind has, if it expects an answer.
pub(crate) fn failure(command: &BaseCommand, code: ServerError) -> Option<BaseCommand> {
    const TEXT: &str = "scripted failure";
    let request = |id: u64| Some(error(id, code, TEXT));
    if let Some(send) = &command.send {
        return Some(send_error(send, code));
    }
    if let Some(ask) = &command.partition_metadata {
        return Some(partitions(ask.request_id, Err(code)));
    }
    if let Some(ask) = &command.lookup_topic {
        return Some(lookup_failure(ask.request_id, code));
    }
    if let Some(ack) = &command.ack {
        return ack
            .request_id
            .map(|id| ack_response(ack.consumer_id, id, Some(code)));
    }
    command
        .connect
        .as_ref()
        // A handshake has no request id: the broker answers with -1.
        .map(|_| u64::MAX)
        .or(command.producer.as_ref().map(|c| c.request_id))
        .or(command.subscribe.as_ref().map(|c| c.request_id))
        .or(command.close_producer.as_ref().map(|c| c.request_id))
        .or(command.close_consumer.as_ref().map(|c| c.request_id))
        .or(command.unsubscribe.as_ref().map(|c| c.request_id))
        .or(command.seek.as_ref().map(|c| c.request_id))
        .or(command.get_last_message_id.as_ref().map(|c| c.request_id))
        .and_then(request)
}

pub(crate) fn lookup_failure(request_id: u64, code: ServerError) -> BaseCommand {
    use proto::command_lookup_topic_response::LookupType;
    lookup(proto::CommandLookupTopicResponse {
        request_id,
        response: Some(LookupType::Failed as i32),
        error: Some(code as i32),
        message: Some(format!("{code:?}")),
        ..Default::default()
    })
}

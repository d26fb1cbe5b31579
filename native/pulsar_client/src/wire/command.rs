//! Commands of the client, each as the `BaseCommand` that carries it.

use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand};

/// The highest protocol version this client speaks.
pub const PROTOCOL_VERSION: i32 = proto::ProtocolVersion::V19 as i32;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident($field:ident: $body:ident) = $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(body: proto::$body) -> BaseCommand {
            BaseCommand { r#type: Type::$kind as i32, $field: Some(body), ..Default::default() }
        }
    )*};
}

commands! {
    /// Opens the conversation.
    connect(connect: CommandConnect) = Connect;
    /// Asks whether the broker is alive.
    ping(ping: CommandPing) = Ping;
    /// Answers the broker's ping.
    pong(pong: CommandPong) = Pong;
    /// Answers the broker's wish for fresh credentials.
    auth_response(auth_response: CommandAuthResponse) = AuthResponse;
    /// Asks for a topic's number of partitions.
    partition_metadata(partition_metadata: CommandPartitionedTopicMetadata) = PartitionedMetadata;
    /// Asks for the broker that serves a topic.
    lookup(lookup_topic: CommandLookupTopic) = Lookup;
    /// Creates a producer.
    producer(producer: CommandProducer) = Producer;
    /// Closes a producer.
    close_producer(close_producer: CommandCloseProducer) = CloseProducer;
    /// Creates a consumer on a subscription.
    subscribe(subscribe: CommandSubscribe) = Subscribe;
    /// Lets the broker send more messages.
    flow(flow: CommandFlow) = Flow;
    /// Acknowledges.
    ack(ack: CommandAck) = Ack;
    /// Asks for un-acked messages again.
    redeliver(redeliver_unacknowledged_messages: CommandRedeliverUnacknowledgedMessages) = RedeliverUnacknowledgedMessages;
    /// Moves a subscription's cursor.
    seek(seek: CommandSeek) = Seek;
    /// Removes a subscription.
    unsubscribe(unsubscribe: CommandUnsubscribe) = Unsubscribe;
    /// Closes a consumer.
    close_consumer(close_consumer: CommandCloseConsumer) = CloseConsumer;
}

/// The id of the request that a command answers, if it answers one.
pub fn answered_request(command: &BaseCommand) -> Option<u64> {
    match command.r#type() {
        Type::Success => command.success.as_ref().map(|c| c.request_id),
        Type::Error => command.error.as_ref().map(|c| c.request_id),
        Type::ProducerSuccess => command.producer_success.as_ref().map(|c| c.request_id),
        Type::PartitionedMetadataResponse => command
            .partition_metadata_response
            .as_ref()
            .map(|c| c.request_id),
        Type::LookupResponse => command.lookup_topic_response.as_ref().map(|c| c.request_id),
        Type::GetLastMessageIdResponse => command
            .get_last_message_id_response
            .as_ref()
            .map(|c| c.request_id),
        _ => None,
    }
}

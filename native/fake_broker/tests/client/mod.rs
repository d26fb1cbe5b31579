//! A client of raw frames.

// Each test file uses its part.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use fake_broker::{Broker, Frame};
use prost::Message as _;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::command_ack::AckType;
use pulsar::message::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::message::proto::{self, BaseCommand, CommandMessage, MessageIdData, MessageMetadata};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) const TOPIC: &str = "persistent://public/default/t";
const LIMIT: usize = 64 << 20;

macro_rules! command {
    ($type:ident, $field:ident, $body:expr) => {
        BaseCommand {
            r#type: Type::$type as i32,
            $field: Some($body),
            ..BaseCommand::default()
        }
    };
}

pub(crate) struct Client<S = DuplexStream> {
    stream: S,
    buffer: BytesMut,
    requests: u64,
}

pub(crate) fn connect_command() -> BaseCommand {
    let body = proto::CommandConnect {
        client_version: "test".to_owned(),
        protocol_version: Some(21),
        ..Default::default()
    };
    command!(Connect, connect, body)
}

pub(crate) fn ping() -> BaseCommand {
    command!(Ping, ping, proto::CommandPing {})
}

impl Client {
    /// A client after its handshake.
    pub(crate) async fn new(broker: &Broker) -> Self {
        let mut client = Self::raw(broker.connect().unwrap());
        client.send(connect_command()).await;
        assert!(client.next().await.connected.is_some());
        client
    }

    pub(crate) async fn subscribed(broker: &Broker, kind: SubType, permits: u32) -> Self {
        let mut client = Self::new(broker).await;
        let mut answer = client.subscribe(1, kind).await;
        if answer.active_consumer_change.is_some() {
            answer = client.next().await;
        }
        assert!(answer.success.is_some(), "{answer:?}");
        client.flow(1, permits).await;
        client
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Client<S> {
    pub(crate) fn raw(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            requests: 0,
        }
    }

    pub(crate) async fn send(&mut self, command: BaseCommand) {
        self.send_frame(Frame::simple(command)).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        self.send_frame_bytes(&frame.encode()).await;
    }

    pub(crate) async fn send_frame_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, `None` once the connection is closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer, LIMIT).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next `count` bytes, whatever they are.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            self.stream.read_buf(&mut self.buffer).await.unwrap();
        }
        self.buffer.split_to(count).to_vec()
    }

    pub(crate) async fn next(&mut self) -> BaseCommand {
        *self.frame().await.expect("connection closed").command
    }

    pub(crate) async fn closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    /// Whether the broker has nothing to say: it answers a ping first.
    pub(crate) async fn quiet(&mut self) -> bool {
        self.send(ping()).await;
        self.next().await.pong.is_some()
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    pub(crate) async fn producer(&mut self, id: u64, name: Option<&str>) -> BaseCommand {
        let body = proto::CommandProducer {
            topic: TOPIC.to_owned(),
            producer_id: id,
            request_id: self.request(),
            producer_name: name.map(str::to_owned),
            ..Default::default()
        };
        self.send(command!(Producer, producer, body)).await;
        self.next().await
    }

    /// Sends a message without waiting for its receipt.
    pub(crate) async fn publish(&mut self, id: u64, sequence_id: u64, payload: &'static str) {
        let frame = Self::message(id, sequence_id, payload);
        self.send_frame(frame).await;
    }

    pub(crate) fn message(producer_id: u64, sequence_id: u64, payload: &'static str) -> Frame {
        let metadata = MessageMetadata {
            sequence_id,
            ..Default::default()
        };
        let body = proto::CommandSend {
            producer_id,
            sequence_id,
            ..Default::default()
        };
        Frame::with_payload(
            command!(Send, send, body),
            metadata.encode_to_vec().into(),
            Bytes::from_static(payload.as_bytes()),
        )
    }

    pub(crate) async fn receipt(&mut self) -> MessageIdData {
        self.next()
            .await
            .send_receipt
            .expect("receipt")
            .message_id
            .expect("id")
    }

    pub(crate) async fn subscribe(&mut self, consumer_id: u64, kind: SubType) -> BaseCommand {
        self.subscribe_with(consumer_id, kind, |_| ()).await
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        consumer_id: u64,
        kind: SubType,
        change: impl FnOnce(&mut proto::CommandSubscribe),
    ) -> BaseCommand {
        let mut body = proto::CommandSubscribe {
            topic: TOPIC.to_owned(),
            subscription: "s".to_owned(),
            sub_type: kind as i32,
            consumer_id,
            request_id: self.request(),
            initial_position: Some(InitialPosition::Earliest as i32),
            ..Default::default()
        };
        change(&mut body);
        self.send(command!(Subscribe, subscribe, body)).await;
        self.next().await
    }

    pub(crate) async fn flow(&mut self, consumer_id: u64, message_permits: u32) {
        let body = proto::CommandFlow {
            consumer_id,
            message_permits,
        };
        self.send(command!(Flow, flow, body)).await;
    }

    pub(crate) async fn delivery(&mut self) -> CommandMessage {
        self.next().await.message.expect("message")
    }

    /// Entry id and redelivery count of the next deliveries.
    pub(crate) async fn deliveries(&mut self, count: usize) -> Vec<(u64, u32)> {
        let mut deliveries = Vec::new();
        for _ in 0..count {
            let message = self.delivery().await;
            deliveries.push((message.message_id.entry_id, message.redelivery_count()));
        }
        deliveries
    }

    /// Acknowledges and waits for the answer.
    pub(crate) async fn ack(
        &mut self,
        kind: AckType,
        id: &MessageIdData,
        ack_set: &[i64],
    ) -> BaseCommand {
        let id = MessageIdData {
            ack_set: ack_set.to_vec(),
            ..id.clone()
        };
        let body = proto::CommandAck {
            consumer_id: 1,
            ack_type: kind as i32,
            message_id: vec![id],
            request_id: Some(self.request()),
            ..Default::default()
        };
        self.send(command!(Ack, ack, body)).await;
        self.next().await
    }

    /// Acknowledges a message without asking for an answer.
    pub(crate) async fn send_ack(&mut self, id: &MessageIdData) {
        let body = proto::CommandAck {
            consumer_id: 1,
            ack_type: AckType::Individual as i32,
            message_id: vec![id.clone()],
            ..Default::default()
        };
        self.send(command!(Ack, ack, body)).await;
    }

    pub(crate) async fn redeliver(&mut self, ids: &[MessageIdData], consumer_epoch: Option<u64>) {
        let body = proto::CommandRedeliverUnacknowledgedMessages {
            consumer_id: 1,
            message_ids: ids.to_vec(),
            consumer_epoch,
        };
        let command = BaseCommand {
            r#type: Type::RedeliverUnacknowledgedMessages as i32,
            redeliver_unacknowledged_messages: Some(body),
            ..Default::default()
        };
        self.send(command).await;
    }

    pub(crate) async fn seek(&mut self, id: Option<MessageIdData>, time: Option<u64>) {
        let body = proto::CommandSeek {
            consumer_id: 1,
            request_id: self.request(),
            message_id: id,
            message_publish_time: time,
        };
        self.send(command!(Seek, seek, body)).await;
    }

    pub(crate) async fn last_message_id(&mut self) -> proto::CommandGetLastMessageIdResponse {
        let body = proto::CommandGetLastMessageId {
            consumer_id: 1,
            request_id: self.request(),
        };
        self.send(command!(GetLastMessageId, get_last_message_id, body))
            .await;
        self.next()
            .await
            .get_last_message_id_response
            .expect("last message id")
    }

    pub(crate) async fn unsubscribe(&mut self) -> BaseCommand {
        let body = proto::CommandUnsubscribe {
            consumer_id: 1,
            request_id: self.request(),
        };
        self.send(command!(Unsubscribe, unsubscribe, body)).await;
        self.next().await
    }

    pub(crate) async fn close_consumer(&mut self) -> BaseCommand {
        let body = proto::CommandCloseConsumer {
            consumer_id: 1,
            request_id: self.request(),
        };
        self.send(command!(CloseConsumer, close_consumer, body))
            .await;
        self.next().await
    }

    pub(crate) async fn close_producer(&mut self, producer_id: u64) -> BaseCommand {
        let body = proto::CommandCloseProducer {
            producer_id,
            request_id: self.request(),
        };
        self.send(command!(CloseProducer, close_producer, body))
            .await;
        self.next().await
    }

    pub(crate) async fn look_up(&mut self) -> proto::CommandLookupTopicResponse {
        let body = proto::CommandLookupTopic {
            topic: TOPIC.to_owned(),
            request_id: self.request(),
            ..Default::default()
        };
        self.send(command!(Lookup, lookup_topic, body)).await;
        self.next().await.lookup_topic_response.expect("lookup")
    }

    pub(crate) async fn partitions(&mut self) -> proto::CommandPartitionedTopicMetadataResponse {
        let body = proto::CommandPartitionedTopicMetadata {
            topic: TOPIC.to_owned(),
            request_id: self.request(),
            ..Default::default()
        };
        self.send(command!(PartitionedMetadata, partition_metadata, body))
            .await;
        self.next()
            .await
            .partition_metadata_response
            .expect("partitions")
    }
}

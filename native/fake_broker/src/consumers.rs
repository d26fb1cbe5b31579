//! The commands of consumers.

use pulsar::message::proto::command_ack::AckType;
use pulsar::message::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::message::proto::{self, BaseCommand, MessageIdData, ServerError};

use crate::command;
use crate::state::State;
use crate::subscription::{start_at, Consumer, ConsumerKey, Subscription};
use crate::topic::Topic;

impl State {
    pub(crate) fn subscribe(&mut self, connection: u64, ask: proto::CommandSubscribe) {
        let answer = match self.join(connection, &ask) {
            Ok(()) => command::success(ask.request_id),
            Err(error) => command::error(ask.request_id, error, &format!("{error:?}")),
        };
        self.send(connection, answer);
        // Only now, so that no message overtakes the answer.
        self.topic(&ask.topic).dispatch();
    }

    fn join(&mut self, connection: u64, ask: &proto::CommandSubscribe) -> Result<(), ServerError> {
        let kind = SubType::try_from(ask.sub_type).map_err(|_| ServerError::UnknownError)?;
        let name = match &ask.consumer_name {
            Some(name) => name.clone(),
            None => self.generated_name(),
        };
        let peer = self
            .connections
            .get_mut(&connection)
            .ok_or(ServerError::UnknownError)?;
        if peer.consumers.contains_key(&ask.consumer_id) {
            return Ok(());
        }
        let consumer = Consumer {
            key: (connection, ask.consumer_id),
            name,
            priority: ask.priority_level(),
            permits: 0,
            epoch: ask.consumer_epoch,
            outbox: peer.outbox.clone(),
        };
        let topic = self.topic(&ask.topic);
        let start = start(topic, ask);
        let partition = topic.partition;
        topic
            .subscriptions
            .entry(ask.subscription.clone())
            .or_insert_with(|| Subscription::new(kind, ask.durable(), start))
            .join(kind, consumer, partition)?;
        if let Some(peer) = self.connections.get_mut(&connection) {
            let place = (ask.topic.clone(), ask.subscription.clone());
            peer.consumers.insert(ask.consumer_id, place);
        }
        Ok(())
    }

    /// The topic and subscription of a consumer.
    fn consumer_place(&mut self, key: ConsumerKey) -> Option<(&mut Topic, String)> {
        let (topic, subscription) = self.connections.get(&key.0)?.consumers.get(&key.1)?.clone();
        Some((self.topics.get_mut(&topic)?, subscription))
    }

    pub(crate) fn flow(&mut self, connection: u64, flow: &proto::CommandFlow) {
        let key = (connection, flow.consumer_id);
        let Some((topic, name)) = self.consumer_place(key) else {
            return;
        };
        let Some(subscription) = topic.subscriptions.get_mut(&name) else {
            return;
        };
        if let Some(consumer) = subscription.consumer(key) {
            consumer.permits += i64::from(flow.message_permits);
        }
        topic.dispatch();
    }

    pub(crate) fn ack(&mut self, connection: u64, ack: &proto::CommandAck) {
        let honours_sets = self.settings.batch_index_acknowledgment;
        let error = match self.consumer_place((connection, ack.consumer_id)) {
            None => Some(ServerError::ConsumerNotFound),
            Some((topic, name)) => acknowledge(topic, &name, ack, honours_sets).err(),
        };
        if let Some(request_id) = ack.request_id {
            self.send(
                connection,
                command::ack_response(ack.consumer_id, request_id, error),
            );
        }
    }

    pub(crate) fn redeliver(
        &mut self,
        connection: u64,
        ask: &proto::CommandRedeliverUnacknowledgedMessages,
    ) {
        let key = (connection, ask.consumer_id);
        let Some((topic, name)) = self.consumer_place(key) else {
            return;
        };
        let wanted: Vec<usize> = ask
            .message_ids
            .iter()
            .filter_map(|id| topic.find(id.ledger_id, id.entry_id))
            .collect();
        let Some(subscription) = topic.subscriptions.get_mut(&name) else {
            return;
        };
        if subscription.is_shared() {
            let all = ask.message_ids.is_empty();
            subscription.take_back(key, |index| all || wanted.contains(&index));
        } else if subscription.active == Some(key) {
            subscription.rewind();
        }
        if let (Some(consumer), Some(epoch)) = (subscription.consumer(key), ask.consumer_epoch) {
            consumer.epoch = Some(epoch);
        }
        topic.dispatch();
    }

    pub(crate) fn close_consumer(&mut self, connection: u64, ask: &proto::CommandCloseConsumer) {
        self.detach((connection, ask.consumer_id));
        self.send(connection, command::success(ask.request_id));
    }

    /// Takes a consumer out of its connection and its subscription.
    pub(crate) fn detach(&mut self, key: ConsumerKey) {
        let peer = self.connections.get_mut(&key.0);
        if let Some((topic, name)) = peer.and_then(|peer| peer.consumers.remove(&key.1)) {
            self.consumer_left(&topic, &name, key);
        }
    }

    pub(crate) fn consumer_left(&mut self, topic: &str, name: &str, key: ConsumerKey) {
        let Some(topic) = self.topics.get_mut(topic) else {
            return;
        };
        let partition = topic.partition;
        let Some(subscription) = topic.subscriptions.get_mut(name) else {
            return;
        };
        subscription.leave(key, partition);
        if subscription.consumers.is_empty() && !subscription.durable {
            topic.subscriptions.remove(name);
        }
        topic.dispatch();
    }

    pub(crate) fn unsubscribe(&mut self, connection: u64, ask: &proto::CommandUnsubscribe) {
        let key = (connection, ask.consumer_id);
        let answer = match self.consumer_place(key) {
            None => not_found(ask.request_id),
            Some((topic, name)) => {
                let others = |subscription: &Subscription| subscription.consumers.len() > 1;
                if topic.subscriptions.get(&name).is_some_and(others) {
                    let text = "Unconnected or shared consumer attempting to unsubscribe";
                    command::error(ask.request_id, ServerError::MetadataError, text)
                } else {
                    topic.subscriptions.remove(&name);
                    command::success(ask.request_id)
                }
            }
        };
        if answer.success.is_some() {
            self.detach(key);
        }
        self.send(connection, answer);
    }

    pub(crate) fn seek(&mut self, connection: u64, ask: &proto::CommandSeek) {
        let Some((topic, name)) = self.consumer_place((connection, ask.consumer_id)) else {
            return self.send(connection, not_found(ask.request_id));
        };
        let target = match (&ask.message_id, ask.message_publish_time) {
            (Some(id), _) => start_at(topic, id),
            (None, Some(time)) => topic.first_since(time),
            (None, None) => {
                let text = "neither a message id nor a time";
                let error = command::error(ask.request_id, ServerError::MetadataError, text);
                return self.send(connection, error);
            }
        };
        let size = topic
            .entries
            .get(target)
            .map_or(0, |entry| entry.num_messages);
        let Some(subscription) = topic.subscriptions.get_mut(&name) else {
            return;
        };
        let consumers: Vec<_> = subscription.consumers.iter().map(|c| c.key).collect();
        subscription.reset(target);
        if let Some(id) = ask.message_id.as_ref().filter(|id| !id.ack_set.is_empty()) {
            subscription.ack(target, size, &id.ack_set);
        }
        if self.settings.seek_closes_consumers {
            for key in consumers {
                self.send(key.0, command::close_consumer(key.1));
                self.detach(key);
            }
        }
        self.send(connection, command::success(ask.request_id));
        if let Some((topic, _)) = self.consumer_place((connection, ask.consumer_id)) {
            topic.dispatch();
        }
    }

    pub(crate) fn last_message_id(
        &mut self,
        connection: u64,
        ask: &proto::CommandGetLastMessageId,
    ) {
        let answer = match self.consumer_place((connection, ask.consumer_id)) {
            None => not_found(ask.request_id),
            Some((topic, name)) => {
                let deleted = topic
                    .subscriptions
                    .get(&name)
                    .map_or(0, |s| s.cursor.mark_delete());
                let last = last_before(topic, topic.entries.len());
                command::last_message_id(ask.request_id, last, last_before(topic, deleted))
            }
        };
        self.send(connection, answer);
    }
}

fn start(topic: &Topic, ask: &proto::CommandSubscribe) -> usize {
    match (&ask.start_message_id, ask.initial_position()) {
        // Inclusive, and a batch from its first message on: as a broker does.
        (Some(id), _) => start_at(topic, id),
        (None, InitialPosition::Earliest) => 0,
        (None, InitialPosition::Latest) => topic.entries.len(),
    }
}

fn acknowledge(
    topic: &mut Topic,
    name: &str,
    ack: &proto::CommandAck,
    honours_sets: bool,
) -> Result<(), ServerError> {
    let cumulative = ack.ack_type == AckType::Cumulative as i32;
    let found: Vec<_> = ack
        .message_id
        .iter()
        .filter_map(|id| {
            topic
                .find(id.ledger_id, id.entry_id)
                .map(|index| (index, &id.ack_set))
        })
        .map(|(index, set)| (index, topic.entries[index].num_messages, set))
        .collect();
    let subscription = topic
        .subscriptions
        .get_mut(name)
        .ok_or(ServerError::SubscriptionNotFound)?;
    if cumulative && subscription.is_shared() {
        return Err(ServerError::NotAllowedError);
    }
    for (index, size, set) in found {
        if cumulative {
            subscription.ack_before(index);
        }
        // A broker without the feature leaves an entry alone that is not acknowledged whole.
        if set.is_empty() || honours_sets {
            subscription.ack(index, size, set);
        }
    }
    topic.dispatch();
    Ok(())
}

fn last_before(topic: &Topic, end: usize) -> MessageIdData {
    let none = MessageIdData {
        ledger_id: u64::MAX,
        entry_id: u64::MAX,
        ..Default::default()
    };
    let Some(last) = end
        .checked_sub(1)
        .and_then(|index| topic.entries.get(index))
    else {
        return none;
    };
    let batch_size = last.metadata.num_messages_in_batch;
    MessageIdData {
        ledger_id: last.ledger_id,
        entry_id: last.entry_id,
        partition: Some(topic.partition),
        batch_index: Some(batch_size.map_or(-1, |size| size - 1)),
        ..none
    }
}

fn not_found(request_id: u64) -> BaseCommand {
    command::error(
        request_id,
        ServerError::ConsumerNotFound,
        "Consumer not found",
    )
}

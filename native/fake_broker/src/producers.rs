//! The commands of producers.

use pulsar::message::proto::{self, ServerError};

use crate::command;
use crate::frame::Payload;
use crate::session::Verdict;
use crate::state::State;
use crate::topic::Producer;

impl State {
    pub(crate) fn open_producer(&mut self, connection: u64, ask: proto::CommandProducer) {
        let name = match ask.producer_name.clone().filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => self.generated_name(),
        };
        let producer = Producer {
            connection,
            id: ask.producer_id,
            epoch: ask.epoch(),
            named_by_user: ask.user_provided_producer_name(),
        };
        let deduplication = self.settings.deduplication;
        let topic = self.topic(&ask.topic);
        let last = if deduplication {
            topic
                .highest
                .get(&name)
                .map_or(-1, |highest| *highest as i64)
        } else {
            -1
        };
        let replaced = topic.producers.get(&name).cloned();
        if let Some(old) = &replaced {
            let same = old.connection == connection && old.id == producer.id;
            let successor =
                !old.named_by_user && !producer.named_by_user && producer.epoch > old.epoch;
            if !same && !successor {
                let text = format!("Producer with name '{name}' is already connected to topic");
                let busy = command::error(ask.request_id, ServerError::ProducerBusy, &text);
                return self.send(connection, busy);
            }
        }
        topic.producers.insert(name.clone(), producer);
        if let Some(old) = replaced {
            if let Some(peer) = self.connections.get_mut(&old.connection) {
                peer.producers.remove(&old.id);
            }
        }
        if let Some(peer) = self.connections.get_mut(&connection) {
            peer.producers
                .insert(ask.producer_id, (ask.topic, name.clone()));
        }
        self.send(
            connection,
            command::producer_success(ask.request_id, name, last),
        );
    }

    pub(crate) fn receive(
        &mut self,
        connection: u64,
        send: &proto::CommandSend,
        payload: Option<Payload>,
    ) -> Verdict {
        let Some(payload) = payload else {
            return Verdict::Cut;
        };
        let size = payload.metadata.len() + payload.body.len();
        let limit = self
            .settings
            .max_message_size
            .and_then(|limit| usize::try_from(limit).ok());
        if limit.is_some_and(|limit| size > limit + 10 * 1024) {
            return Verdict::Cut;
        }
        let of_connection = self.connections.get(&connection);
        let Some((topic, name)) = of_connection
            .and_then(|peer| peer.producers.get(&send.producer_id))
            .cloned()
        else {
            // As a broker does for a producer that it has closed: no answer.
            return Verdict::Continue;
        };
        if !payload.intact {
            self.send(
                connection,
                command::send_error(send, ServerError::ChecksumError),
            );
            return Verdict::Continue;
        }
        let (deduplication, ledger) = (self.settings.deduplication, self.ledger);
        let topic = self.topic(&topic);
        let highest = send.highest_sequence_id().max(send.sequence_id);
        let seen = topic.highest.get(&name).copied();
        let receipt = if deduplication && seen.is_some_and(|seen| highest <= seen) {
            command::send_receipt(send, u64::MAX, u64::MAX)
        } else {
            topic
                .highest
                .insert(name, seen.map_or(highest, |seen| seen.max(highest)));
            let entry_id = topic.store(ledger, payload.metadata, payload.body);
            command::send_receipt(send, ledger, entry_id)
        };
        self.send(connection, receipt);
        Verdict::Continue
    }

    pub(crate) fn close_producer(&mut self, connection: u64, ask: &proto::CommandCloseProducer) {
        let peer = self.connections.get_mut(&connection);
        let closed = peer.and_then(|peer| peer.producers.remove(&ask.producer_id));
        if let Some((topic, name)) = closed {
            self.producer_left(&topic, &name, connection);
        }
        self.send(connection, command::success(ask.request_id));
    }

    pub(crate) fn producer_left(&mut self, topic: &str, name: &str, connection: u64) {
        if let Some(topic) = self.topics.get_mut(topic) {
            if topic
                .producers
                .get(name)
                .is_some_and(|held| held.connection == connection)
            {
                topic.producers.remove(name);
            }
        }
    }
}

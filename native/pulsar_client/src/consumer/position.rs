//! Moving a subscription's cursor, and skipping what a move repeats.

use pulsar::message::proto::{
    CommandCloseConsumer, CommandRedeliverUnacknowledgedMessages, CommandSeek, CommandUnsubscribe,
    MessageIdData,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::partition::Partition;
use super::tracker::{AckRange, EntryKey};
use crate::connection::Connection;
use crate::error::Error;
use crate::message_id::MessageId;
use crate::wire::command;
use crate::wire::entry::Entry;

/// Where to move a subscription's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeekTarget {
    /// To the oldest message kept.
    Earliest,
    /// Behind the newest message.
    Latest,
    /// To the first message published at or after this time, in milliseconds since 1970.
    Timestamp(u64),
    /// Behind this message: it is not delivered again.
    After(MessageId),
}

/// A change of the subscription itself, and who waits for it.
pub(super) enum Move {
    /// Move the cursor.
    Seek(SeekTarget, oneshot::Sender<Result<(), Error>>),
    /// Remove the subscription and end.
    Unsubscribe(oneshot::Sender<Result<(), Error>>),
}

impl Move {
    fn answer(self, result: Result<(), Error>) {
        let (Move::Seek(_, done) | Move::Unsubscribe(done)) = self;
        let _ = done.send(result);
    }
}

/// A seek to a message starts again with its whole entry: what lies at or before it is not delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct SkipThrough {
    key: EntryKey,
    batch_index: i32,
}

impl SkipThrough {
    fn after(id: &MessageId) -> Self {
        SkipThrough {
            key: (id.ledger_id, id.entry_id),
            batch_index: id.batch_index,
        }
    }

    /// Whether the entry lies wholly behind the position.
    pub(super) fn is_behind(&self, entry: &Entry) -> bool {
        (entry.ledger_id, entry.entry_id) > self.key
    }

    /// Removes the messages at or before the position, and says which these are.
    pub(super) fn trim(&self, entry: &mut Entry) -> AckRange {
        let key = (entry.ledger_id, entry.entry_id);
        let batch_size = entry.batch_size.max(0) as u32;
        let before = key < self.key || self.batch_index < 0;
        let last = if before {
            batch_size.saturating_sub(1)
        } else {
            self.batch_index as u32
        };
        entry
            .messages
            .retain(|message| !before && message.batch_index > self.batch_index);
        AckRange {
            key,
            batch_size,
            first: 0,
            last,
        }
    }
}

impl Partition {
    /// Asks for entries again: singly where the broker can, else by rewinding all that is un-acked.
    pub(super) fn redeliver(&mut self, keys: Vec<EntryKey>) {
        // First the acks, so that the broker does not bring back what is done.
        self.flush_acks();
        let Some(connection) = self.link.connection().cloned() else {
            // The next subscription brings back all that is un-acked by itself.
            return;
        };
        let singly = self.shared.options.subscription_type.redelivers_singly();
        if !singly {
            self.epoch += 1;
            self.forget_deliveries();
            let released = self.tracker.rewind();
            self.released(released);
            self.nacks.clear();
        }
        let id = |(ledger_id, entry_id)| MessageIdData {
            ledger_id,
            entry_id,
            ..Default::default()
        };
        let message_ids: Vec<MessageIdData> = if singly {
            keys.into_iter().map(id).collect()
        } else {
            Vec::new()
        };
        let groups: Vec<&[MessageIdData]> = if singly {
            message_ids.chunks(1000).collect()
        } else {
            vec![&[]]
        };
        for group in groups {
            connection.command(&command::redeliver(
                CommandRedeliverUnacknowledgedMessages {
                    consumer_id: self.consumer_id,
                    message_ids: group.to_vec(),
                    consumer_epoch: (!singly).then_some(self.epoch),
                },
            ));
        }
    }

    /// Makes the moves that wait, as far as there is a connection for them.
    pub(super) async fn make_moves(&mut self) {
        while let Some((what, give_up)) = self.moves.pop_front() {
            if Instant::now() >= give_up {
                what.answer(Err(Error::Timeout("a change of the subscription")));
                continue;
            }
            let Some(connection) = self.link.connection().cloned() else {
                return self.moves.push_front((what, give_up));
            };
            let made = match &what {
                Move::Seek(target, _) => self.seek(&connection, target).await,
                Move::Unsubscribe(_) => self.unsubscribe(&connection).await,
            };
            match made {
                // Lost on the way: once more on the next connection.
                Err(Error::Disconnected(_)) => {
                    return self.moves.push_front((what, give_up));
                }
                made => {
                    self.ended |= made.is_ok() && matches!(what, Move::Unsubscribe(_));
                    what.answer(made);
                }
            }
        }
    }

    async fn seek(&mut self, connection: &Connection, target: &SeekTarget) -> Result<(), Error> {
        let id = match target {
            SeekTarget::Earliest => Some(MessageId::earliest()),
            SeekTarget::Latest => Some(MessageId::latest()),
            SeekTarget::After(id) => Some(id.clone()),
            SeekTarget::Timestamp(_) => None,
        };
        let message_id = id.map(|id| MessageIdData {
            ledger_id: id.ledger_id,
            entry_id: id.entry_id,
            ..Default::default()
        });
        let time = match target {
            SeekTarget::Timestamp(time) => Some(*time),
            _ => None,
        };
        let consumer_id = self.consumer_id;
        connection
            .request("the seek", |request_id| {
                command::seek(CommandSeek {
                    consumer_id,
                    request_id,
                    message_id,
                    message_publish_time: time,
                })
            })
            .await?;
        self.forget_deliveries();
        let released = self.tracker.clear();
        self.released(released);
        self.acks.clear();
        self.nacks.clear();
        self.skip = match target {
            SeekTarget::After(id) => Some(SkipThrough::after(id)),
            _ => None,
        };
        // Deliveries from before the seek may still be under way on this link: begin a new one.
        connection.remove_consumer(consumer_id);
        super::link::close(connection, consumer_id);
        self.lost("the subscription was moved".to_owned());
        Ok(())
    }

    async fn unsubscribe(&mut self, connection: &Connection) -> Result<(), Error> {
        let consumer_id = self.consumer_id;
        let unsubscribe = |request_id| {
            command::unsubscribe(CommandUnsubscribe {
                consumer_id,
                request_id,
            })
        };
        connection
            .request("the unsubscription", unsubscribe)
            .await
            .map(drop)
    }

    /// Closes once every ack is confirmed, or when that takes too long.
    pub(super) async fn try_close(&mut self) {
        self.flush_acks();
        let late = self
            .closing
            .as_ref()
            .is_some_and(|(_, give_up)| Instant::now() >= *give_up);
        if !late && !self.acks.is_settled() {
            return;
        }
        if let Some(connection) = self.link.connection().cloned() {
            let consumer_id = self.consumer_id;
            let close = |request_id| {
                command::close_consumer(CommandCloseConsumer {
                    consumer_id,
                    request_id,
                })
            };
            // Whatever the answer: the broker forgets the consumer with the connection at the latest.
            let _ = connection.request("the closing of a consumer", close).await;
        }
        self.ended = true;
    }

    /// The last act of the task.
    pub(super) fn leave(mut self) {
        self.flush_acks();
        if let Some(connection) = self.link.connection() {
            self.shared
                .connected
                .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            connection.remove_consumer(self.consumer_id);
            if self.closing.is_none() {
                super::link::close(connection, self.consumer_id);
            }
        }
        if let Some((done, _)) = self.closing.take() {
            let _ = done.send(());
        }
        self.shared.left();
    }
}

//! The task that owns the reading half, the keepalive, and the life of the connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::routes::Routes;
use super::{handshake, ConsumerSignal, ProducerSignal};
use crate::config::SharedAuthentication;
use crate::wire::command;
use crate::wire::frame::{self, Inbound, Outbound};

/// Smallest free room offered to a read.
const READ_CHUNK: usize = 64 * 1024;

/// All that the task owns. However it ends (an error, an abort, a panic), its drop empties the routes.
pub(super) struct Reader {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) buffer: BytesMut,
    pub(super) frame_limit: usize,
    pub(super) keep_alive: Duration,
    pub(super) authentication: Option<SharedAuthentication>,
    pub(super) routes: Arc<Routes>,
    pub(super) outbound: mpsc::UnboundedSender<Outbound>,
    pub(super) writer: JoinHandle<std::io::Result<()>>,
    pub(super) reason: Arc<OnceLock<String>>,
    pub(super) closing: watch::Sender<bool>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.writer.abort();
        self.closing.send_replace(true);
        self.routes.die();
    }
}

/// Reads until the connection ends, then says why.
pub(super) async fn run(mut reader: Reader) {
    let why = reader.serve().await;
    let _ = reader.reason.set(why);
}

impl Reader {
    async fn serve(&mut self) -> String {
        let mut keep_alive =
            tokio::time::interval_at(Instant::now() + self.keep_alive, self.keep_alive);
        // After the process itself was held up, two ticks at once would prove nothing.
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            if let Err(why) = self.dispatch_buffered() {
                return why;
            }
            if self.buffer.capacity() - self.buffer.len() < READ_CHUNK / 2 {
                self.buffer.reserve(READ_CHUNK);
            }
            tokio::select! {
                read = self.read.read_buf(&mut self.buffer) => match read {
                    Ok(0) => return "closed by the broker".to_owned(),
                    Ok(_) => heard = true,
                    Err(error) => return error.to_string(),
                },
                written = &mut self.writer => return match written {
                    Ok(Err(error)) => error.to_string(),
                    _ => "closed by this client".to_owned(),
                },
                _ = keep_alive.tick() => {
                    if !heard {
                        return format!("nothing heard for {:?}", self.keep_alive * 2);
                    }
                    heard = false;
                    self.send(&command::ping(proto::CommandPing {}));
                }
            }
        }
    }

    fn send(&self, command: &BaseCommand) {
        let _ = self.outbound.send(frame::encode_command(command));
    }

    fn dispatch_buffered(&mut self) -> Result<(), String> {
        loop {
            let decoded = frame::decode(&mut self.buffer, self.frame_limit);
            match decoded.map_err(|error| error.to_string())? {
                None => return Ok(()),
                Some(inbound) => self.dispatch(inbound)?,
            }
        }
    }

    fn dispatch(&self, inbound: Inbound) -> Result<(), String> {
        match inbound {
            Inbound::Message { command, payload } => {
                let id = command.consumer_id;
                self.to_consumer(id, ConsumerSignal::Message { command, payload })
            }
            Inbound::Receipt(receipt) => {
                let id = receipt.producer_id;
                self.routes
                    .to_producer(id, ProducerSignal::Receipt(receipt));
                Ok(())
            }
            Inbound::Other(command) => self.dispatch_other(command),
        }
    }

    fn to_consumer(&self, id: u64, signal: ConsumerSignal) -> Result<(), String> {
        self.routes
            .to_consumer(id, signal)
            .map_err(|_| format!("the broker sent consumer {id} more than it asked for"))
    }

    fn dispatch_other(&self, command: Box<BaseCommand>) -> Result<(), String> {
        if let Some(id) = command::answered_request(&command) {
            // A producer that has to queue for exclusive access hears twice; the last word counts.
            let waits = command
                .producer_success
                .as_ref()
                .is_some_and(|c| !c.producer_ready());
            if !waits {
                self.routes.answer(id, command);
            }
            return Ok(());
        }
        match command.r#type() {
            Type::Ping => self.send(&command::pong(proto::CommandPong {})),
            Type::SendError => {
                if let Some(error) = command.send_error {
                    self.routes
                        .to_producer(error.producer_id, ProducerSignal::SendError(error));
                }
            }
            Type::CloseProducer => {
                if let Some(close) = command.close_producer {
                    self.routes
                        .to_producer(close.producer_id, ProducerSignal::Closed);
                }
            }
            Type::CloseConsumer => {
                if let Some(close) = command.close_consumer {
                    return self.to_consumer(close.consumer_id, ConsumerSignal::Closed);
                }
            }
            Type::ReachedEndOfTopic => {
                if let Some(end) = command.reached_end_of_topic {
                    return self.to_consumer(end.consumer_id, ConsumerSignal::EndOfTopic);
                }
            }
            Type::ActiveConsumerChange => {
                if let Some(change) = command.active_consumer_change {
                    let signal = ConsumerSignal::Active(change.is_active());
                    return self.to_consumer(change.consumer_id, signal);
                }
            }
            Type::AckResponse => {
                // What the broker could not take is sent again on the next connection.
                let taken = command
                    .ack_response
                    .filter(|response| response.error.is_none());
                if let Some(response) = taken {
                    let signal = ConsumerSignal::AckConfirmed(response.request_id());
                    return self.to_consumer(response.consumer_id, signal);
                }
            }
            Type::AuthChallenge => self.answer_challenge(),
            // Commands of features that were not asked for.
            _ => {}
        }
        Ok(())
    }

    /// In a task of its own: credentials may take a network call, and reading must go on meanwhile.
    fn answer_challenge(&self) {
        let Some(authentication) = self.authentication.clone() else {
            return;
        };
        let outbound = self.outbound.clone();
        tokio::spawn(async move {
            // Without fresh credentials the broker closes the connection by itself.
            if let Ok(response) = handshake::auth_response(&authentication).await {
                let _ = outbound.send(frame::encode_command(&response));
            }
        });
    }
}

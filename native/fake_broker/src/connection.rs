//! One connection: its reader, its writer, and the faults between them and the state.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use crate::command;
use crate::fault::{Action, Direction};
use crate::frame::Frame;
use crate::session::Verdict;
use crate::state::{Control, Ends, Shared};

/// The largest frame taken; the limit that clients are told is checked a layer up.
const FRAME_LIMIT: usize = 64 << 20;

/// Serves a registered connection until either side closes it.
pub(crate) async fn serve<S>(shared: Arc<Shared>, ends: Ends, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ends {
        id,
        outgoing,
        control,
    } = ends;
    let (read, write) = tokio::io::split(stream);
    let mut cut = control.clone();
    let connection = Connection {
        shared: &shared,
        id,
        control,
    };
    let (closing, closed) = watch::channel(false);
    // The parts borrow the connection and share its task: when one ends, all end.
    tokio::select! {
        () = connection.read(read, closing) => {}
        () = connection.write(write, outgoing, closed) => {}
        _ = cut.wait_for(|control| *control == Control::Cut) => {}
    }
    shared.change(|state| state.unregister(id));
}

struct Connection<'a> {
    shared: &'a Shared,
    id: u64,
    control: watch::Receiver<Control>,
}

impl Connection<'_> {
    /// Reads and handles commands. Returns when the connection is to be cut.
    async fn read(&self, mut stream: impl AsyncRead + Unpin, closing: watch::Sender<bool>) {
        let mut buffer = BytesMut::new();
        loop {
            match Frame::decode(&mut buffer, FRAME_LIMIT) {
                Ok(Some(frame)) => {
                    self.unless_stalled().await;
                    match self.handle(frame).await {
                        Verdict::Continue => {}
                        Verdict::Cut => return,
                        Verdict::Close => {
                            closing.send_replace(true);
                            std::future::pending::<()>().await;
                        }
                    }
                }
                Ok(None) => match stream.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                },
                Err(_) => return,
            }
        }
    }

    async fn handle(&self, frame: Frame) -> Verdict {
        let fault = self.shared.change(|state| {
            state.note(self.id, &frame);
            state
                .faults
                .at(Direction::Received, &frame.command, self.id)
        });
        let handle = |frame| self.shared.change(|state| state.handle(self.id, frame));
        match fault {
            None | Some(Action::Corrupt | Action::Garbage(_)) => handle(frame),
            Some(Action::CutBefore) => Verdict::Cut,
            Some(Action::CutAfter) => {
                handle(frame);
                Verdict::Cut
            }
            Some(Action::Stall) => {
                self.stall();
                Verdict::Continue
            }
            Some(Action::Drop) => Verdict::Continue,
            Some(Action::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                handle(frame)
            }
            Some(Action::Fail(error)) => {
                if let Some(answer) = command::failure(&frame.command, error) {
                    self.shared.change(|state| state.send(self.id, answer));
                }
                // A client whose handshake fails has nothing more to say.
                if frame.command.connect.is_some() {
                    Verdict::Close
                } else {
                    Verdict::Continue
                }
            }
        }
    }

    /// Writes what the state sends. Returns when the connection is to be closed.
    async fn write(
        &self,
        mut stream: impl AsyncWrite + Unpin,
        mut outgoing: mpsc::UnboundedReceiver<Frame>,
        mut closed: watch::Receiver<bool>,
    ) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = outgoing.recv() => frame,
                _ = closed.wait_for(|closed| *closed) => None,
            };
            let Some(frame) = frame else { return };
            self.unless_stalled().await;
            if self.write_frame(&mut stream, &frame).await == Verdict::Cut {
                return;
            }
        }
    }

    async fn write_frame(&self, stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Verdict {
        let fault = self
            .shared
            .change(|state| state.faults.at(Direction::Sent, &frame.command, self.id));
        let mut bytes = frame.encode();
        match &fault {
            None | Some(Action::CutAfter | Action::Fail(_)) => {}
            Some(Action::CutBefore) => return Verdict::Cut,
            Some(Action::Drop) => return Verdict::Continue,
            Some(Action::Stall) => {
                self.stall();
                self.unless_stalled().await;
            }
            Some(Action::Delay(delay)) => tokio::time::sleep(*delay).await,
            Some(Action::Corrupt) => {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 0xff;
                }
            }
            Some(Action::Garbage(garbage)) => bytes = BytesMut::from(&garbage[..]),
        }
        let written = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
        if written && fault != Some(Action::CutAfter) {
            Verdict::Continue
        } else {
            Verdict::Cut
        }
    }

    fn stall(&self) {
        self.shared.change(|state| {
            if let Some(peer) = state.connections.get(&self.id) {
                peer.control.send_replace(Control::Stall);
            }
        });
    }

    async fn unless_stalled(&self) {
        if *self.control.borrow() == Control::Stall {
            // Only a cut ends a stall, and it drops this future.
            std::future::pending::<()>().await;
        }
    }
}

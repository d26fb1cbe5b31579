//! The task that owns the writing half: gathers what is queued, writes it in one call.

use std::io::{self, IoSlice};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::wire::frame::Outbound;

/// Frames taken from the queue at a time.
const GATHER: usize = 64;

/// Slices handed to one system call; Linux takes at most 1024.
const SLICES: usize = 2 * GATHER;

/// Writes until the queue closes or the socket fails.
pub(super) async fn run(
    mut write: Box<dyn AsyncWrite + Send + Unpin>,
    mut frames: mpsc::UnboundedReceiver<Outbound>,
) -> io::Result<()> {
    let mut gathered = Vec::with_capacity(GATHER);
    while frames.recv_many(&mut gathered, GATHER).await > 0 {
        write_all(&mut write, &gathered).await?;
        gathered.clear();
        if frames.is_empty() {
            write.flush().await?;
        }
    }
    write.shutdown().await
}

async fn write_all(
    write: &mut (dyn AsyncWrite + Send + Unpin),
    frames: &[Outbound],
) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES);
    for frame in frames {
        slices.push(IoSlice::new(&frame.head));
        if !frame.payload.is_empty() {
            slices.push(IoSlice::new(&frame.payload));
        }
    }
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = write.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

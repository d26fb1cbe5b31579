//! Which partition a message goes to.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

use super::hash::{java_string_hash, murmur3_32};
use super::message::{Key, MessageOptions};
use super::options::Routing;

/// How long keyless messages stay on one partition, so that batches fill: the Java client's ten times
/// the batch delay.
const SLOT: Duration = Duration::from_millis(10);

/// Chooses partitions; shared by all callers of a producer.
pub(crate) struct Router {
    routing: Routing,
    partitions: u32,
    started: Instant,
    lists: AtomicU64,
}

impl Router {
    pub(crate) fn new(routing: Routing, partitions: u32) -> Self {
        Router {
            routing,
            partitions,
            started: Instant::now(),
            lists: AtomicU64::new(0),
        }
    }

    /// The partition for the keyless messages of one list: lists in turn, single messages by time.
    pub(crate) fn keyless(&self, list_length: usize) -> u32 {
        if let Routing::Partition(partition) = self.routing {
            return partition;
        }
        let turn = if list_length > 1 {
            self.lists.fetch_add(1, Ordering::Relaxed)
        } else {
            (self.started.elapsed().as_millis() / SLOT.as_millis()) as u64
        };
        (turn % u64::from(self.partitions)) as u32
    }

    /// The partition for one message, given that of its list's keyless ones.
    pub(crate) fn route(&self, options: Option<&MessageOptions>, keyless: u32) -> u32 {
        match (
            self.routing,
            options.and_then(|options| options.key.as_ref()),
        ) {
            (Routing::Partition(_), _) | (_, None) => keyless,
            (Routing::JavaStringHash, Some(Key { text, .. })) => {
                java_string_hash(text) % self.partitions
            }
            (Routing::Murmur3, Some(Key { text, .. })) => {
                murmur3_32(text.as_bytes()) % self.partitions
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lists_go_in_turn_and_single_messages_move_on_with_time() {
        let router = Router::new(Routing::JavaStringHash, 3);
        let lists: Vec<u32> = (0..6).map(|_| router.keyless(2)).collect();
        assert_eq!(lists, [0, 1, 2, 0, 1, 2]);
        assert_eq!([router.keyless(1), router.keyless(1)], [0, 0]);
        tokio::time::advance(SLOT).await;
        assert_eq!(router.keyless(1), 1);
    }

    #[test]
    fn a_fixed_partition_overrides_keys() {
        let router = Router::new(Routing::Partition(2), 3);
        let options = MessageOptions {
            key: Some(Key::from(&b"k"[..])),
            ..MessageOptions::default()
        };
        let keyless = router.keyless(1);
        assert_eq!(router.route(Some(&options), keyless), 2);
    }
}

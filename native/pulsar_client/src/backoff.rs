//! How long to wait before the next attempt.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A link that lived this long was a success: what ends it starts a new series of attempts. One that dies
/// sooner continues the old series, or it would be made and lost in a tight loop.
pub const SETTLED: Duration = Duration::from_secs(5);

/// Exponential backoff with equal jitter: the bound doubles from `initial` to `max`, and each
/// delay is drawn from its upper half, so that clients cut off together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    bound: Duration,
    rng: SmallRng,
}

impl Backoff {
    /// A backoff seeded by the operating system. A `max` below `initial` counts as `initial`.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self::from_rng(initial, max, SmallRng::from_rng(&mut rand::rng()))
    }

    /// A backoff whose delays are the same for the same seed.
    #[must_use]
    pub fn with_seed(initial: Duration, max: Duration, seed: u64) -> Self {
        Self::from_rng(initial, max, SmallRng::seed_from_u64(seed))
    }

    fn from_rng(initial: Duration, max: Duration, rng: SmallRng) -> Self {
        Self {
            initial,
            max: max.max(initial),
            bound: initial,
            rng,
        }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.max);
        let half = bound / 2;
        let spread = u64::try_from((bound - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.rng.random_range(0..=spread))
    }

    /// Starts over from `initial`, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.bound = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn doubles_up_to_the_bound() {
        let mut backoff = Backoff::with_seed(100 * MS, 1000 * MS, 7);
        for bound in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            assert!(
                delay >= bound * MS / 2 && delay <= bound * MS,
                "{delay:?} of {bound} ms"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= 100 * MS);
    }

    #[test]
    fn the_seed_decides() {
        let delays = |seed| {
            let mut backoff = Backoff::with_seed(100 * MS, 60_000 * MS, seed);
            (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn an_inverted_range_is_its_start() {
        let mut backoff = Backoff::new(10 * MS, MS);
        for _ in 0..4 {
            assert!(backoff.next_delay() <= 10 * MS);
        }
    }

    proptest! {
        #[test]
        fn never_over_the_bound(initial: u64, max: u64, secs: u64, seed: u64) {
            let initial = Duration::from_nanos(initial);
            let max = Duration::new(secs, 0).max(Duration::from_nanos(max));
            let mut backoff = Backoff::with_seed(initial, max, seed);
            for _ in 0..70 {
                prop_assert!(backoff.next_delay() <= max.max(initial));
            }
        }
    }
}

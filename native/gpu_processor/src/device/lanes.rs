//! The order in which waiting tasks are served.

use std::collections::VecDeque;

use crate::task::Priority;

/// One round of service: four turns for high, two for normal, one for low. A lane without work
/// passes its turn on, so no lane waits for an empty one, and the low lane is served at least once
/// in seven tasks.
const ROUND: [Priority; 7] = [
    Priority::High,
    Priority::High,
    Priority::Normal,
    Priority::High,
    Priority::Low,
    Priority::High,
    Priority::Normal,
];

/// Waiting items by priority, first in first out within each.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    high: VecDeque<T>,
    normal: VecDeque<T>,
    low: VecDeque<T>,
    turn: usize,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self {
            high: VecDeque::new(),
            normal: VecDeque::new(),
            low: VecDeque::new(),
            turn: 0,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, item: T) {
        self.lane(priority).push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        for _ in 0..ROUND.len() {
            let priority = ROUND[self.turn];
            self.turn = (self.turn + 1) % ROUND.len();
            if let Some(item) = self.lane(priority).pop_front() {
                return Some(item);
            }
        }
        // An idle queue starts its next round with the high lane.
        self.turn = 0;
        None
    }

    fn lane(&mut self, priority: Priority) -> &mut VecDeque<T> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lanes: &mut Lanes<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lanes.pop()).collect()
    }

    #[test]
    fn keeps_the_order_within_a_priority() {
        let mut lanes = Lanes::new();
        (0..20).for_each(|item| lanes.push(Priority::Low, item));
        assert_eq!(drain(&mut lanes), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn serves_high_more_often_and_starves_none() {
        let mut lanes = Lanes::new();
        for item in 0..100 {
            lanes.push(Priority::High, item);
            lanes.push(Priority::Normal, 100 + item);
            lanes.push(Priority::Low, 200 + item);
        }
        let first: Vec<u32> = (0..7).filter_map(|_| lanes.pop()).collect();
        assert_eq!(first, vec![0, 1, 100, 2, 200, 3, 101]);
        assert_eq!(drain(&mut lanes).len(), 293);
    }

    #[test]
    fn a_high_task_goes_before_a_waiting_backlog() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.pop(), None);
        lanes.push(Priority::Low, 1);
        lanes.push(Priority::Normal, 2);
        lanes.push(Priority::High, 3);
        assert_eq!(drain(&mut lanes), vec![3, 2, 1]);
    }
}

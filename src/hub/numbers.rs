//! Numbers that stand for channel names in compact pushes (client-protocol.md 5.12): one a channel and node, never two channels
//! at a time. Never 0, which reads as "none".

use std::collections::HashSet;

use parking_lot::Mutex;

/// Numbers are below this, so that they fit what every client counts in.
const END: u32 = 1 << 31;

/// Which numbers are taken.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u32,
    taken: HashSet<u32>,
}

impl Numbers {
    /// A number nobody has. There are more numbers than channels fit into memory, so one is always found.
    pub(super) fn take(&self) -> u32 {
        let mut state = self.0.lock();
        loop {
            let next = if state.last + 1 < END {
                state.last + 1
            } else {
                1
            };
            state.last = next;
            if state.taken.insert(next) {
                return next;
            }
        }
    }

    /// The channel has no subscribers any more. 0 is nobody's.
    pub(super) fn give(&self, number: u32) {
        if number == 0 {
            return;
        }
        let mut state = self.0.lock();
        state.taken.remove(&number);
        let (len, capacity) = (state.taken.len(), state.taken.capacity());
        if capacity > 1024 && len * 4 < capacity {
            state.taken.shrink_to(len * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_one_and_no_two_channels_have_the_same() {
        let numbers = Numbers::default();
        assert_eq!((numbers.take(), numbers.take()), (1, 2));
        numbers.give(1);
        numbers.give(0);
        assert_eq!(numbers.take(), 3, "not reused at once");
        numbers.0.lock().last = END - 2;
        assert_eq!(
            [numbers.take(), numbers.take(), numbers.take()],
            [END - 1, 1, 4],
            "2 and 3 are taken"
        );
    }
}

//! Whom the engine tells of the requests of one workload, by their number: numbers come nearly in order, so a ring is enough.

use super::ear::Mouth;
use std::collections::VecDeque;

/// The mouths of one workload. Finding one is O(1); memory is O(numbers from the oldest request in flight to the latest).
#[derive(Debug, Default)]
pub(super) struct Mouths {
    /// Number of the first place.
    first: u64,
    places: VecDeque<Place>,
}

#[derive(Debug)]
enum Place {
    /// Its request was numbered, and another one overtook it on the way here.
    Coming,
    Here(Mouth),
    Gone,
}

impl Mouths {
    /// Request `number` has this mouth.
    pub(super) fn insert(&mut self, number: u64, mouth: Mouth) {
        let at = self.place(number).expect("a request is expected once, and before it is over");
        while self.places.len() <= at {
            self.places.push_back(Place::Coming);
        }
        self.places[at] = Place::Here(mouth);
    }

    /// The mouth of request `number`, when somebody listens.
    pub(super) fn get(&self, number: u64) -> Option<&Mouth> {
        match self.places.get(self.place(number)?) {
            Some(Place::Here(mouth)) => Some(mouth),
            _ => None,
        }
    }

    /// Nobody listens to request `number` any more.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(at) = self.place(number) else { return };
        if let Some(place) = self.places.get_mut(at) {
            *place = Place::Gone;
        }
        while matches!(self.places.front(), Some(Place::Gone)) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.first).map(|at| at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ear::pair;
    use super::super::gateway::Told;
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_request_that_was_overtaken_is_heard_of_and_memory_stays_small() {
        let mut mouths = Mouths::default();
        let mut kept = Vec::new();
        // Pairs come in the wrong order.
        for number in (0..10_000).map(|number: u64| number ^ 1) {
            let (mouth, told) = pair();
            mouths.insert(number, mouth);
            kept.push((number, told));
            if kept.len() > 10 {
                let (number, mut told) = kept.remove(0);
                mouths.get(number).expect("it is in flight").tokens(7);
                let heard = told.poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(heard, Poll::Ready(Some(Told::Tokens(7)))));
                mouths.remove(number);
                assert!(mouths.get(number).is_none());
            }
            assert!(mouths.places.len() < 20, "{}", mouths.places.len());
        }
        mouths.remove(3);
        assert!(mouths.get(99_999).is_none());
    }
}

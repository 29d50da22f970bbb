//! Who hears of the requests of one workload, by their number: numbers come nearly in order, so a ring is enough.

use super::driver::Ear;
use std::collections::VecDeque;

/// The ears of one workload. Finding one is O(1); memory is O(numbers from the oldest request in flight to the latest).
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// Number of the first place.
    first: u64,
    places: VecDeque<Place>,
}

#[derive(Debug)]
enum Place {
    /// Its request was numbered, and another one overtook it on the way here.
    Coming,
    Here(Ear),
    Gone,
}

impl Ears {
    /// Request `number` has this ear.
    pub(super) fn insert(&mut self, number: u64, ear: Ear) {
        let at = self.place(number).expect("a request is expected once, and before it is over");
        while self.places.len() <= at {
            self.places.push_back(Place::Coming);
        }
        self.places[at] = Place::Here(ear);
    }

    /// The ear of request `number`, when somebody listens.
    pub(super) fn get(&self, number: u64) -> Option<&Ear> {
        match self.places.get(self.place(number)?) {
            Some(Place::Here(ear)) => Some(ear),
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
    use super::super::gateway::Told;
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn a_request_that_was_overtaken_is_heard_of_and_memory_stays_small() {
        let mut ears = Ears::default();
        let mut kept = Vec::new();
        // Pairs come in the wrong order.
        for number in (0..10_000).map(|number: u64| number ^ 1) {
            let (ear, told) = unbounded_channel();
            ears.insert(number, ear);
            kept.push((number, told));
            if kept.len() > 10 {
                let (number, mut told) = kept.remove(0);
                ears.get(number).expect("it is in flight").send(Told::Tokens(7)).expect("it listens");
                assert!(matches!(told.try_recv(), Ok(Told::Tokens(7))));
                ears.remove(number);
                assert!(ears.get(number).is_none());
            }
            assert!(ears.places.len() < 20, "{}", ears.places.len());
        }
        ears.remove(3);
        assert!(ears.get(99_999).is_none());
    }
}

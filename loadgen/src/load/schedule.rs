//! The frozen schedule of a block: every request that nobody's answer causes, in order of time.
//!
//! It is drawn from the sources that the simulator draws from, whole before the block starts, so that drawing costs the
//! block nothing and its hash ([`tidegate_sim::workload::arrival_hash`]) is known beforehand.

use tidegate_sim::experiment::ExperimentError;
use tidegate_sim::request::{Arrival, WorkloadId};
use tidegate_sim::scenario::{Arrivals, Scenario};
use tidegate_sim::workload::{Source, SourceHash};

/// The requests of a block. O(requests) memory, about 150 bytes each.
pub struct Schedule {
    /// Requests of open loops, in order of time; at one instant in the order of their workloads.
    pub open: Vec<Arrival>,
    /// First requests of the users of closed loops, likewise.
    pub users: Vec<Arrival>,
    /// By workload: says what follows an answer.
    pub sources: Vec<Source>,
    /// Hash of all arrivals, those beyond `most` included.
    pub hash: String,
    /// By workload: arrivals beyond `most`, which are not kept.
    pub beyond: Vec<u64>,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedule")
            .field("open", &self.open.len())
            .field("users", &self.users.len())
            .field("hash", &self.hash)
            .field("beyond", &self.beyond)
            .finish_non_exhaustive()
    }
}

impl Schedule {
    /// Draws the schedule of `scenario` under `seed`; keeps the first `most` requests of the open loops.
    ///
    /// # Errors
    /// When a source fails, a trace for example.
    pub fn draw(scenario: &Scenario, seed: u64, most: usize) -> Result<Self, ExperimentError> {
        let failed = |index: usize| {
            let workload = scenario.workloads[index].name.clone();
            move |source| ExperimentError::Source { workload, source }
        };
        let mut hashes = Vec::new();
        let (mut open, mut users, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let mut beyond = vec![0; scenario.workloads.len()];
        for (index, workload) in scenario.workloads.iter().enumerate() {
            let mut source = Source::open(scenario, index as WorkloadId, seed).map_err(failed(index))?;
            let mut hash = SourceHash::default();
            let closed = matches!(workload.arrivals, Arrivals::Population { .. });
            let mut kept = 0;
            while let Some(arrival) = source.next() {
                hash.add(&source, &arrival);
                if closed {
                    users.push(arrival);
                } else if kept < most {
                    kept += 1;
                    open.push(arrival);
                } else {
                    // Not among the first `most` of its workload, so not among those of all.
                    beyond[index] += 1;
                }
            }
            if let Some(error) = source.error() {
                return Err(failed(index)(error.clone()));
            }
            hashes.push(hash);
            sources.push(source);
        }
        // Stable: within a workload the order of creation stays.
        open.sort_by_key(|arrival: &Arrival| (arrival.at, arrival.head.workload));
        users.sort_by_key(|arrival: &Arrival| (arrival.at, arrival.head.workload));
        for arrival in open.iter().skip(most) {
            beyond[usize::from(arrival.head.workload)] += 1;
        }
        open.truncate(most);
        Ok(Schedule { open, users, sources, hash: SourceHash::combine(hashes), beyond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scenario;
    use std::ops::ControlFlow;
    use tidegate_sim::engine::{Mode, simulate};
    use tidegate_sim::observe::Observer;
    use tidegate_sim::request::RequestHead;
    use tidegate_sim::rng::replication_seed;
    use tidegate_sim::time::Time;
    use tidegate_sim::workload::arrival_hash;

    /// When each request reached the gateway.
    #[derive(Default)]
    struct Offered(Vec<(u64, RequestHead)>);

    impl Observer for Offered {
        fn offered(&mut self, now: Time, head: &RequestHead) {
            self.0.push((now.as_nanos(), *head));
        }
    }

    const TWO: &str = r#"
        [workloads.chat]
        tier = "t"
        arrivals = { kind = "poisson", rate = "300/s" }
        prompt = { kind = "uniform", least = 5, most = 50 }
        output = { kind = "uniform", least = 1, most = 20 }
        tenants = 3
        [workloads.api]
        tier = "t"
        arrivals = { kind = "gamma", rate = "80/s", cv = 2 }
        prompt = 10
        output = 4
    "#;

    #[test]
    fn it_is_the_simulators_to_the_nanosecond_and_has_its_hash() {
        let scenario = scenario(TWO);
        for index in 0..3 {
            let seed = replication_seed(scenario.seed, index);
            let schedule = Schedule::draw(&scenario, seed, usize::MAX).unwrap();
            assert_eq!(schedule.hash, arrival_hash(&scenario, seed).unwrap());
            let sources = (0..2).map(|w| Source::open(&scenario, w, seed).unwrap()).collect();
            let mut offered = Offered::default();
            simulate(&scenario, sources, seed, Mode::Fast, &mut offered, |_, _| ControlFlow::Continue(()));
            let ours: Vec<_> = schedule.open.iter().map(|a| (a.at.as_nanos(), a.head)).collect();
            assert!(ours.len() > 500, "{}", ours.len());
            assert_eq!(ours, offered.0);
        }
    }

    #[test]
    fn what_is_beyond_the_most_is_counted_and_still_hashed() {
        let scenario = scenario(TWO);
        let whole = Schedule::draw(&scenario, 7, usize::MAX).unwrap();
        let part = Schedule::draw(&scenario, 7, 100).unwrap();
        assert_eq!(part.hash, whole.hash);
        assert_eq!(part.open, whole.open[..100]);
        assert_eq!(part.beyond.iter().sum::<u64>() + 100, whole.open.len() as u64);
    }
}

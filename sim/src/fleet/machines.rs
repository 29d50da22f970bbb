//! Machines and their GPUs: what is free, what is down.

use crate::scenario::NodeGroup;

/// A machine, by its group and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Index of the group.
    pub group: usize,
    /// Number in the group, from 0.
    pub machine: u32,
}

#[derive(Clone, Debug)]
struct Machine {
    /// GPUs that no replica has and that work.
    free: u32,
    /// Faults in force; it works while there is none.
    down: u32,
    /// GPUs that were lost while a replica had all of them: taken away as soon as they come back.
    owed: u32,
}

/// All machines of a scenario.
#[derive(Clone, Debug)]
pub struct Machines {
    groups: Vec<Vec<Machine>>,
}

impl Machines {
    /// Every machine works and is free.
    pub fn new(groups: &[NodeGroup]) -> Self {
        let machines =
            |group: &NodeGroup| vec![Machine { free: group.gpus, down: 0, owed: 0 }; group.count as usize];
        Machines { groups: groups.iter().map(machines).collect() }
    }

    /// Takes `gpus` GPUs of one machine of a group: of the one with the most free, the first among equals.
    /// O(machines of the group).
    pub fn take(&mut self, group: usize, gpus: u32) -> Option<Spot> {
        let fits = self.groups[group].iter().enumerate().filter(|(_, m)| m.down == 0 && m.free >= gpus);
        let (machine, _) = fits.max_by_key(|(index, m)| (m.free, std::cmp::Reverse(*index)))?;
        self.groups[group][machine].free -= gpus;
        Some(Spot { group, machine: machine as u32 })
    }

    /// Gives GPUs back.
    pub fn give_back(&mut self, spot: Spot, gpus: u32) {
        let machine = self.at(spot);
        let lost = machine.owed.min(gpus);
        machine.owed -= lost;
        machine.free += gpus - lost;
    }

    /// A fault of a machine begins; returns whether it worked until now.
    pub fn fail(&mut self, spot: Spot) -> bool {
        let machine = self.at(spot);
        machine.down += 1;
        machine.down == 1
    }

    /// A fault of a machine is over; returns whether it works now.
    pub fn repair(&mut self, spot: Spot) -> bool {
        let machine = self.at(spot);
        machine.down = machine.down.checked_sub(1).expect("a fault that is over had begun");
        machine.down == 0
    }

    /// GPUs of a machine that could be taken now; 0 while it is down.
    pub fn free(&self, spot: Spot) -> u32 {
        let machine = &self.groups[spot.group][spot.machine as usize];
        if machine.down == 0 { machine.free } else { 0 }
    }

    /// One GPU is lost: a free one when no replica has any (the caller has stopped the one that had it).
    pub fn lose_gpu(&mut self, spot: Spot) {
        let machine = self.at(spot);
        if machine.free > 0 {
            machine.free -= 1;
        } else {
            machine.owed += 1;
        }
    }

    /// A lost GPU is back.
    pub fn regain_gpu(&mut self, spot: Spot) {
        let machine = self.at(spot);
        if machine.owed > 0 {
            machine.owed -= 1;
        } else {
            machine.free += 1;
        }
    }

    fn at(&mut self, spot: Spot) -> &mut Machine {
        &mut self.groups[spot.group][spot.machine as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: u32, gpus: u32) -> NodeGroup {
        NodeGroup {
            name: "n".into(),
            gpu: "l4".into(),
            count,
            gpus,
            zone: 0,
            price: None,
            reserved: false,
            failures: None,
        }
    }

    fn spot(machine: u32) -> Spot {
        Spot { group: 0, machine }
    }

    #[test]
    fn replicas_are_spread_over_machines_and_never_split() {
        let mut machines = Machines::new(&[group(2, 8)]);
        assert_eq!(machines.take(0, 4), Some(spot(0)));
        assert_eq!(machines.take(0, 4), Some(spot(1)));
        assert_eq!(machines.take(0, 4), Some(spot(0)));
        // Four GPUs are free, but on one machine: one of six cannot be placed on what two have left.
        assert_eq!(machines.take(0, 6), None);
        assert_eq!(machines.take(0, 4), Some(spot(1)));
        machines.give_back(spot(0), 4);
        assert_eq!(machines.take(0, 4), Some(spot(0)));
    }

    #[test]
    fn nothing_is_placed_on_a_machine_until_all_its_faults_are_over() {
        let mut machines = Machines::new(&[group(1, 8)]);
        assert!(machines.fail(spot(0)));
        assert!(!machines.fail(spot(0)));
        assert_eq!(machines.take(0, 1), None);
        assert!(!machines.repair(spot(0)));
        assert!(machines.repair(spot(0)));
        assert_eq!(machines.take(0, 1), Some(spot(0)));
    }

    #[test]
    fn a_gpu_lost_in_use_is_missed_when_its_replica_gives_it_back() {
        let mut machines = Machines::new(&[group(1, 2)]);
        assert_eq!(machines.take(0, 2), Some(spot(0)));
        machines.lose_gpu(spot(0));
        machines.give_back(spot(0), 2);
        assert_eq!(machines.take(0, 2), None);
        machines.regain_gpu(spot(0));
        assert_eq!(machines.take(0, 2), Some(spot(0)));
    }
}

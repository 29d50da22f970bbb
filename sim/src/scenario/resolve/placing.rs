//! Whether the replicas that are there from the start fit the machines of their pools.

use crate::scenario::diagnostic::Errors;
use crate::scenario::file::ScenarioFile;
use crate::scenario::fleet::NodeGroup;
use crate::scenario::overrides::listed;
use crate::scenario::{Engine, Pool};

/// Places the first replicas of all pools by the rule of a run: pools in the order of the file; groups in order of
/// preference, or those with the fewest replicas of the pool first; of a group the machine with the most free GPUs, the
/// first among equals. Refuses pools that find no room. O(replicas x machines).
pub(super) fn check(file: &ScenarioFile, nodes: &[NodeGroup], pools: &[Pool], errors: &mut Errors) {
    let mut free: Vec<Vec<u32>> = nodes.iter().map(|group| vec![group.gpus; group.count as usize]).collect();
    for (pool, (.., entry)) in pools.iter().zip(&file.pools.entries) {
        let (Some(entry), false) = (entry, pool.fleet.nodes.is_empty()) else { continue };
        let needed = pool.gpus_per_replica;
        assert!(needed > 0, "pool `{}` is placed on machines and needs {needed} GPUs", pool.name);
        let mine = || pool.fleet.nodes.iter();
        let left: u64 = mine().flat_map(|group| &free[*group]).map(|gpus| u64::from(*gpus)).sum();
        let mut missing = u32::from(pool.fleet.initial);
        // How many are on each group, its rank in the order of preference, the group.
        let mut order: Vec<(u32, usize, usize)> =
            mine().enumerate().map(|(rank, &group)| (0, rank, group)).collect();
        while missing > 0 {
            if pool.fleet.spread {
                order.sort_unstable();
            }
            let placed = order.iter_mut().any(|(here, _, group)| {
                let machine = free[*group].iter_mut().rev().max_by_key(|gpus| **gpus);
                let Some(gpus) = machine.filter(|gpus| **gpus >= needed) else { return false };
                *gpus -= needed;
                *here += 1;
                true
            });
            if !placed {
                break;
            }
            missing -= 1;
        }
        if missing == 0 {
            continue;
        }
        let initial = u32::from(pool.fleet.initial);
        let all = u64::from(initial) * u64::from(needed);
        let groups = listed(mine().map(|group| nodes[*group].name.as_str()));
        let verb = if pool.fleet.nodes.len() == 1 { "has" } else { "have" };
        let room = match initial - missing {
            1 => "1 replica".to_owned(),
            other => format!("{other} replicas"),
        };
        let smaller = match &pool.engine {
            Engine::Llm(_) if needed > 1 => "fewer replicas, a smaller `tensor_parallel`, or more machines",
            _ => "fewer replicas, or more machines",
        };
        errors.refuse_with(
            &entry.fleet().replicas.place,
            format!(
                "pool `{}` needs {initial} x {needed} = `{all}` GPUs at the start, {groups} {verb} {left} left: room for \
                 {room}",
                pool.name
            ),
            smaller,
        );
    }
}

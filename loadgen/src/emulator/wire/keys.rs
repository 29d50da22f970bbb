//! Who calls: the key of a request says which workload's it is, and which tenant's.
//!
//! `Authorization: Bearer chat-3` is tenant 3 of workload `chat`, `chat` alone tenant 0; `sk-` or `sk-do-` may stand in
//! front. The key of a batch is its name, with the account of its owners that submits behind it: `nightly-1`.

use axum::http::{HeaderMap, header};
use tidegate_sim::request::WorkloadId;
use tidegate_sim::scenario::Scenario;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// The workload; for the key of a batch the one that its requests are.
    pub workload: WorkloadId,
    /// Tenant inside it, below its number of tenants; for the key of a batch the account, below its number of owners.
    pub tenant: u32,
    /// The batch, when it is the key of one.
    pub batch: Option<u16>,
}

/// Why nobody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// There is no key.
    Missing,
    /// There is one that no workload has.
    Wrong,
}

impl Unknown {
    /// What is told. Never the key.
    pub fn message(self) -> &'static str {
        match self {
            Unknown::Missing => {
                "You didn't provide an API key. Send the name of a workload of the scenario and the number of a tenant as `Authorization: Bearer WORKLOAD-TENANT`."
            }
            Unknown::Wrong => {
                "Incorrect API key provided. A key is the name of a workload (or batch) of the scenario, with the number of a tenant behind it: `WORKLOAD-TENANT`."
            }
        }
    }
}

/// Who sent these headers. O(workloads).
///
/// # Errors
/// When nobody did that the scenario knows.
pub fn caller(scenario: &Scenario, headers: &HeaderMap) -> Result<Caller, Unknown> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Unknown::Missing)?;
    let value = value.to_str().map_err(|_| Unknown::Wrong)?;
    let (scheme, key) = value.trim().split_once(' ').ok_or(Unknown::Wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unknown::Wrong);
    }
    find(scenario, key.trim()).ok_or(Unknown::Wrong)
}

/// Whose key this is. A name that begins like a prefix wins over the prefix.
pub fn find(scenario: &Scenario, key: &str) -> Option<Caller> {
    let bare = ["sk-do-", "sk-"].into_iter().filter_map(|prefix| key.strip_prefix(prefix));
    std::iter::once(key).chain(bare).find_map(|key| named(scenario, key))
}

fn named(scenario: &Scenario, key: &str) -> Option<Caller> {
    let split = key.rsplit_once('-').and_then(|(name, tenant)| {
        let digits = !tenant.is_empty() && tenant.bytes().all(|byte| byte.is_ascii_digit());
        Some((name, tenant.parse().ok().filter(|_| digits)?))
    });
    [Some((key, 0)), split].into_iter().flatten().find_map(|(name, tenant)| {
        let index = scenario.workloads.iter().position(|workload| workload.name == name)?;
        let workload = WorkloadId::try_from(index).expect("a workload has a number");
        let batch = scenario.batches.iter().position(|batch| batch.workload == workload);
        let tenants = match batch {
            Some(batch) => scenario.batches[batch].owners,
            None => scenario.workloads[index].tenants,
        };
        let batch = batch.map(|batch| u16::try_from(batch).expect("a batch has a number"));
        (tenant < tenants).then_some(Caller { workload, tenant, batch })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::testing::scenario;

    #[test]
    fn a_key_is_a_workload_and_a_tenant_of_it() {
        let scenario = scenario();
        let at =
            |name: &str| scenario.workloads.iter().position(|one| one.name == name).unwrap() as WorkloadId;
        let who = |key: &str| find(&scenario, key);
        let chat = |tenant| Some(Caller { workload: at("chat"), tenant, batch: None });
        assert_eq!(who("chat"), chat(0));
        assert_eq!(who("chat-3"), chat(3));
        assert_eq!(who("sk-chat-3"), chat(3));
        assert_eq!(who("sk-do-chat-3"), chat(3));
        assert_eq!(who("nightly"), Some(Caller { workload: at("nightly"), tenant: 0, batch: Some(0) }));
        for wrong in [
            "",
            "chat-4",
            "chat-",
            "chat-+1",
            "chat--1",
            "Chat",
            "chat-99999999999",
            "sk-",
            "nightly-1",
            "chat 1",
        ] {
            assert_eq!(who(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_bearer_is_anybody() {
        let scenario = scenario();
        let sent = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            caller(&scenario, &headers).map(|caller| caller.tenant)
        };
        assert_eq!(sent(Some("Bearer chat-1")), Ok(1));
        assert_eq!(sent(Some("bearer  chat-1 ")), Ok(1));
        assert_eq!(sent(None), Err(Unknown::Missing));
        for wrong in ["chat-1", "Basic chat-1", "Bearer", "Bearer nobody"] {
            assert_eq!(sent(Some(wrong)), Err(Unknown::Wrong), "{wrong}");
        }
    }
}

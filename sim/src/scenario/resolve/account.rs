//! Accounts: who is a customer, and what is known of each.

use crate::profile::{Attr, Subject};
use crate::scenario::address::{Address, Network};
use crate::scenario::decode::{At, List};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::{Name, Text};
use crate::scenario::policy::Account;
use crate::scenario::policy_file::AccountFile;

/// The account of a scenario that declares none.
const UNNAMED: &str = "main";

/// The accounts of a file, in its order; one that nobody declared when there is none.
pub(super) struct Accounts {
    pub all: Vec<Account>,
    /// Networks that may call, of each account that says so.
    ingress: Vec<Option<Vec<Network>>>,
}

impl Accounts {
    pub(super) fn of(file: &ScenarioFile) -> Accounts {
        let unnamed = || (Account { name: UNNAMED.into(), traits: Subject::default() }, None);
        let entries = file.accounts.entries.iter();
        let mut declared: Vec<_> = entries
            .map(|(name, _, account)| {
                let traits = account.as_ref().map(traits).unwrap_or_default();
                let ingress = account.as_ref().and_then(|account| account.ingress.as_ref());
                let networks = ingress.map(|at| at.value.0.iter().map(|network| network.value).collect());
                (Account { name: name.clone(), traits }, networks)
            })
            .collect();
        if declared.is_empty() {
            declared.push(unnamed());
        }
        let (all, ingress) = declared.into_iter().unzip();
        Accounts { all, ingress }
    }

    /// The account of that name, or the only one. `place` is of what needs an account.
    pub(super) fn find(
        &self,
        name: Option<&At<Name>>,
        place: &Place,
        file: &ScenarioFile,
        errors: &mut Errors,
    ) -> Option<usize> {
        match name {
            Some(name) if file.accounts.entries.is_empty() && name.value.as_str() == UNNAMED => Some(0),
            Some(name) => file.accounts.find(name, "account", errors),
            None if self.all.len() == 1 => Some(0),
            None => {
                let names = self.all.iter().map(|account| account.name.as_str());
                let hint = format!("add `account`; declared: {}", crate::scenario::overrides::listed(names));
                let message = format!("there are `{}` accounts, and none is named here", self.all.len());
                errors.refuse_with(place, message, hint);
                None
            }
        }
    }

    /// States whether calls from an address pass the ingress rules of `account`.
    pub(super) fn check_in(
        &self,
        account: Option<usize>,
        from: Option<&At<Address>>,
        traits: &mut Subject,
        errors: &mut Errors,
    ) {
        let (Some(account), Some(from)) = (account, from) else { return };
        let Some(networks) = &self.ingress[account] else {
            errors.refuse_with(
                &from.place,
                format!(
                    "`from` would change nothing: the account `{}` has no `ingress`",
                    self.all[account].name
                ),
                "list the networks that may call in `ingress` of the account, or leave `from` out",
            );
            return;
        };
        let inside = networks.iter().any(|network| network.holds(from.value.0));
        traits.say(Attr::Ingress, [if inside { "allowed" } else { "denied" }]);
    }
}

fn traits(account: &AccountFile) -> Subject {
    let mut traits = Subject::default();
    say(&mut traits, Attr::Region, &account.region);
    say(&mut traits, Attr::ControlPlane, &account.control_plane);
    say_all(&mut traits, Attr::Compliance, &account.compliance);
    if let Some(tier) = &account.tier {
        traits.count(Attr::CustomerTier, [tier.value.0]);
    }
    say(&mut traits, Attr::SecurityTier, &account.security_tier);
    if let Some(production) = &account.production {
        traits.flag(Attr::Production, production.value);
    }
    traits
}

/// States a word when the file has it.
pub(super) fn say(traits: &mut Subject, attr: Attr, text: &Option<At<Text>>) {
    if let Some(text) = text {
        traits.say(attr, [text.value.0.as_str()]);
    }
}

/// States a list of words when the file has it, though it be empty.
pub(super) fn say_all(traits: &mut Subject, attr: Attr, texts: &Option<At<List<Text>>>) {
    if let Some(texts) = texts {
        traits.say(attr, texts.value.0.iter().map(|text| text.value.0.as_str()));
    }
}

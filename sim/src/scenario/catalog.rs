//! What limits can ask about a call or a request: the account, the endpoint, its models, and who calls.

use super::Model;
use super::policy::Account;
use crate::profile::{Attr, Subject};

/// The models, and which of them the vendor has published by now.
#[derive(Clone, Debug)]
pub(crate) struct Catalog<'s> {
    models: &'s [Model],
    published: Vec<bool>,
}

impl<'s> Catalog<'s> {
    /// As it is when the run starts.
    pub(crate) fn new(models: &'s [Model]) -> Self {
        Catalog { models, published: models.iter().map(|model| model.listing.published).collect() }
    }

    /// A model is there from now on; whether it was not before.
    pub(crate) fn publish(&mut self, model: usize) -> bool {
        !std::mem::replace(&mut self.published[model], true)
    }

    /// Place of a model among the published stable versions of its family, 1 for the newest; `None` when it is not one
    /// of them. What nobody calls unstable is stable. O(models).
    pub(crate) fn rank(&self, model: usize) -> Option<u64> {
        let (family, version) = self.stable_version(model)?;
        let newer = (0..self.models.len()).filter_map(|other| self.stable_version(other));
        Some(1 + newer.filter(|(of, number)| *of == family && *number > version).count() as u64)
    }

    fn stable_version(&self, model: usize) -> Option<(&'s String, u32)> {
        let listing = &self.models[model].listing;
        let words = listing.traits.words(Attr::ModelStable).unwrap_or_default();
        let unstable = words.iter().any(|word| word == "no");
        let (family, version) = listing.version.as_ref()?;
        (self.published[model] && !unstable).then_some((family, *version))
    }

    /// States all that is known of some models together: a rule that bans one of them bans them all.
    pub(crate) fn describe(&self, models: &[usize], subject: &mut Subject) {
        let traits = |model: usize| &self.models[model].listing.traits;
        for attr in [Attr::ModelKind, Attr::ModelProvider, Attr::ModelProvenance, Attr::ModelStable] {
            let words: Vec<_> =
                models.iter().filter_map(|&model| traits(model).words(attr)).flatten().collect();
            if !words.is_empty() {
                subject.say(attr, words);
            }
        }
        if !models.is_empty() {
            subject.say(Attr::ModelName, models.iter().map(|&model| &self.models[model].name));
        }
        let listed: Vec<&str> = models.iter().flat_map(|&model| self.listed(model)).collect();
        if !listed.is_empty() {
            subject.say(Attr::ModelListed, listed);
        }
        let ranks: Vec<u64> = models.iter().filter_map(|&model| self.rank(model)).collect();
        if !ranks.is_empty() {
            subject.count(Attr::VersionRank, ranks);
        }
    }

    /// What is not published yet is not listed, whatever the scenario says of the day on which it is.
    fn listed(&self, model: usize) -> Vec<&'s str> {
        if !self.published[model] {
            return vec!["no"];
        }
        let words = self.models[model].listing.traits.words(Attr::ModelListed).unwrap_or_default();
        words.iter().map(String::as_str).collect()
    }
}

/// A call or a request: what is known of its account, its endpoint's configuration and its models, then what it states
/// itself, which wins. A token that nobody says anything about is valid.
pub(crate) fn subject(
    catalog: &Catalog,
    account: Option<&Account>,
    endpoint: Option<&Subject>,
    models: &[usize],
    own: &Subject,
) -> Subject {
    let mut subject = Subject::default();
    subject.say(Attr::Auth, ["valid"]);
    if let Some(account) = account {
        subject.merge(&account.traits);
    }
    if let Some(endpoint) = endpoint {
        subject.merge(endpoint);
    }
    catalog.describe(models, &mut subject);
    subject.merge(own);
    subject
}

//! Limits by name: those in force, and why another one is not.

use super::limits::InForce;
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::diagnostic::{Errors, shorten};
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::Name;
use crate::scenario::overrides::listed;
use crate::scenario::profile::Loaded;

/// What a name of a limit can refer to.
pub(super) struct Known<'a> {
    pub limits: &'a [InForce],
    file: &'a ScenarioFile,
    loaded: Option<&'a Loaded>,
}

impl<'a> Known<'a> {
    pub(super) fn new(file: &'a ScenarioFile, loaded: Option<&'a Loaded>, limits: &'a [InForce]) -> Self {
        Known { limits, file, loaded }
    }

    /// The limit in force of that name; reported when there is none.
    pub(super) fn find(&self, name: &At<Name>, errors: &mut Errors) -> Option<usize> {
        let wanted = name.value.as_str();
        let found = self.limits.iter().position(|entry| entry.limit().name == wanted);
        if found.is_none() && !self.unread() {
            let message = format!("no limit `{}` is in force", shorten(wanted));
            errors.refuse_with(&name.place, message, self.hint(wanted));
        }
        found
    }

    /// Whether nobody knows what is in force, because the profile (or which one it is) could not be read.
    fn unread(&self) -> bool {
        let named = self.file.scenario.0.as_ref().is_none_or(|run| run.value.profile.is_some());
        self.loaded.is_none() && named
    }

    fn hint(&self, wanted: &str) -> String {
        let Some(loaded) = self.loaded else {
            return "name a profile with `profile` in `[scenario]`".to_owned();
        };
        if let Some(off) = self.off(wanted, loaded) {
            return off;
        }
        let names = || self.limits.iter().map(|entry| entry.limit().name.as_str());
        did_you_mean(wanted, names()).unwrap_or_else(|| match self.limits.len() {
            0 => format!("no limit of the profile `{}` is in force", loaded.profile.id),
            1..=12 => format!("in force: {}", listed(names())),
            many => format!("{many} limits are in force; `tidegate limits list` has all"),
        })
    }

    /// Why a limit that the profile has is not in force.
    fn off(&self, wanted: &str, loaded: &Loaded) -> Option<String> {
        let limit = loaded.limits.iter().find(|limit| limit.limit.name == wanted)?;
        let overlays = self.file.scenario.0.iter().flat_map(|run| &run.value.overlays.value.0);
        let on: Vec<String> = overlays.map(|overlay| overlay.value.as_str().to_owned()).collect();
        Some(match (&limit.lifted_by, &limit.overlay) {
            _ if limit.is_on(&on) => format!("`enabled = false` in `[limits.{wanted}]` switches it off"),
            (Some(overlay), _) if on.contains(overlay) => format!("the overlay `{overlay}` lifts it"),
            (_, Some(overlay)) => format!("add `overlays = [\"{overlay}\"]` to `[scenario]`"),
            (_, None) => "it is off".to_owned(),
        })
    }
}

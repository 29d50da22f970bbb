//! What the vendor says of a model.

use super::account::say;
use crate::profile::{Attr, Subject};
use crate::scenario::Listing;
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::ModelFile;

pub(super) fn listing(model: &ModelFile, errors: &mut Errors) -> Option<Listing> {
    let version = match (&model.family, &model.version) {
        (Some(family), Some(version)) => Some((family.value.0.clone(), version.value.small())),
        (None, None) => None,
        (Some(family), None) => {
            let hint = "add `version`, a number that is higher for newer ones";
            errors.refuse_with(&family.place, "a family has versions, and none is given", hint);
            return None;
        }
        (None, Some(version)) => {
            errors.refuse_with(&version.place, "it is a version of what?", "add `family`");
            return None;
        }
    };
    let mut traits = Subject::default();
    say(&mut traits, Attr::ModelKind, &model.kind);
    say(&mut traits, Attr::ModelProvider, &model.provider);
    say(&mut traits, Attr::ModelProvenance, &model.provenance);
    for (attr, flag) in [(Attr::ModelStable, &model.stable), (Attr::ModelListed, &model.listed)] {
        if let Some(flag) = flag {
            traits.flag(attr, flag.value);
        }
    }
    Some(Listing { version, published: model.published.value, traits })
}

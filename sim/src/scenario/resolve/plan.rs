//! Searches: variants that exist, ranges that are some.

use crate::scenario::decode::did_you_mean;
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::ScenarioFile;
use crate::scenario::overrides::listed;
use crate::scenario::plan::Search;

/// Every enabled search, in the order of the file.
pub(super) fn all(file: &ScenarioFile, variants: &[String], errors: &mut Errors) -> Vec<Search> {
    let mut found: Vec<Search> = Vec::new();
    for at in &file.plan.0 {
        let plan = &at.value;
        let name = plan.name.value.0.trim().to_owned();
        if found.iter().any(|search| search.name == name) {
            errors.refuse(&plan.name.place, format!("two searches are named `{name}`"));
        }
        let variant = plan.variant.as_ref().map(|at| (at, at.value.as_str()));
        if let Some((at, wanted)) = variant
            && !variants.iter().any(|variant| variant == wanted)
        {
            let names = || variants.iter().map(String::as_str);
            let hint =
                did_you_mean(wanted, names()).unwrap_or_else(|| format!("declared: {}", listed(names())));
            errors.refuse_with(&at.place, format!("no variant is named `{wanted}`"), hint);
        }
        let (least, most) = (plan.least.value.0, plan.most.value.0);
        if least > most {
            errors.refuse(&plan.most.place, format!("`{most}` is below the `least`, {least}"));
        }
        if plan.enabled.value {
            found.push(Search {
                name,
                variant: variant.map(|(_, name)| name.to_owned()),
                knob: plan.knob.value.0.trim().to_owned(),
                least,
                most,
                step: plan.step.value.0,
                unit: plan.unit.as_ref().map(|at| at.value.0.trim().to_owned()).unwrap_or_default(),
            });
        }
    }
    found
}

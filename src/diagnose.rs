//! What is wrong with a scenario, as people read it: the text underlined, what is allowed, what to do.

use miette::{Diagnostic, LabeledSpan, NamedSource, Report, SourceCode};
use std::fmt;
use tidegate_sim::scenario::Diagnostics;

/// All of `found` as one report; returned from a command it is printed and the exit code is 2.
pub(crate) fn report(found: &Diagnostics) -> Report {
    let mut problems: Vec<Problem> = found.items.iter().map(|item| Problem::of(found, item)).collect();
    if problems.len() == 1 {
        return Report::new(problems.remove(0));
    }
    let headline = format!("{}: {} errors", found.sources[0].name, problems.len());
    Report::new(Problem { headline, hint: None, text: None, label: None, related: problems })
}

/// One error, or (with `related`) several.
#[derive(Debug)]
struct Problem {
    headline: String,
    hint: Option<String>,
    text: Option<NamedSource<String>>,
    label: Option<LabeledSpan>,
    related: Vec<Problem>,
}

impl Problem {
    fn of(found: &Diagnostics, item: &tidegate_sim::scenario::Diagnostic) -> Problem {
        let source = &found.sources[item.source];
        if source.text.is_empty() {
            // There is no text to show: the file could not be read.
            let headline = format!("{}: {}", source.name, item.headline());
            return Problem {
                headline,
                hint: item.hint.clone(),
                text: None,
                label: None,
                related: Vec::new(),
            };
        }
        Problem {
            headline: item.headline(),
            hint: item.hint.clone(),
            text: Some(NamedSource::new(&source.name, source.text.clone())),
            label: Some(LabeledSpan::new_with_span(None, item.span.clone())),
            related: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.label.clone()?;
        Some(Box::new(std::iter::once(label)))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

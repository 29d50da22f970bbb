//! Lines by priority, first come first served in each.

use crate::table::{List, SlotId, Table};

/// One line for each priority; a single one when the order is first come, first served.
#[derive(Debug)]
pub(super) struct Lines {
    /// `(priority, line)`, lowest priority number first.
    lines: Vec<(u8, List)>,
}

impl Lines {
    /// Empty lines for these priorities.
    pub(super) fn new(mut priorities: Vec<u8>) -> Self {
        priorities.sort_unstable();
        priorities.dedup();
        Lines { lines: priorities.into_iter().map(|level| (level, List::default())).collect() }
    }

    /// The line of a priority; the only one when there is but one. O(log priorities).
    ///
    /// Panics when no line has the priority.
    pub(super) fn of(&mut self, priority: u8) -> &mut List {
        let index = match self.lines.as_slice() {
            [_] => 0,
            lines => lines
                .binary_search_by_key(&priority, |line| line.0)
                .expect("every tier's priority has a line"),
        };
        &mut self.lines[index].1
    }

    /// Takes who goes next. O(priorities).
    pub(super) fn pop(&mut self, table: &mut Table) -> Option<SlotId> {
        self.lines.iter_mut().find_map(|(_, line)| line.pop_front(table))
    }

    /// Who would go next. O(priorities).
    pub(super) fn first(&self) -> Option<SlotId> {
        self.lines.iter().find_map(|(_, line)| line.first())
    }
}

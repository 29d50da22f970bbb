//! Which job's request is next on a pool: by deadline or by age, accounts in turn.

use super::JobId;
use crate::scenario::batch::{BatchRules, JobOrder};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Jobs of a pool that have requests to send.
#[derive(Debug)]
pub struct Board {
    order: JobOrder,
    fair: bool,
    /// By account, or all under account 0: its jobs, the next one first.
    lines: BTreeMap<u32, BTreeSet<Key>>,
    /// Accounts with jobs, whose turn is next first.
    turns: VecDeque<u32>,
    /// All jobs by the end of their window.
    by_deadline: BTreeSet<Key>,
}

/// What jobs are ordered by, and the job.
type Key = (Time, u64, JobId);

/// What a board knows of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The job.
    pub job: JobId,
    /// Its account.
    pub owner: u32,
    /// When its window closes.
    pub expires: Time,
    /// Order of submission.
    pub order: u64,
}

impl Board {
    /// A board without jobs.
    pub fn new(rules: &BatchRules) -> Self {
        Board {
            order: rules.order,
            fair: rules.fair,
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            by_deadline: BTreeSet::new(),
        }
    }

    fn key(&self, entry: &Entry) -> Key {
        match self.order {
            JobOrder::Deadline => (entry.expires, entry.order, entry.job),
            JobOrder::Fifo => (Time::ZERO, entry.order, entry.job),
        }
    }

    fn account(&self, owner: u32) -> u32 {
        if self.fair { owner } else { 0 }
    }

    /// A job has requests to send. O(log jobs).
    pub fn add(&mut self, entry: Entry) {
        let account = self.account(entry.owner);
        let key = self.key(&entry);
        let line = self.lines.entry(account).or_default();
        if line.is_empty() {
            self.turns.push_back(account);
        }
        line.insert(key);
        self.by_deadline.insert((entry.expires, entry.order, entry.job));
    }

    /// A job has none any more. Does nothing when it is not on the board. O(log jobs), O(accounts) when it was the last of
    /// its account.
    pub fn remove(&mut self, entry: Entry) {
        let account = self.account(entry.owner);
        let key = self.key(&entry);
        self.by_deadline.remove(&(entry.expires, entry.order, entry.job));
        let Some(line) = self.lines.get_mut(&account) else { return };
        if line.remove(&key) && line.is_empty() {
            self.turns.retain(|&other| other != account);
        }
    }

    /// The job whose request goes next: the urgent one (its window closes by `urgent`) that is due first, else the first of
    /// the account whose turn it is. O(log jobs).
    pub fn next(&self, urgent: Time) -> Option<JobId> {
        self.next_urgent(urgent).or_else(|| {
            let account = self.turns.front()?;
            self.lines[account].first().map(|&(_, _, job)| job)
        })
    }

    /// The first due of the jobs whose window closes by `urgent`. O(log jobs).
    pub fn next_urgent(&self, urgent: Time) -> Option<JobId> {
        self.by_deadline.first().filter(|&&(expires, _, _)| expires <= urgent).map(|&(_, _, job)| job)
    }

    /// A request of an account was sent: it is the next one's turn. O(accounts) in the worst case, O(1) when it was its turn.
    pub fn sent(&mut self, owner: u32) {
        let account = self.account(owner);
        if self.turns.front() == Some(&account) {
            self.turns.rotate_left(1);
        } else if let Some(at) = self.turns.iter().position(|&other| other == account) {
            self.turns.remove(at);
            self.turns.push_back(account);
        }
    }

    /// Whether no job has requests to send.
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    /// Jobs with requests to send.
    pub fn len(&self) -> usize {
        self.by_deadline.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;
    use proptest::prelude::*;

    fn at(s: u64) -> Time {
        Time::ZERO + Span::from_secs(s)
    }

    fn entry(job: JobId, owner: u32, expires: u64) -> Entry {
        Entry { job, owner, expires: at(expires), order: job.into() }
    }

    fn board(order: JobOrder, fair: bool) -> Board {
        Board::new(&BatchRules { order, fair, ..BatchRules::default() })
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_the_older_among_equals() {
        let mut board = board(JobOrder::Deadline, false);
        [entry(0, 0, 30), entry(1, 0, 10), entry(2, 0, 10)].into_iter().for_each(|job| board.add(job));
        assert_eq!(board.next(Time::ZERO), Some(1));
        board.remove(entry(1, 0, 10));
        assert_eq!(board.next(Time::ZERO), Some(2));
    }

    #[test]
    fn in_order_of_submission_deadlines_count_nothing_until_they_are_urgent() {
        let mut board = board(JobOrder::Fifo, false);
        [entry(0, 0, 30), entry(1, 0, 10)].into_iter().for_each(|job| board.add(job));
        assert_eq!((board.next(at(9)), board.next(at(10))), (Some(0), Some(1)));
        assert_eq!(board.next_urgent(at(9)), None);
    }

    #[test]
    fn accounts_take_turns_however_many_jobs_one_of_them_has() {
        let mut board = board(JobOrder::Deadline, true);
        (0..50).for_each(|job| board.add(entry(job, 0, u64::from(job) + 1)));
        board.add(entry(50, 1, 1_000));
        let mut given = [0; 2];
        for _ in 0..100 {
            let owner = if board.next(Time::ZERO) == Some(50) { 1 } else { 0 };
            given[owner as usize] += 1;
            board.sent(owner);
        }
        assert_eq!(given, [50, 50]);
    }

    proptest! {
        #[test]
        fn a_board_gives_what_a_search_through_all_jobs_gives(
            jobs in prop::collection::vec((0u32..4, 0u64..50), 1..30), urgent in 0u64..60,
        ) {
            let mut board = board(JobOrder::Deadline, false);
            let mut all: Vec<Entry> =
                jobs.iter().enumerate().map(|(job, &(owner, expires))| entry(job as u32, owner, expires)).collect();
            all.iter().for_each(|&job| board.add(job));
            while !all.is_empty() {
                let first = *all.iter().min_by_key(|job| (job.expires, job.order)).unwrap();
                prop_assert_eq!(board.next(at(urgent)), Some(first.job));
                prop_assert_eq!(board.next_urgent(at(urgent)).is_some(), first.expires <= at(urgent));
                board.remove(first);
                all.retain(|job| *job != first);
            }
            prop_assert!(board.is_empty() && board.next(at(urgent)).is_none());
        }
    }
}

//! What a router sees of the replicas of a pool.

use super::bits::Bits;
use super::{Rank, rank_of};
use crate::gateway::tree::Tree;
use crate::request::ReplicaId;
use crate::scenario::Pool;

/// What a router sees of the replicas of a pool.
///
/// A replica is *up* or not; it is *open* when it is up and holds fewer requests than [`Pool::outstanding`]; only open
/// ones are ever picked. Some of what a router sees the gateway counts itself, some is reported by replicas and as old
/// as the last look ([`Pool::view_age`]):
///
/// | seen | read by | how old |
/// | --- | --- | --- |
/// | up or down | every policy | never old (what a failure takes to be noticed is a delay of its own) |
/// | requests held | `outstanding`, `least-outstanding`, the bound of `prefix-affinity` | never old |
/// | tokens held | `shortest-tokens` | never old |
/// | load, `4 * waiting + running` | `least-loaded`, `power-of-two`, the load check and the fall-back of `kv-aware`, the fall-back of `prefix-affinity` | as at the last [`View::look`]; never old when the view age is zero |
#[derive(Clone, Debug)]
pub struct View {
    seats: Vec<Seat>,
    /// Tokens of the requests held by each replica; empty unless the policy counts them.
    tokens: Vec<u64>,
    up: Bits,
    open: Bits,
    open_count: u32,
    ready: u16,
    /// Requests held by the replicas that are up.
    total: u64,
    /// Most requests a replica may hold.
    most: u32,
    /// Whether loads are seen only at looks.
    stale: bool,
    /// Replicas whose load has changed since the last look.
    dirty: Vec<ReplicaId>,
    /// What the tree is ordered by.
    rank: Rank,
    /// The open replicas by what the policy wants the least of; without leaves when it wants nothing of the kind.
    tree: Tree<u64>,
}

/// The figure of a replica that must not be picked.
const CLOSED: u64 = u64::MAX;

/// What is known of one replica.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// Requests held, waiting and running.
    held: u32,
    /// Load as the router sees it.
    seen: u32,
    /// Load as the replica would report it now; kept only when loads are stale.
    latest: u32,
    /// Whether it is in the list of those whose load has changed.
    dirty: bool,
    /// Times it came up.
    starts: u32,
}

impl View {
    /// The replicas of a pool, idle, the first [`crate::scenario::PoolFleet::initial`] of them up. O(replicas).
    pub fn new(pool: &Pool) -> Self {
        let (count, initial) = (usize::from(pool.replicas), usize::from(pool.fleet.initial));
        assert!(initial <= count, "{initial} of {count} replicas are up at the start");
        let most = pool.outstanding.unwrap_or(u32::MAX);
        assert!(most > 0, "a replica may hold nothing");
        let rank = rank_of(pool.route);
        let seat = |index| Seat { starts: u32::from(index < initial), ..Seat::default() };
        let mut view = View {
            seats: (0..count).map(seat).collect(),
            tokens: if rank == Rank::Tokens { vec![0; count] } else { Vec::new() },
            up: Bits::first(initial, count),
            open: Bits::first(initial, count),
            open_count: initial as u32,
            ready: pool.fleet.initial,
            total: 0,
            most,
            stale: pool.route.reads_loads() && !pool.view_age.is_zero(),
            dirty: Vec::new(),
            rank,
            tree: Tree::new(if rank == Rank::Nothing { 0 } else { count }, CLOSED),
        };
        (0..initial).for_each(|index| view.place(index));
        view
    }

    /// Notes what a replica holds now. O(1), and O(log replicas) when the policy wants the least of what changed.
    #[inline]
    pub fn update(&mut self, replica: ReplicaId, waiting: u32, running: u32) {
        let index = usize::from(replica);
        let (held, load) = (waiting + running, 4 * waiting + running);
        let seat = &mut self.seats[index];
        let before = std::mem::replace(&mut seat.held, held);
        let mut moves = self.rank == Rank::Held && before != held;
        if self.stale {
            if load != seat.latest && !std::mem::replace(&mut seat.dirty, true) {
                self.dirty.push(replica);
            }
            seat.latest = load;
        } else {
            moves |= self.rank == Rank::Load && load != seat.seen;
            seat.seen = load;
        }
        if before != held && self.up.has(index) {
            self.total = self.total + u64::from(held) - u64::from(before);
            moves |= self.reopen(index, held < self.most);
        }
        if moves {
            self.place(index);
        }
    }

    /// Notes that a replica is up, or not: the latter is never picked. What it holds stays noted until it is updated.
    /// Says nothing new when it is so already. O(log replicas).
    pub fn set_up(&mut self, replica: ReplicaId, up: bool) {
        let index = usize::from(replica);
        if self.up.has(index) == up {
            return;
        }
        self.up.set(index, up);
        let seat = &mut self.seats[index];
        let held = seat.held;
        if up {
            seat.starts = seat.starts.wrapping_add(1);
            self.ready += 1;
            self.total += u64::from(held);
        } else {
            self.ready -= 1;
            self.total -= u64::from(held);
        }
        self.reopen(index, up && held < self.most);
        self.place(index);
    }

    /// A request of so many known tokens ([`crate::gateway::known_tokens`]) goes to a replica. Nothing is done unless
    /// the policy [counts tokens](View::counts_tokens); O(log replicas) then.
    #[inline]
    pub fn take(&mut self, replica: ReplicaId, tokens: u64) {
        if self.counts_tokens() {
            self.tokens[usize::from(replica)] += tokens;
            self.place(usize::from(replica));
        }
    }

    /// The request is not on the replica any more. As [`View::take`].
    ///
    /// Panics when the replica did not hold so many tokens.
    #[inline]
    pub fn give_back(&mut self, replica: ReplicaId, tokens: u64) {
        if self.counts_tokens() {
            let held = &mut self.tokens[usize::from(replica)];
            assert!(*held >= tokens, "replica {replica} holds {held} tokens and gives back {tokens}");
            *held -= tokens;
            self.place(usize::from(replica));
        }
    }

    /// Whether [`View::take`] and [`View::give_back`] do anything.
    #[inline]
    pub fn counts_tokens(&self) -> bool {
        self.rank == Rank::Tokens
    }

    /// Looks at all replicas: loads are seen as they are now, until the next look. To be called every
    /// [`Pool::view_age`]; does nothing when that is zero or the policy reads no loads. O(replicas whose load has
    /// changed since, log replicas each).
    pub fn look(&mut self) {
        for at in 0..self.dirty.len() {
            let index = usize::from(self.dirty[at]);
            let seat = &mut self.seats[index];
            seat.dirty = false;
            seat.seen = seat.latest;
            if self.rank == Rank::Load {
                self.place(index);
            }
        }
        self.dirty.clear();
    }

    /// Whether a replica is up. O(1).
    #[inline]
    pub fn is_up(&self, replica: ReplicaId) -> bool {
        self.up.has(usize::from(replica))
    }

    /// Replicas that are up. O(1).
    #[inline]
    pub fn ready(&self) -> u16 {
        self.ready
    }

    /// Whether any replica may take another request. O(1).
    #[inline]
    pub fn has_room(&self) -> bool {
        self.open_count > 0
    }

    /// Replicas, up or down.
    #[inline]
    pub(super) fn replicas(&self) -> usize {
        self.seats.len()
    }

    /// Whether the replica may take a request. O(1).
    #[inline]
    pub(super) fn is_open(&self, index: usize) -> bool {
        self.open.has(index)
    }

    /// Replicas that may take a request. O(1).
    #[inline]
    pub(super) fn open_count(&self) -> usize {
        self.open_count as usize
    }

    /// The first open replica from `start` on, in turn; there must be one. O(replicas that are not open / 64).
    #[inline]
    pub(super) fn next_open(&self, start: usize) -> usize {
        self.open.next(start).expect("the pool has room")
    }

    /// The open replica that has `rank` open ones before it; there must be one. O(1) while all are open, otherwise
    /// O(replicas / 64).
    #[inline]
    pub(super) fn nth_open(&self, rank: usize) -> usize {
        if self.open_count() == self.replicas() {
            return rank;
        }
        self.open.nth(rank).expect("there are more open replicas")
    }

    /// The open replica with the least of what the policy ranks by, the lowest index among equals; there must be one.
    /// O(log replicas).
    #[inline]
    pub(super) fn least(&self) -> usize {
        assert!(self.rank != Rank::Nothing, "the policy ranks replicas by nothing");
        self.tree.least().expect("the pool has room")
    }

    /// Requests held by a replica.
    #[inline]
    pub(super) fn held(&self, index: usize) -> u32 {
        self.seats[index].held
    }

    /// Requests held by all replicas that are up.
    #[inline]
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Load of a replica as it is seen.
    #[inline]
    pub(super) fn load(&self, index: usize) -> u32 {
        self.seats[index].seen
    }

    /// Times a replica came up: what was in its cache before the last time is not there any more.
    #[inline]
    pub(super) fn starts(&self, index: usize) -> u32 {
        self.seats[index].starts
    }

    /// Notes whether a replica is open; returns whether that is news.
    #[inline]
    fn reopen(&mut self, index: usize, open: bool) -> bool {
        if self.open.has(index) == open {
            return false;
        }
        self.open.set(index, open);
        if open {
            self.open_count += 1;
        } else {
            self.open_count -= 1;
        }
        true
    }

    /// Gives a replica its place in the tree.
    #[inline]
    fn place(&mut self, index: usize) {
        let seat = &self.seats[index];
        let figure = match self.rank {
            Rank::Nothing => return,
            _ if !self.open.has(index) => CLOSED,
            Rank::Load => u64::from(seat.seen),
            Rank::Held => u64::from(seat.held),
            Rank::Tokens => self.tokens[index],
        };
        self.tree.set(index, figure);
    }
}

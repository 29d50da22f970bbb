//! The KV cache of one replica: how many blocks are held, and which contents can be reused.
//!
//! Blocks that only one request can use are a number. Blocks whose content has an identity (a shared system prompt,
//! the turns of a session, the hashes of a trace) are entries of the prefix cache once the prefill that computed
//! them is done: pinned while a running request uses them, evictable (least recently used first) afterwards. An
//! evictable block counts as free.
//!
//! Simplification: when two requests compute the same content at the same time, the second gives its copy back and
//! shares the first's; engines usually keep both until they finish.

use crate::request::{HashChain, Prefix};
use crate::rng::mix;
use crate::scenario::Kv;
use crate::table::{KeyMap, SlotId, Table};

/// Block accounting of one replica.
#[derive(Debug)]
pub struct KvCache {
    rule: Kv,
    /// Blocks held by single requests.
    private: u32,
    prefix: Option<PrefixCache>,
}

/// Leading blocks of a prompt that the cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// How many.
    pub blocks: u32,
    /// How many of them are evictable now, and stop being free when used.
    pub evictable: u32,
}

impl KvCache {
    /// An empty cache. `block_tokens` must be a power of two and `watermark_blocks < blocks`.
    pub fn new(rule: Kv) -> Self {
        assert!(rule.block_tokens.is_power_of_two(), "block of {} tokens", rule.block_tokens);
        assert!(rule.watermark_blocks < rule.blocks, "{rule:?}");
        KvCache { rule, private: 0, prefix: rule.prefix_cache.then(PrefixCache::default) }
    }

    /// Forgets everything: all blocks are free, no content is left. Requests that held blocks must be told themselves.
    pub fn clear(&mut self) {
        *self = KvCache::new(self.rule);
    }

    /// Tokens a block holds.
    #[inline]
    pub fn block_tokens(&self) -> u32 {
        self.rule.block_tokens
    }

    /// Blocks that hold `tokens` tokens.
    #[inline]
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.rule.block_tokens)
    }

    /// Blocks in use by running requests.
    #[inline]
    pub fn used(&self) -> u32 {
        self.private + self.prefix.as_ref().map_or(0, |prefix| prefix.pinned)
    }

    /// Blocks that can be taken, evictable ones included.
    #[inline]
    pub fn free(&self) -> u32 {
        self.rule.blocks - self.used()
    }

    /// Whether a request that needs `need` new blocks besides `hit` may be admitted, `reserve` blocks more than the
    /// watermark staying free. A replica that runs nothing ignores both, so that every request that fits at all gets its
    /// turn.
    #[inline]
    pub fn admits(&self, need: u32, hit: Hit, idle: bool, reserve: u32) -> bool {
        let spare = if idle { 0 } else { u64::from(self.rule.watermark_blocks) + u64::from(reserve) };
        u64::from(self.free()) >= u64::from(need) + u64::from(hit.evictable) + spare
    }

    /// Takes `blocks` for one request.
    #[inline]
    pub fn take(&mut self, blocks: u32) {
        assert!(blocks <= self.free(), "{blocks} KV blocks asked of {} free", self.free());
        self.private += blocks;
        if let Some(prefix) = &mut self.prefix {
            prefix.evict_to(self.rule.blocks - self.private);
        }
    }

    /// Cached leading blocks of the request's next prefill; at least one token is left to compute.
    pub fn lookup(&self, table: &Table, id: SlotId) -> Hit {
        let Some(prefix) = &self.prefix else { return Hit::default() };
        let mut hit = Hit::default();
        let most = (table[id].target - 1) / self.rule.block_tokens;
        while hit.blocks < most {
            let key = block_key(table, id, hit.blocks, self.rule.block_tokens);
            let Some(&entry) = key.and_then(|key| prefix.index.get(key)) else { break };
            hit.evictable += u32::from(prefix.entries[entry as usize].pins == 0);
            hit.blocks += 1;
        }
        hit
    }

    /// Pins the first `blocks` blocks of the request, all of which [`KvCache::lookup`] found.
    pub fn pin(&mut self, table: &Table, id: SlotId, blocks: u32) {
        let Some(prefix) = &mut self.prefix else { return };
        for block in 0..blocks {
            let key = block_key(table, id, block, self.rule.block_tokens).expect("a cached block has a key");
            let entry = *prefix.index.get(key).expect("a block that was looked up is cached");
            prefix.pin(entry);
        }
    }

    /// Makes the full blocks among the first `tokens` tokens of a request reusable; it goes on using them.
    pub fn publish(&mut self, table: &mut Table, id: SlotId, tokens: u32) {
        let Some(prefix) = &mut self.prefix else { return };
        for block in table[id].shared_blocks..tokens / self.rule.block_tokens {
            let Some(key) = block_key(table, id, block, self.rule.block_tokens) else { break };
            self.private -= 1;
            match prefix.index.get(key) {
                Some(&entry) => prefix.pin(entry),
                None => prefix.insert_pinned(key),
            }
            table[id].shared_blocks = block + 1;
        }
    }

    /// Gives back everything a request with `tokens` tokens of context holds.
    #[inline]
    pub fn release(&mut self, table: &mut Table, id: SlotId, tokens: u32) {
        let shared = table[id].shared_blocks;
        self.private -= self.blocks_for(tokens) - shared;
        if shared > 0 {
            let prefix = self.prefix.as_mut().expect("shared blocks come from a prefix cache");
            // Last block first, so that the deepest part of a prefix is evicted before its beginning.
            for block in (0..shared).rev() {
                let key =
                    block_key(table, id, block, self.rule.block_tokens).expect("a shared block has a key");
                let entry = *prefix.index.get(key).expect("a pinned block is cached");
                prefix.unpin(entry);
            }
            table[id].shared_blocks = 0;
        }
    }
}

/// Identity of the `block`-th block of a request's context; `None` when its content never repeats.
pub(super) fn block_key(table: &Table, id: SlotId, block: u32, block_tokens: u32) -> Option<u64> {
    let head = table.head(id);
    let end = (block + 1) * block_tokens;
    match table.chain(id) {
        Some(chain) => chain_key(chain, head.prompt_tokens, block, end),
        None => prefix_key(&head.prefix, block, end),
    }
}

fn chain_key(chain: &HashChain, prompt_tokens: u32, block: u32, end: u32) -> Option<u64> {
    let covering = chain.hashes.get(((end - 1) / chain.tokens_per_hash) as usize)?;
    (end <= prompt_tokens).then(|| mix(mix(*covering) ^ u64::from(block)))
}

fn prefix_key(prefix: &Prefix, block: u32, end: u32) -> Option<u64> {
    let (kind, identity) = if end <= prefix.shared_tokens && prefix.shared != 0 {
        (1, prefix.shared)
    } else if prefix.own != 0 {
        (2, prefix.own)
    } else {
        return None;
    };
    Some(mix(mix(identity ^ kind << 62) ^ u64::from(block)))
}

/// Blocks with an identity.
#[derive(Debug, Default)]
struct PrefixCache {
    index: KeyMap<u32>,
    entries: Vec<CachedBlock>,
    unused: Vec<u32>,
    /// Least recently used evictable entry.
    oldest: Option<u32>,
    newest: Option<u32>,
    pinned: u32,
}

#[derive(Clone, Copy, Debug)]
struct CachedBlock {
    key: u64,
    pins: u32,
    older: Option<u32>,
    newer: Option<u32>,
}

impl PrefixCache {
    fn insert_pinned(&mut self, key: u64) {
        let block = CachedBlock { key, pins: 1, older: None, newer: None };
        let entry = match self.unused.pop() {
            Some(entry) => {
                self.entries[entry as usize] = block;
                entry
            }
            None => {
                self.entries.push(block);
                (self.entries.len() - 1) as u32
            }
        };
        assert!(self.index.insert_new(key, entry), "block {key:016x} is cached twice");
        self.pinned += 1;
    }

    fn pin(&mut self, entry: u32) {
        if self.entries[entry as usize].pins == 0 {
            self.unlink(entry);
            self.pinned += 1;
        }
        self.entries[entry as usize].pins += 1;
    }

    fn unpin(&mut self, entry: u32) {
        let block = &mut self.entries[entry as usize];
        block.pins -= 1;
        if block.pins == 0 {
            self.pinned -= 1;
            (block.older, block.newer) = (self.newest, None);
            match self.newest {
                Some(newest) => self.entries[newest as usize].newer = Some(entry),
                None => self.oldest = Some(entry),
            }
            self.newest = Some(entry);
        }
    }

    fn unlink(&mut self, entry: u32) {
        let CachedBlock { older, newer, .. } = self.entries[entry as usize];
        match older {
            Some(older) => self.entries[older as usize].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.entries[newer as usize].older = older,
            None => self.newest = older,
        }
    }

    /// Evicts least recently used blocks until at most `room` are left.
    fn evict_to(&mut self, room: u32) {
        while self.index.len() > room as usize {
            let entry = self.oldest.expect("pinned blocks alone always fit");
            self.unlink(entry);
            self.index.remove(self.entries[entry as usize].key);
            self.unused.push(entry);
        }
    }
}

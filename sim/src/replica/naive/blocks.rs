//! The KV blocks of the reference replica, one by one.

use super::Member;
use crate::replica::kv::block_key;
use crate::scenario::Kv;
use crate::table::{SlotId, Table};
use std::collections::BTreeMap;

/// KV blocks, one by one.
#[derive(Debug)]
pub(super) struct BlockPool {
    pub(super) rule: Kv,
    pub(super) blocks: Vec<Block>,
    /// Blocks with neither user nor content.
    empty: Vec<usize>,
    by_key: BTreeMap<u64, usize>,
    releases: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    pub(super) users: u32,
    key: Option<u64>,
    released: u64,
}

impl BlockPool {
    pub(super) fn new(rule: Kv) -> Self {
        let count = rule.blocks as usize;
        BlockPool {
            rule,
            blocks: vec![Block::default(); count],
            empty: (0..count).collect(),
            by_key: BTreeMap::new(),
            releases: 0,
        }
    }

    fn evictable(&self) -> usize {
        self.by_key.values().filter(|&&block| self.blocks[block].users == 0).count()
    }

    pub(super) fn free(&self) -> usize {
        self.empty.len() + self.evictable()
    }

    pub(super) fn used(&self) -> usize {
        self.blocks.len() - self.free()
    }

    /// A block for one user: an empty one, else the least recently used content is dropped.
    pub(super) fn take(&mut self) -> Option<usize> {
        let block = self.empty.pop().or_else(|| {
            let idle = self.by_key.values().copied().filter(|&block| self.blocks[block].users == 0);
            let oldest = idle.min_by_key(|&block| self.blocks[block].released)?;
            self.by_key.remove(&self.blocks[oldest].key.take().expect("cached blocks have a key"));
            Some(oldest)
        })?;
        self.blocks[block].users = 1;
        Some(block)
    }

    fn drop_user(&mut self, block: usize) {
        self.blocks[block].users -= 1;
        if self.blocks[block].users == 0 {
            if self.blocks[block].key.is_some() {
                self.releases += 1;
                self.blocks[block].released = self.releases;
            } else {
                self.empty.push(block);
            }
        }
    }

    pub(super) fn release(&mut self, blocks: &mut Vec<usize>) {
        while let Some(block) = blocks.pop() {
            self.drop_user(block);
        }
    }

    /// Gives full blocks their content's key; a block whose content is cached already is exchanged for that one.
    pub(super) fn publish(&mut self, table: &Table, member: &mut Member, tokens: u32) {
        if !self.rule.prefix_cache {
            return;
        }
        for index in 0..(tokens / self.rule.block_tokens) as usize {
            let own = member.blocks[index];
            if self.blocks[own].key.is_some() {
                continue;
            }
            let Some(key) = block_key(table, member.id, index as u32, self.rule.block_tokens) else { break };
            match self.by_key.get(&key).copied() {
                Some(cached) => {
                    self.blocks[cached].users += 1;
                    member.blocks[index] = cached;
                    self.drop_user(own);
                }
                None => {
                    self.blocks[own].key = Some(key);
                    self.by_key.insert(key, own);
                }
            }
        }
    }

    /// Cached leading blocks of the request's next prefill.
    pub(super) fn lookup(&self, table: &Table, id: SlotId) -> Vec<usize> {
        let most = (table[id].target - 1) / self.rule.block_tokens;
        let cached = |index| {
            let key = block_key(table, id, index, self.rule.block_tokens)?;
            self.by_key.get(&key).copied()
        };
        if self.rule.prefix_cache { (0..most).map_while(cached).collect() } else { Vec::new() }
    }
}

//! Allocation of KV cache pages. A page holds [`PAGE`] tokens. Sequences with a common prefix share pages, which are found in a
//! prefix tree. A page in the tree stays there after its last user has finished, until its memory is needed.

use std::collections::{BTreeMap, HashMap};

/// Number of tokens of a page.
pub use torch_ext::decoder::PAGE;

/// Identifies a node in the tree of prefixes; 0 is the root. An id is never reused.
type NodeId = u64;

/// Position of a page in the tree: its parent node and its tokens.
type Key = (NodeId, Box<[i64]>);

/// Reference counts of all pages, and the prefix tree of full pages.
pub struct PagePool {
    /// Number of users (sequences and kept prompts) of each page.
    users: Vec<u32>,
    /// Pages without users that are not in the tree.
    free: Vec<u32>,
    /// Full pages by their parent node and their tokens. Whole tokens are compared instead of digests, because a collision
    /// would give a wrong answer.
    tree: HashMap<Key, (NodeId, u32)>,
    /// The key of each page; `None` if the page is not in the tree.
    keys: Vec<Option<Key>>,
    /// Pages in the tree without users, by the time since which they are idle. The first one is evicted next.
    idle: BTreeMap<u64, u32>,
    /// Time of `clock` at which each page became idle.
    idle_since: Vec<u64>,
    /// Counts the events in which a page becomes idle.
    clock: u64,
    last_node: NodeId,
}

impl PagePool {
    /// A pool of `pages` free pages.
    pub fn new(pages: usize) -> Self {
        Self {
            users: vec![0; pages],
            free: (0..pages as u32).rev().collect(),
            tree: HashMap::new(),
            keys: vec![None; pages],
            idle: BTreeMap::new(),
            idle_since: vec![0; pages],
            clock: 0,
            last_node: 0,
        }
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Number of pages that can be taken now.
    pub fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Takes a page: a free one, or else the one that has been idle longest, which is evicted. `None` if all pages have users.
    pub fn take(&mut self) -> Option<u32> {
        let page = self.free.pop().or_else(|| {
            let (_, page) = self.idle.pop_first()?;
            if let Some(key) = self.keys[page as usize].take() {
                self.tree.remove(&key);
            }
            Some(page)
        })?;
        self.users[page as usize] = 1;
        Some(page)
    }

    /// Adds a user to a page.
    pub fn share(&mut self, page: u32) {
        let index = page as usize;
        if self.users[index] == 0 {
            self.idle.remove(&self.idle_since[index]);
        }
        self.users[index] += 1;
    }

    /// Removes one user from each page of a sequence. The last pages become idle first, because a page is useless without the
    /// pages before it.
    pub fn release(&mut self, pages: &[u32]) {
        for &page in pages.iter().rev() {
            let index = page as usize;
            self.users[index] -= 1;
            if self.users[index] > 0 {
                continue;
            }
            if self.keys[index].is_some() {
                self.clock += 1;
                self.idle_since[index] = self.clock;
                self.idle.insert(self.clock, page);
            } else {
                self.free.push(page);
            }
        }
    }

    /// The pages of the longest prefix of `tokens` in the tree, in whole pages.
    pub fn find(&self, tokens: &[i64]) -> Vec<u32> {
        let mut node = 0;
        let known = tokens.chunks_exact(PAGE).map_while(|chunk| {
            let (next, page) = *self.tree.get(&(node, Box::from(chunk)))?;
            node = next;
            Some(page)
        });
        known.collect()
    }

    /// Adds the full pages of a sequence to the tree. If the tree already has a page for the same prefix, that page stays.
    pub fn remember(&mut self, tokens: &[i64], pages: &[u32]) {
        let mut node = 0;
        for (chunk, &page) in tokens.chunks_exact(PAGE).zip(pages) {
            let key: Key = (node, Box::from(chunk));
            if let Some((next, _)) = self.tree.get(&key) {
                node = *next;
                continue;
            }
            if self.keys[page as usize].is_some() {
                // This page is elsewhere in the tree, after a page that was evicted.
                return;
            }
            self.last_node += 1;
            node = self.last_node;
            self.tree.insert(key.clone(), (node, page));
            self.keys[page as usize] = Some(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(from: i64, pages: usize) -> Vec<i64> {
        (from..from + (pages * PAGE) as i64).collect()
    }

    fn take(pool: &mut PagePool, count: usize) -> Vec<u32> {
        (0..count).map(|_| pool.take().unwrap()).collect()
    }

    #[test]
    fn prefixes_are_found_shared_and_given_away_from_their_ends() {
        let mut pool = PagePool::new(4);
        let long = tokens(0, 3);
        let pages = take(&mut pool, 3);
        pool.remember(&long, &pages);
        assert_eq!(pool.find(&long), pages);
        assert_eq!(pool.find(&long[..2 * PAGE + 5]), pages[..2]);
        assert!(pool.find(&tokens(1, 3)).is_empty());
        // The same tokens after a different prefix are another page.
        let other = [tokens(900, 1), tokens(PAGE as i64, 1)].concat();
        assert!(pool.find(&other).is_empty());
        pool.release(&pages);
        assert_eq!(pool.available(), 4);
        // One page is shared again. Two pages are needed: the free one, then the end of the prefix.
        pool.share(pages[0]);
        assert_eq!(pool.available(), 3);
        let taken = take(&mut pool, 2);
        assert_eq!(taken[1], pages[2]);
        assert_eq!(pool.find(&long), pages[..2]);
        take(&mut pool, 1);
        assert_eq!((pool.find(&long), pool.take()), (pages[..1].to_vec(), None));
    }

    #[test]
    fn a_page_is_free_only_after_its_last_user() {
        let mut pool = PagePool::new(2);
        let page = pool.take().unwrap();
        pool.share(page);
        pool.release(&[page]);
        assert_eq!(pool.available(), 1);
        pool.release(&[page]);
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn equal_tokens_keep_the_first_page_and_orphans_do_not_return() {
        let mut pool = PagePool::new(5);
        let text = tokens(0, 2);
        let (first, second) = (take(&mut pool, 2), take(&mut pool, 2));
        pool.remember(&text, &first);
        pool.remember(&text, &second);
        assert_eq!(pool.find(&text), first);
        pool.release(&second);
        assert_eq!(pool.available(), 3);
        // The first page is evicted while the second has a user: the pages after it can no longer be found.
        pool.release(&first[..1]);
        take(&mut pool, 4);
        assert!(pool.find(&text).is_empty());
        assert_eq!(pool.take(), None);
        pool.release(&first[1..]);
        assert_eq!(pool.take(), Some(first[1]));
    }
}

//! [`Tree`]: entries by the beginning of a path; a radix tree shared between routers.

use std::sync::Arc;

use gateway_model::Id;

use super::route::Entry;

/// Entries by the literal beginning of the paths they match.
///
/// Cloning costs nothing; changing a clone copies the nodes on the way, which are as many as
/// the key has branchings.
#[derive(Clone, Default)]
pub(super) struct Tree {
    root: Arc<Node>,
}

#[derive(Clone, Default)]
struct Node {
    /// What leads here from the parent; empty for the root only.
    label: Box<[u8]>,
    /// In descending rank.
    entries: Vec<Entry>,
    /// The first byte of each child's label, ascending.
    firsts: Vec<u8>,
    children: Vec<Arc<Node>>,
}

impl Tree {
    /// Gives `visit` the entries of every key that `path` begins with, the shortest key first.
    pub(super) fn along<'t>(&'t self, path: &[u8], mut visit: impl FnMut(&'t [Entry])) {
        let mut node = &*self.root;
        let mut rest = path;
        loop {
            if !node.entries.is_empty() {
                visit(&node.entries);
            }
            let Some(child) = rest.first().and_then(|first| node.child(*first)) else { return };
            let Some(below) = rest.strip_prefix(&*child.label) else { return };
            (node, rest) = (child, below);
        }
    }

    /// Adds an entry.
    pub(super) fn insert(&mut self, key: &[u8], entry: Entry) {
        Arc::make_mut(&mut self.root).insert(key, entry);
    }

    /// Removes the entries of a route at `key`.
    pub(super) fn remove(&mut self, key: &[u8], route: Id) {
        Arc::make_mut(&mut self.root).remove(key, route);
    }

    /// How many nodes there are, the root included.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        fn below(node: &Node) -> usize {
            1 + node.children.iter().map(|child| below(child)).sum::<usize>()
        }
        below(&self.root)
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.children.is_empty()
    }

    fn child(&self, first: u8) -> Option<&Node> {
        self.firsts.binary_search(&first).ok().map(|at| &*self.children[at])
    }

    fn insert(&mut self, key: &[u8], entry: Entry) {
        let Some(first) = key.first() else {
            let at = self.entries.partition_point(|held| held.rank > entry.rank);
            return self.entries.insert(at, entry);
        };
        match self.firsts.binary_search(first) {
            Err(at) => {
                let leaf = Node { label: key.into(), entries: vec![entry], ..Node::default() };
                self.firsts.insert(at, *first);
                self.children.insert(at, Arc::new(leaf));
            }
            Ok(at) => {
                let child = Arc::make_mut(&mut self.children[at]);
                let shared = child.label.iter().zip(key).take_while(|(a, b)| a == b).count();
                if shared < child.label.len() {
                    child.split(shared);
                }
                child.insert(&key[shared..], entry);
            }
        }
    }

    /// Keeps the first `at` bytes of the label and moves the rest into an only child.
    fn split(&mut self, at: usize) {
        let mut lower = std::mem::take(self);
        self.label = lower.label[..at].into();
        lower.label = lower.label[at..].into();
        self.firsts = vec![lower.label[0]];
        self.children = vec![Arc::new(lower)];
    }

    fn remove(&mut self, key: &[u8], route: Id) {
        let Some(first) = key.first() else {
            return self.entries.retain(|entry| entry.route.id() != route);
        };
        let Ok(at) = self.firsts.binary_search(first) else { return };
        let Some(below) = key.strip_prefix(&*self.children[at].label) else { return };
        let child = Arc::make_mut(&mut self.children[at]);
        child.remove(below, route);
        if child.is_empty() {
            self.firsts.remove(at);
            self.children.remove(at);
        } else if child.entries.is_empty() && child.children.len() == 1 {
            child.join();
        }
    }

    /// Takes the place of an only child.
    fn join(&mut self) {
        if let Some(child) = self.children.pop() {
            let label = [&*self.label, &*child.label].concat().into();
            *self = Self { label, ..Arc::unwrap_or_clone(child) };
        }
    }
}

//! A tree of entries whose versions share what they have in common: a change copies the nodes on the way to one leaf, and
//! of those only what a snapshot reads.
//!
//! All leaves are equally far from the root, unless trees were put [`beside`](Node::beside) each other to be read. No node
//! is empty, and two neighbours under one branch together fill more than half a node, so n entries are O(log n) deep.
//! Pure: no clock, no I/O, no tasks.

use std::slice;
use std::sync::Arc;

use crate::Entry;

/// Most entries of a leaf, and most children of a branch; hence most pointers that one node costs to copy.
pub(crate) const WIDTH: usize = 64;

/// Two neighbours that hold no more than this together become one.
const MERGED: usize = WIDTH / 2;

pub(crate) enum Node<V> {
    Leaf(Arc<Vec<Arc<Entry<V>>>>),
    Branch(Arc<Branch<V>>),
}

pub(crate) struct Branch<V> {
    /// How many entries there are beneath.
    entries: usize,
    children: Vec<Child<V>>,
}

struct Child<V> {
    /// No serial within is lower, and every serial before is.
    from: u64,
    node: Node<V>,
}

/// Iterates over the nodes under one branch, in order.
pub(crate) struct Children<'a, V>(slice::Iter<'a, Child<V>>);

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
        }
    }
}

impl<V> Clone for Branch<V> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries,
            children: self.children.clone(),
        }
    }
}

impl<V> Clone for Child<V> {
    fn clone(&self) -> Self {
        Self {
            from: self.from,
            node: self.node.clone(),
        }
    }
}

impl<V> Clone for Children<'_, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, V> Iterator for Children<'a, V> {
    type Item = &'a Node<V>;

    fn next(&mut self) -> Option<&'a Node<V>> {
        self.0.next().map(|child| &child.node)
    }
}

impl<V> Node<V> {
    /// A leaf.
    pub(crate) fn of(entries: Vec<Arc<Entry<V>>>) -> Self {
        Self::Leaf(Arc::new(entries))
    }

    /// Trees one after another, to be read only: their serials have nothing to do with each other.
    pub(crate) fn beside(trees: impl Iterator<Item = Self>) -> Self {
        let children = trees.map(|node| Child { from: 0, node });
        Self::branch(children.collect())
    }

    fn branch(children: Vec<Child<V>>) -> Self {
        let entries = children.iter().map(|child| child.node.len()).sum();
        Self::Branch(Arc::new(Branch { entries, children }))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(branch) => branch.entries,
        }
    }

    /// How much of the node itself is taken.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(branch) => branch.children.len(),
        }
    }

    /// The entry with that serial.
    pub(crate) fn get(&self, serial: u64) -> Option<&Arc<Entry<V>>> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => return find(entries, serial).map(|index| &entries[index]),
                Self::Branch(branch) => node = &branch.children[branch.child_of(serial)?].node,
            }
        }
    }

    /// The last entry there is, if there is only one.
    pub(crate) fn only(&self) -> Option<Arc<Entry<V>>> {
        match self {
            Self::Leaf(entries) => match entries.as_slice() {
                [only] => Some(Arc::clone(only)),
                _ => None,
            },
            Self::Branch(_) => None,
        }
    }

    /// Adds an entry whose serial is higher than all here. The tree may grow by a level.
    pub(crate) fn push_at_root(&mut self, entry: Arc<Entry<V>>) {
        let from = entry.serial;
        if let Some(node) = self.push(entry) {
            let before = Child {
                from: 0,
                node: self.clone(),
            };
            *self = Self::branch(vec![before, Child { from, node }]);
        }
    }

    /// Adds an entry, or gives back a node of the same height that has it, where all is full here.
    fn push(&mut self, entry: Arc<Entry<V>>) -> Option<Self> {
        match self {
            Self::Leaf(entries) if entries.len() == WIDTH => Some(Self::of(vec![entry])),
            Self::Leaf(entries) => {
                Arc::make_mut(entries).push(entry);
                None
            }
            Self::Branch(branch) => Arc::make_mut(branch).push(entry),
        }
    }

    /// Takes an entry out that is here. The tree may lose levels.
    pub(crate) fn remove_at_root(&mut self, serial: u64) -> Arc<Entry<V>> {
        let entry = self.remove(serial);
        while let Self::Branch(branch) = self
            && let [only] = branch.children.as_slice()
        {
            *self = only.node.clone();
        }
        entry
    }

    fn remove(&mut self, serial: u64) -> Arc<Entry<V>> {
        match self {
            Self::Branch(branch) => Arc::make_mut(branch).remove(serial),
            Self::Leaf(entries) => {
                let entries = Arc::make_mut(entries);
                let index = find(entries, serial).expect(IT_IS_HERE);
                let entry = entries.remove(index);
                if entries.len() < entries.capacity() / 4 {
                    entries.shrink_to(entries.len() * 2);
                }
                entry
            }
        }
    }

    /// Takes in what a neighbour of the same height has, which stands behind this.
    fn absorb(&mut self, behind: Self) {
        match (self, behind) {
            (Self::Leaf(entries), Self::Leaf(behind)) => {
                Arc::make_mut(entries).extend(Arc::unwrap_or_clone(behind));
            }
            (Self::Branch(branch), Self::Branch(behind)) => {
                let (branch, behind) = (Arc::make_mut(branch), Arc::unwrap_or_clone(behind));
                branch.entries += behind.entries;
                branch.children.extend(behind.children);
            }
            _ => unreachable!("neighbours are of one height"),
        }
    }
}

/// Whoever takes an entry out has looked for it before.
const IT_IS_HERE: &str = "the entry is here";

fn find<V>(entries: &[Arc<Entry<V>>], serial: u64) -> Option<usize> {
    // Who came last is often who goes first, and the end is where nothing needs to be searched.
    match entries.last() {
        Some(last) if last.serial == serial => Some(entries.len() - 1),
        _ => entries.binary_search_by_key(&serial, |e| e.serial).ok(),
    }
}

impl<V> Branch<V> {
    pub(crate) fn children(&self) -> Children<'_, V> {
        Children(self.children.iter())
    }

    /// Which child has the entry with that serial, if any has.
    fn child_of(&self, serial: u64) -> Option<usize> {
        let behind = self.children.partition_point(|child| child.from <= serial);
        behind.checked_sub(1)
    }

    fn push(&mut self, entry: Arc<Entry<V>>) -> Option<Node<V>> {
        let from = entry.serial;
        let last = self.children.last_mut().expect("no branch is bare");
        if let Some(node) = last.node.push(entry) {
            let child = Child { from, node };
            if self.children.len() == WIDTH {
                return Some(Node::branch(vec![child]));
            }
            self.children.push(child);
        }
        self.entries += 1;
        None
    }

    fn remove(&mut self, serial: u64) -> Arc<Entry<V>> {
        let at = self.child_of(serial).expect(IT_IS_HERE);
        let entry = self.children[at].node.remove(serial);
        self.entries -= 1;
        self.settle(at);
        entry
    }

    /// After a removal from that child: no empty child, and no two small ones side by side.
    fn settle(&mut self, at: usize) {
        if self.children[at].node.width() == 0 {
            self.children.remove(at);
            return;
        }
        let small = |&left: &usize| {
            let pair = self.children.get(left..left + 2);
            pair.is_some_and(|pair| pair.iter().map(|c| c.node.width()).sum::<usize>() <= MERGED)
        };
        let pairs = [Some(at), at.checked_sub(1)];
        if let Some(left) = pairs.into_iter().flatten().find(small) {
            let behind = self.children.remove(left + 1);
            self.children[left].node.absorb(behind.node);
        }
    }
}

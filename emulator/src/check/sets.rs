//! Sets of accesses to one place since it was last written plainly.
//!
//! Sets are lists with shared tails, and what an access does to a set is remembered: data that a thousand warps read in the same way
//! costs one list, and one look-up a read. The latest access is the first of its list. A strong write that a strong read saw comes
//! before whatever that read comes before, though nothing was released (observation order in the PTX ISA). An access leaves out of the set what happened before it, where whatever would race
//! with that would race with the access as well.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// What an access does, as far as races go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A weak read.
    Read,
    /// A weak write.
    Write,
    /// A strong (relaxed, volatile, acquiring) read; within the block only, if `true`.
    StrongRead(bool),
    /// A strong write; within the block only, if `true`.
    StrongWrite(bool),
    /// An atomic operation: a strong read and write; within the block only, if `true`.
    Atomic(bool),
}

impl Class {
    /// Whether it writes.
    pub fn writes(self) -> bool {
        matches!(self, Class::Write | Class::StrongWrite(_) | Class::Atomic(_))
    }

    /// Whether it is strong, and if so, whether for the block only.
    fn strong(self) -> Option<bool> {
        match self {
            Class::StrongRead(block) | Class::StrongWrite(block) | Class::Atomic(block) => Some(block),
            Class::Read | Class::Write => None,
        }
    }

    /// Whether it reads strongly: it sees the strong writes before it.
    fn observes(self) -> bool {
        matches!(self, Class::StrongRead(_) | Class::Atomic(_))
    }

    /// Whether two accesses that nothing orders are a race.
    pub fn conflicts(self, other: Class, same_block: bool) -> bool {
        if !self.writes() && !other.writes() {
            return false;
        }
        match (self.strong(), other.strong()) {
            (Some(a), Some(b)) => (a || b) && !same_block,
            _ => true,
        }
    }

    /// Whether every access that could race with `other`, which happened before this, could race with this.
    fn stands_for(self, other: Class, same_block: bool) -> bool {
        let alike = |a: bool, b: bool| a == b && (same_block || !a);
        match (self, other) {
            (Class::Read, Class::Read | Class::StrongRead(_)) => true,
            (Class::StrongRead(a) | Class::StrongWrite(a) | Class::Atomic(a), Class::StrongRead(b)) => {
                alike(a, b)
            }
            (Class::StrongWrite(a), Class::StrongWrite(b)) => alike(a, b),
            (Class::Atomic(a), Class::StrongWrite(b) | Class::Atomic(b)) => alike(a, b),
            _ => false,
        }
    }
}

/// An access, or the same by several lanes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Number of the warp in the grid.
    pub warp: u32,
    /// The warp's epoch.
    pub epoch: u32,
    /// The lanes.
    pub mask: u32,
    /// What it does.
    pub class: Class,
    /// The instruction.
    pub pc: u32,
}

/// The empty set.
pub const EMPTY: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Node {
    member: Member,
    rest: u32,
    /// The member and the rest are weak reads.
    reads_only: bool,
}

/// Members of a set of weak reads that another read is compared with: one that is there twice costs memory and no more.
const LOOK_BACK: usize = 16;

/// All sets of a launch, or of the shared memory of a block.
#[derive(Debug)]
pub struct Sets {
    /// Set `i` is node `i - 1` and its rest.
    nodes: Vec<Node>,
    after: HashMap<Key, u32, BuildHasherDefault<Mix>>,
    /// What was asked of `after` lately, by the first lane of the access: a warp that goes through an array asks the same again.
    recent: [(Key, u32); 32],
}

/// A set, and the access that comes: its warp, epoch, lanes and class.
type Key = (u32, u32, u32, u32, Class);

impl Default for Sets {
    fn default() -> Sets {
        // No access has no lanes.
        Sets {
            nodes: Vec::new(),
            after: HashMap::default(),
            recent: [((EMPTY, 0, 0, 0, Class::Read), EMPTY); 32],
        }
    }
}

/// What others have to say about members.
pub trait Relations {
    /// Whether the new access knows that `old` happened before.
    fn ordered(&self, old: &Member, new: &Member) -> bool;
    /// Whether the new access knows that a plain write happened before: the same, for what is asked most.
    fn ordered_write(&self, warp: u32, lane: u8, epoch: u32, new: &Member) -> bool;
    /// Whether two warps are in one block.
    fn same_block(&self, a: u32, b: u32) -> bool;
    /// Whether nobody can come to know of the accesses of this warp any more.
    fn closed(&self, warp: u32) -> bool;
}

impl Sets {
    /// The set after `new`, or the member of it that `new` races with.
    #[inline(always)]
    pub fn after(&mut self, set: u32, new: &Member, relations: &impl Relations) -> Result<u32, Member> {
        if set == EMPTY && new.class == Class::Write {
            return Ok(EMPTY);
        }
        let key = (set, new.warp, new.epoch, new.mask, new.class);
        let (recent, known) = self.recent[new.mask.trailing_zeros() as usize & 31];
        if recent == key { Ok(known) } else { self.ask(key, new, relations) }
    }

    #[inline(never)]
    fn ask(&mut self, key: Key, new: &Member, relations: &impl Relations) -> Result<u32, Member> {
        let known = match self.after.get(&key) {
            Some(&known) => known,
            None => {
                let found = self.find_after(key.0, new, relations)?;
                self.after.insert(key, found);
                found
            }
        };
        self.recent[new.mask.trailing_zeros() as usize & 31] = (key, known);
        Ok(known)
    }

    fn top(&self, set: u32) -> Option<&Member> {
        self.nodes.get((set as usize).wrapping_sub(1)).map(|n| &n.member)
    }

    fn find_after(&mut self, set: u32, new: &Member, relations: &impl Relations) -> Result<u32, Member> {
        if let Some(found) = self.read_after_reads(set, new, relations) {
            return Ok(found);
        }
        let mut kept = Vec::new();
        let (mut at, mut all, mut written) = (set, true, false);
        // Whether somebody read strongly what lies further down, and the new access knows of that.
        let mut observed = false;
        while let Some(&Node { member, rest, .. }) = self.nodes.get((at as usize).wrapping_sub(1)) {
            at = rest;
            let same_block = relations.same_block(member.warp, new.warp);
            let same = member.warp == new.warp && member.epoch == new.epoch && member.class == new.class;
            if same && !written && member.mask & new.mask == new.mask {
                return Ok(set);
            }
            let conflict = new.class.conflicts(member.class, same_block);
            let may_go = new.class.stands_for(member.class, same_block);
            let ordered = (conflict || may_go || member.class.observes()) && relations.ordered(&member, new);
            let seen = member.class.strong().is_some() && member.class.writes();
            if conflict && !ordered && !(observed && seen) {
                return Err(member);
            }
            // What an atomic operation saw comes before whatever it comes before itself.
            if may_go && (ordered || (seen && matches!(new.class, Class::Atomic(_)))) {
                all = false;
            } else {
                kept.push(member);
            }
            observed |= ordered && member.class.observes();
            written |= member.class.writes();
        }
        if new.class == Class::Write {
            return Ok(EMPTY);
        }
        let both_read = |top: &Member| top.class == Class::Read && new.class == Class::Read;
        if self.top(set).is_some_and(|top| both_read(top) && relations.closed(top.warp)) {
            return Ok(set);
        }
        let rest = if all { set } else { kept.iter().rev().fold(EMPTY, |rest, &m| self.push(rest, m)) };
        Ok(self.push(rest, *new))
    }

    /// The set after a weak read, where the others are weak reads too: nothing conflicts, whatever their number.
    fn read_after_reads(&mut self, set: u32, new: &Member, relations: &impl Relations) -> Option<u32> {
        let node = |at: u32| self.nodes.get((at as usize).wrapping_sub(1));
        let top = node(set).filter(|top| top.reads_only && new.class == Class::Read)?;
        // Whatever could race with the new access will race with the last one, which nobody can come to know of.
        if relations.closed(top.member.warp) {
            return Some(set);
        }
        let mut at = set;
        for _ in 0..LOOK_BACK {
            // Short sets are looked through in full, and what the new access stands for leaves them.
            let Node { member, rest, .. } = node(at)?;
            if (member.warp, member.epoch) == (new.warp, new.epoch) && member.mask & new.mask == new.mask {
                return Some(set);
            }
            at = *rest;
        }
        Some(self.push(set, *new))
    }

    /// A member that writes.
    pub fn writer(&self, mut set: u32) -> Option<Member> {
        while let Some(&Node { member, rest, .. }) = self.nodes.get((set as usize).wrapping_sub(1)) {
            if member.class.writes() {
                return Some(member);
            }
            set = rest;
        }
        None
    }

    fn push(&mut self, rest: u32, member: Member) -> u32 {
        let rest_reads = self.nodes.get((rest as usize).wrapping_sub(1)).is_none_or(|node| node.reads_only);
        let reads_only = member.class == Class::Read && rest_reads;
        self.nodes.push(Node { member, rest, reads_only });
        self.nodes.len() as u32
    }
}

/// A hasher for small keys: multiplies and rotates.
#[derive(Debug, Default, Clone)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }

    fn write_u8(&mut self, v: u8) {
        self.write_u64(u64::from(v));
    }

    fn write_u32(&mut self, v: u32) {
        self.write_u64(u64::from(v));
    }

    fn write_u64(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(23) ^ v).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_isize(&mut self, v: isize) {
        self.write_u64(v as u64);
    }
}

//! What was released at each place of memory that threads synchronise through.

use super::{clock::Clock, sets::Mix};
use crate::machine::Scope;
use std::{collections::HashMap, hash::BuildHasherDefault, sync::Arc};

/// What writes released to one place.
#[derive(Debug, Default)]
struct Place {
    /// To all blocks.
    all: Option<Arc<Clock>>,
    /// By each block to itself at least.
    blocks: Vec<(u32, Arc<Clock>)>,
}

/// The places that hold something released: by the block that owns the memory (one more than its number; 0 for global memory), and the
/// address of the word.
#[derive(Debug, Default)]
pub struct Releases {
    places: HashMap<(u32, u64), Place, BuildHasherDefault<Mix>>,
}

/// What a read of a place finds released to it, and for how wide a scope it must acquire to learn it.
pub type Found = Vec<(Scope, Arc<Clock>)>;

impl Releases {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A write that does not continue what was released before: only atomic operations do.
    pub fn overwrite(&mut self, place: (u32, u64)) {
        self.places.remove(&place);
    }

    /// A thread of `block` releases `clock`.
    pub fn release(&mut self, place: (u32, u64), block: u32, scope: Scope, clock: Clock) {
        let place = self.places.entry(place).or_default();
        let clock = Arc::new(clock);
        match place.blocks.iter_mut().find(|b| b.0 == block) {
            Some((_, mine)) => join(mine, &clock),
            None => place.blocks.push((block, clock.clone())),
        }
        if scope >= Scope::Device {
            match &mut place.all {
                Some(all) => join(all, &clock),
                None => place.all = Some(clock),
            }
        }
    }

    /// What a thread of `block` finds that reads for this scope.
    pub fn find(&self, place: (u32, u64), block: u32, scope: Scope) -> Found {
        let Some(place) = self.places.get(&place) else { return Vec::new() };
        let mine = place.blocks.iter().find(|b| b.0 == block).map(|b| (Scope::Block, b.1.clone()));
        let all = place.all.clone().filter(|_| scope >= Scope::Device).map(|c| (Scope::Device, c));
        mine.into_iter().chain(all).collect()
    }

    /// Forgets the shared memory of a block.
    pub fn forget_block(&mut self, block: u32) {
        self.places.retain(|&(owner, _), _| owner != block + 1);
    }
}

fn join(to: &mut Arc<Clock>, clock: &Arc<Clock>) {
    if clock.covers(to) {
        *to = clock.clone();
    } else {
        Arc::make_mut(to).join(clock);
    }
}

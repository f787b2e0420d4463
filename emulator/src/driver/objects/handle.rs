//! Handles: what C callers hold instead of pointers to our objects.

use super::code::{Code, Error, Result};
use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A handle: a number that was never given to anything else, so that a stale one is found. It is not a valid address, so that a
/// program that looks behind it stops there.
#[repr(transparent)]
pub struct Id<T>(pub u64, PhantomData<fn() -> T>);

static NEXT: AtomicU64 = AtomicU64::new(0xCDA0_0000_0000_0100);

impl<T> Id<T> {
    pub const NULL: Id<T> = Id(0, PhantomData);

    pub fn fresh() -> Id<T> {
        Id(NEXT.fetch_add(16, Relaxed), PhantomData)
    }

    pub fn is_null(self) -> bool {
        self.0 == 0
    }
}

// SAFETY: zero is a handle: the one of nothing.
unsafe impl<T> bytemuck::Zeroable for Id<T> {}

// SAFETY: a handle is a number, and every number is one: those that were not given out are found when they are looked up.
unsafe impl<T: 'static> bytemuck::AnyBitPattern for Id<T> {}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// All live objects of a kind.
pub struct Registry<T> {
    items: BTreeMap<u64, T>,
    kind: &'static str,
}

impl<T> Registry<T> {
    pub const fn new(kind: &'static str) -> Registry<T> {
        Registry { items: BTreeMap::new(), kind }
    }

    pub fn insert(&mut self, item: T) -> Id<T> {
        let id = Id::fresh();
        self.items.insert(id.0, item);
        id
    }

    pub fn get(&self, id: Id<T>) -> Result<&T> {
        self.items.get(&id.0).ok_or_else(|| missing(id, self.kind))
    }

    pub fn get_mut(&mut self, id: Id<T>) -> Result<&mut T> {
        self.items.get_mut(&id.0).ok_or_else(|| missing(id, self.kind))
    }

    pub fn remove(&mut self, id: Id<T>) -> Result<T> {
        self.items.remove(&id.0).ok_or_else(|| missing(id, self.kind))
    }

    pub fn contains(&self, id: Id<T>) -> bool {
        self.items.contains_key(&id.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.items.iter().map(|(&id, item)| (Id(id, PhantomData), item))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id<T>, &mut T)> {
        self.items.iter_mut().map(|(&id, item)| (Id(id, PhantomData), item))
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.items.retain(|_, item| keep(item));
    }
}

fn missing<T>(id: Id<T>, kind: &str) -> Error {
    Code::INVALID_HANDLE.because(format!("{id:?} is not a live {kind}"))
}

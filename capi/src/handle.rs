//! Which engines and sessions there are, and who has a session.
//!
//! A handle is a number that is never given twice, so one that was freed is never somebody else's. Numbers are spread over 64
//! bits: what is not a handle at all is not taken for one.

use crate::{
    status::{Call, Failure},
    types::{hw_engine, hw_session, hw_status::*},
};
use halfwarp::{
    Engine, Session,
    sampler::{Sampler, SamplingParams},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

enum Object {
    /// With the folder that its model came from.
    Engine(Engine, Option<PathBuf>),
    Session(Arc<Slot>),
}

static OBJECTS: LazyLock<Mutex<HashMap<u64, Object>>> = LazyLock::new(Mutex::default);

/// A session and who has it.
pub struct Slot {
    /// Ends a generation.
    pub cancel: Arc<AtomicBool>,
    /// None once it was freed; locked while a call has it.
    open: Mutex<Option<Open>>,
}

/// A session, the logits of its last decode, and what sampled from them.
pub struct Open {
    /// The text.
    pub session: Session,
    /// `[rows, V]`; empty when they are not those of the text's end.
    pub logits: Vec<f32>,
    /// Keeps its memory while the parameters stay the same.
    pub sampler: Option<(SamplingParams, Sampler)>,
}

/// A session, for as long as a call has it.
pub struct Held<'a>(MutexGuard<'a, Option<Open>>);

impl Held<'_> {
    /// The session.
    pub fn get(&mut self) -> &mut Open {
        self.0.as_mut().expect("a session that is held was not freed")
    }
}

impl Slot {
    /// Takes the session, whose handle is `handle`, unless somebody has it.
    pub fn hold(&self, handle: hw_session) -> Call<Held<'_>> {
        match self.open.try_lock() {
            Ok(open) if open.is_some() => Ok(Held(open)),
            Ok(_) => Err(unknown(handle)),
            Err(TryLockError::WouldBlock) => Err(busy(handle)),
            Err(TryLockError::Poisoned(_)) => Err(Failure::new(
                HW_E_INTERNAL,
                format!("an earlier bug has left session {handle:#x} halfway through a call: free it"),
            )),
        }
    }
}

/// Gives an engine its handle; its model came from `folder`, where it did not come with the library.
pub fn add_engine(engine: Engine, folder: Option<&Path>) -> hw_engine {
    add(Object::Engine(engine, folder.map(Path::to_path_buf)))
}

/// Gives a session its handle.
pub fn add_session(session: Session) -> hw_session {
    let open = Open { session, logits: Vec::new(), sampler: None };
    add(Object::Session(Arc::new(Slot { cancel: Arc::default(), open: Mutex::new(Some(open)) })))
}

/// The engine `handle`.
pub fn engine(handle: hw_engine) -> Call<Engine> {
    match objects().get(&handle) {
        Some(Object::Engine(engine, _)) => Ok(engine.clone()),
        Some(Object::Session(_)) => Err(wrong(handle, "a session", "an engine")),
        None => Err(unknown(handle)),
    }
}

/// The folder that the model of the engine `handle` came from.
pub fn folder(handle: hw_engine) -> Call<Option<PathBuf>> {
    engine(handle)?;
    Ok(match objects().get(&handle) {
        Some(Object::Engine(_, folder)) => folder.clone(),
        _ => None,
    })
}

/// The session `handle`.
pub fn session(handle: hw_session) -> Call<Arc<Slot>> {
    match objects().get(&handle) {
        Some(Object::Session(slot)) => Ok(slot.clone()),
        Some(Object::Engine(..)) => Err(wrong(handle, "an engine", "a session")),
        None => Err(unknown(handle)),
    }
}

/// Forgets an engine; what holds it goes on.
pub fn free_engine(handle: hw_engine) -> Call {
    engine(handle)?;
    // Dropped after the table is unlocked; `None` if another thread was faster.
    let removed = objects().remove(&handle);
    removed.map(drop).ok_or_else(|| unknown(handle))
}

/// Ends a session that no call has, one whose last call panicked among them.
pub fn free_session(handle: hw_session) -> Call {
    let slot = session(handle)?;
    let open = match slot.open.try_lock() {
        Ok(mut open) => open.take(),
        Err(TryLockError::Poisoned(error)) => error.into_inner().take(),
        Err(TryLockError::WouldBlock) => return Err(busy(handle)),
    };
    objects().remove(&handle);
    // Dropped here, after both locks; `None` if another thread was faster.
    open.map(drop).ok_or_else(|| unknown(handle))
}

fn add(object: Object) -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    // Multiplying by an odd number is a permutation of the 64-bit numbers that leaves 0 alone.
    let handle = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    objects().insert(handle, object);
    handle
}

fn objects() -> MutexGuard<'static, HashMap<u64, Object>> {
    // It changes by single insertions and removals.
    OBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(handle: u64) -> Failure {
    Failure::new(HW_E_BAD_HANDLE, format!("{handle:#x} is no engine or session, or was freed"))
}

fn wrong(handle: u64, found: &str, expected: &str) -> Failure {
    Failure::new(HW_E_BAD_HANDLE, format!("{handle:#x} is {found}, expected {expected}"))
}

fn busy(handle: hw_session) -> Failure {
    Failure::new(HW_E_BUSY, format!("another call has session {handle:#x}"))
}

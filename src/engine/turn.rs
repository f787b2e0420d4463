//! [`Engine::forward`]: one forward call over several sessions, for callers that choose the tokens themselves.

use super::{Engine, Runner, Session};
use crate::{
    Error, Result,
    backend::Logits,
    batch::{Batch, Phase, Rows},
};
use std::sync::Arc;

/// What one session does in a call of [`Engine::forward`].
pub struct Turn<'a> {
    /// The session that grows.
    pub session: &'a mut Session,
    /// The tokens that are appended to its text; at least one.
    pub tokens: &'a [u32],
    /// What they are.
    pub phase: Phase,
    /// Which of them get logits.
    pub rows: Rows,
}

impl Engine {
    /// Appends every turn's tokens to its session, all in one forward call, and calls `read` with the logits: rows in the
    /// order of the turns, positions ascending within each. A session gets the bits that it would get alone. After an error
    /// of the call every session is as it was.
    pub fn forward<T>(&self, turns: &[Turn<'_>], read: impl FnOnce(Logits) -> Result<T>) -> Result<T> {
        let mut batch = Batch::new();
        for (turn, Turn { session, tokens, phase, rows }) in turns.iter().enumerate() {
            if !Arc::ptr_eq(&session.engine().shared, &self.shared) {
                return Err(Error::OtherEngine { turn });
            }
            if tokens.is_empty() {
                return Err(Error::NoTokens { turn });
            }
            batch.push_as(*phase, session.seq, tokens, *rows);
        }
        let mut runner = self.runner();
        let Runner { backend, cache, .. } = &mut *runner;
        read(backend.forward(&batch, cache)?)
    }
}

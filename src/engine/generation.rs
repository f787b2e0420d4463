//! [`Generation`]: a text that a session writes, one step at a time.

use super::{Completion, GenerateParams, Prompt, Session, Step, session::PREFILL_LEN, writer::Writer};
use crate::Result;

/// A generation under way: an iterator over its [`Step`]s.
pub struct Generation<'s> {
    session: &'s mut Session,
    writer: Writer,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    Failed,
}

impl<'s> Generation<'s> {
    pub(super) fn new(session: &'s mut Session, prompt: Prompt, params: &GenerateParams) -> Result<Self> {
        let writer = Writer::new(session.engine(), prompt, params)?;
        Ok(Self { session, writer, state: State::New })
    }

    /// What was generated so far.
    pub fn completion(&self) -> &Completion {
        self.writer.completion()
    }

    /// What was generated.
    pub fn into_completion(self) -> Completion {
        self.writer.into_completion()
    }

    /// Feeds the model until there is a step to hand out, or the end.
    fn advance(&mut self) -> Result<Option<Step>> {
        if self.state == State::New {
            self.state = State::Running;
            let n_cached = self.session.keep_prefix(self.writer.ids(), self.writer.n_reusable())?;
            self.writer.begin(n_cached)?;
        }
        loop {
            if let Some(step) = self.writer.next_step() {
                return Ok(Some(step));
            }
            if self.writer.is_done() {
                return Ok(None);
            }
            match self.writer.is_cancelled() {
                true => self.writer.cancel(),
                false => self.session.write(&mut self.writer, PREFILL_LEN)?,
            }
        }
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Failed {
            return None;
        }
        let step = self.advance();
        if step.is_err() {
            self.state = State::Failed;
        }
        step.transpose()
    }
}

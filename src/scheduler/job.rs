//! [`Job`]: a text that was accepted, and who is told what becomes of it.

use super::Event;
use crate::{
    Error, Result,
    backend::{BackendError, Logits},
    batch::{Batch, SeqId},
    cache::{KvCache, PAGE_LEN},
    engine::{CancelToken, Writer},
};
use std::sync::Arc;

pub(super) type Sink = Arc<dyn Fn(usize, Event) + Send + Sync>;

/// A text that waits, for the first time or again.
pub(super) struct Job {
    /// Which of the texts that were submitted together.
    index: usize,
    pub tenant: u64,
    pub writer: Writer,
    /// Whether it was preempted after it had begun.
    has_begun: bool,
    /// Whether it lets others begin in this step, since it waits for a prompt that it can share.
    pub is_passed: bool,
    cancel: CancelToken,
    sink: Sink,
}

impl Job {
    pub fn new(index: usize, tenant: u64, writer: Writer, cancel: CancelToken, sink: Sink) -> Self {
        Self { index, tenant, writer, has_begun: false, is_passed: false, cancel, sink }
    }

    /// The tokens that may come from pages of other texts.
    pub fn reusable(&self) -> &[u32] {
        &self.writer.ids()[..self.writer.n_reusable()]
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.writer.is_cancelled()
    }

    /// Whether it was preempted after it had begun.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Lets the text begin, or go on, with `n_cached` tokens cached already.
    pub fn begin(&mut self, n_cached: usize) -> Result<()> {
        if std::mem::replace(&mut self.has_begun, true) {
            self.writer.resume(n_cached);
            return Ok(());
        }
        self.writer.begin(n_cached)
    }

    /// Hands out the steps that are ready.
    pub fn deliver(&mut self) {
        while let Some(step) = self.writer.next_step() {
            (self.sink)(self.index, Event::Step(step));
        }
    }

    /// Hands out what is left, and the end.
    pub fn end(mut self, result: Result<()>) {
        self.deliver();
        (self.sink)(
            self.index,
            match result {
                Ok(()) => Event::Done(self.writer.into_completion()),
                Err(error) => Event::Failed(error),
            },
        );
    }

    /// Ends a text that nobody wants any more.
    pub fn cancel(mut self) {
        self.writer.cancel();
        self.end(Ok(()));
    }

    /// Ends a text that an error of the device took along.
    pub fn lose(self, error: &str) {
        self.end(Err(BackendError::DeviceLost { error: error.into() }.into()));
    }

    /// Whether `running` is still computing a part of a prompt that this text could share, beyond `n_cached` tokens.
    pub fn waits_for(&self, running: &Running, n_cached: usize) -> bool {
        let other = &running.job;
        let common = || {
            let pairs = self.reusable().iter().zip(&other.writer.ids()[..other.writer.n_prompt()]);
            pairs.take_while(|(a, b)| a == b).count() / PAGE_LEN * PAGE_LEN
        };
        self.tenant == other.tenant && other.writer.is_in_prompt() && common() > n_cached
    }

    /// Pages that the text needs to go on, beside `n_cached` tokens, with one to grow into.
    pub fn n_pages(&self, n_cached: usize) -> usize {
        (self.writer.ids().len() + 1).div_ceil(PAGE_LEN) - n_cached / PAGE_LEN
    }
}

/// A text that runs.
pub(super) struct Running {
    pub job: Job,
    pub seq: SeqId,
    /// Whether the pages of its prompt were kept for others.
    pub is_kept: bool,
    /// Forward calls since it began.
    pub n_steps: usize,
    /// Its tokens that are cached.
    n_cached: usize,
    /// Its tokens in the batch that is under way.
    pub n_tokens: usize,
    /// Its first row of the batch's logits.
    pub first_row: usize,
    n_generated: usize,
    result: Result<()>,
}

impl Running {
    pub fn new(job: Job, seq: SeqId, n_cached: usize) -> Self {
        let n_generated = job.writer.completion().stats.n_generated;
        Self {
            job,
            seq,
            is_kept: false,
            n_steps: 0,
            n_cached,
            n_tokens: 0,
            first_row: 0,
            n_generated,
            result: Ok(()),
        }
    }

    /// Puts at most `n_max` of its next tokens into `batch`.
    pub fn feed(&mut self, batch: &mut Batch, n_max: usize) {
        self.n_tokens = if n_max > 0 { self.job.writer.feed(self.seq, batch, n_max) } else { 0 };
    }

    /// Tokens of its prompt that wait, less `by_age` for each forward call; the least there is where it is being generated.
    pub fn n_waiting(&self, by_age: usize) -> i64 {
        let writer = &self.job.writer;
        if !writer.is_in_prompt() {
            return i64::MIN;
        }
        (writer.n_prompt() - self.n_cached) as i64 - (self.n_steps * by_age) as i64
    }

    /// Takes its logits from those of the batch.
    pub fn read(&mut self, logits: &Logits) {
        if self.n_tokens > 0 {
            self.n_cached += self.n_tokens;
            self.result = self.job.writer.read(logits, self.first_row);
        }
    }

    /// Cannot go on.
    pub fn fail(&mut self, error: Error) {
        self.result = Err(error);
    }

    /// Whether it got a token since the last call.
    pub fn has_new_token(&mut self) -> bool {
        let n_generated = self.job.writer.completion().stats.n_generated;
        std::mem::replace(&mut self.n_generated, n_generated) != n_generated
    }

    pub fn has_ended(&self) -> bool {
        self.result.is_err() || self.job.writer.is_done()
    }

    /// The error that it met, if the device is lost with it.
    pub fn take_fatal(&mut self) -> Option<Error> {
        if !self.result.as_ref().is_err_and(Error::is_fatal) {
            return None;
        }
        self.take_result().err()
    }

    /// What it ended with.
    pub fn take_result(&mut self) -> Result<()> {
        std::mem::replace(&mut self.result, Ok(()))
    }

    /// Gives the pages back.
    pub fn release(self, cache: &mut KvCache) -> Result<Job> {
        cache.release(self.seq)?;
        Ok(self.job)
    }
}

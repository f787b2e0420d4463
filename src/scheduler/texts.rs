//! [`Texts`]: the texts that run and those that wait, and who runs next.

use super::{
    Load, SchedulerOptions,
    job::{Job, Running},
};
use crate::{
    Result,
    backend::Backend,
    batch::Batch,
    cache::{KvCache, PrefixCache},
    engine::PREFILL_LEN,
};
use std::collections::VecDeque;

pub(super) struct Texts {
    options: SchedulerOptions,
    /// In the order of their arrival, those that were preempted first.
    waiting: VecDeque<Job>,
    /// In the order in which they began.
    running: Vec<Running>,
    prefix: PrefixCache,
    batch: Batch,
    load: Load,
    /// Texts that ended and were not counted yet.
    n_ended: usize,
}

impl Texts {
    pub fn new(options: SchedulerOptions) -> Self {
        let (waiting, running) = (VecDeque::new(), Vec::with_capacity(options.n_running));
        let (prefix, batch) = (PrefixCache::new(), Batch::new());
        Self { options, waiting, running, prefix, batch, load: Load::default(), n_ended: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Puts texts at the end of the queue.
    pub fn wait(&mut self, jobs: Vec<Job>) {
        self.waiting.extend(jobs);
    }

    /// What was counted.
    pub fn load(&self) -> Load {
        Load { n_running: self.running.len(), n_waiting: self.waiting.len(), ..self.load.clone() }
    }

    /// Texts that ended since the last call.
    pub fn take_n_ended(&mut self) -> usize {
        std::mem::take(&mut self.n_ended)
    }

    /// One forward call for all that can run. Fails where no text can go on any more.
    pub fn step(&mut self, backend: &mut dyn Backend, cache: &mut KvCache) -> Result<()> {
        self.drop_cancelled(cache)?;
        self.admit(cache)?;
        self.fill(cache)?;
        if self.batch.entries().is_empty() {
            return Ok(());
        }
        self.load.n_steps += 1;
        match backend.forward(&self.batch, cache) {
            Ok(logits) => self.running.iter_mut().for_each(|text| text.read(&logits)),
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => self.forward_each(backend, cache)?,
        }
        // A device works on while the call returns: what it failed at may show only where results are read.
        if let Some(error) = self.running.iter_mut().find_map(Running::take_fatal) {
            return Err(error);
        }
        self.settle(cache)
    }

    /// Cancels every text, and gives all pages back.
    pub fn close(&mut self, cache: &mut KvCache) {
        self.end_all(cache, Job::cancel);
        self.prefix.evict(cache, usize::MAX);
    }

    /// Ends every text with the error that ended the device's work.
    pub fn lose_all(&mut self, cache: &mut KvCache, error: &str) {
        self.end_all(cache, |job| job.lose(error));
    }

    fn end_all(&mut self, cache: &mut KvCache, end: impl Fn(Job)) {
        for text in self.running.drain(..) {
            // It is live, since the text was running.
            let _ = cache.release(text.seq);
            end(text.job);
            self.n_ended += 1;
        }
        self.n_ended += self.waiting.len();
        self.waiting.drain(..).for_each(end);
    }

    fn drop_cancelled(&mut self, cache: &mut KvCache) -> Result<()> {
        for text in self.running.extract_if(.., |text| text.job.is_cancelled()) {
            text.release(cache)?.cancel();
            self.n_ended += 1;
        }
        while let Some(i) = self.waiting.iter().position(Job::is_cancelled)
            && let Some(job) = self.waiting.remove(i)
        {
            job.cancel();
            self.n_ended += 1;
        }
        Ok(())
    }

    /// Lets texts begin, those that came first before the others, as long as there are pages for them.
    fn admit(&mut self, cache: &mut KvCache) -> Result<()> {
        let mut i = 0;
        while self.running.len() < self.options.n_running && i < self.waiting.len() {
            let job = &self.waiting[i];
            let seq = self.prefix.open(cache, job.tenant, job.reusable());
            let n_cached = cache.tokens(seq)?.len();
            if self.running.iter().any(|text| job.waits_for(text, n_cached)) {
                cache.release(seq)?;
                i += 1;
                continue;
            }
            // Beside the pages that it needs now, one for each text to grow into.
            let n_left = cache.n_pages() - cache.n_used();
            if !self.running.is_empty() && n_left < job.n_pages(n_cached) + self.running.len() {
                cache.release(seq)?;
                break;
            }
            let Some(mut job) = self.waiting.remove(i) else { break };
            let is_new = !job.has_begun();
            match job.begin(n_cached) {
                Ok(()) => self.running.push(Running::new(job, seq)),
                Err(error) => {
                    cache.release(seq)?;
                    job.end(Err(error));
                    self.n_ended += 1;
                    continue;
                }
            }
            if is_new {
                self.load.n_reused_tokens += n_cached as u64;
            }
        }
        self.end_complete(cache)
    }

    /// Puts the next tokens of every text into the batch. Where pages run out, kept prefixes go first, then the text that came
    /// last waits again.
    fn fill(&mut self, cache: &mut KvCache) -> Result<()> {
        loop {
            self.fill_batch();
            let n_missing = cache.n_needed(&self.batch)?.saturating_sub(cache.n_free());
            if n_missing == 0 || self.prefix.evict(cache, n_missing) == n_missing {
                break;
            }
            // The last one left gets the error of a full cache from the forward call.
            if self.running.len() < 2 {
                break;
            }
            if let Some(text) = self.running.pop() {
                self.waiting.push_front(text.release(cache)?);
                self.load.n_preempted += 1;
            }
        }
        for text in &self.running {
            if text.job.writer.is_in_prompt() {
                self.load.n_prompt_tokens += text.n_tokens as u64;
            }
        }
        Ok(())
    }

    fn fill_batch(&mut self) {
        self.batch.clear();
        let decodes = self.running.iter().any(|text| !text.job.writer.is_in_prompt());
        let mut n_chunk = if decodes { self.options.n_chunk } else { PREFILL_LEN };
        let mut n_rows = 0;
        for text in &mut self.running {
            let is_prompt = text.job.writer.is_in_prompt();
            let n_max = if is_prompt { n_chunk } else { usize::MAX };
            text.first_row = n_rows;
            text.feed(&mut self.batch, n_max);
            n_rows = self.batch.n_rows();
            if is_prompt {
                n_chunk -= text.n_tokens;
            }
        }
    }

    /// The batch failed: one forward call for each text of it, so that only those fail that have to.
    fn forward_each(&mut self, backend: &mut dyn Backend, cache: &mut KvCache) -> Result<()> {
        for text in self.running.iter_mut().filter(|text| text.n_tokens > 0) {
            self.batch.clear();
            text.first_row = 0;
            text.feed(&mut self.batch, text.n_tokens);
            match backend.forward(&self.batch, cache) {
                Ok(logits) => text.read(&logits),
                Err(error) if error.is_fatal() => return Err(error.into()),
                Err(error) => text.fail(error.into()),
            }
        }
        Ok(())
    }

    /// Hands out what the texts have got, keeps the pages of prompts that are complete, and ends the texts that are.
    fn settle(&mut self, cache: &mut KvCache) -> Result<()> {
        for text in &mut self.running {
            self.load.n_generated_tokens += u64::from(text.has_new_token());
            let (n_prompt, is_in_prompt) = (text.job.writer.n_prompt(), text.job.writer.is_in_prompt());
            if !text.is_kept && !is_in_prompt {
                text.is_kept = true;
                self.prefix.keep(cache, text.job.tenant, text.seq, n_prompt)?;
            }
            text.job.deliver();
        }
        self.end_complete(cache)
    }

    fn end_complete(&mut self, cache: &mut KvCache) -> Result<()> {
        for mut text in self.running.extract_if(.., |text| text.has_ended()) {
            let result = text.take_result();
            text.release(cache)?.end(result);
            self.n_ended += 1;
        }
        Ok(())
    }
}

//! [`Texts`]: the texts that run and those that wait, and who runs next.

use super::{
    Load, SchedulerOptions,
    job::{Job, Running},
};
use crate::{
    Result,
    backend::Backend,
    batch::{Batch, SeqId},
    cache::{KvCache, PrefixCache},
    engine::PREFILL_LEN,
};
use std::collections::VecDeque;

/// Forward calls after which a prompt waits long.
const PATIENCE: usize = 8;
/// How often the prompts' share of a batch doubles while one waits long.
const N_DOUBLINGS: usize = 2;
/// A prompt's age of one forward call counts as much as a chunk divided by this, in tokens that it is shorter by.
const AGING: usize = 4;

pub(super) struct Texts {
    options: SchedulerOptions,
    /// In the order of their arrival, those that were preempted first.
    waiting: VecDeque<Job>,
    /// In the order in which they began.
    running: Vec<Running>,
    prefix: PrefixCache,
    batch: Batch,
    /// The running texts in the order in which they get their share of the batch.
    order: Vec<usize>,
    load: Load,
    /// Whose texts ended that were not counted yet.
    ended: Vec<u64>,
}

impl Texts {
    pub fn new(options: SchedulerOptions) -> Self {
        let (waiting, running) = (VecDeque::new(), Vec::with_capacity(options.n_running));
        let (order, ended) = (Vec::with_capacity(options.n_running), Vec::new());
        let (prefix, batch, load) = (PrefixCache::new(), Batch::new(), Load::default());
        Self { options, waiting, running, prefix, batch, order, load, ended }
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

    /// Whose texts ended since the last call.
    pub fn take_ended(&mut self) -> impl Iterator<Item = u64> {
        self.ended.drain(..)
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
            self.ended.push(text.job.tenant);
            end(text.job);
        }
        self.ended.extend(self.waiting.iter().map(|job| job.tenant));
        self.waiting.drain(..).for_each(end);
    }

    fn drop_cancelled(&mut self, cache: &mut KvCache) -> Result<()> {
        for text in self.running.extract_if(.., |text| text.job.is_cancelled()) {
            self.ended.push(text.job.tenant);
            text.release(cache)?.cancel();
        }
        while let Some(i) = self.waiting.iter().position(Job::is_cancelled)
            && let Some(job) = self.waiting.remove(i)
        {
            self.ended.push(job.tenant);
            job.cancel();
        }
        Ok(())
    }

    /// Lets texts begin as long as there are places and pages for them: a tenant's in turn with those of others, and in the order in
    /// which they came. A tenant that has two more places than one who waits gives one up.
    fn admit(&mut self, cache: &mut KvCache) -> Result<()> {
        self.waiting.iter_mut().for_each(|job| job.is_passed = false);
        while let Some(i) = self.next_to_begin() {
            let (job, is_full) = (&self.waiting[i], self.running.len() == self.options.n_running);
            let giver = self.giver(job.tenant);
            if is_full && giver.is_none() {
                break;
            }
            let seq = self.prefix.open(cache, job.tenant, job.reusable());
            let n_cached = cache.tokens(seq)?.len();
            if self.running.iter().any(|text| job.waits_for(text, n_cached)) {
                cache.release(seq)?;
                self.waiting[i].is_passed = true;
                continue;
            }
            // Beside the pages that it needs now, one for each text to grow into.
            let n_left = cache.n_pages() - cache.n_used();
            let fits = self.running.is_empty() || n_left >= job.n_pages(n_cached) + self.running.len();
            if is_full || !fits {
                cache.release(seq)?;
                let Some(giver) = giver else { break };
                self.preempt(giver, cache)?;
                continue;
            }
            self.begin(i, seq, n_cached, cache)?;
        }
        self.end_complete(cache)
    }

    /// Places that a tenant has.
    fn n_places(&self, tenant: u64) -> usize {
        n_places(&self.running, tenant)
    }

    /// The first of those who have fewest places.
    fn next_to_begin(&self) -> Option<usize> {
        let waiting = self.waiting.iter().enumerate().filter(|(_, job)| !job.is_passed);
        let (first, job) = waiting.clone().next()?;
        let n_places = self.n_places(job.tenant);
        // Most often there is one tenant, whose places are counted once.
        let others = waiting.filter(|(_, other)| other.tenant != job.tenant);
        let others = others.map(|(i, other)| (self.n_places(other.tenant), i));
        others.chain([(n_places, first)]).min().map(|(_, i)| i)
    }

    /// The text that goes back to wait for the sake of `tenant`: the last of whoever has most places, where those are two more.
    fn giver(&self, tenant: u64) -> Option<usize> {
        let richest = self.running.iter().map(|text| text.job.tenant).max_by_key(|&t| self.n_places(t))?;
        if self.n_places(richest) < self.n_places(tenant) + 2 {
            return None;
        }
        self.running.iter().rposition(|text| text.job.tenant == richest)
    }

    /// Lets a text go back to wait, before all others.
    fn preempt(&mut self, i: usize, cache: &mut KvCache) -> Result<()> {
        let text = self.running.remove(i);
        self.waiting.push_front(text.release(cache)?);
        self.load.n_preempted += 1;
        Ok(())
    }

    /// Lets a text that waits begin in `seq`, which has its first `n_cached` tokens.
    fn begin(&mut self, i: usize, seq: SeqId, n_cached: usize, cache: &mut KvCache) -> Result<()> {
        let Some(mut job) = self.waiting.remove(i) else { return Ok(cache.release(seq)?) };
        let is_new = !job.has_begun();
        if let Err(error) = job.begin(n_cached) {
            self.ended.push(job.tenant);
            job.end(Err(error));
            return Ok(cache.release(seq)?);
        }
        self.load.n_reused_tokens += if is_new { n_cached as u64 } else { 0 };
        self.running.push(Running::new(job, seq, n_cached));
        Ok(())
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
            self.preempt(self.running.len() - 1, cache)?;
        }
        for text in &mut self.running {
            text.n_steps += 1;
            if text.job.writer.is_in_prompt() {
                self.load.n_prompt_tokens += text.n_tokens as u64;
            }
        }
        Ok(())
    }

    /// One token of each text that is being generated, and of the prompts what fits, the shortest first: it waits for a long one
    /// longer than it takes, and the long one hardly longer for it. Its age makes a prompt shorter, so that none waits for ever; each
    /// place that its tenant has makes it longer by a chunk, so that who asks for little hardly waits for who asks for much.
    fn fill_batch(&mut self) {
        self.batch.clear();
        let by_age = self.options.n_chunk / AGING;
        let (running, a_place) = (&self.running, self.options.n_chunk);
        let by_places = |tenant| n_places(running, tenant) * a_place;
        let n_waiting =
            |text: &Running| text.n_waiting(by_age).saturating_add(by_places(text.job.tenant) as i64);
        self.order.clear();
        self.order.extend(0..running.len());
        self.order.sort_unstable_by_key(|&i| (n_waiting(&running[i]), i));
        let mut n_chunk = self.n_chunk();
        let mut n_rows = 0;
        for &i in &self.order {
            let text = &mut self.running[i];
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

    /// Prompt tokens in the next batch: few beside texts that are being generated, and more while a prompt waits long. It is one of the
    /// tenant who comes first that counts: others' prompts make no call longer that is the first for hers.
    fn n_chunk(&self) -> usize {
        let texts = self.order.iter().map(|&i| &self.running[i]);
        let prompts = texts.filter(|text| text.job.writer.is_in_prompt());
        if prompts.clone().count() == self.running.len() {
            return PREFILL_LEN;
        }
        let first = prompts.clone().next().map(|text| text.job.tenant);
        let hers = prompts.filter(|text| Some(text.job.tenant) == first);
        let age = hers.map(|text| text.n_steps).max().unwrap_or(0);
        self.options.n_chunk << age.saturating_sub(PATIENCE - 1).min(N_DOUBLINGS)
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
            self.ended.push(text.job.tenant);
            text.release(cache)?.end(result);
        }
        Ok(())
    }
}

fn n_places(running: &[Running], tenant: u64) -> usize {
    running.iter().filter(|text| text.job.tenant == tenant).count()
}

//! Times forward calls.

use super::super::exit::Failure;
use halfwarp::{
    backend::Backend,
    batch::{Batch, Phase, Rows, SeqId},
    cache::KvCache,
    sampler::{Draw, SamplingParams},
};
use std::{fmt, sync::Arc, time::Instant};

/// What is timed: a prompt in one call, then tokens one by one, after `depth` cached ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Tokens in one call.
    pub n_prompt: usize,
    /// Tokens one by one.
    pub n_gen: usize,
    /// Tokens before them.
    pub depth: usize,
}

impl Test {
    /// Tokens that are timed.
    pub fn n_tokens(&self) -> usize {
        self.n_prompt + self.n_gen
    }

    /// Positions that the test needs.
    pub fn n_positions(&self) -> usize {
        self.depth.saturating_add(self.n_prompt).saturating_add(self.n_gen)
    }

    /// Whether it only decodes.
    pub fn is_decode(&self) -> bool {
        self.n_prompt == 0
    }

    /// Mean number of cached tokens that a decoded one attends to, itself included.
    pub fn mean_context(&self) -> f64 {
        self.depth as f64 + (self.n_gen as f64 + 1.0) / 2.0
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let text = match (self.n_prompt, self.n_gen) {
            (p, 0) => format!("pp{p}"),
            (0, n) => format!("tg{n}"),
            (p, n) => format!("pp{p}+tg{n}"),
        };
        match self.depth {
            0 => f.pad(&text),
            depth => f.pad(&format!("{text} @ d{depth}")),
        }
    }
}

/// Seconds of each repetition.
#[derive(Clone, Debug)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Mean and standard deviation of `f` over the samples.
    pub fn stats(&self, f: impl Fn(f64) -> f64) -> (f64, f64) {
        let n = self.0.len() as f64;
        let mean = self.0.iter().map(|&s| f(s)).sum::<f64>() / n;
        let squares = self.0.iter().map(|&s| (f(s) - mean).powi(2)).sum::<f64>();
        (mean, if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
    }
}

/// A backend under test, with one sequence.
pub struct Bench {
    backend: Box<dyn Backend>,
    cache: KvCache,
    seq: SeqId,
    batch: Batch,
    /// Greedy.
    draw: Arc<Draw>,
}

impl Bench {
    /// Makes room for one full context.
    pub fn new(mut backend: Box<dyn Backend>) -> Result<Self, Failure> {
        let mut cache = backend.new_cache(backend.config().n_ctx)?;
        let seq = cache.open();
        let n_vocab = backend.config().n_vocab;
        let draw = Draw::new(SamplingParams::default(), n_vocab, 0).map_err(halfwarp::Error::from)?;
        Ok(Self { backend, cache, seq, batch: Batch::new(), draw: Arc::new(draw) })
    }

    /// What runs.
    pub fn backend_name(&self) -> String {
        self.backend.name()
    }

    /// Checks that a prompt in one call and the same prompt token by token give the same bits.
    pub fn verify(&mut self) -> Result<(), Failure> {
        let ids = self.ids(self.backend.config().n_ctx.min(40));
        let together = self.logits(&ids)?;
        for &id in &ids {
            self.feed(&[id], Rows::Last)?;
        }
        self.cache.truncate(self.seq, ids.len() - 1)?;
        let one_by_one = self.feed(&ids[ids.len() - 1..], Rows::Last)?;
        let differ = together.iter().zip(&one_by_one).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        self.cache.truncate(self.seq, 0)?;
        if differ > 0 || together.iter().any(|v| !v.is_finite()) {
            let what = format!("{differ} of {} logits differ, or are not finite", together.len());
            return Err(Failure::because("a prompt in one call and token by token give other results", what));
        }
        Ok(())
    }

    /// Times `test`, calling `each` after every repetition.
    pub fn run(
        &mut self,
        test: Test,
        n_times: u32,
        warm_up: bool,
        each: impl Fn(),
    ) -> Result<Samples, Failure> {
        let ids = self.ids(test.n_positions());
        self.cache.truncate(self.seq, 0)?;
        if test.depth > 0 {
            self.forward(Phase::Prompt, &ids[..test.depth], Rows::None)?;
        }
        let (prompt, gen_ids) = ids[test.depth..].split_at(test.n_prompt);
        if warm_up {
            self.time(test.depth, prompt, &gen_ids[..gen_ids.len().min(1)])?;
        }
        let mut samples = Vec::new();
        for _ in 0..n_times {
            samples.push(self.time(test.depth, prompt, gen_ids)?);
            each();
        }
        Ok(Samples(samples))
    }

    fn time(&mut self, depth: usize, prompt: &[u32], gen_ids: &[u32]) -> Result<f64, Failure> {
        self.cache.truncate(self.seq, depth)?;
        let started = Instant::now();
        if !prompt.is_empty() {
            self.forward(Phase::Prompt, prompt, Rows::Last)?;
        }
        let mut drawn = None;
        for &id in gen_ids {
            drawn = self.forward(Phase::Generated, &[drawn.unwrap_or(id)], Rows::Last)?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// The token that the device drew, if it did: what it goes on with at no cost.
    fn forward(&mut self, phase: Phase, ids: &[u32], rows: Rows) -> Result<Option<u32>, Failure> {
        self.batch.clear();
        self.batch.push_as(phase, self.seq, ids, rows);
        if rows != Rows::None {
            self.batch.draw(self.draw.clone());
        }
        let logits = self.backend.forward(&self.batch, &mut self.cache)?;
        if logits.n_rows() == 0 {
            return Ok(None);
        }
        let drawn = logits.token(0)?;
        if drawn.is_none() {
            std::hint::black_box(logits.row(0)?);
        }
        Ok(drawn)
    }

    /// The logits after `ids`, from an empty cache, which is left empty.
    fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        self.cache.truncate(self.seq, 0)?;
        let logits = self.feed(ids, Rows::Last)?;
        self.cache.truncate(self.seq, 0)?;
        Ok(logits)
    }

    fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, Failure> {
        self.batch.clear();
        self.batch.push(self.seq, ids, rows);
        Ok(self.backend.forward(&self.batch, &mut self.cache)?.row(0)?.to_vec())
    }

    /// Token ids that jump about the vocabulary.
    fn ids(&self, n: usize) -> Vec<u32> {
        let n_vocab = self.backend.config().n_vocab as u64;
        (0..n as u64)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).wrapping_rem(n_vocab) as u32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_as_llama_bench_names_them() {
        let name = |n_prompt, n_gen, depth| Test { n_prompt, n_gen, depth }.to_string();
        assert_eq!(name(512, 0, 0), "pp512");
        assert_eq!(name(0, 128, 4096), "tg128 @ d4096");
        assert_eq!(name(512, 128, 0), "pp512+tg128");
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let (mean, deviation) = Samples(vec![1.0, 2.0, 3.0, 6.0]).stats(|s| s);
        assert_eq!((mean, deviation), (3.0, (14.0f64 / 3.0).sqrt()));
        assert_eq!(Samples(vec![2.0]).stats(|s| 1.0 / s), (0.5, 0.0));
    }
}

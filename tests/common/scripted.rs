//! A backend that writes what a test wants.

use halfwarp::{
    Config,
    backend::{Backend, Logits, Result},
    batch::Batch,
    cache::{KvCache, PAGE_LEN},
};

/// A backend that always wants to go on with the next token of a script, over and over, whatever it is fed.
pub struct Scripted {
    config: Config,
    script: Vec<u32>,
    rows: Vec<f32>,
    /// Calls that gave logits.
    n_calls: usize,
    /// The value of one logit of every row.
    spoiled: Option<(usize, f32)>,
}

impl Scripted {
    /// Writes `script` with the vocabulary and the context of `config`; a value may spoil one logit of every row.
    pub fn new(config: Config, script: Vec<u32>, spoiled: Option<(usize, f32)>) -> Self {
        Self { config, script, rows: Vec::new(), n_calls: 0, spoiled }
    }
}

impl Backend for Scripted {
    fn name(&self) -> String {
        "script".into()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        Ok(KvCache::new(n_tokens.div_ceil(PAGE_LEN), self.config.n_ctx, self.config.n_vocab))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        cache.append(batch)?;
        let n_vocab = self.config.n_vocab;
        self.rows = vec![0.0; batch.n_rows().max(1) * n_vocab];
        for row in self.rows.chunks_mut(n_vocab).take(batch.n_rows()) {
            row[self.script[self.n_calls % self.script.len()] as usize] = 1.0;
        }
        self.n_calls += usize::from(batch.n_rows() > 0);
        if let Some((id, value)) = self.spoiled {
            self.rows.chunks_mut(n_vocab).for_each(|row| row[id] = value);
        }
        Ok(Logits::from_host(&self.rows, n_vocab))
    }
}

//! [`CudaBackend`]'s forward pass: prompts on tensor cores, then generated tokens, which are GPT-2 in model order
//! here, a step of a few columns at a time.

use super::{
    CudaBackend, GraphKey, cache_bytes,
    driver::{Buffer, Gpu},
    images::constants::NO_COLUMN,
    kernels::{Dims, Pages, Step, sample::Kind},
    page_len,
    sample::Drawn,
};
use crate::{
    Config,
    backend::{Backend, BackendError, DeviceLogits, Logits, Result},
    batch::{Batch, Entry, Phase, Rows},
    cache::{KvCache, PAGE_LEN},
};
use std::cell::{OnceCell, RefCell};

impl Backend for CudaBackend {
    fn name(&self) -> String {
        format!("CUDA ({}, {})", self.gpu.name(), self.kernels.image_name())
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn peak_bandwidth(&self) -> Option<f64> {
        self.gpu.peak_bandwidth()
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        self.gpu.bind()?;
        let n_pages = n_tokens.div_ceil(PAGE_LEN);
        let needed = cache_bytes(&self.config, n_tokens);
        let held: usize = self.pages.iter().map(|p| p.keys.n_bytes() + p.values.n_bytes()).sum();
        let free = self.gpu.memory()?.0 + held;
        if needed > free {
            return Err(BackendError::DeviceMemory {
                what: format!("a KV cache of {n_tokens} tokens"),
                needed,
                free,
            });
        }
        self.graphs.clear();
        self.pages.clear();
        self.n_pages = 0;
        self.draws.forget();
        let len = n_pages * page_len(&self.config);
        // Zeros, because padding of the heads' vectors is read and never written.
        let zeros = || self.gpu.zeros(len, "a layer's part of the KV cache");
        let pages = (0..self.config.n_layer).map(|_| Ok(Pages { keys: zeros()?, values: zeros()? }));
        self.pages = pages.collect::<Result<_>>()?;
        self.n_pages = n_pages;
        Ok(KvCache::new(n_pages, self.config.n_ctx, self.config.n_vocab))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        if let Some(error) = &self.lost {
            return Err(BackendError::DeviceLost { error: error.clone() });
        }
        if cache.n_pages() != self.n_pages {
            return Err(BackendError::OtherCache { found: cache.n_pages(), expected: self.n_pages });
        }
        self.gpu.bind()?;
        self.step.settle(&mut self.draws, &self.logits.drawn);
        if self.logits.reserve(&self.gpu, batch.n_rows())? {
            self.graphs.clear();
        }
        cache.append(batch)?;
        self.step.clear();
        if let Err(error) = self.prompts(batch, cache).and_then(|()| self.steps(batch, cache)) {
            if error.is_out_of_memory() {
                cache.take_back(batch)?;
                self.draws.forget();
                self.step.lose();
            } else {
                // Most errors of a device stay until the process ends.
                self.lost = Some(error.to_string());
            }
            return Err(error);
        }
        Ok(Logits::on_device(&self.logits))
    }
}

impl CudaBackend {
    /// Runs the generated tokens of `batch`, in order, as many at a time as a step takes.
    fn steps(&mut self, batch: &Batch, cache: &KvCache) -> Result<()> {
        for (entry, mut next_row) in with_first_rows(batch) {
            if entry.phase != Phase::Generated {
                continue;
            }
            let (pages, tokens) = (cache.pages(entry.seq)?, &batch.tokens()[entry.tokens.clone()]);
            let n_cached = cache.tokens(entry.seq)?.len() - tokens.len();
            for (i, &token) in tokens.iter().enumerate() {
                let is_last = i + 1 == tokens.len();
                let has_row = match entry.rows {
                    Rows::None => false,
                    Rows::Last => is_last,
                    Rows::All => true,
                };
                let row = if has_row { next_row } else { NO_COLUMN };
                next_row += u32::from(has_row);
                self.step.push(token, n_cached + i, row, pages);
                if has_row && is_last {
                    self.draw(entry, row, cache)?;
                }
                if self.step.n_columns() == self.kernels.max_columns() {
                    self.run_step()?;
                }
            }
        }
        self.run_step()
    }

    /// Lets the column staged last, which ends `entry`, draw from `row` if the entry asks for it.
    pub(super) fn draw(&mut self, entry: &Entry, row: u32, cache: &KvCache) -> Result<()> {
        let Some(draw) = &entry.draw else { return Ok(()) };
        let text = (entry.seq, cache.tokens(entry.seq)?);
        self.draws.add(&self.gpu, &mut self.counts, &mut self.step, (row as usize, draw), text)
    }

    /// Sends the step that is staged; what draws in it.
    pub(super) fn send_step(&mut self) -> Result<Kind> {
        self.step.send(&self.gpu, &mut self.counts, &mut self.draws, &mut self.logits.drawn)
    }

    fn run_step(&mut self) -> Result<()> {
        if self.step.n_columns() == 0 {
            return Ok(());
        }
        let n_chunks = Dims::n_chunks(self.step.n_positions()).next_power_of_two();
        let (n_columns, has_rows) = (Step::column_count(self.step.n_columns()), self.step.has_rows());
        let n_chunks = n_chunks.min(self.dims.max_chunks());
        let key = GraphKey { n_columns, n_chunks, has_rows, draws: self.send_step()? };
        if !self.graphs.contains_key(&key) {
            let gpu = self.gpu.clone();
            let graph = gpu.record(|| self.launch_step(key))?;
            self.counts.recorded += 1;
            self.counts.nodes = graph.n_nodes;
            self.graphs.insert(key, graph);
        }
        // SAFETY: the buffers that it was recorded with are fields of this backend; where one is replaced, the graphs are
        // dropped first.
        unsafe { self.gpu.run(&self.graphs[&key])? };
        self.counts.graphs += 1;
        Ok(())
    }

    /// Launches a step: the model, in order.
    fn launch_step(&mut self, key: GraphKey) -> Result<()> {
        let Self { gpu, kernels, model, pages, activations: act, step, logits, draws, dims, config, .. } =
            self;
        let GraphKey { n_columns, n_chunks, has_rows, draws: kind } = key;
        let run = Step { gpu, kernels, dims, step: &step.words, n_columns, n_chunks };

        run.embed(act, &model.token_embd, &model.position_embd)?;
        for (i, (layer, pages)) in model.layers.iter().zip(pages).enumerate() {
            run.qkv(act, pages, &layer.attn_norm, &layer.qkv)?;
            run.attention(act, pages, config.attn.scale[i])?;
            run.attn_out(act, &layer.attn_out)?;

            run.up(act, &layer.mlp_norm, &layer.up)?;
            run.down(act, &layer.down)?;
        }
        if has_rows {
            run.logits(&mut logits.buffer, act, &model.out_norm, model.head())?;
        }
        let step = (&mut step.words, &step.records);
        draws.kernels.launch(gpu, kind, n_columns, step, (&logits.buffer, &logits.drawn.words))
    }
}

/// The entries of `batch`, each with the number of its first row of logits.
pub(super) fn with_first_rows(batch: &Batch) -> impl Iterator<Item = (&Entry, u32)> {
    batch.entries().iter().scan(0, |n_rows, entry| {
        let first = *n_rows;
        *n_rows += entry.n_rows() as u32;
        Some((entry, first))
    })
}

/// Rows of logits on the device, and a copy on the host once somebody asks.
#[derive(Debug)]
pub struct RowsOnDevice {
    pub(super) buffer: Buffer<f32>,
    n_rows: usize,
    n_vocab: usize,
    host: OnceCell<Vec<f32>>,
    /// The memory of an earlier `host`.
    spare: RefCell<Vec<f32>>,
    /// Tokens that were drawn from the rows.
    pub(super) drawn: Drawn,
    gpu: Gpu,
}

impl RowsOnDevice {
    pub(super) fn new(gpu: &Gpu, n_vocab: usize) -> Result<Self> {
        Ok(Self {
            buffer: gpu.alloc(n_vocab, "logits")?,
            n_rows: 0,
            n_vocab,
            host: OnceCell::new(),
            spare: RefCell::default(),
            drawn: Drawn::new(gpu)?,
            gpu: gpu.clone(),
        })
    }

    /// Makes room for `n_rows` rows and forgets those that were there; returns whether they moved.
    fn reserve(&mut self, gpu: &Gpu, n_rows: usize) -> Result<bool> {
        if let Some(host) = self.host.take() {
            self.spare.replace(host);
        }
        self.n_rows = n_rows;
        self.drawn.clear();
        let moves = n_rows * self.n_vocab > self.buffer.len();
        if moves {
            self.buffer = gpu.alloc(n_rows * self.n_vocab, "logits")?;
        }
        Ok(moves)
    }
}

impl DeviceLogits for RowsOnDevice {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn token(&self, row: usize) -> Result<Option<u32>> {
        self.drawn.token(&self.gpu, row)
    }

    fn row(&self, row: usize) -> Result<&[f32]> {
        if self.host.get().is_none() {
            let mut host = self.spare.take();
            host.resize(self.n_rows * self.n_vocab, 0.0);
            self.gpu.read(&self.buffer, 0, &mut host)?;
            let _ = self.host.set(host);
        }
        let host = self.host.get().map_or(&[][..], Vec::as_slice);
        Ok(&host[row * self.n_vocab..][..self.n_vocab])
    }
}

//! [`CudaBackend`]'s forward pass: prompts on tensor cores, then generated tokens, which are GPT-2 in model order
//! here, a step of a few columns at a time.

use super::{
    CudaBackend, GraphKey, cache_bytes,
    driver::{Buffer, Gpu},
    images::constants::{NO_COLUMN, STEP_PAGES, STEP_POSITIONS, STEP_ROWS, STEP_TOKENS},
    kernels::{COLUMN_COUNTS, Dims, Pages, Step},
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
        self.draws.settle(&mut self.sent_step, &self.logits.drawn);
        if self.logits.reserve(&self.gpu, batch.n_rows())? {
            self.graphs.clear();
        }
        cache.append(batch)?;
        self.draws.clear();
        let mut step = std::mem::take(&mut self.next_step);
        step.clear();
        let result = self.prompts(batch, cache, &mut step).and_then(|()| self.steps(batch, cache, &mut step));
        self.next_step = step;
        if let Err(error) = result {
            if error.is_out_of_memory() {
                cache.take_back(batch)?;
                self.draws.forget();
                self.sent_step.fill(u32::MAX);
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
    fn steps(&mut self, batch: &Batch, cache: &KvCache, step: &mut StepWords) -> Result<()> {
        let max_columns = self.kernels.max_columns();
        for (entry, mut next_row) in with_first_rows(batch) {
            if entry.phase != Phase::Generated {
                continue;
            }
            let pages = cache.pages(entry.seq)?;
            let n_cached = cache.tokens(entry.seq)?.len() - entry.tokens.len();
            let n_tokens = entry.tokens.len();
            for (i, &token) in batch.tokens()[entry.tokens.clone()].iter().enumerate() {
                let has_row = match entry.rows {
                    Rows::None => false,
                    Rows::Last => i + 1 == n_tokens,
                    Rows::All => true,
                };
                let row = if has_row { next_row } else { NO_COLUMN };
                next_row += u32::from(has_row);
                step.push(token, n_cached + i, row, pages);
                if let Some(draw) = entry.draw.as_ref().filter(|_| has_row && i + 1 == n_tokens) {
                    let text = (entry.seq, cache.tokens(entry.seq)?);
                    let place = (step.n_columns - 1, row as usize);
                    self.draws.add(&self.gpu, &mut self.counts, place, draw, text)?;
                }
                if step.n_columns == max_columns {
                    self.run_step(step)?;
                }
            }
        }
        self.run_step(step)
    }

    /// Gives the device the step, if it does not have it.
    pub(super) fn send_step(&mut self, step: &StepWords) -> Result<()> {
        self.draws.settle(&mut self.sent_step, &self.logits.drawn);
        if step.words != self.sent_step {
            self.gpu.write(&mut self.step, 0, &step.words)?;
            self.counts.uploads += 1;
            self.sent_step.copy_from_slice(&step.words);
        }
        Ok(())
    }

    fn run_step(&mut self, step: &mut StepWords) -> Result<()> {
        if step.n_columns == 0 {
            return Ok(());
        }
        self.send_step(step)?;
        let n_columns = COLUMN_COUNTS.into_iter().find(|&c| c as usize >= step.n_columns);
        let n_chunks = Dims::n_chunks(step.n_positions).next_power_of_two().min(self.dims.max_chunks());
        let key = GraphKey {
            n_columns: n_columns.expect("a step has at most MAX_COLUMNS columns"),
            n_chunks,
            has_rows: step.has_rows,
            draws: self.draws.kind(),
        };
        self.draws.send(&self.gpu, &mut self.counts, &mut self.logits.drawn)?;
        if !self.graphs.contains_key(&key) {
            let gpu = self.gpu.clone();
            let graph = gpu.record(|| self.launch(key))?;
            self.counts.recorded += 1;
            self.counts.nodes = graph.n_nodes;
            self.graphs.insert(key, graph);
        }
        // SAFETY: the buffers that it was recorded with are fields of this backend; where one is replaced, the graphs are
        // dropped first.
        unsafe { self.gpu.run(&self.graphs[&key])? };
        self.counts.graphs += 1;
        step.clear();
        self.draws.clear();
        Ok(())
    }

    /// Launches a step: the model, in order.
    fn launch(&mut self, key: GraphKey) -> Result<()> {
        let Self { gpu, kernels, model, pages, activations: act, step, logits, draws, dims, config, .. } =
            self;
        let GraphKey { n_columns, n_chunks, has_rows, draws: kind } = key;
        let run = Step { gpu, kernels, dims, step, n_columns, n_chunks };

        run.embed(act, &model.token_embd, &model.position_embd)?;
        for (i, (layer, pages)) in model.layers.iter().zip(pages).enumerate() {
            run.qkv(act, pages, &layer.attn_norm, &layer.qkv)?;
            run.attention(act, pages, config.attn.scale[i])?;
            run.merge(act, &layer.attn_out)?;

            run.fc(act, &layer.mlp_norm, &layer.up)?;
            run.add(act, &layer.down)?;
        }
        if has_rows {
            run.logits(&mut logits.buffer, act, &model.out_norm, model.head())?;
        }
        draws.launch(gpu, kind, n_columns, step, (&logits.buffer, &logits.drawn))?;
        Ok(())
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

/// A step as the device takes it: see `kernels/layout.h`.
#[derive(Debug, Default)]
pub(super) struct StepWords {
    words: Vec<u32>,
    n_columns: usize,
    /// Positions of the longest column's sequence, up to and with the column.
    n_positions: usize,
    has_rows: bool,
    n_pages: usize,
}

impl StepWords {
    pub fn new(dims: &Dims) -> Self {
        let mut step = Self {
            words: vec![0; dims.step_len()],
            n_columns: 0,
            n_positions: 0,
            has_rows: false,
            n_pages: dims.n_pages(),
        };
        step.clear();
        step
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
        self.words[STEP_POSITIONS as usize..STEP_PAGES as usize].fill(NO_COLUMN);
        (self.n_columns, self.n_positions, self.has_rows) = (0, 0, false);
    }

    pub fn push(&mut self, token: u32, position: usize, row: u32, pages: &[u32]) {
        let column = self.n_columns;
        self.words[STEP_TOKENS as usize + column] = token;
        self.words[STEP_POSITIONS as usize + column] = position as u32;
        self.words[STEP_ROWS as usize + column] = row;
        let n_pages = pages.len().min(position / PAGE_LEN + 1);
        self.words[STEP_PAGES as usize + column * self.n_pages..][..n_pages]
            .copy_from_slice(&pages[..n_pages]);
        self.n_columns += 1;
        self.n_positions = self.n_positions.max(position + 1);
        self.has_rows |= row != NO_COLUMN;
    }
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

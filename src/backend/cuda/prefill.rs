//! Prompts: tokens of entries of [`Phase::Prompt`], [`MAX_TOKENS`] at a time, through the kernels for tensor cores.
//!
//! A plan gathers tokens of any number of sequences; the model runs over all of them at once; then the rows that asked for logits
//! go to decode's kernel for them. Neither the cut into plans nor what else is in one changes a bit: see the kernels' headers.
//! Tested in `tests/cuda/prefill`.

use super::{
    CudaBackend,
    driver::{Buffer, Gpu},
    forward::with_first_rows,
    kernels::{Dims, MAX_TOKENS, Plan, Prompt, PromptActivations, Step},
};
use crate::{
    backend::Result,
    batch::{Batch, Phase, Rows},
    cache::KvCache,
};

/// What prompts need beside weights and cache.
#[derive(Debug)]
pub(super) struct Prefill {
    plan: Plan,
    /// Tokens of the plan whose logits are wanted, and the rows where they go.
    rows: Vec<Row>,
    on_device: Buffer<u32>,
    activations: PromptActivations,
}

/// A token whose logits are wanted.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Its place in the plan.
    token: u32,
    /// The row where its logits go.
    row: u32,
    position: usize,
    /// The entry that it ends.
    ends: Option<usize>,
}

impl Prefill {
    pub fn new(gpu: &Gpu, dims: &Dims) -> Result<Self> {
        Ok(Self {
            plan: Plan::new(dims),
            rows: Vec::with_capacity(MAX_TOKENS),
            on_device: gpu.zeros(dims.plan_len(), "the plan of prompts")?,
            activations: PromptActivations::new(gpu, dims)?,
        })
    }

    /// Bytes on the device.
    pub fn n_bytes(dims: &Dims) -> usize {
        4 * dims.plan_len() + PromptActivations::n_bytes(dims)
    }
}

impl CudaBackend {
    /// Runs the prompts of `batch`, in order.
    pub(super) fn prompts(&mut self, batch: &Batch, cache: &KvCache) -> Result<()> {
        self.prefill.plan.clear();
        self.prefill.rows.clear();
        for (i_entry, (entry, first_row)) in with_first_rows(batch).enumerate() {
            if entry.phase != Phase::Prompt {
                continue;
            }
            let tokens = &batch.tokens()[entry.tokens.clone()];
            let pages = cache.pages(entry.seq)?;
            let n_cached = cache.tokens(entry.seq)?.len() - tokens.len();
            let mut done = 0;
            while done < tokens.len() {
                let Prefill { plan, rows, .. } = &mut self.prefill;
                let first = plan.n_tokens();
                let n = plan.push(&tokens[done..], n_cached + done, pages);
                let row = |i: usize, row: u32| Row {
                    token: (first + i) as u32,
                    row,
                    position: n_cached + done + i,
                    ends: (done + i + 1 == tokens.len()).then_some(i_entry),
                };
                match entry.rows {
                    Rows::None => {}
                    Rows::Last if done + n < tokens.len() => {}
                    Rows::Last => rows.push(row(n - 1, first_row)),
                    Rows::All => rows.extend((0..n).map(|i| row(i, first_row + (done + i) as u32))),
                }
                done += n;
                if plan.n_tokens() == MAX_TOKENS {
                    self.run_plan(batch, cache)?;
                }
            }
        }
        self.run_plan(batch, cache)
    }

    fn run_plan(&mut self, batch: &Batch, cache: &KvCache) -> Result<()> {
        if self.prefill.plan.n_tokens() == 0 {
            return Ok(());
        }
        self.gpu.write(&mut self.prefill.on_device, 0, self.prefill.plan.words())?;
        self.counts.uploads += 1;
        self.launch_prompt()?;
        let mut rows = std::mem::take(&mut self.prefill.rows);
        for rows in rows.chunks(self.kernels.max_columns()) {
            for &Row { token, row, position, ends } in rows {
                self.step.push(token, position, row, &[]);
                if let Some(i) = ends {
                    self.draw(&batch.entries()[i], row, cache)?;
                }
            }
            self.launch_logits()?;
        }
        rows.clear();
        self.prefill.rows = rows;
        self.prefill.plan.clear();
        Ok(())
    }

    /// Launches a pass: the model, in order, up to the residual.
    fn launch_prompt(&mut self) -> Result<()> {
        let Self { gpu, kernels, model, pages, prefill, dims, config, .. } = self;
        let Prefill { plan, on_device, activations: act, .. } = prefill;
        let run = Prompt { gpu, kernels, dims, plan, on_device };

        run.embed(act, &model.token_embd, &model.position_embd)?;
        for (i, (layer, pages)) in model.layers.iter().zip(pages).enumerate() {
            run.layernorm(act, &layer.attn_norm)?;
            run.qkv(act, pages, &layer.qkv)?;
            run.attention(act, pages, config.attn.scale[i])?;
            run.attn_out(act, &layer.attn_out)?;

            run.layernorm(act, &layer.mlp_norm)?;
            run.up(act, &layer.up)?;
            run.down(act, &layer.down)?;
        }
        Ok(())
    }

    /// Launches what the staged columns ask of the pass, whose tokens they name: logits by decode's kernel, and draws from them.
    fn launch_logits(&mut self) -> Result<()> {
        let n_columns = Step::column_count(self.step.n_columns());
        let kind = self.send_step()?;
        let Self { gpu, kernels, model, activations: act, prefill, step, logits, draws, dims, .. } = self;
        let run = Step { gpu, kernels, dims, step: &step.words, n_columns, n_chunks: 0 };

        run.gather(act, &prefill.activations)?;
        run.logits(&mut logits.buffer, act, &model.out_norm, model.head())?;
        let step = (&mut step.words, &step.records);
        draws.kernels.launch(gpu, kind, n_columns, step, (&logits.buffer, &logits.drawn.words))
    }
}

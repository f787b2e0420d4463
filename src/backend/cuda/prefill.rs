//! Prompts: tokens of entries of [`Phase::Prompt`], [`MAX_TOKENS`] at a time, through the kernels for tensor cores.
//!
//! A plan gathers tokens of any number of sequences; the model runs over all of them at once; then the rows that asked for logits
//! go to decode's kernel for them. Neither the cut into plans nor what else is in one changes a bit: see the kernels' headers.
//! Tested in `tests/cuda/prefill`.

use super::{
    CudaBackend,
    driver::{Buffer, Gpu},
    forward::{StepWords, with_first_rows},
    kernels::{COLUMN_COUNTS, Dims, MAX_TOKENS, Plan, Prompt, PromptActivations, Step},
};
use crate::{
    Config,
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
    pub fn new(gpu: &Gpu, config: &Config, dims: &Dims) -> Result<Self> {
        Ok(Self {
            plan: Plan::new(dims),
            rows: Vec::with_capacity(MAX_TOKENS),
            on_device: gpu.zeros(dims.plan_len(), "the plan of prompts")?,
            activations: PromptActivations::new(gpu, config)?,
        })
    }

    /// Bytes on the device.
    pub fn n_bytes(config: &Config, dims: &Dims) -> usize {
        4 * dims.plan_len() + PromptActivations::n_bytes(config)
    }
}

impl CudaBackend {
    /// Runs the prompts of `batch`, in order. `step` is empty, and is left so.
    pub(super) fn prompts(&mut self, batch: &Batch, cache: &KvCache, step: &mut StepWords) -> Result<()> {
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
                    self.run_plan(batch, cache, step)?;
                }
            }
        }
        self.run_plan(batch, cache, step)
    }

    fn run_plan(&mut self, batch: &Batch, cache: &KvCache, step: &mut StepWords) -> Result<()> {
        if self.prefill.plan.n_tokens() == 0 {
            return Ok(());
        }
        self.gpu.write(&mut self.prefill.on_device, 0, self.prefill.plan.words())?;
        self.counts.uploads += 1;
        self.launch_prompt()?;
        let mut rows = std::mem::take(&mut self.prefill.rows);
        for rows in rows.chunks(self.kernels.max_columns()) {
            for (column, row) in rows.iter().enumerate() {
                let Some(entry) = row.ends.map(|i| &batch.entries()[i]) else { continue };
                if let Some(draw) = &entry.draw {
                    let text = (entry.seq, cache.tokens(entry.seq)?);
                    self.draws.add(&self.gpu, &mut self.counts, (column, row.row as usize), draw, text)?;
                }
            }
            self.prompt_logits(rows, step)?;
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
            run.attn_c_proj(act, &layer.attn_out)?;

            run.layernorm(act, &layer.mlp_norm)?;
            run.c_fc(act, &layer.up)?;
            run.mlp_c_proj(act, &layer.down)?;
        }
        Ok(())
    }

    /// Logits of some tokens of the pass, by decode's kernel, and what is drawn from them.
    fn prompt_logits(&mut self, rows: &[Row], step: &mut StepWords) -> Result<()> {
        for &Row { token, row, position, .. } in rows {
            step.push(token, position, row, &[]);
        }
        self.send_step(step)?;
        step.clear();
        let kind = self.draws.kind();
        self.draws.send(&self.gpu, &mut self.counts, &mut self.logits.drawn)?;
        let Self { gpu, kernels, model, activations, prefill, step, logits, draws, dims, .. } = self;
        let n_columns = COLUMN_COUNTS.into_iter().find(|&c| c as usize >= rows.len());
        let n_columns = n_columns.expect("a step has at most MAX_COLUMNS columns");
        let run = Step { gpu, kernels, dims, step, n_columns, n_chunks: 0 };
        run.gather(activations, &prefill.activations)?;
        run.logits(&mut logits.buffer, activations, &model.out_norm, model.head())?;
        draws.launch(gpu, kind, n_columns, step, (&logits.buffer, &logits.drawn))?;
        draws.clear();
        Ok(())
    }
}

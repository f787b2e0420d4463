//! Prompts: tokens of entries of [`Phase::Prompt`], [`MAX_TOKENS`] at a time, through the kernels for tensor cores.
//!
//! A plan gathers tokens of any number of sequences; the model runs over all of them at once; then the rows that asked for logits
//! go to decode's kernel for them. Neither the cut into plans nor what else is in one changes a bit: see the kernels' headers.
//! Tested in `tests/cuda/prefill`.

use super::{
    CudaBackend,
    driver::{Buffer, Gpu},
    forward::{StepWords, with_first_rows},
    images::constants::{PLAN_PAGES, PLAN_POSITIONS, PLAN_SLOTS, PLAN_TILES, PLAN_TOKENS, TILE_QUERIES},
    kernels::{COLUMN_COUNTS, Dims, MAX_TOKENS, Prompt, PromptActivations, Step},
};
use crate::{
    Config, Result,
    batch::{Batch, Phase, Rows},
    cache::{KvCache, PAGE_LEN},
};

/// What prompts need beside weights and cache.
#[derive(Debug)]
pub(super) struct Prefill {
    plan: Plan,
    on_device: Buffer<u32>,
    activations: PromptActivations,
}

impl Prefill {
    pub fn new(gpu: &Gpu, config: &Config, dims: &Dims) -> Result<Self> {
        Ok(Self {
            plan: Plan::new(dims),
            on_device: gpu.zeros(dims.plan_len(), "the plan of prompts")?,
            activations: PromptActivations::new(gpu, config)?,
        })
    }

    /// Bytes on the device.
    pub fn n_bytes(config: &Config, dims: &Dims) -> usize {
        4 * dims.plan_len() + PromptActivations::n_bytes(config)
    }
}

/// The tokens of one pass, as the device takes them: see `kernels/prefill.cuh`.
#[derive(Debug)]
struct Plan {
    words: Vec<u32>,
    n_tokens: usize,
    n_tiles: usize,
    /// Tokens whose logits are wanted, and the rows where they go.
    rows: Vec<(u32, u32)>,
}

impl Plan {
    fn new(dims: &Dims) -> Self {
        let mut words = Vec::with_capacity(dims.plan_len());
        words.resize(PLAN_PAGES as usize, 0);
        Self { words, n_tokens: 0, n_tiles: 0, rows: Vec::with_capacity(MAX_TOKENS) }
    }

    fn clear(&mut self) {
        self.words.truncate(PLAN_PAGES as usize);
        (self.n_tokens, self.n_tiles) = (0, 0);
        self.rows.clear();
    }

    /// Adds the first of `tokens`, which stand at `position` of their sequence, as many as fit, and returns how many.
    fn push(&mut self, tokens: &[u32], position: usize, pages: &[u32]) -> usize {
        let n_tokens = tokens.len().min(MAX_TOKENS - self.n_tokens);
        for (i, &token) in tokens[..n_tokens].iter().enumerate() {
            let (t, position) = (self.n_tokens + i, position + i);
            let slot = pages[position / PAGE_LEN] as usize * PAGE_LEN + position % PAGE_LEN;
            self.words[PLAN_TOKENS as usize + t] = token;
            self.words[PLAN_POSITIONS as usize + t] = position as u32;
            self.words[PLAN_SLOTS as usize + t] = slot as u32;
        }
        let table = self.words.len() - PLAN_PAGES as usize;
        self.words.extend_from_slice(&pages[..(position + n_tokens).div_ceil(PAGE_LEN)]);
        for first in (0..n_tokens).step_by(TILE_QUERIES as usize) {
            let n_queries = (n_tokens - first).min(TILE_QUERIES as usize);
            let tile = [self.n_tokens + first, n_queries, position + first, table].map(|word| word as u32);
            self.words[PLAN_TILES as usize + 4 * self.n_tiles..][..4].copy_from_slice(&tile);
            self.n_tiles += 1;
        }
        self.n_tokens += n_tokens;
        n_tokens
    }
}

impl CudaBackend {
    /// Runs the prompts of `batch`, in order. `step` is empty, and is left so.
    pub(super) fn prompts(&mut self, batch: &Batch, cache: &KvCache, step: &mut StepWords) -> Result<()> {
        self.prefill.plan.clear();
        for (entry, first_row) in with_first_rows(batch) {
            if entry.phase != Phase::Prompt {
                continue;
            }
            let tokens = &batch.tokens()[entry.tokens.clone()];
            let pages = cache.pages(entry.seq)?;
            let n_cached = cache.tokens(entry.seq)?.len() - tokens.len();
            let mut done = 0;
            while done < tokens.len() {
                let plan = &mut self.prefill.plan;
                let first = plan.n_tokens;
                let n = plan.push(&tokens[done..], n_cached + done, pages);
                match entry.rows {
                    Rows::None => {}
                    Rows::Last if done + n < tokens.len() => {}
                    Rows::Last => plan.rows.push(((first + n - 1) as u32, first_row)),
                    Rows::All => {
                        plan.rows.extend((0..n).map(|i| ((first + i) as u32, first_row + (done + i) as u32)));
                    }
                }
                done += n;
                if plan.n_tokens == MAX_TOKENS {
                    self.run_plan(step)?;
                }
            }
        }
        self.run_plan(step)
    }

    fn run_plan(&mut self, step: &mut StepWords) -> Result<()> {
        if self.prefill.plan.n_tokens == 0 {
            return Ok(());
        }
        self.gpu.write(&mut self.prefill.on_device, 0, &self.prefill.plan.words)?;
        self.counts.uploads += 1;
        self.launch_prompt()?;
        let rows = std::mem::take(&mut self.prefill.plan.rows);
        for rows in rows.chunks(self.kernels.max_columns()) {
            self.prompt_logits(rows, step)?;
        }
        self.prefill.plan.rows = rows;
        self.prefill.plan.clear();
        Ok(())
    }

    /// Launches a pass: the model, in order, up to the residual.
    fn launch_prompt(&mut self) -> Result<()> {
        let Self { gpu, kernels, model, pages, prefill, dims, config, .. } = self;
        let Prefill { plan, on_device, activations: act } = prefill;
        let (n_tokens, n_tiles) = (plan.n_tokens as u32, plan.n_tiles as u32);
        let run = Prompt { gpu, kernels, dims, plan: on_device, n_tokens, n_tiles };

        run.embed(act, &model.wte, &model.wpe)?;
        for (i, (layer, pages)) in model.h.iter().zip(pages).enumerate() {
            run.layernorm(act, &layer.ln_1)?;
            run.qkv(act, pages, &layer.c_attn)?;
            run.attention(act, pages, config.attn_scale(i))?;
            run.attn_c_proj(act, &layer.attn_c_proj)?;

            run.layernorm(act, &layer.ln_2)?;
            run.c_fc(act, &layer.c_fc)?;
            run.mlp_c_proj(act, &layer.mlp_c_proj)?;
        }
        Ok(())
    }

    /// Logits of some tokens of the pass, `(token, row)`, by decode's kernel.
    fn prompt_logits(&mut self, rows: &[(u32, u32)], step: &mut StepWords) -> Result<()> {
        for &(token, row) in rows {
            step.push(token, 0, row, &[0]);
        }
        self.send_step(step)?;
        step.clear();
        let Self { gpu, kernels, model, activations, prefill, step, logits, dims, .. } = self;
        let n_columns = COLUMN_COUNTS.into_iter().find(|&c| c as usize >= rows.len());
        let n_columns = n_columns.expect("a step has at most MAX_COLUMNS columns");
        let run = Step { gpu, kernels, dims, step, n_columns, n_chunks: 0 };
        run.gather(activations, &prefill.activations)?;
        let head = model.lm_head.as_ref().unwrap_or(&model.wte);
        run.logits(&mut logits.buffer, activations, &model.ln_f, head)
    }
}

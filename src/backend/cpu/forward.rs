//! [`CpuBackend`]'s forward pass: the decoder in model order.

use super::{
    Activations, CpuBackend, MAX_TOKENS, Plan, Planned, Storage, attention,
    attention::Span,
    linear::Then,
    ops::{AttentionShape, Ops, Pages},
    zeros,
};
use crate::{
    Config, Weights,
    backend::{Backend, BackendError, Logits, Result},
    batch::{Batch, Entry, Rows},
    cache::{KvCache, PAGE_LEN},
    config::Positions,
};

impl Backend for CpuBackend {
    fn name(&self) -> String {
        let n_threads = self.ops.n_threads();
        format!("CPU ({}, {n_threads} thread{})", self.ops.isa(), if n_threads == 1 { "" } else { "s" })
    }

    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        let n_pages = n_tokens.div_ceil(PAGE_LEN);
        let config = &self.weights.config;
        // Found out before the old memory is given up.
        let pages = Storage::new(config, n_pages)?;
        if self.activations.x.is_empty() {
            self.activations = Activations::new(config)?;
            self.plan = Plan::new(config.n_ctx)?;
            self.ops.reserve(config, MAX_TOKENS)?;
        }
        self.pages = pages;
        Ok(KvCache::new(n_pages, config.n_ctx, config.n_vocab))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        let n_vocab = self.weights.config.n_vocab;
        self.reserve_logits(batch.n_rows())?;
        cache.append(batch)?;
        let mut n_rows = 0;
        self.plan.clear();
        for entry in batch.entries() {
            let pages = cache.pages(entry.seq)?;
            let n_cached = cache.tokens(entry.seq)?.len() - entry.tokens.len();
            if cfg!(debug_assertions) {
                self.pages.poison(&pages[n_cached.div_ceil(PAGE_LEN)..]);
            }
            let mut n_planned = 0;
            while n_planned < entry.tokens.len() {
                n_planned += self.plan.push(entry, batch.tokens(), n_planned, n_cached, pages);
                if self.plan.tokens.len() == MAX_TOKENS {
                    n_rows += self.run_plan(n_rows);
                }
            }
        }
        self.run_plan(n_rows);
        Ok(Logits::from_host(&self.logits, n_vocab))
    }
}

impl CpuBackend {
    /// Makes room for the logits of `n_rows` tokens.
    fn reserve_logits(&mut self, n_rows: usize) -> Result<()> {
        let n = n_rows.saturating_mul(self.weights.config.n_vocab);
        let what = || format!("the logits of {n_rows} tokens");
        let no_memory = |_| BackendError::HostMemory { what: what(), needed: n.saturating_mul(4) };
        self.logits.try_reserve(n.saturating_sub(self.logits.len())).map_err(no_memory)?;
        self.logits.resize(n, 0.0);
        Ok(())
    }

    /// Runs what is planned, writes the logits from row `first_row` on, and returns how many rows they are.
    fn run_plan(&mut self, first_row: usize) -> usize {
        let Self { weights, ops, pages, activations, plan, logits } = self;
        if plan.tokens.is_empty() {
            return 0;
        }
        let (n_rows, n_vocab) = (plan.rows.len(), weights.config.n_vocab);
        let logits = &mut logits[first_row * n_vocab..][..n_rows * n_vocab];
        forward(weights, ops, pages, activations, plan, logits);
        plan.clear();
        n_rows
    }
}

/// Appends the planned tokens' keys and values to `pages` and writes the logits of the planned rows, `[R, V]`.
fn forward(
    weights: &Weights,
    ops: &mut Ops,
    pages: &mut Storage,
    activations: &mut Activations,
    plan: &Plan,
    logits: &mut [f32],
) {
    let config = &weights.config;
    let Config { n_embd: width, n_ctx, ref attn, ref mlp, .. } = *config;
    let (n_tokens, eps) = (plan.tokens.len(), config.norm.eps);
    let x = &mut activations.x[..n_tokens * width]; // [T, C]
    let h = &mut activations.h[..n_tokens * width.max(attn.width())]; // [T, C] or [T, H D]
    let qkv = &mut activations.qkv[..n_tokens * 3 * attn.width()]; // [T, 3 H D]
    let inner = &mut activations.inner[..n_tokens * mlp.n_inner]; // [T, F]
    let (normed, attended) = (n_tokens * width, n_tokens * attn.width());

    ops.embed(x, &plan.tokens, &weights.token_embd);
    match config.positions {
        Positions::Learned => ops.add_positions(x, &plan.positions, &weights.position_embd),
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        ops.layernorm(&mut h[..normed], x, &layer.attn_norm, eps);
        ops.linear(qkv, &h[..normed], &layer.qkv, Then::Store);
        let shape =
            AttentionShape { width: attn.width(), head_dim: attn.head_dim, scale: attn.scale[i], n_ctx };
        ops.attention(&mut h[..attended], qkv, pages.layer(i), plan.spans(), shape);
        ops.linear(x, &h[..attended], &layer.attn_out, Then::Add);

        ops.layernorm(&mut h[..normed], x, &layer.mlp_norm, eps);
        ops.linear(inner, &h[..normed], &layer.up, Then::Activate(mlp.activation));
        ops.linear(x, inner, &layer.down, Then::Add);
    }
    let rows = plan.rows.len();
    for (h, &row) in h.chunks_mut(width).zip(&plan.rows) {
        h.copy_from_slice(&x[row * width..][..width]);
    }
    let (x, h) = (&mut x[..rows * width], &h[..rows * width]);
    ops.layernorm(x, h, &weights.out_norm, eps);
    ops.logits(logits, x, weights.head());
}

impl Activations {
    /// Room for [`MAX_TOKENS`] tokens.
    fn new(config: &Config) -> Result<Self> {
        let room = |width: usize| zeros(format_args!("{MAX_TOKENS} tokens at once"), MAX_TOKENS * width);
        let (width, attended) = (config.n_embd, config.attn.width());
        Ok(Self {
            x: room(width)?,
            h: room(width.max(attended))?,
            qkv: room(3 * attended)?,
            inner: room(config.mlp.n_inner)?,
        })
    }
}

impl Plan {
    /// An empty plan, with room for any [`MAX_TOKENS`] tokens of sequences up to `n_ctx`.
    fn new(n_ctx: usize) -> Result<Self> {
        let mut pages = Vec::new();
        let n_pages = MAX_TOKENS * n_ctx.div_ceil(PAGE_LEN);
        let what = || format!("the page tables of {MAX_TOKENS} texts of {n_ctx} tokens");
        let no_memory = |_| BackendError::HostMemory { what: what(), needed: n_pages.saturating_mul(4) };
        pages.try_reserve_exact(n_pages).map_err(no_memory)?;
        Ok(Self {
            tokens: Vec::with_capacity(MAX_TOKENS),
            positions: Vec::with_capacity(MAX_TOKENS),
            spans: Vec::with_capacity(MAX_TOKENS),
            pages,
            rows: Vec::with_capacity(MAX_TOKENS),
        })
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.spans.clear();
        self.pages.clear();
        self.rows.clear();
    }

    /// Adds the tokens of `entry` from number `from` on, as many as fit, and returns how many.
    fn push(&mut self, entry: &Entry, tokens: &[u32], from: usize, n_cached: usize, pages: &[u32]) -> usize {
        let all = &tokens[entry.tokens.clone()][from..];
        let first = self.tokens.len();
        let n_tokens = all.len().min(MAX_TOKENS - first);
        let position = n_cached + from;
        self.tokens.extend_from_slice(&all[..n_tokens]);
        self.positions.extend(position..position + n_tokens);
        let pages_start = self.pages.len();
        self.pages.extend_from_slice(&pages[..(position + n_tokens).div_ceil(PAGE_LEN)]);
        self.spans.push(Planned { first, n_tokens, position, pages: (pages_start, self.pages.len()) });
        match entry.rows {
            Rows::None => {}
            Rows::Last if n_tokens < all.len() => {}
            Rows::Last => self.rows.push(first + n_tokens - 1),
            Rows::All => self.rows.extend(first..first + n_tokens),
        }
        n_tokens
    }

    fn spans(&self) -> impl Iterator<Item = Span<'_>> + Clone + Sync {
        self.spans.iter().map(|s| Span {
            first: s.first,
            n_tokens: s.n_tokens,
            position: s.position,
            pages: &self.pages[s.pages.0..s.pages.1],
        })
    }
}

impl Storage {
    /// Room for `n_pages` pages of all layers.
    fn new(config: &Config, n_pages: usize) -> Result<Self> {
        let attn = &config.attn;
        let n_rows = n_pages.saturating_mul(config.n_layer * attn.n_head * PAGE_LEN);
        let n_tokens = n_pages.saturating_mul(PAGE_LEN);
        let room = |width: usize| {
            zeros(format_args!("a KV cache of {n_tokens} tokens"), n_rows.saturating_mul(width))
        };
        Ok(Self {
            keys: room(attn.head_dim)?,
            values: room(attention::padded(attn.head_dim))?,
            n_pages,
            n_layer: config.n_layer,
        })
    }

    /// The part of layer `i`.
    fn layer(&mut self, i: usize) -> Pages<'_> {
        let (n_keys, n_values) = (self.keys.len() / self.n_layer, self.values.len() / self.n_layer);
        Pages {
            keys: &mut self.keys[i * n_keys..][..n_keys],
            values: &mut self.values[i * n_values..][..n_values],
        }
    }

    /// Fills pages with NaN, in all layers: a read of what nobody wrote shows in the logits.
    fn poison(&mut self, pages: &[u32]) {
        let (n_pages, n_layer) = (self.n_pages, self.n_layer);
        for all in [&mut self.keys, &mut self.values] {
            let page_len = all.len() / (n_layer * n_pages);
            for layer in 0..n_layer {
                for &page in pages {
                    all[(layer * n_pages + page as usize) * page_len..][..page_len].fill(f32::NAN);
                }
            }
        }
    }
}

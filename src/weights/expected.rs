//! What a model of a given shape consists of: the list that checkpoints are held against, counted and written by.
//!
//! Called by `load`, `info` and `convert`. Tested in `tests/malformed_weights/`.

use crate::Config;

/// One tensor that a model needs.
pub(crate) struct Expected {
    /// Its name, without prefix.
    pub name: String,
    /// Its shape; that of a linear layer as Conv1D stores it, `[in, out]`.
    pub shape: Vec<usize>,
    /// The same in the words of config.json.
    pub fields: &'static str,
    /// Whether it is the matrix of a linear layer, which `nn.Linear` stores as `[out, in]`.
    pub is_linear: bool,
}

impl Expected {
    /// Its numbers.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every tensor of a model of this shape, in the order of the forward pass.
pub(crate) fn expected(config: &Config, has_bias: bool) -> Vec<Expected> {
    let (width, inner) = (config.n_embd, config.n_inner);
    let mut list = List { entries: Vec::new(), has_bias };
    list.push("wte.weight".into(), &[config.n_vocab, width], "[vocab_size, n_embd]");
    list.push("wpe.weight".into(), &[config.n_ctx, width], "[n_positions, n_embd]");
    for i in 0..config.n_layer {
        list.norm(format!("h.{i}.ln_1"), width);
        list.linear(format!("h.{i}.attn.c_attn"), [width, 3 * width], "[n_embd, 3 n_embd]");
        list.linear(format!("h.{i}.attn.c_proj"), [width, width], "[n_embd, n_embd]");
        list.norm(format!("h.{i}.ln_2"), width);
        list.linear(format!("h.{i}.mlp.c_fc"), [width, inner], "[n_embd, n_inner]");
        list.linear(format!("h.{i}.mlp.c_proj"), [inner, width], "[n_inner, n_embd]");
    }
    list.norm("ln_f".into(), width);
    if !config.tie_word_embeddings {
        list.push("lm_head.weight".into(), &[config.n_vocab, width], "[vocab_size, n_embd]");
    }
    list.entries
}

struct List {
    entries: Vec<Expected>,
    has_bias: bool,
}

impl List {
    fn push(&mut self, name: String, shape: &[usize], fields: &'static str) {
        self.entries.push(Expected { name, shape: shape.into(), fields, is_linear: false });
    }

    fn norm(&mut self, name: String, width: usize) {
        self.push(format!("{name}.weight"), &[width], "[n_embd]");
        if self.has_bias {
            self.push(format!("{name}.bias"), &[width], "[n_embd]");
        }
    }

    fn linear(&mut self, name: String, shape: [usize; 2], fields: &'static str) {
        let weight = format!("{name}.weight");
        self.entries.push(Expected { name: weight, shape: shape.into(), fields, is_linear: true });
        if self.has_bias {
            self.push(format!("{name}.bias"), &shape[1..], "the width of its layer");
        }
    }
}

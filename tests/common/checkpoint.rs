//! A small GPT-2 checkpoint for tests, whose files are written by hand so that every byte of them can be made wrong.

#![allow(dead_code)]

use half::{bf16, f16};
use halfwarp::{Weights, weights::Filled};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// A safetensors file: the length, `header` as it is, `data` as it is.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F16,
    BF16,
    F32,
}

#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
    pub dtype: Dtype,
}

impl Tensor {
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = |&v: &f32| match self.dtype {
            Dtype::F16 => f16::from_f32(v).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(v).to_le_bytes().to_vec(),
            Dtype::F32 => v.to_le_bytes().to_vec(),
        };
        self.values.iter().flat_map(bytes).collect()
    }
}

/// config.json and the tensors, to be changed and written.
#[derive(Clone, Debug)]
pub struct Model {
    pub config: Value,
    pub tensors: Vec<Tensor>,
}

pub const N_VOCAB: usize = 13;
pub const N_CTX: usize = 10;
pub const N_EMBD: usize = 8;
pub const N_LAYER: usize = 2;

impl Model {
    /// A model with different values everywhere, all exact in fp16 and bf16: multiples of 1/64 below 2.
    pub fn new(dtype: Dtype) -> Self {
        let config = json!({
            "model_type": "gpt2", "vocab_size": N_VOCAB, "n_positions": N_CTX, "n_embd": N_EMBD, "n_head": 2,
            "n_layer": N_LAYER, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
            "bos_token_id": 0, "eos_token_id": 0,
        });
        let mut model = Self { config, tensors: Vec::new() };
        let (c, mut state) = (N_EMBD, 1u32);
        let mut add = |name: String, shape: &[usize]| {
            let mut next = || {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                ((state >> 24) as f32 - 127.0) / 64.0
            };
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            model.tensors.push(Tensor { name, shape: shape.into(), values, dtype });
        };
        add("wte.weight".into(), &[N_VOCAB, c]);
        add("wpe.weight".into(), &[N_CTX, c]);
        for i in 0..N_LAYER {
            for (name, shape) in [
                ("ln_1.weight", &[c][..]),
                ("ln_1.bias", &[c]),
                ("attn.c_attn.weight", &[c, 3 * c]),
                ("attn.c_attn.bias", &[3 * c]),
                ("attn.c_proj.weight", &[c, c]),
                ("attn.c_proj.bias", &[c]),
                ("ln_2.weight", &[c]),
                ("ln_2.bias", &[c]),
                ("mlp.c_fc.weight", &[c, 4 * c]),
                ("mlp.c_fc.bias", &[4 * c]),
                ("mlp.c_proj.weight", &[4 * c, c]),
                ("mlp.c_proj.bias", &[c]),
            ] {
                add(format!("h.{i}.{name}"), shape);
            }
        }
        add("ln_f.weight".into(), &[c]);
        add("ln_f.bias".into(), &[c]);
        model
    }

    /// Stores the linear layers as `nn.Linear` does, or back.
    pub fn transpose_linears(&mut self) {
        let is_linear = |t: &&mut Tensor| t.name.contains(".c_") && t.name.ends_with("weight");
        for tensor in self.tensors.iter_mut().filter(is_linear) {
            let (rows, cols) = (tensor.shape[0], tensor.shape[1]);
            let old = tensor.values.clone();
            tensor.values = (0..old.len()).map(|i| old[i % rows * cols + i / rows]).collect();
            tensor.shape = vec![cols, rows];
        }
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).expect("the model has this tensor")
    }

    pub fn remove(&mut self, name: &str) {
        self.tensors.retain(|t| t.name != name);
    }

    pub fn push(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        let dtype = self.tensors[0].dtype;
        self.tensors.push(Tensor { name: name.into(), shape: shape.into(), values, dtype });
    }

    pub fn rename(&mut self, rename: impl Fn(&str) -> String) {
        self.tensors.iter_mut().for_each(|t| t.name = rename(&t.name));
    }

    /// The weights file; its header is padded with spaces to a multiple of 8 bytes, plus `shift`.
    pub fn file(&self, shift: usize) -> Vec<u8> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        for tensor in &self.tensors {
            let start = data.len();
            data.extend(tensor.bytes());
            let dtype = format!("{:?}", tensor.dtype);
            let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
            header.insert(tensor.name.clone(), entry);
        }
        let mut header = Value::Object(header).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len() + shift);
        file(&header, &data)
    }

    /// Writes config.json and model.safetensors into `folder`.
    pub fn write(&self, folder: &Path) {
        self.write_config(folder);
        fs::write(folder.join("model.safetensors"), self.file(0)).unwrap();
    }

    pub fn write_config(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
    }
}

/// The bits of everything in `weights`, widened to fp32.
pub fn bits(weights: &Weights) -> Vec<u32> {
    let mut bits = Vec::new();
    for (_, filled) in weights.tensors() {
        match filled {
            Filled::Vector(vector) => bits.extend(vector.iter().map(|v| v.to_bits())),
            Filled::Matrix(matrix) => {
                bits.extend([matrix.n_out() as u32, matrix.n_in() as u32]);
                for o in 0..matrix.n_out() {
                    bits.extend((0..matrix.n_in()).map(|i| matrix.get(o, i).to_bits()));
                }
            }
        }
    }
    bits
}

/// A named pipe, which blocks whoever opens it.
#[cfg(unix)]
pub fn make_pipe(path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: `path` is a string that ends with a zero byte and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

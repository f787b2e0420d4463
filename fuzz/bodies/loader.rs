//! A model folder of any content: an error in words, or weights that can be read; mapping and reading say the same.
//!
//! Input: the length of config.json (two bytes, low first), config.json, the weights file. Length 0 stands for [`CONFIG`].

use halfwarp::{
    Source,
    weights::LoadOptions,
    weights::{Elements, Weights},
};
use std::path::Path;

/// A model small enough that its whole weights file is a small input.
const CONFIG: &str =
    r#"{"model_type": "gpt2", "vocab_size": 5, "n_positions": 3, "n_embd": 4, "n_head": 2, "n_layer": 1}"#;

/// Returns whether the model loads, with the rest of `data` as its file `weights_name`.
pub fn run(data: &[u8], weights_name: &str) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return false };
    let n_config = usize::from(u16::from_le_bytes(*length));
    let Some((config, weights)) = rest.split_at_checked(n_config) else { return false };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("room for a temporary file");
    };
    write("config.json", if config.is_empty() { CONFIG.as_bytes() } else { config });
    write(weights_name, weights);

    let mapped = load(folder.path(), false);
    let read = load(folder.path(), true);
    assert_eq!(mapped, read, "mapping and reading differ");
    mapped.is_ok()
}

/// Every element, as bits; or the error.
fn load(folder: &Path, read: bool) -> Result<Vec<u32>, String> {
    let options = LoadOptions { read, ..LoadOptions::default() };
    let weights = Source::Folder(folder.into()).weights(&options).map_err(|e| e.to_string());
    weights.map(|w| elements(&w)).inspect_err(|e| assert!(!e.is_empty()))
}

fn elements(weights: &Weights) -> Vec<u32> {
    let mut all = Vec::new();
    for matrix in weights.matrices() {
        match matrix.elements() {
            Elements::F16(values) => all.extend(values.iter().map(|v| v.to_f32().to_bits())),
            Elements::Bf16(values) => all.extend(values.iter().map(|v| v.to_f32().to_bits())),
            Elements::F32(values) => all.extend(values.iter().map(|v| v.to_bits())),
        }
    }
    all
}

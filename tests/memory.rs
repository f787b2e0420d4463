//! The CPU backend makes no copy of mapped weights.

use halfwarp::{
    Config, Weights,
    backend::{
        Backend,
        cpu::{CpuBackend, MAX_TOKENS},
    },
    batch::{Batch, Rows},
};
use safetensors::{Dtype, tensor::TensorView};
use std::{path::Path, sync::Arc};

/// config.json of GPT-2 124M.
const GPT2: &str = r#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 12, "n_head": 12,
    "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5}"#;

/// Anonymous memory of this process in bytes, where the system tells.
fn anonymous() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<usize> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("RssAnon:")? + field("VmSwap:")?) * 1024)
}

/// Writes an fp16 checkpoint of the shape of `config`; its matrices repeat one block of small numbers.
fn write_checkpoint(folder: &Path, config: &Config) {
    let (c, f) = (config.n_embd, config.mlp.n_inner);
    let mut shapes = vec![("wte.weight".to_string(), vec![config.n_vocab, c])];
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    add("wpe.weight".into(), &[config.n_ctx, c]);
    for i in 0..config.n_layer {
        for (name, n_in, n_out) in
            [("attn.c_attn", c, 3 * c), ("attn.c_proj", c, c), ("mlp.c_fc", c, f), ("mlp.c_proj", f, c)]
        {
            add(format!("h.{i}.{name}.weight"), &[n_in, n_out]);
            add(format!("h.{i}.{name}.bias"), &[n_out]);
        }
        for name in ["ln_1", "ln_2"] {
            add(format!("h.{i}.{name}.weight"), &[c]);
            add(format!("h.{i}.{name}.bias"), &[c]);
        }
    }
    add("ln_f.weight".into(), &[c]);
    add("ln_f.bias".into(), &[c]);
    let largest = config.n_vocab * c * 2;
    let bytes: Vec<u8> = (0..largest / 2)
        .flat_map(|i| half::f16::from_f32((i % 1021) as f32 / 25000.0 - 0.02).to_le_bytes())
        .collect();
    let views = shapes.iter().map(|(name, shape)| {
        let len = 2 * shape.iter().product::<usize>();
        (name.as_str(), TensorView::new(Dtype::F16, shape.clone(), &bytes[..len]).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), GPT2).unwrap();
}

#[test]
fn mapped_weights_are_not_copied() {
    let Some(before) = anonymous() else {
        println!("skipped: this system does not tell a process its anonymous memory");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = halfwarp::family::parse_config(GPT2.as_bytes()).unwrap();
    write_checkpoint(folder.path(), &config);
    let weights = Arc::new(Weights::open(folder.path()).unwrap());
    let mut backend = CpuBackend::new(weights, Some(2));
    let mut cache = backend.new_cache(1024).unwrap();
    let seq = cache.open();
    let ids: Vec<u32> = (0..100).collect();
    backend.forward(&Batch::one(seq, &ids, Rows::Last), &mut cache).unwrap();
    for id in 0..3 {
        backend.forward(&Batch::one(seq, &[id], Rows::Last), &mut cache).unwrap();
    }
    let activations = MAX_TOKENS * (5 * config.n_embd + config.mlp.n_inner) * 4;
    // The cache is touched where it is used: four pages. The model has 249 MB.
    let allowed = config.kv_bytes_per_token() * 128 + activations + (64 << 20);
    let grown = anonymous().unwrap().saturating_sub(before);
    println!("anonymous memory grew by {grown} bytes, allowed {allowed}");
    assert!(grown < allowed, "anonymous memory grew by {grown} bytes, allowed {allowed}");
}

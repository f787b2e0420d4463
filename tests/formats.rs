//! Every way to store one model gives the same weights, bit for bit, and the same logits.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Dtype, Model, N_EMBD, N_VOCAB, bits};
use halfwarp::{
    Weights,
    backend::naive,
    source::Source,
    weights::{LoadOptions, StoredType},
};
use serde_json::json;
use std::{fs, path::Path};
use tempfile::TempDir;

fn logit_bits(weights: &Weights) -> Vec<u64> {
    naive::forward(weights, &[3, 1, 4, 1, 5]).into_iter().map(f64::to_bits).collect()
}

fn open(folder: &Path) -> Weights {
    Weights::open(folder).unwrap_or_else(|e| panic!("{e}"))
}

/// Writes `model`, opens it and compares it with the plain fp16 one.
fn assert_same(claim: &str, model: &Model) {
    let folder = TempDir::new().unwrap();
    model.write(folder.path());
    assert_same_folder(claim, folder.path());
}

fn assert_same_folder(claim: &str, path: &Path) {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    let (expected, found) = (open(folder.path()), open(path));
    assert!(bits(&expected) == bits(&found), "{claim}: the weights differ");
    assert!(logit_bits(&expected) == logit_bits(&found), "{claim}: the logits differ");
}

#[test]
fn fp32_and_bf16_are_the_same_weights_as_fp16() {
    assert_same("fp32", &Model::new(Dtype::F32));
    assert_same("bf16", &Model::new(Dtype::BF16));
}

#[test]
fn prefixes_of_wrappers_do_not_matter() {
    for prefix in ["transformer.", "_orig_mod.transformer.", "module.transformer.", "module._orig_mod."] {
        let mut model = Model::new(Dtype::F16);
        model.rename(|name| format!("{prefix}{name}"));
        assert_same(prefix, &model);
    }
}

#[test]
fn mask_buffers_and_unknown_tensors_are_ignored() {
    let mut model = Model::new(Dtype::F16);
    for i in 0..2 {
        model.push(&format!("h.{i}.attn.bias"), &[1, 1, 10, 10], vec![1.0; 100]);
        model.push(&format!("h.{i}.attn.masked_bias"), &[], vec![f32::NEG_INFINITY]);
    }
    model.push("score.weight", &[2, N_EMBD], vec![0.5; 2 * N_EMBD]);
    assert_same("buffers", &model);
    let folder = TempDir::new().unwrap();
    model.write(folder.path());
    let ignored = Source::Folder(folder.path().into()).info().unwrap().ignored;
    assert_eq!(
        ignored,
        ["h.0.attn.bias", "h.0.attn.masked_bias", "h.1.attn.bias", "h.1.attn.masked_bias", "score.weight"]
    );
}

#[test]
fn linear_layout_is_transposed() {
    let mut model = Model::new(Dtype::F16);
    model.transpose_linears();
    assert_same("nn.Linear, fp16", &model);
    model.tensors.iter_mut().for_each(|t| t.dtype = Dtype::F32);
    assert_same("nn.Linear, fp32", &model);
}

#[test]
fn generation_config_adds_tokens_that_end_a_text_and_sampling_values() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write(folder.path());
    let write = |text: &str| fs::write(folder.path().join("generation_config.json"), text).unwrap();
    let source = Source::Folder(folder.path().into());
    assert_eq!(open(folder.path()).config.eos_token_ids, [0]);
    // 50256 is no token of this model: Chinese GPT-2s carry it along.
    write(
        r#"{"eos_token_id": [0, 7, 50256], "temperature": 0.6, "top_k": 20, "do_sample": true, "num_beams": 1,
            "num_beam_groups": 2, "suppress_tokens": [], "early_stopping": false, "max_length": 20, "use_cache": true}"#,
    );
    assert_eq!(open(folder.path()).config.eos_token_ids, [0, 7]);
    let generation = source.info().unwrap().generation;
    assert_eq!(generation.unserved, ["num_beam_groups", "max_length"]);
    let values = generation.values();
    let expected = [("do_sample", "true"), ("temperature", "0.6"), ("top_k", "20")];
    assert!(values.iter().map(|(name, value)| (*name, value.as_str())).eq(expected), "{values:?}");
    for (text, words) in [
        ("[]", "generation_config.json: expected an object"),
        (
            r#"{"temperature": -1}"#,
            "generation_config.json: temperature is -1, expected a number from 0 to 100",
        ),
        (r#"{"top_k": 1.5}"#, "generation_config.json: top_k is 1.5, expected a whole number, 0 or more"),
        (r#"{"eos_token_id": "x"}"#, "generation_config.json: eos_token_id is \"x\", expected a token id"),
    ] {
        write(text);
        let error = Weights::open(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn a_tied_matrix_may_stand_under_the_heads_name_alone() {
    for prefix in ["", "transformer."] {
        let mut model = Model::new(Dtype::F16);
        model.rename(|name| match name {
            "wte.weight" => "lm_head.weight".into(),
            name => format!("{prefix}{name}"),
        });
        assert_same("lm_head.weight alone", &model);
    }
}

/// The length of the header is the file's first bytes: none of them may look like another format.
#[test]
fn a_header_may_have_the_length_that_a_pickle_begins_with() {
    let model = Model::new(Dtype::F16);
    let bytes = model.file(0);
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for pickle in 1..=5 {
        let folder = TempDir::new().unwrap();
        model.write_config(folder.path());
        let file = model.file((pickle << 8 | 0x1_0080) - len);
        assert_eq!(file[..2], [0x80, pickle as u8]);
        fs::write(folder.path().join("model.safetensors"), file).unwrap();
        open(folder.path());
    }
}

#[test]
fn a_tied_head_that_is_stored_twice_is_accepted() {
    let mut model = Model::new(Dtype::F16);
    let wte = model.tensor("wte.weight").values.clone();
    model.push("lm_head.weight", &[N_VOCAB, N_EMBD], wte);
    assert_same("tied duplicate", &model);
}

#[test]
fn an_untied_head_makes_the_logits() {
    let mut model = Model::new(Dtype::F16);
    model.config["tie_word_embeddings"] = json!(false);
    let head: Vec<f32> = model.tensor("wte.weight").values.iter().map(|v| 2.0 * v).collect();
    model.push("lm_head.weight", &[N_VOCAB, N_EMBD], head);
    let (folder, tied) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    model.write(folder.path());
    Model::new(Dtype::F16).write(tied.path());
    let twice =
        naive::forward(&open(tied.path()), &[1, 2, 3]).into_iter().map(|v| 2.0 * v).collect::<Vec<_>>();
    assert_eq!(naive::forward(&open(folder.path()), &[1, 2, 3]), twice);
}

#[test]
fn shards_are_one_model() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write_config(folder.path());
    let mut map = serde_json::Map::new();
    for (i, part) in model.tensors.chunks(7).enumerate() {
        let name = format!("model-{i:05}.safetensors");
        for tensor in part {
            map.insert(tensor.name.clone(), json!(name));
        }
        let shard = Model { config: model.config.clone(), tensors: part.to_vec() };
        fs::write(folder.path().join(name), shard.file(0)).unwrap();
    }
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert_same_folder("shards", folder.path());
}

#[test]
fn data_at_odd_offsets_is_copied_with_the_right_values() {
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
        for shift in 1..4 {
            let folder = TempDir::new().unwrap();
            let model = Model::new(dtype);
            model.write_config(folder.path());
            fs::write(folder.path().join("model.safetensors"), model.file(shift)).unwrap();
            assert_same_folder(&format!("{dtype:?} shifted by {shift}"), folder.path());
        }
    }
}

#[test]
fn reading_into_memory_is_the_same_as_mapping() {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    let source = Source::Folder(folder.path().into());
    let read = source.weights(&LoadOptions { read: true, ..LoadOptions::default() }).unwrap();
    assert_eq!(bits(&open(folder.path())), bits(&read));
}

#[test]
fn matrices_keep_their_type_and_stay_in_the_map() {
    for (dtype, stored, notice) in [
        (Dtype::F16, StoredType::F16, false),
        (Dtype::F32, StoredType::F32, true),
        (Dtype::BF16, StoredType::Bf16, false),
    ] {
        for transposed in [false, true] {
            let mut model = Model::new(dtype);
            if transposed {
                model.transpose_linears();
            }
            let folder = TempDir::new().unwrap();
            model.write(folder.path());
            let weights = open(folder.path());
            for matrix in weights.matrices() {
                assert_eq!(
                    (matrix.stored_type(), matrix.is_in_place()),
                    (stored, true),
                    "{dtype:?}, {transposed}"
                );
            }
            assert_eq!(weights.notice().is_some_and(|n| n.contains("halfwarp convert")), notice, "{dtype:?}");
        }
    }
}

/// A nanoGPT export: its own config, `nn.Linear` layout, no biases, the head stored twice, a compiled module's prefix.
#[test]
fn nanogpt_exports_without_biases_load() {
    let mut model = Model::new(Dtype::F32);
    model.config = json!({"block_size": 10, "vocab_size": N_VOCAB, "n_layer": 2, "n_head": 2, "n_embd": N_EMBD,
        "dropout": 0.0, "bias": false});
    model.tensors.retain(|t| !t.name.ends_with(".bias"));
    let mut plain = Model::new(Dtype::F32);
    plain.config["activation_function"] = json!("gelu");
    for tensor in plain.tensors.iter_mut().filter(|t| t.name.ends_with(".bias")) {
        tensor.values.fill(0.0);
    }
    model.transpose_linears();
    let wte = model.tensor("wte.weight").values.clone();
    model.push("lm_head.weight", &[N_VOCAB, N_EMBD], wte);
    model.rename(|name| {
        if name == "lm_head.weight" {
            format!("_orig_mod.{name}")
        } else {
            format!("_orig_mod.transformer.{name}")
        }
    });
    let (folder, expected) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    model.write(folder.path());
    plain.write(expected.path());
    let weights = open(folder.path());
    assert!(weights.layers.iter().all(|layer| layer.qkv.bias.is_none() && layer.attn_norm.bias.is_none()));
    assert!(logit_bits(&weights) == logit_bits(&open(expected.path())));
}

#[test]
fn the_bundled_model_and_the_goldens_are_well_made() {
    for folder in ["models/tales", "tests/goldens/tiny-fp32", "tests/goldens/odd-fp16"] {
        let info = Source::Folder(folder.into()).info().unwrap();
        assert!(info.n_params > 0 && info.ignored.is_empty(), "{folder}");
        open(Path::new(folder));
    }
    let info = Source::Bundled.info().unwrap();
    assert_eq!(info.dtypes.len(), 1);
    assert_eq!(info.dtypes[0].dtype, "F16");
    assert_eq!(info.n_params, 5_918_720);
    assert_eq!(info.kv_bytes_per_token, 2 * 6 * 256 * 4);
    let (folder, bundled) = (open(Path::new("models/tales")), Weights::bundled().unwrap());
    assert!(bits(&folder) == bits(&bundled), "the bundled model is models/tales");
    assert_eq!(
        halfwarp::family::parse_config(&fs::read("models/tales/config.json").unwrap()).unwrap(),
        bundled.config
    );
}

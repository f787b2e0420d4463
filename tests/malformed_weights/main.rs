//! Malformed weights files are refused with an error that names the file, the tensor and the numbers: never a panic, a
//! hang, an allocation of a size that the file made up, or wrong weights.

#[path = "../common/checkpoint.rs"]
mod checkpoint;
mod files;

#[cfg(unix)]
use checkpoint::make_pipe;
use checkpoint::{Dtype, Model, N_EMBD, file};
use halfwarp::{Weights, source::Source, weights::LoadOptions};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::json;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What opening a model with this weights file says. Fails if it loads.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write_config(folder.path());
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let text = refusal_of(folder.path());
    assert!(text.contains(path.to_str().unwrap()), "{text:?} does not name the file");
    text
}

/// What opening `path` says, mapped and read alike.
#[track_caller]
fn refusal_of(path: &Path) -> String {
    let started = Instant::now();
    let source = Source::Folder(path.into());
    let mapped =
        source.weights(&LoadOptions::default()).map(|_| ()).expect_err("it must be refused").to_string();
    let options = LoadOptions { read: true, ..LoadOptions::default() };
    let read = source.weights(&options).map(|_| ()).expect_err("it must be refused").to_string();
    assert_eq!(mapped, read, "mapping and reading refuse alike");
    assert!(started.elapsed() < Duration::from_secs(2), "refusing took {:?}", started.elapsed());
    mapped
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in {text:?}");
    }
}

/// What opening a changed model says.
#[track_caller]
fn refusal_with(change: impl FnOnce(&mut Model)) -> String {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F16);
    change(&mut model);
    model.write(folder.path());
    refusal_of(folder.path())
}

/// A header of `n` F32 tensors `[2, 2]`, all with these offsets.
fn header_with(tensors: &[(&str, &str)]) -> String {
    let entries: Vec<String> = tensors.iter().map(|(name, entry)| format!("{name:?}:{entry}")).collect();
    format!("{{{}}}", entries.join(","))
}

#[test]
fn w01_rejects_a_file_that_ends_in_its_header() {
    assert_says(&refusal(&[]), &["needs 8 bytes", "has 0"]);
    assert_says(&refusal(b"\x3c\0\0\0\0\0\0\0"), &["needs 68 bytes", "has 8"]);
    assert_says(&refusal(b"\x3c\0\0"), &["needs 8 bytes", "has 3"]);
}

#[test]
fn w02_rejects_a_header_length_beyond_the_limit() {
    let mut bytes = Model::new(Dtype::F16).file(0);
    bytes[4..8].fill(0xff);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()).to_string();
    assert_says(&refusal(&bytes), &["header length", &length, "exceeds the limit of 16777216"]);
    bytes[..8].fill(0xff);
    assert_says(&refusal(&bytes), &["18446744073709551615"]);
}

#[test]
fn w03_says_what_a_file_is_that_is_no_weights_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n";
    assert_says(&refusal(pointer), &["a Git LFS pointer", "git lfs pull"]);
    assert_says(&refusal(b"<!DOCTYPE html><html><head><title>404</title>"), &["a web page"]);
    assert_says(&refusal(b"\n<html>"), &["a web page"]);
    assert_says(&refusal(b"GGUF\x03\0\0\0\0\0\0\0"), &["a GGUF file"]);
    assert_says(&refusal(b"PK\x03\x04\0\0\0\0\0\0\0\0"), &["a zip archive", "pytorch_model.bin"]);
}

#[test]
fn w04_tells_bad_utf8_bad_json_and_a_wrong_start_apart() {
    assert_says(&refusal(b"\x01\0\0\0\0\0\0\0\xff"), &["not UTF-8", "at byte 8"]);
    assert_says(&refusal(b"\x01\0\0\0\0\0\0\0{"), &["malformed", "EOF", "at byte 9"]);
    assert_says(&refusal(b"\x03\0\0\0\0\0\0\0 []"), &["begins with '['", "at byte 9"]);
    assert_says(&refusal(b"\x02\0\0\0\0\0\0\0  "), &["begins with nothing"]);
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert_says(&refusal(&file(&deep, &[])), &["malformed", "tensor a"]);
}

#[test]
fn w04_accepts_white_space_before_the_header() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write_config(folder.path());
    let bytes = model.file(0);
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = format!(" \n{}", str::from_utf8(&bytes[8..end]).unwrap());
    fs::write(folder.path().join("model.safetensors"), file(&header, &bytes[end..])).unwrap();
    Weights::open(folder.path()).unwrap();
}

#[test]
fn w05_rejects_overlapping_tensors_by_name() {
    let entry = r#"{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#;
    let names: Vec<String> = (0..10).map(|i| format!("t{i}")).collect();
    let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), entry)).collect();
    let text = refusal(&file(&header_with(&tensors), &[0; 16]));
    assert_says(&text, &["tensor t1", "[0, 16]", "overlaps tensor t0", "ends at 16"]);
}

#[test]
fn w05_rejects_holes() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#;
    let text = refusal(&file(&header_with(&[("a", entry)]), &[0; 8]));
    assert_says(&text, &["tensor a", "[4, 8]", "leaves a hole after the start of the data"]);
}

#[test]
fn w06_rejects_a_file_longer_or_shorter_than_its_header_says() {
    let bytes = Model::new(Dtype::F16).file(0);
    let needs = format!("needs {} bytes", bytes.len());
    let longer = [&bytes[..], b"extra_bogus_data_for_polyglot_file"].concat();
    assert_says(&refusal(&longer), &[&needs, &format!("has {}", longer.len())]);
    for len in [bytes.len() - 2, bytes.len() / 2] {
        assert_says(&refusal(&bytes[..len]), &[&needs, &format!("has {len}"), "(truncated download?)"]);
    }
}

#[test]
fn w06_rejects_every_truncation_of_a_file() {
    let bytes = Model::new(Dtype::F16).file(0);
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write_config(folder.path());
    let path = folder.path().join("model.safetensors");
    for len in (0..bytes.len()).step_by(37) {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(Weights::open(folder.path()).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn w07_rejects_shapes_that_overflow() {
    for shape in ["[2,18446744073709551614]", "[2,9223372036854775807]", "[4194305,4194305,211106198978564]"]
    {
        let entry = format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[0,16]}}"#);
        let text = refusal(&file(&header_with(&[("big", &entry)]), &[0; 16]));
        assert_says(&text, &["tensor big has shape [", "overflows"]);
    }
    let entry = r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]}"#;
    assert_says(
        &refusal(&file(&header_with(&[("a", entry)]), &[0; 16])),
        &["tensor a", "more than 8 dimensions"],
    );
}

#[test]
fn w08_rejects_offsets_that_contradict_the_shape() {
    let says = |entry: &str, words: &[&str]| {
        assert_says(&refusal(&file(&header_with(&[("bad", entry)]), &[0; 16])), words);
    };
    says(r#"{"dtype":"I32","shape":[2,2],"data_offsets":[0,4]}"#, &["tensor bad", "4 bytes", "needs 16"]);
    says(r#"{"dtype":"F32","shape":[1000,1000],"data_offsets":[0,4]}"#, &["4 bytes", "needs 4000000"]);
    says(r#"{"dtype":"F32","shape":[2,2],"data_offsets":[8,4]}"#, &["[8, 4]", "end is before the start"]);
    for offsets in ["[-1,16]", "[0.5,16]", "[0,18446744073709551616]", "[0]", "[0,16,32]", "null"] {
        let entry = format!(r#"{{"dtype":"F32","shape":[2,2],"data_offsets":{offsets}}}"#);
        says(&entry, &["tensor bad", "malformed"]);
    }
    says(r#"{"dtype":"F7","shape":[2,2],"data_offsets":[0,16]}"#, &["tensor bad", "F7"]);
    says(r#"{"dtype":"F4","shape":[1],"data_offsets":[0,1]}"#, &["tensor bad"]);
}

#[test]
fn w08_rejects_offsets_past_the_end_of_the_file() {
    let entry = r#"{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#;
    assert_says(&refusal(&file(&header_with(&[("a", entry)]), &[0; 8])), &["needs", "truncated"]);
    let entry = r#"{"dtype":"U8","shape":[1152921504606846976],"data_offsets":[0,1152921504606846976]}"#;
    assert_says(&refusal(&file(&header_with(&[("a", entry)]), &[0; 8])), &["needs 11529215046068"]);
}

#[test]
fn w09_rejects_duplicate_tensors() {
    let entry = r#"{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#;
    let text = refusal(&file(&header_with(&[("wte.weight", entry), ("wte.weight", entry)]), &[0; 16]));
    assert_says(&text, &["duplicate tensor wte.weight"]);
}

#[test]
fn w09_rejects_a_tensor_under_two_prefixes_and_in_two_shards() {
    let text = refusal_with(|model| {
        let values = model.tensor("ln_f.bias").values.clone();
        model.push("transformer.ln_f.bias", &[N_EMBD], values);
    });
    assert_says(&text, &["transformer.ln_f.bias", "twice", "ln_f.bias"]);

    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write_config(folder.path());
    fs::write(folder.path().join("a.safetensors"), model.file(0)).unwrap();
    fs::write(folder.path().join("b.safetensors"), model.file(0)).unwrap();
    let index = json!({"weight_map": {"wte.weight": "a.safetensors", "ln_f.bias": "b.safetensors"}});
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_says(&refusal_of(folder.path()), &["b.safetensors", "twice"]);
}

#[test]
fn w10_bounds_the_number_of_tensors() {
    let entry = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let header = |n: usize| {
        let entries: Vec<String> = (0..n).map(|i| format!("\"{i}\":{entry}")).collect();
        format!("{{{}}}", entries.join(","))
    };
    assert_says(&refusal(&file(&header(1_000_000), &[])), &["exceeds the limit"]);
    assert_says(&refusal(&file(&header(100_001), &[])), &["more than 100000 tensors"]);
}

#[test]
fn w10_accepts_zero_sized_tensors_where_another_starts() {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F16);
    model.tensors.insert(
        0,
        checkpoint::Tensor { name: "none".into(), shape: vec![0, 7], values: vec![], dtype: Dtype::F16 },
    );
    model.push("nothing", &[0], vec![]);
    model.write(folder.path());
    Weights::open(folder.path()).unwrap();
}

// W11 is `data_at_odd_offsets_is_copied_with_the_right_values` in formats.rs.

#[test]
fn w12_lists_every_problem_in_one_error() {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F16);
    model.remove("h.1.mlp.c_proj.bias");
    model.tensor("wpe.weight").shape = vec![N_EMBD, 10];
    model.push("unused", &[1], vec![0.0]);
    model.write_config(folder.path());
    let bytes = model.file(0);
    let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..header_end]).unwrap();
    header["ln_f.weight"]["dtype"] = json!("I16");
    fs::write(folder.path().join("model.safetensors"), file(&header.to_string(), &bytes[header_end..]))
        .unwrap();
    let text = refusal_of(folder.path());
    assert_says(&text, &["tensor h.1.mlp.c_proj.bias is missing, expected [8]"]);
    assert_says(&text, &["tensor wpe.weight has shape [8, 10], expected [10, 8] [n_positions, n_embd]"]);
    assert_says(&text, &["tensor ln_f.weight is I16, expected F16, BF16 or F32"]);
    assert!(!text.contains("unused"), "{text}");
}

#[test]
fn w12_names_the_fields_that_the_shapes_come_from() {
    let text = refusal_with(|model| model.config["vocab_size"] = json!(14));
    assert_says(&text, &["tensor wte.weight has shape [13, 8], expected [14, 8] [vocab_size, n_embd]"]);
    let text = refusal_with(|model| model.config["n_layer"] = json!(1));
    assert_says(&text, &["layers up to h.1", "expected 1", "n_layer"]);
    let text = refusal_with(|model| model.config["n_layer"] = json!(1024));
    assert_says(&text, &["tensor h.2.ln_1.weight is missing", "more"]);
    assert!(text.len() < 4000, "{} bytes of message", text.len());
}

#[test]
fn an_untied_head_must_be_there_and_a_tied_one_must_be_the_same() {
    let text = refusal_with(|model| model.config["tie_word_embeddings"] = json!(false));
    assert_says(&text, &["tensor lm_head.weight is missing", "[vocab_size, n_embd]"]);
    let text = refusal_with(|model| {
        let mut values = model.tensor("wte.weight").values.clone();
        values[5] += 0.5;
        model.push("lm_head.weight", &[13, 8], values);
    });
    assert_says(&text, &["lm_head.weight differs from wte.weight", "tie_word_embeddings"]);
}

#[test]
fn w15_finds_values_that_are_not_finite() {
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let folder = TempDir::new().unwrap();
            let mut model = Model::new(dtype);
            model.tensor("wte.weight").values[0] = value;
            model.write(folder.path());
            let text = refusal_of(folder.path());
            assert_says(&text, &["tensor wte.weight has 1 non-finite value, first at [0, 0]"]);
        }
    }
}

#[test]
fn w15_reports_every_tensor_with_count_and_first_index() {
    let text = refusal_with(|model| {
        model.tensor("h.1.mlp.c_fc.weight").values[67..70].fill(f32::NAN);
        model.tensor("ln_f.bias").values[7] = f32::INFINITY;
    });
    assert_says(&text, &["tensor h.1.mlp.c_fc.weight has 3 non-finite values, first at [2, 3]"]);
    assert_says(&text, &["tensor ln_f.bias has 1 non-finite value, first at [7]"]);
}

#[test]
fn w15_counts_across_the_blocks_of_a_large_tensor() {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F32);
    let n_vocab = 300_000;
    model.config["vocab_size"] = json!(n_vocab);
    let wte = model.tensor("wte.weight");
    wte.shape[0] = n_vocab;
    wte.values = vec![0.25; n_vocab * N_EMBD];
    // One in the second MiB, two in the last row.
    wte.values[262_144 + 5] = f32::NAN;
    wte.values[n_vocab * N_EMBD - 2..].fill(f32::NAN);
    model.write(folder.path());
    assert_says(
        &refusal_of(folder.path()),
        &["tensor wte.weight has 3 non-finite values, first at [32768, 5]"],
    );
}

#[test]
fn w15_accepts_them_where_asked_and_the_largest_finite_values_always() {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F16);
    model.tensor("wte.weight").values[0] = f32::NAN;
    model.write(folder.path());
    let options = LoadOptions { allow_nonfinite: true, ..LoadOptions::default() };
    let weights = Source::Folder(folder.path().into()).weights(&options).unwrap();
    assert!(weights.token_embd.elements().get(0).is_nan());

    for (dtype, max) in [(Dtype::F16, 65504.0), (Dtype::BF16, 3.3895314e38), (Dtype::F32, f32::MAX)] {
        let mut model = Model::new(dtype);
        model.tensor("wte.weight").values[0] = max;
        model.tensor("wte.weight").values[1] = -max;
        model.write(folder.path());
        assert_eq!(Weights::open(folder.path()).unwrap().token_embd.elements().get(0), max, "{dtype:?}");
    }
}

#[test]
fn w15_does_not_look_at_ignored_buffers() {
    let folder = TempDir::new().unwrap();
    let mut model = Model::new(Dtype::F16);
    model.push("h.0.attn.masked_bias", &[], vec![f32::NEG_INFINITY]);
    model.write(folder.path());
    Weights::open(folder.path()).unwrap();
}

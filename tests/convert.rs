//! `convert` writes what was there, in fp16, as a folder that is whole or not there at all.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Dtype, Model, N_EMBD, N_VOCAB};
use half::f16;
use halfwarp::{
    Config, Source, Weights,
    backend::naive,
    convert::{ConvertOptions, Report, convert, convert_with},
    weights::{Elements, Filled},
};
use serde_json::json;
use std::{fs, ops::ControlFlow, path::Path};
use tempfile::TempDir;

fn run(from: &Path, to: &Path) -> Result<Report, String> {
    convert(&Source::Folder(from.into()), to, &ConvertOptions::default()).map_err(|e| e.to_string())
}

fn overwrite(from: &Path, to: &Path) -> Result<Report, String> {
    convert(&Source::Folder(from.into()), to, &ConvertOptions { overwrite: true }).map_err(|e| e.to_string())
}

/// The widened values of every matrix and vector.
fn values(weights: &Weights) -> Vec<f32> {
    let mut all = Vec::new();
    for (_, filled) in weights.tensors() {
        match filled {
            Filled::Vector(vector) => all.extend(vector),
            Filled::Matrix(matrix) => {
                for o in 0..matrix.n_out() {
                    all.extend((0..matrix.n_in()).map(|i| matrix.get(o, i)));
                }
            }
        }
    }
    all
}

/// The names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn fp32_is_rounded_to_the_nearest_fp16() {
    let out = TempDir::new().unwrap();
    let (from, to) = (Path::new("tests/goldens/tiny-fp32"), out.path().join("model"));
    let report = run(from, &to).unwrap();
    let (before, after) = (Weights::open(from).unwrap(), Weights::open(&to).unwrap());
    let rounded: Vec<f32> = values(&before).into_iter().map(|v| f16::from_f32(v).to_f32()).collect();
    assert_eq!(values(&after), rounded);
    assert_eq!(before.config, after.config);
    assert_eq!(report.n_params as usize, rounded.len());
    let changed = values(&before).iter().zip(&rounded).filter(|(a, b)| a != b).count();
    assert_eq!(report.n_rounded as usize, changed);
    assert!(changed > 0);
    assert_eq!(report.bytes_before, fs::metadata(from.join("model.safetensors")).unwrap().len());
    assert_eq!(report.bytes_after, fs::metadata(to.join("model.safetensors")).unwrap().len());
    assert_eq!(names(out.path()), ["model"]);
    assert_eq!(names(&to), ["config.json", "model.safetensors"]);
}

#[test]
fn the_logits_of_a_converted_model_are_within_the_contract() {
    let out = TempDir::new().unwrap();
    let (from, to) = (Path::new("tests/goldens/tiny-fp32"), out.path().join("model"));
    run(from, &to).unwrap();
    let ids: Vec<u32> = (0..24).map(|i| i * 21 % 512).collect();
    let before = naive::forward(&Weights::open(from).unwrap(), &ids);
    let after = naive::forward(&Weights::open(&to).unwrap(), &ids);
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
    let error = norm(&difference) / norm(&before);
    assert!(error > 0.0 && error <= 2e-3, "relative error {error}");
}

#[test]
fn fp16_is_copied_bit_for_bit() {
    let out = TempDir::new().unwrap();
    for name in ["tests/goldens/odd-fp16", "models/tales"] {
        let to = out.path().join("model");
        let report = overwrite(Path::new(name), &to).unwrap();
        let (before, after) = (Weights::open(Path::new(name)).unwrap(), Weights::open(&to).unwrap());
        assert!(values(&before) == values(&after), "{name}");
        assert_eq!(before.config, after.config, "{name}");
        assert_eq!((report.n_rounded, report.n_to_zero), (0, 0), "{name}");
    }
    assert_eq!(names(&out.path().join("model")), ["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn the_bundled_model_is_converted_with_its_tokenizer() {
    let out = TempDir::new().unwrap();
    let to = out.path().join("model");
    convert(&Source::Bundled, &to, &ConvertOptions::default()).unwrap();
    assert!(values(&Weights::open(&to).unwrap()) == values(&Weights::bundled().unwrap()));
    assert_eq!(
        fs::read(to.join("tokenizer.json")).unwrap(),
        fs::read("models/tales/tokenizer.json").unwrap()
    );
}

#[test]
fn the_result_maps_in_place_and_aligned() {
    let out = TempDir::new().unwrap();
    let to = out.path().join("model");
    run(Path::new("tests/goldens/tiny-fp32"), &to).unwrap();
    let weights = Weights::open(&to).unwrap();
    for matrix in weights.matrices() {
        let Elements::F16(values) = matrix.elements() else { panic!("converted matrices are fp16") };
        assert_eq!(values.as_ptr() as usize % 64, 0, "a matrix starts at a cache line");
    }
    assert_eq!(weights.notice(), None);
}

/// What Hugging Face's loader needs: sorted names with its prefix, the metadata, the new type in config.json.
#[test]
fn the_files_are_as_hugging_face_writes_them() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    let mut model = Model::new(Dtype::BF16);
    model.config["torch_dtype"] = json!("bfloat16");
    model.config["attn_pdrop"] = json!(0.1);
    model.write(&from);
    run(&from, &to).unwrap();
    let bytes = fs::read(to.join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let names = metadata.offset_keys();
    assert!(names.is_sorted() && names.iter().all(|name| name.starts_with("transformer.")), "{names:?}");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(to.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["dtype"], "float16");
    assert_eq!(config["torch_dtype"], json!(null));
    assert_eq!(config["attn_pdrop"], 0.1);
    assert_eq!(config["layer_norm_epsilon"], 1e-5);
    assert_eq!(config["n_inner"], 4 * N_EMBD);
}

#[test]
fn other_layouts_become_the_same_model_as_they_load_to() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    let mut model = Model::new(Dtype::F32);
    model.config = json!({"block_size": 10, "vocab_size": N_VOCAB, "n_layer": 2, "n_head": 2, "n_embd": N_EMBD,
        "dropout": 0.0, "bias": false});
    model.tensors.retain(|t| !t.name.ends_with(".bias"));
    for tensor in model.tensors.iter_mut().filter(|t| t.name.contains(".c_")) {
        tensor.shape.reverse();
    }
    model.rename(|name| format!("_orig_mod.transformer.{name}"));
    model.write(&from);
    run(&from, &to).unwrap();
    let (before, after) = (Weights::open(&from).unwrap(), Weights::open(&to).unwrap());
    // Hugging Face's GPT-2 has biases: they are written as zeros.
    assert_eq!(Config { has_bias: true, ..before.config.clone() }, after.config);
    let logits = |weights| naive::forward(weights, &[3, 1, 4, 1, 5]);
    assert!(logits(&before) == logits(&after));
}

#[test]
fn an_untied_head_keeps_its_name() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    let mut model = Model::new(Dtype::F32);
    model.config["tie_word_embeddings"] = json!(false);
    model.push("lm_head.weight", &[N_VOCAB, N_EMBD], vec![0.75; N_VOCAB * N_EMBD]);
    model.write(&from);
    run(&from, &to).unwrap();
    assert_eq!(Weights::open(&to).unwrap().head.unwrap().elements().get(9), 0.75);
    let bytes = fs::read(to.join("model.safetensors")).unwrap();
    assert!(safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("lm_head.weight").is_ok());
}

#[test]
fn values_beyond_fp16_are_refused_by_name_and_leave_nothing() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    for (dtype, value) in [(Dtype::F32, 65520.0f32), (Dtype::F32, -1e9), (Dtype::BF16, 3e38)] {
        let mut model = Model::new(dtype);
        model.tensor("h.1.mlp.c_fc.weight").values[67] = value;
        model.write(&from);
        let text = run(&from, &to).unwrap_err();
        assert!(
            text.contains("tensor h.1.mlp.c_fc.weight has ") && text.contains("at [2, 3], beyond fp16"),
            "{text}"
        );
        assert_eq!(names(out.path()), ["from"]);
    }
    let mut model = Model::new(Dtype::F32);
    model.tensor("wte.weight").values[0] = 65519.0;
    model.tensor("wte.weight").values[1] = 1e-9;
    model.write(&from);
    let report = run(&from, &to).unwrap();
    assert_eq!(Weights::open(&to).unwrap().token_embd.elements().get(0), 65504.0);
    assert_eq!((report.n_rounded, report.n_to_zero), (2, 1));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    let mut model = Model::new(Dtype::F16);
    model.tensor("ln_f.bias").values[2] = f32::NAN;
    model.write(&from);
    assert!(run(&from, &to).unwrap_err().contains("tensor ln_f.bias has 1 non-finite value"));
    assert_eq!(names(out.path()), ["from"]);
}

#[test]
fn a_destination_that_exists_is_kept_unless_asked() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    Model::new(Dtype::F32).write(&from);
    run(&from, &to).unwrap();
    let before = fs::read(to.join("model.safetensors")).unwrap();
    let mut model = Model::new(Dtype::F32);
    model.tensor("wte.weight").values.fill(0.5);
    model.write(&from);
    let text = run(&from, &to).unwrap_err();
    assert!(text.contains("to exists"), "{text}");
    assert_eq!(fs::read(to.join("model.safetensors")).unwrap(), before);
    overwrite(&from, &to).unwrap();
    assert_eq!(Weights::open(&to).unwrap().token_embd.elements().get(0), 0.5);
    assert_eq!(names(out.path()), ["from", "to"]);
}

#[test]
fn only_a_model_is_overwritten() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    Model::new(Dtype::F32).write(&from);
    fs::create_dir_all(to.join("photos")).unwrap();
    let text = overwrite(&from, &to).unwrap_err();
    assert!(text.contains("\"photos\"") && text.contains("not replaced"), "{text}");
    assert_eq!(names(&to), ["photos"]);
    let file = out.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(overwrite(&from, &file).unwrap_err().contains("file is not a folder"));
    assert_eq!(fs::read(&file).unwrap(), b"text");
    assert!(run(&from, Path::new("/")).unwrap_err().contains("/ exists"));
}

/// What belongs to the tokenizer and the chat.
const EXTRA: [&str; 12] = [
    "added_tokens.json",
    "additional_chat_templates/rag.jinja",
    "additional_chat_templates/tool_use.jinja",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

#[test]
fn every_file_of_the_tokenizer_and_the_chat_is_carried_and_replaced() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    Model::new(Dtype::F32).write(&from);
    fs::create_dir(from.join("additional_chat_templates")).unwrap();
    // generation_config.json is read, so it has to be one.
    let content = |name: &str, change: &str| format!(r#"{{"file": "{name}{change}"}}"#);
    for name in EXTRA {
        fs::write(from.join(name), content(name, "")).unwrap();
    }
    for name in ["README.md", "flax_model.msgpack", "additional_chat_templates/notes.txt"] {
        fs::write(from.join(name), "not carried").unwrap();
    }
    run(&from, &to).unwrap();
    // Twice: what was carried is known, so it does not stand in the way.
    for change in ["", "changed"] {
        for name in EXTRA {
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), content(name, change));
            fs::write(from.join(name), content(name, "changed")).unwrap();
        }
        assert_eq!(names(&to.join("additional_chat_templates")), ["rag.jinja", "tool_use.jinja"]);
        assert_eq!(names(&to).len(), 10 + 3, "{:?}", names(&to));
        overwrite(&from, &to).unwrap();
    }
    fs::write(to.join("additional_chat_templates/notes.txt"), "mine").unwrap();
    let text = overwrite(&from, &to).unwrap_err();
    assert!(
        text.contains("\"additional_chat_templates/notes.txt\"") && text.contains("not replaced"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn files_of_the_tokenizer_that_cannot_be_read_are_named() {
    use std::os::unix::fs::symlink;
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    Model::new(Dtype::F32).write(&from);
    for (target, found) in
        [("nowhere", "No such file"), ("/dev/zero", "is a device"), ("/", "is a directory")]
    {
        symlink(target, from.join("tokenizer.model")).unwrap();
        let text = run(&from, &to).unwrap_err();
        assert!(text.contains("tokenizer.model") && text.contains(found), "{text}");
        assert_eq!(names(out.path()), ["from"]);
        fs::remove_file(from.join("tokenizer.model")).unwrap();
    }
}

#[test]
fn a_checkpoint_of_pytorch_is_converted_and_replaced() {
    let out = TempDir::new().unwrap();
    let (from, to) = (out.path().join("from"), out.path().join("to"));
    fs::create_dir(&from).unwrap();
    for name in ["config.json", "pytorch_model.bin"] {
        fs::copy(Path::new("tests/pytorch/model").join(name), from.join(name)).unwrap();
    }
    let before = values(&Weights::open(&from).unwrap());
    let report = run(&from, &to).unwrap();
    assert_eq!((report.n_rounded, names(&to)), (0, vec!["config.json".into(), "model.safetensors".into()]));
    assert_eq!(values(&Weights::open(&to).unwrap()), before);
    overwrite(&from, &from).unwrap();
    assert_eq!(names(&from), names(&to));
}

#[test]
fn a_model_may_be_converted_onto_itself() {
    let out = TempDir::new().unwrap();
    let folder = out.path().join("model");
    Model::new(Dtype::F32).write(&folder);
    let before = values(&Weights::open(&folder).unwrap());
    overwrite(&folder, &folder).unwrap();
    let after = Weights::open(&folder).unwrap();
    assert!(matches!(after.token_embd.elements(), Elements::F16(_)));
    assert_eq!(values(&after), before);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let out = TempDir::new().unwrap();
    let from = out.path().join("from");
    Model::new(Dtype::F32).write(&from);
    fs::write(out.path().join("file"), "").unwrap();
    let text = run(&from, &out.path().join("file/to")).unwrap_err();
    assert!(text.contains("file/to: ") && (text.contains("exists") || text.contains("directory")), "{text}");
}

#[test]
fn a_conversion_that_is_broken_off_leaves_nothing() {
    let out = TempDir::new().unwrap();
    let (from, to) = (Source::Folder("tests/goldens/tiny-fp32".into()), out.path().join("model"));
    let mut seen = Vec::new();
    let error = convert_with(&from, &to, &ConvertOptions::default(), |progress| {
        seen.push(progress.n_done);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(error.unwrap_err().to_string().contains("broken off"));
    assert!(seen.len() == 3 && seen.is_sorted(), "{seen:?}");
    assert_eq!(names(out.path()), [""; 0]);
    let mut last = None;
    convert_with(&from, &to, &ConvertOptions::default(), |progress| {
        last = Some(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(last.is_some_and(|p| p.n_done == p.n_params));
}

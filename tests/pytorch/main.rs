//! PyTorch's checkpoints are the model that they hold, whatever the types and views; what is malformed, or anything but tensors, is
//! refused by name, and nothing of a file is ever run.

#[path = "../common/checkpoint.rs"]
mod checkpoint;
mod malformed;
#[path = "../common/pytorch.rs"]
mod pytorch;

use checkpoint::{Dtype, Model, N_EMBD, N_VOCAB, bits};
use halfwarp::{
    Weights,
    source::Source,
    weights::{LoadOptions, StoredType},
};
use pytorch::{P, archive, call, ordered, records, state_dict, storage, tensor, text};
use serde_json::json;
use std::{fs, path::Path};
use tempfile::TempDir;

/// Weights that are mapped, after a look at those that are read: both are the same.
#[track_caller]
fn open(path: &Path) -> Weights {
    let source = Source::from_path(path).unwrap();
    let read = LoadOptions { read: true, ..LoadOptions::default() };
    let [mapped, read] = [LoadOptions::default(), read]
        .map(|options| source.weights(&options).unwrap_or_else(|e| panic!("{e}")));
    assert!(bits(&mapped) == bits(&read), "mapping and reading differ");
    mapped
}

/// A folder with the config of the tests' model and this checkpoint.
fn folder(bytes: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write_config(folder.path());
    fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
    folder
}

fn expected() -> Vec<u32> {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    bits(&Weights::open(folder.path()).unwrap())
}

#[test]
fn a_file_that_pytorch_wrote_is_the_model_that_it_holds() {
    let weights = open(Path::new("tests/pytorch/model"));
    assert!(bits(&weights) == expected(), "the weights differ");
    // In the types in which make.py stores them, fp64 narrowed.
    assert_eq!(weights.token_embd.stored_type(), StoredType::F32);
    assert_eq!(weights.position_embd.stored_type(), StoredType::F16);
    assert_eq!(weights.layers[0].attn_out.parts[0].stored_type(), StoredType::Bf16);
    assert_eq!(weights.layers[1].qkv.parts[0].stored_type(), StoredType::F32);
    assert_eq!(weights.changed_on_disk(), None);
}

#[test]
fn each_type_and_protocol_is_used_as_it_is_stored_and_in_place() {
    for (dtype, stored) in
        [(Dtype::F16, StoredType::F16), (Dtype::BF16, StoredType::Bf16), (Dtype::F32, StoredType::F32)]
    {
        for protocol in [2, 4] {
            let folder = folder(&pytorch::checkpoint(&Model::new(dtype), protocol));
            let weights = open(folder.path());
            assert!(bits(&weights) == expected(), "{dtype:?}, protocol {protocol}");
            assert!(weights.matrices().all(|m| m.stored_type() == stored && m.is_in_place()), "{dtype:?}");
        }
    }
}

#[test]
fn views_are_copied_in_their_order_and_shared_storages_are_used_twice() {
    let mut model = Model::new(Dtype::F32);
    let wte = model.tensor("wte.weight").values.clone();
    let (dict, mut storages) = state_dict(&model);
    let P::Dict(mut entries) = dict else { panic!("a state dict is a dict") };
    // Column-major, with 3 elements in front: element [v, c] is at 3 + c * V + v.
    let (v, c) = (N_VOCAB as i64, N_EMBD as i64);
    let mut columns = vec![9.0; 3];
    columns.extend((0..N_EMBD * N_VOCAB).map(|i| wte[i % N_VOCAB * N_EMBD + i / N_VOCAB]));
    storages[0] = columns.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = tensor(storage("FloatStorage", "0", 3 + v * c), 3, &[v, c], &[1, v]);
    entries[0].1 =
        call("torch._utils", "_rebuild_parameter", vec![view.clone(), P::Bool(true), ordered(vec![])]);
    entries.push((text("lm_head.weight"), view));
    let folder = folder(&archive(&records(ordered(entries).pickle(2), &storages)));
    assert!(bits(&open(folder.path())) == expected(), "the weights differ");
}

#[test]
fn dimensions_of_one_and_of_none_do_not_ask_for_strides() {
    let (dict, mut storages) = state_dict(&Model::new(Dtype::F16));
    let P::Dict(mut entries) = dict else { panic!("a state dict is a dict") };
    let n = storages.len();
    storages.extend([vec![0; 4], vec![]]);
    let scalar = tensor(storage("IntStorage", &n.to_string(), 1), 0, &[1, 1, 1], &[i64::MAX, 0, 77]);
    let empty = tensor(
        storage("IntStorage", &(n + 1).to_string(), 0),
        0,
        &[0, i64::MAX, i64::MAX],
        &[i64::MAX, 1, 1],
    );
    entries.extend([(text("a"), scalar), (text("b"), empty)]);
    let folder = folder(&archive(&records(P::Dict(entries).pickle(2), &storages)));
    assert!(bits(&open(folder.path())) == expected(), "the weights differ");
}

#[test]
fn float64_is_narrowed_where_nothing_is_lost_and_refused_by_name_elsewhere() {
    let opened = |third: f64| {
        let mut model = Model::new(Dtype::F32);
        let values: Vec<f64> = model.tensor("wpe.weight").values.iter().map(|&v| f64::from(v)).collect();
        let (dict, mut storages) = state_dict(&model);
        let P::Dict(mut entries) = dict else { panic!("a state dict is a dict") };
        let (n, c) = (checkpoint::N_CTX as i64, N_EMBD as i64);
        entries[1].1 = tensor(storage("DoubleStorage", "1", n * c), 0, &[n, c], &[c, 1]);
        storages[1] = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        storages[1][16..24].copy_from_slice(&third.to_le_bytes());
        let folder = folder(&archive(&records(P::Dict(entries).pickle(2), &storages)));
        Weights::open(folder.path()).map_err(|e| e.to_string())
    };
    assert_eq!(opened(0.375).unwrap().position_embd.get(0, 2), 0.375);
    for inexact in [0.1, 1e300, 1e-300] {
        let text = opened(inexact).unwrap_err();
        assert!(text.contains("tensor wpe.weight is F64") && text.contains("F32 holds exactly"), "{text}");
    }
    let text = opened(f64::NAN).unwrap_err();
    assert!(text.contains("tensor wpe.weight has 1 non-finite value, first at [0, 2]"), "{text}");
}

#[test]
fn shards_are_one_model_and_files_and_indexes_are_found() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write_config(folder.path());
    let mut map = serde_json::Map::new();
    for (i, part) in model.tensors.chunks(7).enumerate() {
        let name = format!("pytorch_model-{i:05}.bin");
        part.iter().for_each(|tensor| _ = map.insert(tensor.name.clone(), json!(name)));
        let shard = Model { config: model.config.clone(), tensors: part.to_vec() };
        fs::write(folder.path().join(name), pytorch::checkpoint(&shard, 2)).unwrap();
    }
    let index = folder.path().join("pytorch_model.bin.index.json");
    fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    assert!(bits(&open(folder.path())) == expected(), "shards");
    assert!(bits(&open(&index)) == expected(), "by the index");
    fs::write(folder.path().join("epoch-3.bin"), pytorch::checkpoint(&model, 2)).unwrap();
    assert!(bits(&open(&folder.path().join("epoch-3.bin"))) == expected(), "one file");
}

#[test]
fn safetensors_is_preferred() {
    let folder = folder(b"not looked at");
    fs::write(folder.path().join("model.safetensors"), Model::new(Dtype::F16).file(0)).unwrap();
    assert!(bits(&open(folder.path())) == expected(), "the weights differ");
}

#[test]
fn archives_with_fields_of_zip64_are_read() {
    let (dict, storages) = state_dict(&Model::new(Dtype::F16));
    let mut records = records(dict.pickle(2), &storages);
    records.iter_mut().for_each(|record| record.zip64 = true);
    assert!(bits(&open(folder(&archive(&records)).path())) == expected(), "the weights differ");
}

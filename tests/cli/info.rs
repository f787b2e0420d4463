//! `halfwarp info`.

use super::harness::{repository, run, run_args};

#[test]
fn the_bundled_model_and_the_machine_are_described() {
    let text = run("info").ok();
    for word in ["tales", "5.9 M", "512 tokens", "f16", "CPU", "CUDA"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn json_has_the_sizes_as_numbers() {
    let json = run("info --json").json();
    assert_eq!(json["model"]["n_layer"], 6);
    assert_eq!(json["model"]["n_vocab"], 4096);
    assert!(json["model"]["bytes_per_token"].as_u64().unwrap() < json["model"]["bytes"].as_u64().unwrap());
    assert!(json["machine"]["no_cuda_because"].is_string() || json["machine"]["cuda"].is_string());
    assert!(json["machine"]["read_bandwidth"].is_null());
}

#[test]
fn the_bandwidth_is_measured_when_asked_for() {
    let json = run("info --json --bandwidth --threads 1").json();
    // Any machine of this century reads between 100 MB/s and 10 TB/s.
    let bandwidth = json["machine"]["read_bandwidth"].as_f64().unwrap();
    assert!((1e8..1e13).contains(&bandwidth), "{bandwidth}");
}

#[test]
fn names_cannot_act_on_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a\x1b[2J\nb");
    std::fs::create_dir(&model).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(repository("tests/goldens/tiny-fp32").join(file), model.join(file)).unwrap();
    }
    let text = run_args(["info", "--model", model.to_str().unwrap()]).ok();
    assert!(text.contains("name        a\\u{1b}[2J\\nb\n") && !text.contains('\x1b'), "{text:?}");
    std::fs::write(model.join("model.safetensors"), "").unwrap();
    run_args(["info", "--model", model.to_str().unwrap()]).fails(1, &["a\\u{1b}[2J\\nb/model.safetensors"]);
}

#[test]
fn a_model_without_a_tokenizer_is_described_too() {
    let model = repository("tests/goldens/tiny-fp32");
    let run = run_args(["info", "--model", model.to_str().unwrap(), "--json"]);
    let json = run.json();
    assert_eq!(json["model"]["dtype"], "f32");
    assert!(json["model"]["tokenizer_n_vocab"].is_null());
}

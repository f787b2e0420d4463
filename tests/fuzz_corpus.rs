//! Does with every file of fuzz/corpus what the fuzz targets do with it, and with changed copies of them.

#![cfg(feature = "bundled")]

#[path = "../fuzz/bodies/detokenizer.rs"]
mod detokenizer;
#[path = "../fuzz/bodies/loader.rs"]
mod loader;
#[path = "../fuzz/replay.rs"]
mod replay;
#[cfg(feature = "server")]
#[path = "../fuzz/bodies/request.rs"]
mod request;
#[path = "../fuzz/bodies/sampler.rs"]
mod sampler;
#[path = "../fuzz/bodies/stop.rs"]
mod stop;
#[cfg(feature = "chat")]
#[path = "../fuzz/bodies/template.rs"]
mod template;
#[path = "../fuzz/bodies/tokenizer.rs"]
mod tokenizer;

use std::path::Path;

fn run_corpus(target: &str, n_least: usize, n_changed: usize, body: fn(&[u8])) {
    replay::run_corpus(&Path::new("fuzz/corpus").join(target), n_least, n_changed, body);
}

#[test]
fn loader_corpus_and_changed_copies_pass() {
    run_corpus("loader", 30, 50, |data| _ = loader::run(data, "model.safetensors"));
}

#[test]
fn pytorch_corpus_and_changed_copies_pass() {
    run_corpus("pytorch", 12, 100, |data| _ = loader::run(data, "pytorch_model.bin"));
}

#[test]
fn stop_corpus_and_changed_copies_pass() {
    run_corpus("stop", 8, 300, stop::run);
}

#[test]
fn detokenizer_corpus_and_changed_copies_pass() {
    run_corpus("detokenizer", 6, 300, detokenizer::run);
}

#[test]
fn sampler_corpus_and_changed_copies_pass() {
    run_corpus("sampler", 8, 1000, sampler::run);
}

#[cfg(feature = "chat")]
#[test]
fn template_corpus_and_changed_copies_pass() {
    run_corpus("template", 40, 10, |data| _ = template::run(data));
}

#[test]
fn tokenizer_corpus_and_changed_copies_pass() {
    run_corpus("tokenizer", 20, 200, |data| _ = tokenizer::run(data));
}

#[cfg(feature = "server")]
#[test]
fn request_corpus_and_changed_copies_pass() {
    run_corpus("request", 18, 100, |data| _ = request::run(data));
}

/// The corpus is what it says it is: the models load, and what is wrong with the others is all that is wrong.
#[test]
fn good_files_of_the_loaders_corpora_load_and_the_others_do_not() {
    for (target, weights_name) in [("loader", "model.safetensors"), ("pytorch", "pytorch_model.bin")] {
        for entry in std::fs::read_dir(format!("fuzz/corpus/{target}")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let loads = loader::run(&std::fs::read(&path).unwrap(), weights_name);
            assert_eq!(loads, name.starts_with("good_"), "{target}/{name}");
        }
    }
}

/// The same of tokenizers and of requests.
#[test]
fn good_files_of_the_other_corpora_are_taken_and_the_others_are_not() {
    type Body = fn(&[u8]) -> Result<(), String>;
    let takes: &[(&str, Body)] = &[
        ("tokenizer", tokenizer::run),
        #[cfg(feature = "server")]
        ("request", request::run),
    ];
    for &(target, is_taken) in takes {
        for entry in std::fs::read_dir(format!("fuzz/corpus/{target}")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let result = is_taken(&std::fs::read(&path).unwrap());
            assert_eq!(result.is_ok(), name.starts_with("good_"), "{target}/{name}: {result:?}");
        }
    }
}

#[test]
fn the_emoji_of_the_detokenizer_corpus_is_four_single_bytes() {
    let data = std::fs::read("fuzz/corpus/detokenizer/emoji").unwrap();
    let ids: Vec<u32> = data.as_chunks::<2>().0.iter().map(|&id| u16::from_le_bytes(id).into()).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(detokenizer::BYTE_LEVEL.decode(&ids).unwrap(), "😀");
}

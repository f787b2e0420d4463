//! Does with every file of fuzz/corpus what the fuzz targets do with it, and with changed copies of them.

#![cfg(feature = "bundled")]

#[path = "../fuzz/bodies/detokenizer.rs"]
mod detokenizer;
#[path = "../fuzz/bodies/loader.rs"]
mod loader;
#[path = "../fuzz/bodies/sampler.rs"]
mod sampler;
#[path = "../fuzz/bodies/stop.rs"]
mod stop;

use std::path::Path;

/// Runs `body` on every file of the target's corpus, and on `n_changed` copies of each in which bytes are changed, cut
/// off or doubled. Fails if there are fewer than `n_least` files.
fn run_corpus(target: &str, n_least: usize, n_changed: usize, body: fn(&[u8])) {
    let folder = Path::new("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= n_least, "{} files", paths.len());
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n.max(1)
    };
    for path in paths {
        let data = std::fs::read(&path).unwrap();
        body(&data);
        for _ in 0..n_changed {
            let mut changed = data.clone();
            for _ in 0..=below(3) {
                let at = below(changed.len());
                match below(4) {
                    0 => changed.truncate(at),
                    1 => changed.extend_from_within(at..),
                    _ if at < changed.len() => changed[at] = below(256) as u8,
                    _ => {}
                }
            }
            body(&changed);
        }
    }
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

#[test]
fn the_emoji_of_the_detokenizer_corpus_is_four_single_bytes() {
    let data = std::fs::read("fuzz/corpus/detokenizer/emoji").unwrap();
    let ids: Vec<u32> = data.as_chunks::<2>().0.iter().map(|&id| u16::from_le_bytes(id).into()).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(detokenizer::BYTE_LEVEL.decode(&ids).unwrap(), "😀");
}

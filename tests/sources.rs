//! Where models are found, and what happens to a program whose weights are changed under it. Run through the built
//! program, because the places depend on its environment.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Dtype, Model};
use halfwarp::{
    Source,
    source::cache::{HubCache, ModelId},
};
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

/// The program with nothing of our environment, which downloads nothing.
fn halfwarp(args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    command.args(args).env_clear().env("HF_HUB_OFFLINE", "1").envs(environment.iter().copied());
    command.stdin(Stdio::null());
    command.output().unwrap()
}

/// `n_vocab` of the model that `name` finds.
#[track_caller]
fn finds(name: &str, environment: &[(&str, &Path)]) -> u64 {
    let output = halfwarp(&["info", "--json", "--model", name], environment);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["model"]["n_vocab"].as_u64().unwrap()
}

#[track_caller]
fn refusal(name: &str, environment: &[(&str, &Path)]) -> String {
    let output = halfwarp(&["info", "--json", "--model", name], environment);
    assert_eq!(output.status.code(), Some(1), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

/// A model of `n_vocab` tokens in the cache at `root`, as Python's `huggingface_hub` lays it out.
#[cfg(unix)]
fn put_in_cache(root: &Path, name: &str, revision: &str, n_vocab: usize) -> PathBuf {
    let mut model = Model::new(Dtype::F16);
    model.config["vocab_size"] = n_vocab.into();
    let wte = model.tensor("wte.weight");
    wte.shape[0] = n_vocab;
    wte.values.resize(n_vocab * checkpoint::N_EMBD, 0.5);
    let folder = root.join(format!("models--{}", name.replace('/', "--")));
    let (blobs, snapshot) = (folder.join("blobs"), folder.join("snapshots").join(COMMIT));
    model.write(&blobs);
    fs::create_dir_all(&snapshot).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::os::unix::fs::symlink(format!("../../blobs/{file}"), snapshot.join(file)).unwrap();
    }
    let reference = folder.join("refs").join(revision);
    fs::create_dir_all(reference.parent().unwrap()).unwrap();
    fs::write(reference, COMMIT).unwrap();
    snapshot
}

#[test]
fn nothing_and_tales_are_the_bundled_model() {
    assert_eq!(Source::find("").unwrap(), Source::Bundled);
    assert_eq!(Source::find("tales").unwrap(), Source::Bundled);
    assert_eq!(finds("tales", &[]), 4096);
}

#[test]
fn paths_are_folders_files_or_the_index_of_shards() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    for index in ["model.safetensors.index.json", "pytorch_model.bin.index.json"] {
        fs::write(folder.path().join(index), "{}").unwrap();
    }
    assert_eq!(Source::find(path).unwrap(), Source::Folder(path.into()));
    for (file, expected) in [
        ("model.safetensors", Source::File(folder.path().join("model.safetensors"))),
        ("model.safetensors.index.json", Source::Folder(path.into())),
        ("pytorch_model.bin.index.json", Source::Folder(path.into())),
        ("config.json", Source::Folder(path.into())),
    ] {
        let found = Source::find(&format!("{path}/{file}")).unwrap();
        assert_eq!(found, expected);
        assert_eq!(found.weights(&Default::default()).unwrap().config.n_vocab, checkpoint::N_VOCAB);
        assert_eq!(found.folder(), Some(folder.path()));
    }
    // A weights file of any name, with config.json beside it.
    fs::rename(folder.path().join("model.safetensors"), folder.path().join("epoch-3.safetensors")).unwrap();
    assert_eq!(finds(&format!("{path}/epoch-3.safetensors"), &[]), 13);
}

#[test]
fn paths_that_are_no_model_say_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    let says = |name: &str, word: &str| {
        let text = Source::find(name).expect_err(name).to_string();
        assert!(text.contains(name) && text.contains(word), "{text}");
    };
    says(&format!("{path}/notes.txt"), "not a model: expected a folder with config.json");
    says(&format!("{path}/absent"), "no such file or folder");
    says("./absent", "no such file or folder");
    says("absent.safetensors", "no such file or folder");
    says("tests/..//absent", "no such file or folder");
    says("absent.bin", "no such file or folder");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        says(&format!("{path}/link"), "No such file");
    }
}

#[cfg(unix)]
#[test]
fn the_cache_is_where_the_environment_says() {
    let home = TempDir::new().unwrap();
    let at = |folder: &str| home.path().join(folder);
    put_in_cache(&at("hub_cache"), "org/model", "main", 21);
    put_in_cache(&at("hf_home/hub"), "org/model", "main", 22);
    put_in_cache(&at("xdg/huggingface/hub"), "org/model", "main", 23);
    put_in_cache(&at("user/.cache/huggingface/hub"), "org/model", "main", 24);
    let (hub, hf, xdg, user) = (at("hub_cache"), at("hf_home"), at("xdg"), at("user"));
    let all: [(&str, &Path); 4] =
        [("HF_HUB_CACHE", &hub), ("HF_HOME", &hf), ("XDG_CACHE_HOME", &xdg), ("HOME", &user)];
    for (i, n_vocab) in [21, 22, 23, 24].into_iter().enumerate() {
        assert_eq!(finds("org/model", &all[i..]), n_vocab, "{:?}", all[i]);
    }
    assert!(refusal("org/model", &[]).contains("set HF_HUB_CACHE, HF_HOME or HOME"));
    let known = ("HOME", user.as_path());
    put_in_cache(&at("user/.models/hub"), "org/model", "main", 25);
    for hf_home in ["~/.models", "$HOME/.models", "${HOME}/.models"] {
        assert_eq!(finds("org/model", &[("HF_HOME", Path::new(hf_home)), known]), 25, "{hf_home}");
    }
    let old_name = at("user/.models/hub");
    assert_eq!(finds("org/model", &[("HUGGINGFACE_HUB_CACHE", &old_name), ("HF_HOME", &hf), known]), 25);
    let unset = Path::new("~/.cache/$NOT_SET");
    assert!(refusal("org/model", &[("HF_HUB_CACHE", unset), known]).contains("user/.cache/$NOT_SET"));
    // An empty variable is no variable.
    assert_eq!(finds("org/model", &[("HF_HUB_CACHE", Path::new("")), ("HOME", &user)]), 24);
}

#[cfg(unix)]
#[test]
fn names_and_revisions_lead_to_a_snapshot() {
    let root = TempDir::new().unwrap();
    let snapshot = put_in_cache(root.path(), "openai-community/gpt2", "main", 30);
    put_in_cache(root.path(), "distilgpt2", "refs/pr/1", 31);
    let cache = HubCache::new(root.path());
    let find = |name: &str| cache.find(&ModelId::parse(name).unwrap());
    for name in ["gpt2", "openai-community/gpt2", "gpt2@main"] {
        assert_eq!(find(name).unwrap(), Some(snapshot.clone()), "{name}");
    }
    assert_eq!(find(&format!("gpt2@{COMMIT}")).unwrap(), Some(snapshot));
    assert!(find("distilgpt2@refs/pr/1").unwrap().is_some());
    assert_eq!(find("gpt2-xl").unwrap(), None);
    let text = find("gpt2@v2").unwrap_err().to_string();
    assert!(
        text.contains("openai-community/gpt2 is in the Hugging Face cache") && text.contains("\"v2\""),
        "{text}"
    );
}

#[test]
fn an_unknown_name_says_what_was_looked_for_where() {
    let root = TempDir::new().unwrap();
    let text = refusal("some-org/some-model", &[("HF_HUB_CACHE", root.path())]);
    assert!(text.contains("some-org/some-model"), "{text}");
    assert!(text.contains("no such path"), "{text}");
    assert!(text.contains(root.path().to_str().unwrap()), "{text}");
}

#[test]
fn names_cannot_lead_out_of_the_cache() {
    for name in [
        "..",
        "a/..",
        "../a",
        "a/b/c",
        "",
        "a@..",
        "a@../../x",
        "a@/etc",
        "a\0",
        "a b",
        "é",
        "-a",
        "a//b",
        "a--b",
    ] {
        assert_eq!(ModelId::parse(name), None, "{name:?}");
    }
    let long = "a".repeat(97);
    assert_eq!(ModelId::parse(&long), None);
    for name in ["gpt2", "org/model-1.5_x", "org/model@main", "org/model@refs/pr/12", "gpt2@v1.0"] {
        assert!(ModelId::parse(name).is_some(), "{name:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_reference_is_a_small_regular_file() {
    let root = TempDir::new().unwrap();
    put_in_cache(root.path(), "org/model", "main", 30);
    let path = root.path().join("models--org--model/refs/main");
    let says = |expected: &str| {
        let error =
            HubCache::new(root.path()).find(&ModelId::parse("org/model").unwrap()).unwrap_err().to_string();
        assert!(error.contains("refs/main") && error.contains(expected), "{error}");
    };
    fs::write(&path, "a".repeat(2000)).unwrap();
    says("2000 bytes, the limit is 1024");
    fs::remove_file(&path).unwrap();
    for (target, expected) in
        [("/dev/zero", "is a device"), ("nowhere", "No such file"), ("..", "is a directory")]
    {
        std::os::unix::fs::symlink(target, &path).unwrap();
        says(expected);
        fs::remove_file(&path).unwrap();
    }
    checkpoint::make_pipe(&path);
    says("is a named pipe");
}

#[cfg(unix)]
#[test]
fn a_reference_cannot_lead_out_of_the_cache() {
    let root = TempDir::new().unwrap();
    put_in_cache(root.path(), "org/model", "main", 30);
    for commit in ["../../../etc", "/etc", "", "main"] {
        fs::write(root.path().join("models--org--model/refs/main"), commit).unwrap();
        let found = HubCache::new(root.path()).find(&ModelId::parse("org/model").unwrap());
        assert!(found.is_err(), "{commit:?}: {found:?}");
    }
}

/// Starts a long generation, and changes its weights file once the first text is out. Returns how the program ended.
#[cfg(unix)]
fn end_after(load: &str, change: impl FnOnce(&Path)) -> (TempDir, Output) {
    let folder = TempDir::new().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(Path::new("models/tales").join(file), folder.path().join(file)).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_halfwarp"))
        .args([
            "generate",
            "--temperature",
            "0",
            "--ignore-eos",
            "--max-tokens",
            "200",
            "--load",
            load,
            "--model",
        ])
        .arg(folder.path())
        .arg("Once upon a time")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; 20];
    stdout.read_exact(&mut text).unwrap();
    let signal = |signal| {
        // SAFETY: sends a signal to the process that this function started and has not waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    change(&folder.path().join("model.safetensors"));
    signal(libc::SIGCONT);
    stdout.read_to_end(&mut text).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stdout = text;
    (folder, output)
}

#[cfg(unix)]
fn cut(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(1_000_000).unwrap();
}

#[cfg(unix)]
#[test]
fn w16_a_file_cut_while_mapped_ends_with_one_line_or_does_not_matter() {
    let (_whole, undisturbed) = end_after("map", |_| {});
    let (folder, output) = end_after("map", cut);
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        // The backend had copied the weights.
        Some(0) => assert_eq!(output.stdout, undisturbed.stdout, "{stderr}"),
        Some(74) => {
            let path = folder.path().join("model.safetensors");
            let line = format!("error: weights file changed while mapped: {}\n", path.display());
            assert!(stderr.ends_with(&line), "{stderr:?}");
        }
        code => panic!("{code:?} ({}): {stderr}", output.status),
    }
}

#[cfg(unix)]
#[test]
fn w16_weights_read_into_memory_survive_a_cut_file() {
    let (_whole, undisturbed) = end_after("map", |_| {});
    let (_folder, output) = end_after("read", cut);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, undisturbed.stdout);
}

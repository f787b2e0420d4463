//! Weights files that are missing, in the wrong place, of the wrong kind, or changed while they are open.

use super::*;

#[test]
fn shard_names_do_not_escape_the_folder() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("model");
    let model = Model::new(Dtype::F16);
    model.write_config(&folder);
    fs::write(outer.path().join("out.safetensors"), model.file(0)).unwrap();
    let absolute = outer.path().join("out.safetensors").to_str().unwrap().to_string();
    for name in [
        "../out.safetensors",
        "a/../../out.safetensors",
        &absolute,
        "..",
        ".",
        "",
        "./x",
        "sub/x",
        "a\x1b[2J.safetensors",
    ] {
        let index = json!({"weight_map": {"wte.weight": name}});
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_says(&refusal_of(&folder), &["index.json", "wte.weight", "a file beside the index"]);
    }
    for index in ["{}", "[]", r#"{"weight_map": 3}"#, r#"{"weight_map": {"a": 3}}"#, "{", ""] {
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        assert_says(&refusal_of(&folder), &["model.safetensors.index.json"]);
    }
}

#[test]
fn a_missing_shard_and_a_tensor_in_the_wrong_shard_are_named() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write_config(folder.path());
    let write_index = |index: serde_json::Value| {
        fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    };
    write_index(json!({"weight_map": {"wte.weight": "one.safetensors"}}));
    assert_says(&refusal_of(folder.path()), &["one.safetensors", "No such file"]);
    fs::write(folder.path().join("one.safetensors"), model.file(0)).unwrap();
    write_index(json!({"weight_map": {"wte.weight": "one.safetensors", "other": "one.safetensors"}}));
    assert_says(&refusal_of(folder.path()), &["tensor other is not in one.safetensors"]);
}

#[test]
fn a_folder_without_weights_says_what_was_looked_for() {
    let folder = TempDir::new().unwrap();
    assert_says(&refusal_of(folder.path()), &["is not a model folder: it has no config.json"]);
    Model::new(Dtype::F16).write_config(folder.path());
    assert_says(&refusal_of(folder.path()), &["no model.safetensors or model.safetensors.index.json"]);
    assert_says(&refusal_of(folder.path()), &["no pytorch_model.bin or pytorch_model.bin.index.json"]);
}

#[test]
fn w18_refuses_what_is_not_a_regular_file_without_blocking() {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write_config(folder.path());
    let path = folder.path().join("model.safetensors");
    fs::create_dir(&path).unwrap();
    assert_says(&refusal_of(folder.path()), &["is a directory", "expected a regular file"]);
    fs::remove_dir(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        for device in ["/dev/zero", "/dev/random", "/dev/null"] {
            symlink(device, &path).unwrap();
            assert_says(&refusal_of(folder.path()), &["model.safetensors is a device"]);
            fs::remove_file(&path).unwrap();
        }
        symlink("model.safetensors", &path).unwrap();
        assert_says(&refusal_of(folder.path()), &["model.safetensors", "symbolic links"]);
        fs::remove_file(&path).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_says(&refusal_of(folder.path()), &["model.safetensors is a socket"]);
        fs::remove_file(&path).unwrap();
        make_pipe(&path);
        assert_says(&refusal_of(folder.path()), &["model.safetensors is a named pipe"]);
        // A pipe in place of config.json does not block either.
        fs::remove_file(folder.path().join("config.json")).unwrap();
        make_pipe(&folder.path().join("config.json"));
        assert_says(&refusal_of(folder.path()), &["config.json is a named pipe"]);
    }
}

#[cfg(unix)]
#[test]
fn w18_names_a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    let path = folder.path().join("model.safetensors");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: this user may read any file");
        return;
    }
    assert_says(&refusal_of(folder.path()), &["model.safetensors", "ermission denied"]);
}

#[cfg(target_os = "linux")]
#[test]
fn w18_opens_paths_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"mod\xffel"));
    Model::new(Dtype::F16).write(&path);
    Weights::open(&path).unwrap();
    fs::write(path.join("model.safetensors"), "").unwrap();
    assert_says(&refusal_of(&path), &["mod\u{fffd}el", "needs 8 bytes"]);
}

#[test]
fn w17_replaced_and_deleted_files_keep_their_weights() {
    let folder = TempDir::new().unwrap();
    let model = Model::new(Dtype::F16);
    model.write(folder.path());
    let weights = Weights::open(folder.path()).unwrap();
    let values =
        |weights: &Weights| (0..104).map(|i| weights.token_embd.elements().get(i)).collect::<Vec<f32>>();
    let before = values(&weights);
    let (path, other) = (folder.path().join("model.safetensors"), folder.path().join("other"));
    let mut changed = model.clone();
    changed.tensor("wte.weight").values.fill(1.0);
    fs::write(&other, changed.file(0)).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(values(&weights), before);
    assert_eq!(weights.changed_on_disk(), None);
    fs::remove_file(&path).unwrap();
    assert_eq!(values(&weights), before);
    assert_eq!(weights.changed_on_disk(), None);
}

#[test]
fn w17_writing_into_a_mapped_file_is_detected() {
    let folder = TempDir::new().unwrap();
    Model::new(Dtype::F16).write(folder.path());
    let path = folder.path().join("model.safetensors");
    let past = std::time::SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(weights.changed_on_disk(), None);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert_eq!(weights.changed_on_disk(), Some(path.as_path()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any change to any few bytes is refused or gives a model; and what this reader accepts, the `safetensors` crate
    /// accepts too.
    #[test]
    fn damaged_files_never_panic(edits in prop::collection::vec((0usize..3000, any::<u8>()), 1..4)) {
        let mut bytes = Model::new(Dtype::F16).file(0);
        for (at, value) in edits {
            bytes[at] = value;
        }
        let folder = TempDir::new().unwrap();
        Model::new(Dtype::F16).write_config(folder.path());
        fs::write(folder.path().join("model.safetensors"), &bytes).unwrap();
        if Weights::open(folder.path()).is_ok() {
            prop_assert!(SafeTensors::deserialize(&bytes).is_ok());
        }
    }
}

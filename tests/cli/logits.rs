//! `halfwarp logits`.

use super::harness::{Folder, commas, golden_ids, repository, run_args};
use safetensors::SafeTensors;

/// The first tensor of the file at `path` named `name`, as f32.
fn floats(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let data = tensors.tensor(name).unwrap().data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn all_rows_agree_with_the_reference() {
    let folder = Folder::new("logits");
    let out = folder.file("out.safetensors");
    let ids = golden_ids("input_ids");
    run_args(["logits", "--ids", &commas(&ids), "--out", out.to_str().unwrap()]).ok();
    let file = std::fs::read(&out).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let input = tensors.tensor("input_ids").unwrap();
    let written: Vec<i64> =
        input.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(written, ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>());

    let expected =
        floats(&std::fs::read(repository("tests/goldens/tales/expected.safetensors")).unwrap(), "logits");
    let found = floats(&file, "logits");
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|&b| square(b)).sum();
    // The bound on logits that the engine promises.
    assert!((error / size).sqrt() <= 2e-3, "relative error {}", (error / size).sqrt());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "no part is left behind");
}

#[test]
fn a_folder_without_a_tokenizer_is_enough() {
    let folder = Folder::new("logits-ids");
    let model = repository("tests/goldens/tiny-fp32");
    let out = folder.file("out.safetensors");
    run_args([
        "logits",
        "--model",
        model.to_str().unwrap(),
        "--ids",
        "1,2,3",
        "--out",
        out.to_str().unwrap(),
    ])
    .ok();
    assert_eq!(floats(&std::fs::read(out).unwrap(), "logits").len(), 3 * 512);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    run_args(["logits", "--ids", "1", "--out", "/no/such/folder/x"]).fails(1, &["/no/such/folder/x"]);
    run_args(["logits", "--ids", "1", "--out", env!("CARGO_MANIFEST_DIR")]).fails(1, &["directory"]);
    if std::path::Path::new("/dev/full").exists() {
        run_args(["logits", "--ids", "1", "--out", "/dev/full"]).fails(1, &["/dev/full", "space"]);
    }
}

#[test]
fn bad_input_leaves_no_file() {
    let folder = Folder::new("logits-bad");
    let out = folder.file("x");
    let out = out.to_str().unwrap();
    run_args(["logits", "--ids", "1,4096", "--out", out]).fails(1, &["4096", "0..=4095"]);
    run_args(["logits", "--ids", &commas(&[1; 513]), "--out", out]).fails(1, &["512", "513"]);
    run_args(["logits", "--out", out]).fails(2, &["required"]);
    run_args(["logits", "--ids", "1", "--text", "a", "--out", out]).fails(2, &["cannot be used"]);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}

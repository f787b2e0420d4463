//! `halfwarp convert`.

use super::harness::{Folder, command, repository, run_args};
use safetensors::SafeTensors;
use std::path::Path;

/// The logits that `halfwarp logits` writes for a few ids.
fn logits(model: &Path, out: &Path) -> Vec<f32> {
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    run_args(["logits", "--model", model, "--ids", "1,2,3,400", "--out", out]).ok();
    let file = std::fs::read(out).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let data = tensors.tensor("logits").unwrap().data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn a_converted_model_is_half_as_large_and_has_the_same_logits() {
    let folder = Folder::new("convert");
    let (source, target) = (repository("tests/goldens/tiny-fp32"), folder.file("new/tiny-fp16"));
    let args = ["convert", source.to_str().unwrap(), target.to_str().unwrap()];
    let run = run_args(args);
    assert!(run.stderr.contains("parameters") && run.stderr.lines().count() == 1, "{}", run.stderr);
    assert_eq!(run.ok(), "");

    let json = run_args([&args[..], &["--force", "--json"]].concat()).json();
    let (before, after) = (json["bytes_before"].as_f64().unwrap(), json["bytes_after"].as_f64().unwrap());
    assert!((0.45..0.55).contains(&(after / before)), "{before} -> {after}");

    let (expected, found) = (logits(&source, &folder.file("a")), logits(&target, &folder.file("b")));
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|&b| square(b)).sum();
    // Rounding to fp16 is off by at most 2^-11 of a value; the bound on logits is the one that the engine promises.
    assert!((error / size).sqrt() <= 2e-3, "relative error {}", (error / size).sqrt());
    assert_eq!(std::fs::read_dir(folder.file("new")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_bundled_model_keeps_its_tokenizer_and_its_bits() {
    let folder = Folder::new("convert-tales");
    let target = folder.file("tales");
    run_args(["convert", "tales", target.to_str().unwrap()]).ok();
    let text = |model: &str| run_args(["generate", "--model", model, "--seed", "1", "-n", "8", "The"]).ok();
    assert_eq!(text(target.to_str().unwrap()), text("tales"));
}

#[test]
fn what_is_there_is_replaced_only_when_asked_and_only_a_model() {
    let folder = Folder::new("convert-there");
    let source = repository("tests/goldens/tiny-fp32");
    let (source, target) = (source.to_str().unwrap(), folder.file("target"));
    let name = target.to_str().unwrap();
    std::fs::create_dir(&target).unwrap();
    run_args(["convert", source, name]).fails(1, &["target", "exists", "--force"]);
    std::fs::write(target.join("diary.txt"), "dear").unwrap();
    run_args(["convert", source, name, "--force"]).fails(1, &["target", "diary.txt"]);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
}

#[test]
fn sources_and_targets_that_will_not_do_are_errors() {
    let folder = Folder::new("convert-bad");
    let target = folder.file("x");
    let target = target.to_str().unwrap();
    run_args(["convert", "/no/such/model", target]).fails(1, &["/no/such/model"]);
    run_args(["convert", folder.0.to_str().unwrap(), target]).fails(1, &["convert-bad"]);
    run_args(["convert", "tales", "/proc/nothing/x"]).fails(1, &["/proc/nothing"]);
    run_args(["convert", "tales"]).fails(2, &["required"]);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    let help = command(["convert", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
}

//! Every wait in the kernels is needed: taken out of the PTX one at a time, each must be missed by the checks or show in the
//! results. Slow, so it is a command of its own:
//!
//!     cargo test --test cuda -- --ignored --nocapture every_wait_is_needed

use crate::{
    emulator::Emulator,
    rig::{Random, model},
    sampling,
};
use halfwarp::{
    Weights,
    backend::{
        Backend,
        cuda::{
            CudaBackend,
            driver::Gpu,
            images::{IMAGES, Image},
        },
    },
    batch::{Batch, Phase, Rows},
    sampler::{Draw, SamplingParams},
};
use std::sync::Arc;

/// Instructions that order something.
const WAITS: [&str; 7] =
    ["bar.sync", "barrier.sync", "bar.warp.sync", "griddepcontrol.wait", "cp.async.wait", "membar", "fence"];

/// A prompt in two parts, then steps of one, four and eight columns beyond the first chunk of attention: what came out, or what
/// was found.
fn run(
    emulator: &Emulator,
    weights: &Weights,
    images: &'static [Image],
    arch: u32,
) -> Result<Vec<f32>, String> {
    let options = r#""seed": 3, "check": true, "quiet": true, "patience": 2000000"#;
    emulator.reset(&format!(r#"{{"arch": {arch}, {options}}}"#));
    let result = (|| {
        let gpu = Gpu::open(0)?.with_images(images);
        let mut backend = CudaBackend::open_on(gpu, weights, 1024, &mut |_, _| {})?;
        let mut cache = backend.new_cache(1024)?;
        let mut random = Random(9);
        let seq = cache.open();
        let mut all = Vec::new();
        let greedy = Arc::new(Draw::new(SamplingParams::default(), weights.config.n_vocab, 129)?);
        for (phase, n_tokens) in [
            (Phase::Prompt, 100),
            (Phase::Prompt, 29),
            (Phase::Generated, 1),
            (Phase::Generated, 4),
            (Phase::Generated, 8),
        ] {
            let mut batch = Batch::new();
            batch.push_as(phase, seq, &random.tokens(n_tokens), Rows::Last);
            batch.draw(greedy.clone());
            let logits = backend.forward(&batch, &mut cache)?;
            all.extend(logits.token(0)?.map(|token| token as f32));
            all.extend_from_slice(logits.row(0)?);
        }
        Ok(all)
    })();
    let findings = emulator.findings();
    match result {
        _ if !findings.is_empty() => Err(findings.lines().next().unwrap_or_default().to_owned()),
        Ok(rows) => Ok(rows),
        Err(error) => Err(halfwarp::Error::to_string(&error)),
    }
}

/// The lines of `image` that wait, each with the kernel it is in and a text of PTX without it.
fn mutants(image: &Image) -> Vec<(String, String)> {
    let text = std::str::from_utf8(image.bytes).unwrap();
    let mut entry = "";
    let mut mutants = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.split(".entry ").nth(1) {
            entry = name.split('(').next().unwrap_or_default();
        }
        let code = line.trim_start();
        if WAITS.iter().any(|wait| code.starts_with(wait)) {
            let without = [&text[..start], "\n", &text[start + line.len()..]].concat();
            mutants.push((format!("{entry}: {}", code.trim_end()), without));
        }
        start += line.len();
    }
    mutants
}

/// Takes each wait out of the images that `is_meant`, one at a time, and runs what is left.
fn take_out_each_wait(
    is_meant: impl Fn(&Image) -> bool,
    run: impl Fn(&'static [Image], u32) -> Result<Vec<f32>, String>,
) {
    let (mut n_missed, mut survivors) = (0, Vec::new());
    for arch in [75, 80, 90] {
        let expected = run(IMAGES, arch).unwrap();
        let is_run = |image: &Image| image.is_ptx && image.arch == arch && is_meant(image);
        for (i, image) in IMAGES.iter().enumerate().filter(|(_, image)| is_run(image)) {
            for (what, ptx) in mutants(image) {
                let mut images = IMAGES.to_vec();
                images[i].bytes = ptx.into_bytes().leak();
                let outcome = match run(images.leak(), arch) {
                    Err(finding) => finding,
                    Ok(result) if result != expected => "other results".into(),
                    Ok(_) => {
                        survivors.push(format!("sm_{arch} {what}"));
                        "NOT MISSED".into()
                    }
                };
                n_missed += 1;
                let outcome: String = outcome.chars().take(120).collect();
                println!("| sm_{arch} | {what} | {outcome} |");
            }
        }
    }
    println!("{n_missed} waits were taken out, {} were not missed", survivors.len());
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
#[ignore = "slow"]
fn every_wait_is_needed() {
    let emulator = Emulator::checked(90);
    let weights = model();
    take_out_each_wait(|image| image.file != "sample", |images, arch| run(&emulator, &weights, images, arch));
}

#[test]
#[ignore = "slow"]
fn every_wait_is_needed_in_sampling() {
    let emulator = Emulator::checked(90);
    let weights = model();
    take_out_each_wait(
        |image| image.file == "sample",
        |images, arch| {
            let tokens = sampling::outcome(&emulator, images, arch)?;
            Ok([tokens, run(&emulator, &weights, images, arch)?].concat())
        },
    );
}

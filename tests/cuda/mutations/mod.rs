//! Every wait in the kernels is needed: taken out of the PTX one at a time, each must be missed by the checks or show in the
//! results. Slow, so it is a command of its own:
//!
//!     cargo test --test cuda -- --ignored --nocapture every_wait_is_needed

mod prompts;

use crate::{
    emulator::Emulator,
    rig::{Random, model},
    sampling,
    step_rig::StepRig,
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

/// A device with all checks, where a block that waits for ever is soon found.
fn reset(emulator: &Emulator, arch: u32) {
    let options = r#""seed": 3, "check": true, "quiet": true, "patience": 8000000"#;
    emulator.reset(&format!(r#"{{"arch": {arch}, {options}}}"#));
}

/// A prompt beyond the first chunk of attention, then steps of one, four and eight columns: what came out, or what was found.
fn run(
    emulator: &Emulator,
    weights: &Weights,
    images: &'static [Image],
    arch: u32,
) -> Result<Vec<f32>, String> {
    reset(emulator, arch);
    let result = (|| {
        let gpu = Gpu::open(0)?.with_images(images);
        let mut backend =
            CudaBackend::open_on(gpu, weights, 1024, &mut |_, _| std::ops::ControlFlow::Continue(()))?;
        let mut cache = backend.new_cache(1024)?;
        let mut random = Random(9);
        let seq = cache.open();
        let mut all = Vec::new();
        let greedy = Arc::new(Draw::new(SamplingParams::default(), weights.config.n_vocab, 129)?);
        for (phase, n_tokens) in
            [(Phase::Prompt, 146), (Phase::Generated, 1), (Phase::Generated, 4), (Phase::Generated, 8)]
        {
            let mut batch = Batch::new();
            batch.push_as(phase, seq, &random.tokens(n_tokens), Rows::Last);
            batch.draw(greedy.clone());
            let logits = backend.forward(&batch, &mut cache)?;
            all.extend(logits.token(0)?.map(|token| token as f32));
            all.extend_from_slice(logits.row(0)?);
        }
        Ok(all)
    })();
    outcome(emulator, result)
}

/// What came out of a run, unless something was found.
fn outcome(emulator: &Emulator, result: halfwarp::backend::Result<Vec<f32>>) -> Result<Vec<f32>, String> {
    let findings = emulator.findings();
    match result {
        _ if !findings.is_empty() => Err(findings.lines().next().unwrap_or_default().to_owned()),
        Ok(rows) => Ok(rows),
        Err(error) => Err(error.to_string()),
    }
}

/// The lines of `image` that wait: the kernel, the line, and a text of PTX without it.
fn mutants(image: &Image) -> Vec<(String, String, String)> {
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
            mutants.push((entry.to_owned(), code.trim_end().to_owned(), without));
        }
        start += line.len();
    }
    mutants
}

/// Each decode product of `n_columns` once, with inputs of two slices and more outputs than blocks take at once.
fn wide_step(
    emulator: &Emulator,
    images: &'static [Image],
    arch: u32,
    n_columns: u32,
) -> Result<Vec<f32>, String> {
    reset(emulator, arch);
    let result = (|| {
        let n_vocab = 4 * 4 * 2 * 132 + 50;
        let mut rig = StepRig::of(Gpu::open(0)?.with_images(images), (1088, 17, 1088, n_vocab));
        let (norm, ..) = rig.norm();
        let [(qkv, ..), (attn_out, ..), (up, ..), (down, ..)] =
            [3 * 1088, 1088, 1088, 1088].map(|n_out| rig.linear(1088, n_out));
        let (head, _) = rig.table();
        let zeros = vec![0.0; rig.pages_len()];
        let mut pages = rig.pages(&[zeros.clone(), zeros]);
        let mut logits = rig.env.gpu.zeros(8 * n_vocab, "a test")?;
        let (step, act) = (rig.env.step(n_columns), &mut rig.act);
        step.qkv(act, &mut pages, &norm, &qkv)?;
        step.attention(act, &pages, 0.125)?;
        step.attn_out(act, &attn_out)?;
        step.up(act, &norm, &up)?;
        step.down(act, &down)?;
        step.logits(&mut logits, act, &norm, &head)?;
        rig.env.gpu.synchronize()?;
        Ok(rig.read(&logits))
    })();
    outcome(emulator, result)
}

/// Takes each wait out of the images that `is_meant`, one at a time, and runs what is left; `run` gets the kernel that it was
/// taken out of.
fn take_out_each_wait(
    is_meant: impl Fn(&Image) -> bool,
    run: impl Fn(&str, &'static [Image], u32) -> Result<Vec<f32>, String>,
) {
    let (mut n_taken, mut survivors) = (0, Vec::new());
    for arch in [75, 80, 90] {
        let is_run = |image: &Image| image.is_ptx && image.arch == arch && is_meant(image);
        for (i, image) in IMAGES.iter().enumerate().filter(|(_, image)| is_run(image)) {
            let mut expected: Option<(String, Vec<f32>)> = None;
            for (kernel, wait, ptx) in mutants(image) {
                if expected.as_ref().is_none_or(|(of, _)| *of != kernel) {
                    expected = Some((kernel.clone(), run(&kernel, IMAGES, arch).unwrap()));
                }
                let mut images = IMAGES.to_vec();
                images[i].bytes = ptx.into_bytes().leak();
                let outcome = match run(&kernel, images.leak(), arch) {
                    Err(finding) => finding,
                    Ok(result) if expected.as_ref().is_some_and(|(_, expected)| *expected != result) => {
                        "other results".into()
                    }
                    Ok(_) => {
                        survivors.push(format!("sm_{arch} {kernel}: {wait}"));
                        "NOT MISSED".into()
                    }
                };
                n_taken += 1;
                let outcome: String = outcome.chars().take(120).collect();
                println!("| sm_{arch} | {kernel}: {wait} | {outcome} |");
            }
        }
    }
    println!("{n_taken} waits were taken out, {} were not missed", survivors.len());
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
#[ignore = "slow"]
fn every_wait_is_needed_in_decode() {
    let emulator = Emulator::checked(90);
    let weights = model();
    take_out_each_wait(
        |image| ["embed", "attention_decode", "linear_decode"].contains(&image.file),
        |kernel, images, arch| {
            let mut all = run(&emulator, &weights, images, arch)?;
            if kernel.starts_with("linear_decode") {
                let n_columns = kernel.rsplit('_').next().and_then(|n| n.parse().ok());
                all.extend(wide_step(&emulator, images, arch, n_columns.unwrap())?);
            }
            Ok(all)
        },
    );
}

#[test]
#[ignore = "slow"]
fn every_wait_is_needed_in_prompts() {
    let emulator = Emulator::checked(90);
    take_out_each_wait(
        |image| image.file.contains("prefill"),
        |kernel, images, arch| {
            reset(&emulator, arch);
            outcome(&emulator, prompts::run(kernel, images))
        },
    );
}

#[test]
#[ignore = "slow"]
fn every_wait_is_needed_in_sampling() {
    let emulator = Emulator::checked(90);
    let weights = model();
    take_out_each_wait(
        |image| image.file == "sample",
        |_, images, arch| {
            let tokens = sampling::outcome(&emulator, images, arch)?;
            Ok([tokens, run(&emulator, &weights, images, arch)?].concat())
        },
    );
}

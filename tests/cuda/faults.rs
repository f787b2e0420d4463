//! What does not fit is said in numbers, and a device that failed once stays failed.

use crate::{
    emulator::{self, Emulator},
    rig,
};
use halfwarp::{
    Weights,
    backend::{
        Backend, BackendError,
        cuda::{CudaBackend, driver::Shape},
    },
    batch::{Batch, Phase, Rows},
};
use std::ops::ControlFlow;

fn open(weights: &Weights, n_cache: usize) -> halfwarp::backend::Result<CudaBackend> {
    CudaBackend::open(0, weights, n_cache, &mut |_, _| std::ops::ControlFlow::Continue(()))
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_what_it_needs_and_what_is_free() {
    let emulator = Emulator::checked(75);
    let error = open(&rig::model(), 1 << 33).unwrap_err();
    let text = error.to_string();
    let BackendError::DeviceMemory { needed, free, .. } = error else { panic!("{error}") };
    assert!(needed > free && free > 10 << 30, "{needed} of {free}");
    assert!(text.contains(&(free >> 20).to_string()) && text.contains("MiB"), "{text}");
    emulator.assert_clean();
}

#[test]
fn a_cache_that_does_not_fit_leaves_the_backend_as_it_was() {
    let emulator = Emulator::checked(90);
    let mut backend = open(&rig::model(), 64).unwrap();
    assert!(matches!(backend.new_cache(1 << 33).unwrap_err(), BackendError::DeviceMemory { .. }));
    let mut cache = backend.new_cache(64).unwrap();
    let seq = cache.open();
    assert_eq!(backend.forward(&Batch::one(seq, &[1], Rows::Last), &mut cache).unwrap().n_rows(), 1);
    drop(backend);
    emulator.assert_clean();
}

/// Each request for memory finds none once, from the opening on: the call that made it fails and says so, and when it is made
/// again all goes on to the same results.
#[test]
fn memory_that_is_missing_once_fails_one_call() {
    if emulator::is_real() {
        println!("skipped: a device's memory cannot be taken away");
        return;
    }
    let weights = rig::model();
    let ids = rig::Random(6).tokens(90);
    let emulator = Emulator::checked(90);
    let mut expected = None;
    for n in 0.. {
        emulator.reset(&format!(r#"{{"arch": 90, "out_of_memory": {n}, "check": true, "quiet": true}}"#));
        let mut missing = Missing::default();
        let mut backend = missing.twice(|| open(&weights, 96));
        let mut cache = missing.twice(|| backend.new_cache(96));
        let seq = cache.open();
        let mut rows = Vec::new();
        // More rows of logits than before; a graph; more rows in a graph; one more graph.
        for (at, n_tokens, phase, wanted) in [
            (0, 70, Phase::Prompt, Rows::Last),
            (70, 9, Phase::Prompt, Rows::All),
            (79, 1, Phase::Generated, Rows::Last),
            (80, 10, Phase::Generated, Rows::All),
        ] {
            let mut batch = Batch::new();
            batch.push_as(phase, seq, &ids[at..at + n_tokens], wanted);
            missing.twice(|| {
                assert_eq!(cache.tokens(seq)?.len(), at, "request {n}: the cache as it was");
                let logits = backend.forward(&batch, &mut cache)?;
                (0..logits.n_rows())
                    .try_for_each(|row| logits.row(row).map(|row| rows.extend_from_slice(row)))
            });
        }
        rig::assert_same(&rows, expected.get_or_insert(rows.clone()), &format!("request {n}"));
        drop(backend);
        emulator.assert_clean();
        match missing.errors.as_slice() {
            [] if n > 30 => return,
            [] => assert_eq!(n, 0, "request {n} was made and nobody said that it failed"),
            [error] => {
                assert!(error.is_out_of_memory(), "request {n}: {error}");
                let BackendError::DeviceMemory { what, needed, free } = error else { continue };
                let text = error.to_string();
                assert!(*needed > 0 && free > needed && text.contains(what), "request {n}: {text}");
            }
            errors => panic!("request {n} failed {} calls: {errors:?}", errors.len()),
        }
    }
}

/// Errors of calls that were made again.
#[derive(Default)]
struct Missing {
    errors: Vec<BackendError>,
}

impl Missing {
    /// What `call` gives, at the second time if it fails.
    fn twice<T>(&mut self, mut call: impl FnMut() -> halfwarp::backend::Result<T>) -> T {
        call().unwrap_or_else(|error| {
            self.errors.push(error);
            call().unwrap()
        })
    }
}

#[test]
fn a_cache_that_another_replaced_is_refused() {
    let emulator = Emulator::checked(90);
    let mut backend = open(&rig::model(), 128).unwrap();
    let mut old = backend.new_cache(128).unwrap();
    let seq = old.open();
    drop(backend.new_cache(64).unwrap());
    let error = backend.forward(&Batch::one(seq, &[1], Rows::Last), &mut old).map(drop).unwrap_err();
    assert!(matches!(error, BackendError::OtherCache { found: 4, expected: 2 }), "{error}");
    drop(backend);
    emulator.assert_clean();
}

/// Not on a real device, which the process would lose.
#[test]
fn after_an_illegal_access_every_call_fails_and_says_so() {
    if emulator::is_real() {
        println!("skipped: it would end the other tests");
        return;
    }
    let emulator = Emulator::checked(90);
    let mut backend = open(&rig::model(), 64).unwrap();
    let mut cache = backend.new_cache(64).unwrap();
    let seq = cache.open();
    let kernel = backend.gpu().load("embed").unwrap().kernel("embed_decode_f16", 0).unwrap();
    let shape = Shape { grid: [1, 1, 1], block: 128, shared: 0, overlaps: false };
    // SAFETY: not sound, which is the point: all its pointers are null.
    unsafe { backend.gpu().launch(&kernel, shape, &[0u32.into(); 5]).unwrap() };
    let batch = Batch::one(seq, &[1], Rows::Last);
    let first = backend.forward(&batch, &mut cache).and_then(|l| l.row(0).map(drop)).unwrap_err();
    assert!(first.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{first}");
    for _ in 0..2 {
        let again = backend.forward(&batch, &mut cache).map(drop).unwrap_err();
        assert!(
            matches!(again, BackendError::DeviceLost { .. }) || again.to_string().contains("ILLEGAL_ADDRESS"),
            "{again}"
        );
    }
    drop(backend);
    let findings = emulator.findings();
    assert!(findings.contains("embed_decode_f16"), "{findings}");
}

#[test]
fn shapes_beyond_the_kernels_are_refused_by_name() {
    let _emulator = Emulator::checked(90);
    for (json, words) in [
        (r#""n_embd": 68, "n_head": 4"#, ["n_embd 68", "multiple of 8"]),
        (r#""n_embd": 272, "n_head": 2"#, ["head_dim (n_embd / n_head) 136", "at most 128"]),
        (r#""n_embd": 64, "n_head": 4, "n_inner": 8200"#, ["n_inner 8200", "at most 8192"]),
    ] {
        let json = format!(
            r#"{{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_positions": 32, "vocab_size": 50, {json}}}"#
        );
        let weights = Weights::random(halfwarp::family::parse_config(json.as_bytes()).unwrap(), 1);
        let error = open(&weights, 32).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
}

#[test]
fn a_progress_that_breaks_off_ends_the_upload() {
    let emulator = Emulator::checked(90);
    let mut n_calls = 0;
    let mut progress = |_, _| {
        n_calls += 1;
        if n_calls < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let error = CudaBackend::open(0, &rig::model(), 64, &mut progress).unwrap_err();
    assert!(matches!(error, BackendError::Cancelled), "{error}");
    assert_eq!(n_calls, 3);
    emulator.assert_clean();
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let _emulator = Emulator::checked(90);
    let error = CudaBackend::open(3, &rig::model(), 64, &mut |_, _| std::ops::ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no device 3"), "{error}");
}

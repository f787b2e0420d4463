//! Perplexity on the bundled model.
#![cfg(feature = "bundled")]

use halfwarp::{
    Engine, EngineOptions, Source,
    eval::{Windows, score},
};

const STORY: &str = include_str!("texts/story.txt");

fn engine() -> Engine {
    Engine::open(&Source::Bundled, &EngineOptions::default()).expect("the bundled model opens")
}

/// The positions that were scored and their surprise.
fn scores(engine: &Engine, ids: &[u32], len: usize, stride: usize) -> Vec<(usize, f64)> {
    let mut all = Vec::new();
    let total = score(&mut engine.session(), ids, Windows { len, stride }, |position, nats| {
        all.push((position, nats))
    });
    assert_eq!(total.expect("the windows fit").n_tokens, all.len());
    all
}

#[test]
fn the_bundled_model_predicts_a_story_about_as_well_as_it_learnt_to() {
    let engine = engine();
    let ids = engine.tokenizer().unwrap().encode(STORY).unwrap();
    let total = score(&mut engine.session(), &ids, Windows { len: 512, stride: 256 }, |_, _| ()).unwrap();
    // 3.15 on held-out stories, when it was trained; this one is simple. A uniform guess costs ln 4096 = 8.3.
    assert!((2.0..3.6).contains(&total.mean()), "{} nats a token", total.mean());
    assert!(total.mean_error() > 0.05 && total.mean_error() < 0.5, "{}", total.mean_error());
}

#[test]
fn a_text_that_fits_one_window_scores_the_same_bits_for_every_stride() {
    let engine = engine();
    let ids = &engine.tokenizer().unwrap().encode(STORY).unwrap()[..48];
    let one = scores(&engine, ids, 48, 48);
    assert_eq!(one.len(), 47);
    for (len, stride) in [(48, 1), (48, 24), (512, 256)] {
        assert_eq!(scores(&engine, ids, len, stride), one, "window {len}, stride {stride}");
    }
}

#[test]
fn every_window_scores_its_tokens_as_it_would_alone() {
    let engine = engine();
    let ids = &engine.tokenizer().unwrap().encode(STORY).unwrap()[..40];
    for (len, stride) in [(16, 5), (16, 16)] {
        for (position, nats) in scores(&engine, ids, len, stride) {
            // The first window that reaches the position scores it.
            let start = (position + 1).saturating_sub(len).div_ceil(stride) * stride;
            let alone = scores(&engine, &ids[start..=position], len, len);
            assert_eq!(*alone.last().unwrap(), (position - start, nats), "position {position}");
        }
    }
}

#[test]
fn windows_and_texts_that_make_no_sense_are_refused_with_the_numbers() {
    let engine = engine();
    let refuse = |ids: &[u32], len, stride| {
        score(&mut engine.session(), ids, Windows { len, stride }, |_, _| ()).unwrap_err().to_string()
    };
    assert!(
        refuse(&[1, 2], 513, 1).contains("window of 513 tokens every 1")
            && refuse(&[1, 2], 513, 1).contains("512")
    );
    for (len, stride) in [(1, 1), (8, 0), (8, 9)] {
        assert!(refuse(&[1, 2], len, stride).contains("1 <= stride <= window"));
    }
    assert!(refuse(&[1], 8, 4).contains("1 tokens, expected 2"));
    assert!(refuse(&[1, 4096], 8, 4).contains("position 1"));
}

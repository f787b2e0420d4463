//! Engine and sessions: what a generation hands out, when it ends, and what stays cached.
#![cfg(feature = "bundled")]

#[path = "common/scripted.rs"]
mod scripted;

use halfwarp::{
    Config, Engine, EngineOptions, Error, Session, Source, Tokenizer,
    cache::{CacheError, PAGE_LEN},
    engine::{CancelToken, FinishReason, GenerateParams, Prompt},
    sampler::{SamplingError, SamplingParams, TokenLogprobs},
};
use scripted::Scripted;
use std::sync::OnceLock;

/// One engine for all tests: its sessions take turns.
fn tales() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let options = EngineOptions { n_cache: Some(64 * 512), ..EngineOptions::default() };
    ENGINE.get_or_init(|| Engine::open(&Source::Bundled, &options).unwrap())
}

fn at_most(max_tokens: usize) -> GenerateParams {
    GenerateParams { max_tokens: Some(max_tokens), ..GenerateParams::default() }
}

fn generate(prompt: impl Into<Prompt>, params: &GenerateParams) -> halfwarp::engine::Completion {
    tales().session().generate_with(prompt, params, |_| {}).unwrap()
}

const PROMPT: &str = "Once upon a time";

/// A session of the bundled model's tokenizer on a backend that writes `script`.
fn scripted(script: Vec<u32>, n_vocab: usize) -> Session {
    let config = Config { n_vocab, ..tales().config().clone() };
    let backend = Scripted::new(config, script, None);
    Engine::new(Box::new(backend), Some(Tokenizer::bundled()), 512).unwrap().session()
}

#[test]
fn a_smaller_context_sizes_cache_and_limits_and_changes_no_bit() {
    let open = |n_ctx| {
        Engine::open(&Source::Bundled, &EngineOptions { n_ctx: Some(n_ctx), ..EngineOptions::default() })
    };
    let engine = open(50).unwrap();
    assert_eq!((engine.config().n_ctx, engine.n_cache_free()), (50, 2 * PAGE_LEN));
    let whole = generate(PROMPT, &at_most(60));
    let n_prompt = whole.stats.n_prompt;
    let ended = engine.session().generate_with(PROMPT, &GenerateParams::default(), |_| {}).unwrap();
    assert_eq!((n_prompt + ended.token_ids.len(), ended.finish_reason), (50, FinishReason::Length));
    assert_eq!(ended.token_ids[..], whole.token_ids[..50 - n_prompt]);
    let error = engine.session().generate(vec![1; 51], &at_most(1)).err().unwrap();
    assert!(matches!(error, Error::PromptTooLong { n_ctx: 50, n_prompt: 51 }), "{error}");
    for n_ctx in [0, 513] {
        let error = open(n_ctx).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("a context of {n_ctx} tokens was asked for, expected 1 to the model's 512")
        );
    }
}

#[test]
fn steps_add_up_to_the_completion() {
    let mut session = tales().session();
    let mut generation = session.generate(PROMPT, &at_most(24)).unwrap();
    let (mut text, mut ids) = (String::new(), Vec::new());
    for step in generation.by_ref() {
        let step = step.unwrap();
        text += &step.text;
        ids.extend(step.token_id);
    }
    let completion = generation.into_completion();
    assert_eq!((&text, &ids), (&completion.text, &completion.token_ids));
    assert_eq!(text, tales().tokenizer().unwrap().decode(&ids).unwrap());
    assert_eq!((ids.len(), completion.finish_reason), (24, FinishReason::Length));
    assert_eq!(completion.text, generate(PROMPT, &at_most(24)).text, "the callback form gives the same");
}

#[test]
fn a_stop_string_over_several_tokens_ends_the_text_and_never_shows() {
    let whole = generate(PROMPT, &at_most(24)).text;
    let stop = "e girl na";
    assert!(whole.contains(stop), "the model writes {whole:?}");
    let params = GenerateParams { stop: vec!["never".into(), stop.into()], ..at_most(24) };
    let mut session = tales().session();
    let mut text = String::new();
    let completion = session.generate_with(PROMPT, &params, |step| text += &step.text).unwrap();
    assert_eq!(completion.text, whole[..whole.find(stop).unwrap()]);
    assert_eq!(text, completion.text);
    assert_eq!((completion.finish_reason, completion.stop.as_deref()), (FinishReason::Stop, Some(stop)));
}

#[test]
fn held_back_text_is_handed_out_when_the_text_ends_otherwise() {
    let whole = generate(PROMPT, &at_most(8)).text;
    let params = GenerateParams { stop: vec![format!("{}?", &whole[whole.len() - 4..])], ..at_most(8) };
    assert_eq!(generate(PROMPT, &params).text, whole);
}

#[test]
fn a_character_over_several_tokens_arrives_whole() {
    let tokenizer = Tokenizer::bundled();
    let script = tokenizer.encode("🐻é中").unwrap();
    assert!(script.len() > 3, "the characters are split over tokens");
    let mut texts = Vec::new();
    let mut session = scripted(script.clone(), 4096);
    session.generate_with(PROMPT, &at_most(script.len()), |step| texts.push(step.text.clone())).unwrap();
    assert!(texts.iter().all(|t| !t.contains('\u{fffd}')), "{texts:?}");
    assert_eq!(texts.concat(), "🐻é中");

    let cut = script[..2].to_vec();
    let text = scripted(cut, 4096).generate_with(PROMPT, &at_most(2), |_| {}).unwrap().text;
    assert_eq!(text, "\u{fffd}", "half a character at the end is shown as one replacement character");
}

#[test]
fn the_end_of_text_token_ends_the_text_unless_ignored_or_too_early() {
    let eos = tales().config().eos_token_ids[0];
    let script = vec![100, eos, 101, 102];
    let run = |params: GenerateParams| {
        scripted(script.clone(), 4096).generate_with(PROMPT, &params, |_| {}).unwrap()
    };

    let ended = run(at_most(4));
    assert_eq!((ended.token_ids, ended.finish_reason), (vec![100, eos], FinishReason::Stop));
    assert_eq!(ended.text, tales().tokenizer().unwrap().decode(&[100]).unwrap());
    let ignored = run(GenerateParams { ignore_eos: true, ..at_most(4) });
    assert_eq!((ignored.token_ids, ignored.finish_reason), (script.clone(), FinishReason::Length));
    let early = run(GenerateParams { min_tokens: 3, ..at_most(4) });
    assert_ne!(early.token_ids[1], eos);
    let by_token = run(GenerateParams { stop_token_ids: vec![100], ..at_most(4) });
    assert_eq!((by_token.token_ids, by_token.finish_reason), (vec![100], FinishReason::Stop));
}

#[test]
fn rows_beyond_the_tokenizers_vocabulary_are_never_chosen() {
    let mut session = scripted(vec![4100], 4224);
    let params = GenerateParams { logprobs: Some(3), ..at_most(1) };
    let completion = session.generate_with(PROMPT, &params, |_| {}).unwrap();
    assert!(completion.token_ids[0] < 4096);
    let logprob = completion.logprobs[0].as_ref().unwrap().logprob;
    assert!((logprob + 4096f32.ln()).abs() < 1e-4, "a padding row took part in the softmax: {logprob}");
}

/// As `halfwarp generate` says it, with the prompt and without.
#[test]
fn rows_beyond_the_tokenizers_vocabulary_are_in_no_prompt() {
    for echo in [false, true] {
        let params = GenerateParams { echo, ..at_most(1) };
        let error = scripted(vec![100], 4224).generate_with(vec![5, 4096], &params, |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "token id 4096 out of range 0..=4095");
    }
}

#[test]
fn max_tokens_zero_generates_nothing() {
    let completion = generate(PROMPT, &at_most(0));
    assert_eq!((completion.text.as_str(), completion.finish_reason), ("", FinishReason::Length));
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_with_both_numbers() {
    let mut session = tales().session();
    let Err(error) = session.generate(vec![5; 513], &at_most(1)) else {
        panic!("513 tokens fit in 512 positions")
    };
    let text = error.to_string();
    assert!(matches!(error, Error::PromptTooLong { n_ctx: 512, n_prompt: 513 }), "{text}");
    assert!(text.contains("512") && text.contains("513"), "{text}");
}

#[test]
fn a_prompt_and_max_tokens_beyond_the_context_are_refused_with_all_numbers() {
    let mut session = tales().session();
    let Err(error) = session.generate(vec![5; 500], &at_most(13)) else {
        panic!("513 tokens fit in 512 positions")
    };
    let text = error.to_string();
    assert!(matches!(error, Error::TooManyTokens { .. }), "{text}");
    assert!(["512", "500", "13"].iter().all(|n| text.contains(n)), "{text}");
}

#[test]
fn without_max_tokens_the_text_goes_on_until_the_context_is_full() {
    let params = GenerateParams { ignore_eos: true, ..GenerateParams::default() };
    let completion = scripted(vec![100; 512], 4096).generate_with(vec![5; 500], &params, |_| {}).unwrap();
    assert_eq!((completion.token_ids.len(), completion.finish_reason), (12, FinishReason::Length));
    let full = scripted(vec![100; 512], 4096).generate_with(vec![5; 512], &params, |_| {}).unwrap();
    assert_eq!((full.token_ids.len(), full.finish_reason), (0, FinishReason::Length));
}

#[test]
fn an_empty_prompt_starts_from_the_models_first_token() {
    assert_eq!(generate("", &at_most(4)).token_ids, generate(vec![0], &at_most(4)).token_ids);
    let mut session = tales().session();
    assert!(matches!(session.generate(Vec::new(), &at_most(1)), Err(Error::EmptyPrompt)));
}

#[test]
fn a_token_out_of_range_is_refused_and_the_session_goes_on() {
    let mut session = tales().session();
    let error = session.generate_with(vec![1, 4096], &at_most(1), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "token id 4096 out of range 0..=4095");
    assert_eq!(
        session.generate_with(PROMPT, &at_most(4), |_| {}).unwrap().text,
        generate(PROMPT, &at_most(4)).text
    );
}

#[test]
fn cancelling_from_another_thread_ends_the_text_within_a_step() {
    let cancel = CancelToken::default();
    let params = GenerateParams { cancel: cancel.clone(), ignore_eos: true, ..GenerateParams::default() };
    let mut session = tales().session();
    let mut n_steps = 0;
    let completion = session
        .generate_with(PROMPT, &params, |_| {
            n_steps += 1;
            if n_steps == 3 {
                std::thread::scope(|s| s.spawn(|| cancel.cancel()).join().unwrap());
            }
        })
        .unwrap();
    assert_eq!((completion.token_ids.len(), completion.finish_reason), (3, FinishReason::Cancel));
    assert_eq!(completion.text, generate(PROMPT, &at_most(3)).text);
}

#[test]
fn a_generation_cancelled_before_it_starts_computes_nothing() {
    let params = at_most(8);
    params.cancel.cancel();
    let mut session = tales().session();
    let completion = session.generate_with(PROMPT, &params, |_| {}).unwrap();
    assert_eq!((completion.token_ids.len(), completion.finish_reason), (0, FinishReason::Cancel));
    assert!(session.tokens().unwrap().is_empty());
}

#[test]
fn the_next_turn_computes_only_what_is_new() {
    let mut session = tales().session();
    let first = session.generate_with(PROMPT, &at_most(12), |_| {}).unwrap();
    let mut ids = tales().tokenizer().unwrap().encode(PROMPT).unwrap();
    ids.extend(&first.token_ids);
    let n_known = ids.len() - 1;
    ids.extend([7, 8, 9]);
    let second = session.generate_with(ids.clone(), &at_most(6), |_| {}).unwrap();
    assert_eq!(second.stats.n_cached, n_known, "the last token of a turn is not fed until the next one");
    assert_eq!(second.token_ids, generate(ids.clone(), &at_most(6)).token_ids);

    ids[2] += 1;
    let changed = session.generate_with(ids.clone(), &at_most(6), |_| {}).unwrap();
    assert_eq!(changed.stats.n_cached, 2);
    assert_eq!(changed.token_ids, generate(ids, &at_most(6)).token_ids);
}

#[test]
fn a_fork_goes_on_alone_and_shares_what_it_can() {
    let mut session = tales().session();
    let prompt: Vec<u32> = (0..PAGE_LEN as u32 + 9).map(|i| 300 + i).collect();
    let long = session.generate_with(prompt.clone(), &at_most(8), |_| {}).unwrap();
    let mut fork = session.fork().unwrap();
    assert_eq!(fork.tokens().unwrap(), &prompt[..PAGE_LEN]);
    let same = fork.generate_with(prompt.clone(), &at_most(8), |_| {}).unwrap();
    assert_eq!((same.token_ids, same.stats.n_cached), (long.token_ids.clone(), PAGE_LEN));
    drop(session);
    assert_eq!(fork.generate_with(prompt, &at_most(8), |_| {}).unwrap().token_ids, long.token_ids);
}

#[test]
fn choices_of_one_seed_differ_and_repeat() {
    let run = |choice| {
        let sampling = SamplingParams { temperature: 1.0, seed: 7, choice, ..SamplingParams::default() };
        generate(PROMPT, &GenerateParams { sampling, ..at_most(12) }).token_ids
    };
    let all: Vec<_> = (0..4).map(run).collect();
    assert_eq!(all, (0..4).map(run).collect::<Vec<_>>());
    assert!((1..4).all(|i| all[i] != all[0]), "{all:?}");
}

#[test]
fn echo_hands_out_the_prompt_with_its_logprobs() {
    let params = GenerateParams { echo: true, logprobs: Some(2), ..at_most(3) };
    let mut session = tales().session();
    let mut prompt_ids = Vec::new();
    let completion = session
        .generate_with(PROMPT, &params, |step| prompt_ids.extend(step.token_id.filter(|_| step.is_prompt)))
        .unwrap();
    let plain = generate(PROMPT, &at_most(3));
    let ids = tales().tokenizer().unwrap().encode(PROMPT).unwrap();
    assert_eq!(prompt_ids, ids);
    assert_eq!(completion.text, format!("{PROMPT}{}", plain.text));
    assert_eq!(completion.token_ids, [ids.clone(), plain.token_ids.clone()].concat());
    assert!(completion.logprobs[0].is_none(), "nothing comes before the first token");

    let mut expected = vec![None];
    let all = completion.token_ids.clone();
    tales()
        .session()
        .logits(&all[..all.len() - 1], |i, row| expected.push(Some(TokenLogprobs::new(row, all[i + 1], 2))))
        .unwrap();
    assert_eq!(completion.logprobs, expected);
}

#[test]
fn echo_with_no_new_tokens_scores_the_prompt() {
    let params = GenerateParams { echo: true, logprobs: Some(0), ..at_most(0) };
    let completion = generate(PROMPT, &params);
    assert_eq!((completion.text.as_str(), completion.finish_reason), (PROMPT, FinishReason::Length));
    assert!(completion.logprobs[1..].iter().all(Option::is_some));
}

#[test]
fn sessions_on_several_threads_give_what_each_gives_alone() {
    let prompts = ["Once upon a time", "The dog", "In the morning", "A little bird"];
    let alone = prompts.map(|p| generate(p, &at_most(10)).token_ids);
    let together = std::thread::scope(|scope| {
        prompts.map(|p| scope.spawn(move || generate(p, &at_most(10)).token_ids)).map(|t| t.join().unwrap())
    });
    assert_eq!(alone, together);
}

#[test]
fn a_full_cache_is_an_error_that_passes_when_a_session_ends() {
    let config = Config { n_vocab: 4096, ..tales().config().clone() };
    let backend = Scripted::new(config, vec![100], None);
    let engine = Engine::new(Box::new(backend), Some(Tokenizer::bundled()), 2 * PAGE_LEN).unwrap();
    let mut first = engine.session();
    first.generate_with(vec![5; PAGE_LEN + 1], &at_most(1), |_| {}).unwrap();
    assert_eq!(engine.n_cache_free(), 0);
    let mut second = engine.session();
    let error = second.generate_with(vec![5], &at_most(1), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Cache(CacheError::Full { needed: 1, free: 0 })), "{error}");
    drop(first);
    assert_eq!(engine.n_cache_free(), 2 * PAGE_LEN);
    second.generate_with(vec![5], &at_most(1), |_| {}).unwrap();
}

#[test]
fn banned_words_do_not_occur() {
    let params = GenerateParams { banned: vec!["girl".into(), "little".into()], ..at_most(24) };
    let text = generate(PROMPT, &params).text;
    assert!(!text.contains(" girl") && !text.contains(" little"), "{text}");
}

#[test]
fn non_finite_logits_fail_the_generation_and_not_the_engine() {
    for (id, value) in [(0, f32::NAN), (2000, f32::NAN), (4095, f32::NAN), (7, f32::INFINITY)] {
        let config = tales().config().clone();
        let backend = Scripted::new(config, vec![100], Some((id, value)));
        let mut session = Engine::new(Box::new(backend), None, 512).unwrap().session();
        for temperature in [0.0, 1.0] {
            let sampling = SamplingParams { temperature, ..SamplingParams::default() };
            let params = GenerateParams { sampling, ..at_most(2) };
            let error = session.generate_with(vec![5, 6], &params, |_| {}).unwrap_err();
            assert!(
                matches!(error, Error::Sampling(SamplingError::NonFinite { position: 2, .. })),
                "{error}"
            );
        }
    }
}

//! What the functions do, compared with the Rust library; and X05.

use super::*;
use halfwarp::{
    Engine, EngineOptions, Session, Source, backend::Device, engine::GenerateParams, sampler::SamplingParams,
};
use std::sync::Mutex;

fn rust_session() -> Session {
    let options = EngineOptions { device: Device::Cpu, ..EngineOptions::default() };
    Engine::open(&Source::Bundled, &options).unwrap().session()
}

fn sampling() -> hw_sampling_params {
    hw_sampling_params { temperature: 0.8, top_k: 40, seed: 3, ..default(hw_sampling_params_default) }
}

#[test]
fn x05_a_full_cache_or_context_is_an_error_changes_nothing_and_rewinding_helps() {
    let rows = hw_rows::HW_ROWS_LAST;
    for (n_cache, n_fill, expected) in [(64, 60, HW_E_CACHE_FULL), (1024, 508, HW_E_CTX_FULL)] {
        let engine = open(n_cache);
        let session = session_of(engine);
        let text: Vec<u32> = (0..n_fill).map(|i| i % 7 + 300).collect();
        assert_eq!(decode(&[(session, &text, rows)]), HW_OK, "{}", last_error());
        let before = logits_of(session, 0);
        assert_eq!(decode(&[(session, &[1; 5], rows)]), expected, "{}", last_error());
        assert_eq!((tokens_of(session), logits_of(session, 0)), (text.clone(), before));
        let (status, _) = generate(session, PROMPT, at_most(600), &mut |_| 0);
        assert_eq!((status, tokens_of(session)), (HW_E_CTX_FULL, text.clone()), "{}", last_error());

        let mut n_kept = 0;
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { hw_session_truncate(session, 40, &mut n_kept) }, HW_OK);
        assert_eq!((n_kept, tokens_of(session)), (40, text[..40].to_vec()));
        assert_eq!(decode(&[(session, &[1; 5], rows)]), HW_OK, "{}", last_error());
        let (after, fresh) = (logits_of(session, 0), super::session());
        assert_eq!(decode(&[(fresh, &[&text[..40], &[1; 5]].concat(), rows)]), HW_OK);
        assert!(after == logits_of(fresh, 0), "the rewound session has the bits of a fresh one");
        for session in [session, fresh] {
            assert_eq!(hw_session_free(session), HW_OK);
        }
        assert_eq!(hw_engine_free(engine), HW_OK);
    }
}

#[test]
fn generating_gives_what_the_rust_library_gives() {
    let sampling = sampling();
    let stop = [c"never", c"."].map(|text| hw_text { text: text.as_ptr(), len: HW_NTS });
    let params = hw_generate_params {
        sampling: &sampling,
        stop: stop.as_ptr(),
        n_stop: 2,
        logprobs: 1,
        n_top: 2,
        ..at_most(60)
    };
    let (mut text, mut logprobs) = (String::new(), Vec::new());
    let session = session();
    let (status, stats) = generate(session, PROMPT, params, &mut |step| {
        text += text_of(step);
        // SAFETY: the library's list has that length.
        let top = unsafe { std::slice::from_raw_parts(step.top, step.n_top) };
        logprobs.push((
            step.token,
            step.logprob,
            top.iter().map(|t| (t.token, t.logprob)).collect::<Vec<_>>(),
        ));
        0
    });
    assert_eq!(status, HW_OK, "{}", last_error());
    let ours = GenerateParams {
        sampling: SamplingParams { temperature: 0.8, top_k: 40, seed: 3, ..SamplingParams::default() },
        max_tokens: Some(60),
        stop: vec!["never".into(), ".".into()],
        logprobs: Some(2),
        ..GenerateParams::default()
    };
    let expected = rust_session().generate_with(PROMPT.to_str().unwrap(), &ours, |_| {}).unwrap();
    assert_eq!(text, expected.text);
    assert_eq!((stats.finish, stats.stop_index), (hw_finish::HW_FINISH_STOP as i32, 1));
    assert_eq!((stats.n_prompt, stats.n_cached, stats.n_generated), (4, 0, expected.stats.n_generated));
    let theirs = expected.token_ids.iter().zip(&expected.logprobs);
    let theirs: Vec<_> =
        theirs.map(|(&t, l)| (t, l.as_ref().unwrap().logprob, l.as_ref().unwrap().top.clone())).collect();
    assert_eq!(logprobs, theirs);
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn decoding_and_sampling_by_hand_gives_what_generating_gives() {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let sampling = hw_sampling_params { presence_penalty: 0.5, ..sampling() };
    let params = hw_generate_params { sampling: &sampling, ..at_most(12) };
    let session = session();
    let (status, _) = generate(session, PROMPT, params, &mut |step| {
        a.push(step.token);
        0
    });
    assert_eq!(status, HW_OK);
    let prompt = tokens_of(session)[..4].to_vec();
    // SAFETY: the pointer may be NULL.
    assert_eq!(unsafe { hw_session_truncate(session, 0, ptr::null_mut()) }, HW_OK);
    // A second session in the same calls changes nothing.
    let other = super::session();
    let mut next = prompt.clone();
    for _ in 0..12 {
        let turns = [(other, &[5, 6][..], hw_rows::HW_ROWS_ALL), (session, &next[..], hw_rows::HW_ROWS_LAST)];
        assert_eq!(decode(&turns), HW_OK, "{}", last_error());
        let mut token = 0;
        // SAFETY: the pointers are to locals.
        let status = unsafe { hw_session_sample(session, &sampling, 4, &mut token) };
        assert_eq!(status, HW_OK, "{}", last_error());
        b.push(token);
        next = vec![token];
    }
    assert_eq!(a, b);
    let mut logits = Vec::new();
    rust_session().logits(&[5, 6].repeat(12), |_, row| logits.push(row.to_vec())).unwrap();
    assert!([logits_of(other, 0), logits_of(other, 1)] == logits[22..]);
    let mut n = 0;
    // SAFETY: as above.
    let status = unsafe { hw_session_logits(other, 2, ptr::null_mut(), 0, &mut n) };
    assert_eq!(status, HW_E_BAD_ARG);
    assert!(last_error().contains("row 2 of logits, and the session has 2"), "{}", last_error());
    assert_eq!(
        decode(&[(other, &[1], hw_rows::HW_ROWS_NONE), (other, &[1], hw_rows::HW_ROWS_NONE)]),
        HW_E_BAD_ARG
    );
    assert_eq!((hw_session_free(session), hw_session_free(other)), (HW_OK, HW_OK));
}

#[test]
fn a_fork_shares_the_text_and_goes_its_own_way() {
    let session = session();
    assert_eq!(decode(&[(session, &[9; 70], hw_rows::HW_ROWS_NONE)]), HW_OK);
    let mut fork = 0;
    // SAFETY: the pointer is to a local.
    assert_eq!(unsafe { hw_session_fork(session, &mut fork) }, HW_OK);
    assert_eq!(tokens_of(fork), [9; 64], "whole pages of 32");
    assert_eq!(decode(&[(fork, &[1], hw_rows::HW_ROWS_NONE), (session, &[2], hw_rows::HW_ROWS_NONE)]), HW_OK);
    assert_eq!((tokens_of(fork).len(), tokens_of(session).len()), (65, 71));
    assert_eq!((hw_session_free(session), hw_session_free(fork)), (HW_OK, HW_OK));
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    let session = session();
    let cases: [(hw_sampling_params, &str); 3] = [
        (hw_sampling_params { top_p: 7.0, ..sampling() }, "top_p"),
        (hw_sampling_params { temperature: f32::NAN, ..sampling() }, "temperature"),
        (hw_sampling_params { n_logit_bias: 1, ..sampling() }, "logit_bias is NULL"),
    ];
    for (sampling, name) in cases {
        let params = hw_generate_params { sampling: &sampling, ..at_most(1) };
        assert_eq!(generate(session, PROMPT, params, &mut |_| 0).0, HW_E_BAD_ARG);
        assert!(last_error().contains(name), "{}", last_error());
    }
    let turn = hw_turn { session, tokens: [4096].as_ptr(), n_tokens: 1, rows: 0, phase: 0 };
    let turns = [
        (turn, "token id 4096"),
        (hw_turn { n_tokens: 0, ..turn }, "no tokens"),
        (hw_turn { rows: 3, ..turn }, "rows of turn 0 is 3"),
        (hw_turn { phase: -1, ..turn }, "phase of turn 0 is -1"),
    ];
    for (turn, text) in turns {
        // SAFETY: the pointers are to locals.
        assert_eq!(unsafe { hw_decode(&turn, 1, size_of::<hw_turn>()) }, HW_E_BAD_ARG);
        assert!(last_error().contains(text), "{}", last_error());
    }
    let engine = |params: hw_engine_params| {
        // SAFETY: as above.
        unsafe { hw_engine_open(MODEL.as_ptr(), HW_NTS, &params, &mut 0) }
    };
    let base = || hw_engine_params { device: CPU, ..default(hw_engine_params_default) };
    assert_eq!(engine(hw_engine_params { device: -7, ..base() }), HW_E_BAD_ARG);
    assert_eq!(engine(hw_engine_params { n_threads: 5000, ..base() }), HW_E_BAD_ARG);
    assert_eq!(engine(hw_engine_params { n_cache: u64::MAX, ..base() }), HW_E_OUT_OF_MEMORY);
    assert_eq!(
        engine(hw_engine_params { n_cache: 1 << 32, ..base() }),
        HW_E_OUT_OF_MEMORY,
        "{}",
        last_error()
    );
    assert_eq!(engine(hw_engine_params { device: 99, ..base() }), HW_E_DEVICE, "{}", last_error());
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn the_log_hears_what_is_done_and_what_fails() {
    static SEEN: Mutex<Vec<(i32, String)>> = Mutex::new(Vec::new());
    unsafe extern "C-unwind" fn log(level: i32, text: *const c_char, len: usize, user_data: *mut c_void) {
        // SAFETY: the library's text has that length.
        let text = unsafe { std::slice::from_raw_parts(text.cast(), len) };
        let text = String::from_utf8(text.to_vec()).expect("messages are UTF-8");
        // Other tests run at the same time.
        if text.contains("twice") || text.contains("runs on") {
            SEEN.lock().unwrap().push((level, text));
        }
        // SAFETY: NULL is a value too.
        assert_eq!(unsafe { hw_log_set(None, user_data) }, HW_E_BUSY);
        panic!("of the log's own");
    }
    let _turn = log_turn();
    // SAFETY: the function has no state of its own.
    assert_eq!(unsafe { hw_log_set(Some(log), ptr::null_mut()) }, HW_OK);
    let engine = open(512);
    // SAFETY: the pointers are to locals.
    let status = unsafe { hw_engine_open(c"twice/not/there".as_ptr(), HW_NTS, ptr::null(), &mut 0) };
    assert_eq!(status, HW_E_NOT_FOUND);
    let text = last_error();
    // SAFETY: as above.
    assert_eq!(unsafe { hw_log_set(None, ptr::null_mut()) }, HW_OK);
    assert_eq!(hw_engine_free(engine), HW_OK);
    let seen = SEEN.lock().unwrap();
    assert!(seen.iter().any(|(level, text)| *level == 3 && text.contains("tales runs on CPU")), "{seen:?}");
    assert!(seen.contains(&(1, text)), "{seen:?}");
}

#[test]
fn version_status_and_engine_say_what_they_are() {
    // SAFETY: the texts are static.
    let name = |status: i32| unsafe { CStr::from_ptr(hw_status_name(status)) }.to_str().unwrap();
    assert_eq!(
        (name(0), name(-3), name(-14), name(-15), name(-16), name(1)),
        ("HW_OK", "HW_E_BUSY", "HW_E_INTERNAL", "HW_E_NO_TEMPLATE", "?", "?")
    );
    // SAFETY: as above.
    assert_eq!(unsafe { CStr::from_ptr(hw_version()) }.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(hw_abi_version(), HW_ABI_VERSION);
    let (engine, mut info) = (open(512), <hw_info as crate::args::Growing>::DEFAULT);
    // SAFETY: the pointer is to a local of that size.
    assert_eq!(unsafe { hw_engine_info(engine, &mut info, size_of_val(&info)) }, HW_OK);
    assert_eq!((info.n_vocab, info.n_ctx, info.n_layer, info.n_cache_free), (4096, 512, 6, 512));
    assert_eq!((info.bos_token, info.eos_token, info.n_eos_tokens, info.has_tokenizer), (0, 0, 1, 1));
    assert_eq!(hw_engine_free(engine), HW_OK);
}

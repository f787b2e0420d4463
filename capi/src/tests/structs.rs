//! The structs that grow: no padding, older and newer callers.

use super::*;

/// A struct without padding is as large as its fields together.
macro_rules! no_padding {
    ($name:ident { $($field:ident),* }) => {{
        let from = |value: &$name| {
            // All of its fields, or this does not compile.
            let $name { $($field),* } = value;
            0 $(+ size_of_val($field))*
        };
        // SAFETY: every pattern of bits is such a struct.
        let value: $name = unsafe { std::mem::zeroed() };
        assert_eq!(from(&value), size_of::<$name>(), stringify!($name));
    }};
}

#[test]
fn structs_have_no_padding() {
    no_padding!(hw_engine_params {
        size,
        n_cache,
        progress,
        progress_user_data,
        device,
        n_threads,
        read_weights,
        allow_nonfinite,
        n_ctx
    });
    no_padding!(hw_info {
        size,
        n_cache_free,
        n_vocab,
        n_ctx,
        n_embd,
        n_head,
        n_layer,
        n_inner,
        bos_token,
        eos_token,
        n_eos_tokens,
        has_tokenizer
    });
    no_padding!(hw_sampling_params {
        size,
        seed,
        logit_bias,
        n_logit_bias,
        banned,
        n_banned,
        temperature,
        top_p,
        min_p,
        typical_p,
        repetition_penalty,
        presence_penalty,
        frequency_penalty,
        top_k,
        no_repeat_ngram_size,
        choice
    });
    no_padding!(hw_generate_params {
        size,
        sampling,
        max_tokens,
        min_tokens,
        stop,
        n_stop,
        stop_tokens,
        n_stop_tokens,
        banned,
        n_banned,
        callback,
        user_data,
        ignore_eos,
        echo,
        logprobs,
        n_top
    });
    no_padding!(hw_step { size, text, text_len, top, n_top, token, logprob, is_prompt, reserved });
    no_padding!(hw_stats {
        size,
        n_prompt,
        n_cached,
        n_generated,
        prompt_seconds,
        decode_seconds,
        finish,
        stop_index
    });
    no_padding!(hw_turn { session, tokens, n_tokens, rows, phase });
}

/// A newer program's struct: ours and one more field.
#[repr(C)]
#[derive(Clone, Copy)]
struct Newer<T> {
    ours: T,
    more: u64,
}

#[test]
fn a_newer_programs_struct_is_accepted_if_what_is_beyond_ours_is_zero() {
    let size = size_of::<Newer<hw_sampling_params>>();
    let mut newer = Newer { ours: default(hw_sampling_params_default), more: 7 };
    // SAFETY: the struct begins with ours and has that size.
    assert_eq!(unsafe { hw_sampling_params_default(ptr::from_mut(&mut newer).cast(), size) }, HW_OK);
    assert_eq!((newer.ours.size, newer.more), (size, 0), "the default of what we do not know is zero");

    let session = session();
    assert_eq!(decode(&[(session, &[1, 2, 3], hw_rows::HW_ROWS_LAST)]), HW_OK);
    let sample = |newer: &Newer<hw_sampling_params>| {
        // SAFETY: as above.
        unsafe { hw_session_sample(session, ptr::from_ref(newer).cast(), 0, &mut 0) }
    };
    assert_eq!(sample(&newer), HW_OK, "{}", last_error());
    newer.more = 1;
    assert_eq!(sample(&newer), HW_E_BAD_ARG);
    assert!(last_error().contains("is not zero"), "{}", last_error());
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn an_older_programs_struct_is_completed_with_defaults() {
    // Knows everything up to `banned`; what follows in memory is not its business.
    let mut older =
        hw_sampling_params { temperature: f32::NAN, top_p: -1.0, ..default(hw_sampling_params_default) };
    older.size = std::mem::offset_of!(hw_sampling_params, temperature);
    let session = session();
    assert_eq!(decode(&[(session, &[1, 2, 3], hw_rows::HW_ROWS_LAST)]), HW_OK);
    // SAFETY: the pointers are to locals.
    let status = unsafe { hw_session_sample(session, &older, 0, &mut 0) };
    assert_eq!(status, HW_OK, "{}", last_error());
    older.size = size_of::<hw_sampling_params>();
    // SAFETY: as above.
    assert_eq!(unsafe { hw_session_sample(session, &older, 0, &mut 0) }, HW_E_BAD_ARG);
    assert_eq!(hw_session_free(session), HW_OK);
    let mut stats = hw_stats { stop_index: 99, ..default_stats() };
    let known = std::mem::offset_of!(hw_stats, finish);
    let params = at_most(1);
    let session = super::session();
    // SAFETY: as above.
    let status = unsafe { hw_generate(session, PROMPT.as_ptr(), HW_NTS, &params, &mut stats, known) };
    assert_eq!((status, stats.size, stats.n_generated, stats.stop_index), (HW_OK, known, 1, 99));
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn a_size_that_was_not_set_is_refused() {
    for size in [0, 3, 7, 12, 1 << 40, usize::MAX] {
        let params = hw_engine_params { size, ..default(hw_engine_params_default) };
        // SAFETY: the pointers are to locals; sizes that are no struct's are not believed.
        let status = unsafe { hw_engine_open(MODEL.as_ptr(), HW_NTS, &params, &mut 0) };
        assert_eq!(status, HW_E_BAD_ARG, "size {size}");
        // SAFETY: as above.
        assert_eq!(unsafe { hw_decode(ptr::null(), 0, size) }, HW_E_BAD_ARG, "size {size}");
    }
}

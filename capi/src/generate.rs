//! Generating: parameters, and the loop that hands out steps.

use crate::{
    args::{Args, Growing},
    guard::guard,
    handle,
    status::Call,
    types::*,
};
use halfwarp::{
    engine::{FinishReason, GenerateParams, Prompt},
    sampler::SamplingParams,
};
use std::{ffi::c_char, ptr, sync::atomic::Ordering};

// SAFETY: checked by `tests::structs_have_no_padding`.
unsafe impl Growing for hw_sampling_params {
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        seed: 0,
        logit_bias: ptr::null(),
        n_logit_bias: 0,
        banned: ptr::null(),
        n_banned: 0,
        temperature: 0.0,
        top_p: 1.0,
        min_p: 0.0,
        typical_p: 1.0,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        top_k: 0,
        no_repeat_ngram_size: 0,
        choice: 0,
    };
}

// SAFETY: checked by `tests::structs_have_no_padding`.
unsafe impl Growing for hw_generate_params {
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        sampling: ptr::null(),
        max_tokens: HW_NO_LIMIT,
        min_tokens: 0,
        stop: ptr::null(),
        n_stop: 0,
        stop_tokens: ptr::null(),
        n_stop_tokens: 0,
        banned: ptr::null(),
        n_banned: 0,
        callback: None,
        user_data: ptr::null_mut(),
        ignore_eos: 0,
        echo: 0,
        logprobs: 0,
        n_top: 0,
    };
}

// SAFETY: checked by `tests::structs_have_no_padding`.
unsafe impl Growing for hw_stats {
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        n_prompt: 0,
        n_cached: 0,
        n_generated: 0,
        prompt_seconds: 0.0,
        decode_seconds: 0.0,
        finish: 0,
        stop_index: -1,
    };
}

/// Fills in the defaults; `size` is sizeof *params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_sampling_params_default(
    params: *mut hw_sampling_params,
    size: usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_sampling_params_default", || {
        args.output_struct("params", params, size)?.write(hw_sampling_params::DEFAULT);
        Ok(())
    })
}

/// Fills in the defaults; `size` is sizeof *params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_generate_params_default(
    params: *mut hw_generate_params,
    size: usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_generate_params_default", || {
        args.output_struct("params", params, size)?.write(hw_generate_params::DEFAULT);
        Ok(())
    })
}

/// Generates what follows `prompt`: the whole text so far, of which what the session has cached is not computed again. An empty
/// prompt is the model's first token. `params` may be NULL. `stats`, of `stats_size` bytes, may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_generate(
    session: hw_session,
    prompt: *const c_char,
    prompt_len: usize,
    params: *const hw_generate_params,
    stats: *mut hw_stats,
    stats_size: usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_generate", || {
        let prompt = args.text("prompt", prompt, prompt_len)?;
        generate(&args, session, prompt.into(), params, (stats, stats_size))
    })
}

/// hw_generate, of a prompt that is tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_generate_tokens(
    session: hw_session,
    prompt: *const u32,
    n_prompt: usize,
    params: *const hw_generate_params,
    stats: *mut hw_stats,
    stats_size: usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_generate_tokens", || {
        let prompt = args.slice("prompt", prompt, n_prompt)?.to_vec();
        generate(&args, session, prompt.into(), params, (stats, stats_size))
    })
}

fn generate(
    args: &Args,
    session: hw_session,
    prompt: Prompt,
    params: *const hw_generate_params,
    (stats, stats_size): (*mut hw_stats, usize),
) -> Call {
    let output = if stats.is_null() { None } else { Some(args.output_struct("stats", stats, stats_size)?) };
    let params = args.params("params", params)?;
    let mut ours = generate_params(args, &params)?;
    let callback = args.callback(params.callback, params.user_data);
    let slot = handle::session(session)?;
    let mut held = slot.hold(session)?;
    slot.cancel.store(false, Ordering::Relaxed);
    ours.cancel = slot.cancel.clone().into();

    let open = held.get();
    open.logits.clear();
    let mut generation = open.session.generate(prompt, &ours)?;
    let mut top = Vec::new();
    let mut is_stopped = false;
    while !is_stopped && let Some(step) = generation.next() {
        is_stopped = callback.call(&step?, &mut top)?;
    }
    let completion = generation.into_completion();
    let finish = match completion.finish_reason {
        _ if is_stopped => hw_finish::HW_FINISH_CALLBACK,
        FinishReason::Stop => hw_finish::HW_FINISH_STOP,
        FinishReason::Length => hw_finish::HW_FINISH_LENGTH,
        FinishReason::Cancel => hw_finish::HW_FINISH_CANCEL,
    };
    let stop_index = completion.stop.and_then(|stop| ours.stop.iter().position(|s| *s == stop));
    if let Some(output) = output {
        output.write(hw_stats {
            n_prompt: completion.stats.n_prompt,
            n_cached: completion.stats.n_cached,
            n_generated: completion.stats.n_generated,
            prompt_seconds: completion.stats.prompt_time.as_secs_f64(),
            decode_seconds: completion.stats.decode_time.as_secs_f64(),
            finish: finish as i32,
            stop_index: stop_index.map_or(-1, |i| i as i32),
            ..hw_stats::DEFAULT
        });
    }
    Ok(())
}

fn generate_params(args: &Args, params: &hw_generate_params) -> Call<GenerateParams> {
    Ok(GenerateParams {
        sampling: sampling_params(args, params.sampling)?,
        max_tokens: (params.max_tokens != HW_NO_LIMIT).then_some(params.max_tokens),
        min_tokens: params.min_tokens,
        stop: texts(args, "stop", params.stop, params.n_stop)?,
        stop_token_ids: args.slice("stop_tokens", params.stop_tokens, params.n_stop_tokens)?.to_vec(),
        banned: texts(args, "banned", params.banned, params.n_banned)?,
        ignore_eos: params.ignore_eos != 0,
        echo: params.echo != 0,
        // More than a vocabulary can have is all of it.
        logprobs: (params.logprobs != 0).then_some(params.n_top.min(1 << 20) as usize),
        ..GenerateParams::default()
    })
}

/// How to sample; NULL is greedy.
pub fn sampling_params(args: &Args, params: *const hw_sampling_params) -> Call<SamplingParams> {
    let params = args.params("sampling params", params)?;
    let biases = args.slice("logit_bias", params.logit_bias, params.n_logit_bias)?;
    let banned = args.slice("banned", params.banned, params.n_banned)?.iter();
    let banned = banned.map(|one| Ok(args.slice("banned tokens", one.tokens, one.n_tokens)?.to_vec()));
    Ok(SamplingParams {
        temperature: params.temperature,
        top_k: params.top_k as usize,
        top_p: params.top_p,
        min_p: params.min_p,
        typical_p: params.typical_p,
        repetition_penalty: params.repetition_penalty,
        presence_penalty: params.presence_penalty,
        frequency_penalty: params.frequency_penalty,
        no_repeat_ngram_size: params.no_repeat_ngram_size as usize,
        logit_bias: biases.iter().map(|bias| (bias.token, bias.bias)).collect(),
        banned: banned.collect::<Call<_>>()?,
        seed: params.seed,
        choice: params.choice,
    })
}

fn texts(args: &Args, name: &str, texts: *const hw_text, n: usize) -> Call<Vec<String>> {
    let texts = args.slice(name, texts, n)?.iter();
    texts.map(|one| Ok(args.text(name, one.text, one.len)?.to_owned())).collect()
}

//! The types and constants of the header, under their C names.
#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{c_char, c_void};

/// Changes when a program has to be compiled again, which new functions and new fields do not cause.
pub const HW_ABI_VERSION: u32 = 1;

/// cbindgen:ignore
// It is SIZE_MAX in C, which cbindgen cannot say: see cbindgen.toml.
pub const HW_NTS: usize = usize::MAX;

/// cbindgen:ignore
// As above.
pub const HW_NO_LIMIT: usize = usize::MAX;

/// No token id.
pub const HW_NO_TOKEN: u32 = u32::MAX;

/// A model on a device. Its sessions keep it alive: it may be freed before them.
pub type hw_engine = u64;

/// One text that grows, its keys and values cached.
pub type hw_session = u64;

/// How a call ended. The numbers never change.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_status {
    /// It did what it should.
    HW_OK = 0,
    /// An argument is NULL, out of range, not UTF-8 or does not fit the others.
    HW_E_BAD_ARG = -1,
    /// Not an engine or not a session, or one that was freed.
    HW_E_BAD_HANDLE = -2,
    /// Another call has the session.
    HW_E_BUSY = -3,
    /// The buffer is too small; the size that it needs was written.
    HW_E_TOO_SMALL = -4,
    /// More tokens than the model has positions for. Nothing has changed.
    HW_E_CTX_FULL = -5,
    /// The KV cache, which all sessions of an engine share, has too little room. Nothing has changed.
    HW_E_CACHE_FULL = -6,
    /// There is no such model.
    HW_E_NOT_FOUND = -7,
    /// The model's files cannot be read, are malformed or describe a model that is not supported.
    HW_E_MODEL = -8,
    /// The call needs text, and the model came without a tokenizer.
    HW_E_NO_TOKENIZER = -9,
    /// The device is not there, cannot run the model or has failed.
    HW_E_DEVICE = -10,
    /// The memory of device or host does not hold the model and its cache.
    HW_E_OUT_OF_MEMORY = -11,
    /// The progress callback asked to stop.
    HW_E_CANCELLED = -12,
    /// A callback panicked.
    HW_E_CALLBACK = -13,
    /// A bug in this library. A session that was in use can only be freed.
    HW_E_INTERNAL = -14,
    /// The model has no chat template, and the call gives none.
    HW_E_NO_TEMPLATE = -15,
}

/// What an engine runs on, where that is not the number of a CUDA device.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_device {
    /// CUDA device 0 if it can run the model, and the CPU else.
    HW_DEVICE_AUTO = -1,
    /// The CPU.
    HW_DEVICE_CPU = -2,
}

/// Why a generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_finish {
    /// A stop string, a stop token or the model's own end-of-text token.
    HW_FINISH_STOP = 1,
    /// `max_tokens` were generated, or the context is full.
    HW_FINISH_LENGTH = 2,
    /// hw_session_cancel was called.
    HW_FINISH_CANCEL = 3,
    /// The callback asked to stop.
    HW_FINISH_CALLBACK = 4,
}

/// Which new tokens of a session get logits.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_rows {
    /// None: they only enter the cache.
    HW_ROWS_NONE = 0,
    /// The last one.
    HW_ROWS_LAST = 1,
    /// Every one.
    HW_ROWS_ALL = 2,
}

/// What tokens are to their session. On a GPU the two round differently; a prompt's result does not depend on how it is cut.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_phase {
    /// Given: any number of tokens a call.
    HW_PHASE_PROMPT = 0,
    /// Chosen by the model, or proposed for it to choose: one or a few tokens a call.
    HW_PHASE_GENERATED = 1,
}

/// What a message of the log is.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hw_log_level {
    /// A call failed; the text is that of hw_last_error.
    HW_LOG_ERROR = 1,
    /// What was done.
    HW_LOG_INFO = 3,
}

/// Hears how far a model's loading is, from 0 to 1, in the thread that loads it. A result other than 0 ends the loading with
/// HW_E_CANCELLED.
pub type hw_progress_callback =
    Option<unsafe extern "C-unwind" fn(fraction: f32, user_data: *mut c_void) -> i32>;

/// Gets every step of a generation, in the thread that generates. A result other than 0 ends it after this step. It may call
/// anything but what needs its own session, which is HW_E_BUSY; hw_session_cancel may be called.
pub type hw_step_callback =
    Option<unsafe extern "C-unwind" fn(step: *const hw_step, user_data: *mut c_void) -> i32>;

/// Gets messages, one of the hw_log_level each, from any thread, several at a time. What it calls is not logged.
pub type hw_log_callback = Option<
    unsafe extern "C-unwind" fn(level: i32, text: *const c_char, text_len: usize, user_data: *mut c_void),
>;

/// A text: see the rules for text that goes in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_text {
    /// UTF-8.
    pub text: *const c_char,
    /// Bytes, or HW_NTS.
    pub len: usize,
}

/// A message of a conversation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_message {
    /// Who speaks: system, user or assistant, or what else the template knows.
    pub role: hw_text,
    /// What is said.
    pub content: hw_text,
}

/// A sequence of tokens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_tokens {
    /// Their ids.
    pub tokens: *const u32,
    /// How many.
    pub n_tokens: usize,
}

/// What is added to one token's logit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_logit_bias {
    /// The token.
    pub token: u32,
    /// A finite number.
    pub bias: f32,
}

/// One token and its log-probability.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_token_logprob {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability, before temperature, penalties and bans.
    pub logprob: f32,
}

/// How a model is opened.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_engine_params {
    /// Bytes of this struct.
    pub size: usize,
    /// Tokens that the KV cache holds, over all sessions; 0 is one full context. At most 2^32.
    pub n_cache: u64,
    /// Hears how far the loading is; may be NULL.
    pub progress: hw_progress_callback,
    /// For the callback.
    pub progress_user_data: *mut c_void,
    /// HW_DEVICE_AUTO, HW_DEVICE_CPU, or the number of a CUDA device.
    pub device: i32,
    /// Threads of the CPU, at most 1024; 0 is one per core.
    pub n_threads: u32,
    /// Not 0: read the weights into memory instead of mapping the file. Survives a file that is truncated meanwhile.
    pub read_weights: i32,
    /// Not 0: accept weights that are NaN or infinite, and skip the search for them.
    pub allow_nonfinite: i32,
    /// Most tokens of one text, which cache and buffers are sized by; 0 is the model's context, which is also the most.
    pub n_ctx: u64,
}

/// What an engine is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_info {
    /// Bytes of this struct.
    pub size: usize,
    /// Tokens that the KV cache can still take, in whole pages.
    pub n_cache_free: usize,
    /// Token ids, and logits in a row.
    pub n_vocab: u32,
    /// Positions: most tokens of one session.
    pub n_ctx: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Attention heads.
    pub n_head: u32,
    /// Layers.
    pub n_layer: u32,
    /// Inner width of the MLPs.
    pub n_inner: u32,
    /// The token that an empty prompt stands for, or HW_NO_TOKEN.
    pub bos_token: u32,
    /// The first of the tokens that end a text, or HW_NO_TOKEN.
    pub eos_token: u32,
    /// How many tokens end a text.
    pub n_eos_tokens: u32,
    /// 1 if the model has a tokenizer, else 0.
    pub has_tokenizer: i32,
}

/// How tokens are chosen. The default is greedy.
///
/// Applied in Hugging Face's order: logit_bias, repetition_penalty, presence_penalty and frequency_penalty,
/// no_repeat_ngram_size, banned; then, unless temperature is 0, temperature, top_k, top_p, min_p, typical_p.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_sampling_params {
    /// Bytes of this struct.
    pub size: usize,
    /// Key of the random numbers: a seed gives the same text on every run.
    pub seed: u64,
    /// Added to the logits of single tokens.
    pub logit_bias: *const hw_logit_bias,
    /// How many.
    pub n_logit_bias: usize,
    /// Sequences of tokens that never occur.
    pub banned: *const hw_tokens,
    /// How many.
    pub n_banned: usize,
    /// Logits are divided by it; 0 takes the most likely token. At least 0.
    pub temperature: f32,
    /// Keeps the most likely tokens whose probabilities first reach it; 1 keeps all. Above 0, at most 1.
    pub top_p: f32,
    /// Keeps tokens at least this many times as likely as the most likely one; 0 keeps all. At most 1.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is closest to the expected one, up to this mass; 1 keeps all. Above 0, at most 1.
    pub typical_p: f32,
    /// Divides the positive logits of tokens already seen and multiplies the negative ones; 1 does nothing. Above 0.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of every token already generated. From -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token for each time it was generated. From -2 to 2.
    pub frequency_penalty: f32,
    /// Keeps this many most likely tokens, and those as likely as the last of them; 0 keeps all.
    pub top_k: u32,
    /// No sequence of this many tokens occurs twice; 0 allows all.
    pub no_repeat_ngram_size: u32,
    /// Which of several answers to one prompt this is: part of the key.
    pub choice: u32,
}

/// How a text is generated. The default is greedy, until the text ends or the context is full.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_generate_params {
    /// Bytes of this struct.
    pub size: usize,
    /// How tokens are chosen; NULL is greedy.
    pub sampling: *const hw_sampling_params,
    /// Most tokens to generate, or HW_NO_LIMIT.
    pub max_tokens: usize,
    /// No end-of-text token is chosen before this many tokens.
    pub min_tokens: usize,
    /// Strings that end the text. They are not part of it.
    pub stop: *const hw_text,
    /// How many.
    pub n_stop: usize,
    /// Tokens that end the text, beside the model's own.
    pub stop_tokens: *const u32,
    /// How many.
    pub n_stop_tokens: usize,
    /// Strings that the text never contains, as the tokenizer writes them with or without a space before.
    pub banned: *const hw_text,
    /// How many.
    pub n_banned: usize,
    /// Gets every step; may be NULL.
    pub callback: hw_step_callback,
    /// For the callback.
    pub user_data: *mut c_void,
    /// Not 0: go on past the model's end-of-text tokens.
    pub ignore_eos: i32,
    /// Not 0: the text begins with the prompt.
    pub echo: i32,
    /// Not 0: report each token's log-probability.
    pub logprobs: i32,
    /// With logprobs, also those of this many likeliest tokens.
    pub n_top: u32,
}

/// One step of a generation. It and what it points to is valid until the callback returns.
#[repr(C)]
pub struct hw_step {
    /// Bytes of this struct.
    pub size: usize,
    /// The text that became certain: empty while a character or a stop string may be incomplete. Not terminated.
    pub text: *const c_char,
    /// Bytes of the text.
    pub text_len: usize,
    /// The likeliest tokens, most likely first.
    pub top: *const hw_token_logprob,
    /// How many.
    pub n_top: usize,
    /// The token; HW_NO_TOKEN where a cancelled generation hands out text that it held back.
    pub token: u32,
    /// The token's log-probability; NaN where none was asked for, and for the first token of a text.
    pub logprob: f32,
    /// 1 if the token is the prompt's (only with echo), else 0.
    pub is_prompt: i32,
    /// 0.
    pub reserved: i32,
}

/// How a generation went.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_stats {
    /// Bytes of this struct.
    pub size: usize,
    /// Tokens in the prompt.
    pub n_prompt: usize,
    /// How many of them were cached already.
    pub n_cached: usize,
    /// Tokens generated.
    pub n_generated: usize,
    /// From the start to the first token, in seconds.
    pub prompt_seconds: f64,
    /// From the first token to the last, in seconds.
    pub decode_seconds: f64,
    /// Why it ended: an hw_finish.
    pub finish: i32,
    /// Which of the stop strings ended it, from 0; -1 if none did.
    pub stop_index: i32,
}

/// What one session does in a call of hw_decode.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hw_turn {
    /// The session. In one call each has one turn, and all are of one engine.
    pub session: hw_session,
    /// The tokens that are appended to its text.
    pub tokens: *const u32,
    /// How many; at least 1.
    pub n_tokens: usize,
    /// Which of them get logits: an hw_rows.
    pub rows: i32,
    /// What they are: an hw_phase.
    pub phase: i32,
}

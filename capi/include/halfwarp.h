/*
 * Halfwarp: low-latency inference for GPT-2-family language models.
 *
 * Made of the sources of capi/ by cbindgen; do not edit.
 *
 * Rules that hold for all functions:
 *
 * - A function that can fail returns an hw_status: HW_OK, which is 0, or a negative number. After a failure
 *   hw_last_error() has the reason as text, for this thread, and outputs are not written to, but for sizes after HW_E_TOO_SMALL.
 * - Engines and sessions are numbers that are never given twice. One that was freed, that never was, or that is of the other kind
 *   is HW_E_BAD_HANDLE. 0 is never a handle, and freeing it does nothing.
 * - Any thread may call anything. A session does one thing at a time: a call while another one has it is HW_E_BUSY, from inside a
 *   callback of that other call too. hw_session_cancel is the exception.
 * - Text that goes in is UTF-8, a pointer and a length in bytes; HW_NTS for the length means that it ends at the first NUL. Text
 *   that comes out is UTF-8 with a length, and no NUL after it.
 * - An output of variable size is a buffer, its capacity in elements and a pointer that gets the number of elements there are. If the
 *   capacity is too small, that number is still written, nothing else is, and the function returns HW_E_TOO_SMALL. With capacity
 *   0 the buffer may be NULL: this asks for the size.
 * - Pointers must not be NULL where nothing else is said, unless they are to 0 elements; they are aligned as C aligns them, and not kept
 *   after the call. What is read must not change during the call. Two outputs must not overlap, nor an output and an input.
 * - A struct begins with its size in bytes, as its user compiled it; the _default functions set it. New fields are added at
 *   the end: an older program's smaller struct is completed with defaults, and a newer program's larger one is accepted if what
 *   this library does not know is zero.
 * - A callback must return: an exception or longjmp that leaves it ends the program.
 * - No function may be called from a signal handler.
 */

#ifndef HALFWARP_H
#define HALFWARP_H

#include <stddef.h>
#include <stdint.h>

/// As the length of a text: it ends at its first NUL.
#define HW_NTS SIZE_MAX

/// As a number of tokens: as many as the context takes.
#define HW_NO_LIMIT SIZE_MAX


/// Changes when a program has to be compiled again, which new functions and new fields do not cause.
#define HW_ABI_VERSION 1

/// No token id.
#define HW_NO_TOKEN UINT32_MAX

/// How a call ended. The numbers never change.
enum hw_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
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
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_status hw_status;
#else
typedef int32_t hw_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// What an engine runs on, where that is not the number of a CUDA device.
enum hw_device
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /// CUDA device 0 if it can run the model, and the CPU else.
    HW_DEVICE_AUTO = -1,
    /// The CPU.
    HW_DEVICE_CPU = -2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_device hw_device;
#else
typedef int32_t hw_device;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// Why a generation ended.
enum hw_finish
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /// A stop string, a stop token or the model's own end-of-text token.
    HW_FINISH_STOP = 1,
    /// `max_tokens` were generated, or the context is full.
    HW_FINISH_LENGTH = 2,
    /// hw_session_cancel was called.
    HW_FINISH_CANCEL = 3,
    /// The callback asked to stop.
    HW_FINISH_CALLBACK = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_finish hw_finish;
#else
typedef int32_t hw_finish;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// Which new tokens of a session get logits.
enum hw_rows
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /// None: they only enter the cache.
    HW_ROWS_NONE = 0,
    /// The last one.
    HW_ROWS_LAST = 1,
    /// Every one.
    HW_ROWS_ALL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_rows hw_rows;
#else
typedef int32_t hw_rows;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// What tokens are to their session. On a GPU the two round differently; a prompt's result does not depend on how it is cut.
enum hw_phase
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /// Given: any number of tokens a call.
    HW_PHASE_PROMPT = 0,
    /// Chosen by the model, or proposed for it to choose: one or a few tokens a call.
    HW_PHASE_GENERATED = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_phase hw_phase;
#else
typedef int32_t hw_phase;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// What a message of the log is.
enum hw_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /// A call failed; the text is that of hw_last_error.
    HW_LOG_ERROR = 1,
    /// What was done.
    HW_LOG_INFO = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hw_log_level hw_log_level;
#else
typedef int32_t hw_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// Gets messages, one of the hw_log_level each, from any thread, several at a time. What it calls is not logged.
typedef void (*hw_log_callback)(int32_t level, const char *text, size_t text_len, void *user_data);

/// Hears how far a model's loading is, from 0 to 1, in the thread that loads it. A result other than 0 ends the loading with
/// HW_E_CANCELLED.
typedef int32_t (*hw_progress_callback)(float fraction, void *user_data);

/// How a model is opened.
typedef struct hw_engine_params {
    /// Bytes of this struct.
    size_t size;
    /// Tokens that the KV cache holds, over all sessions; 0 is one full context. At most 2^32.
    uint64_t n_cache;
    /// Hears how far the loading is; may be NULL.
    hw_progress_callback progress;
    /// For the callback.
    void *progress_user_data;
    /// HW_DEVICE_AUTO, HW_DEVICE_CPU, or the number of a CUDA device.
    int32_t device;
    /// Threads of the CPU, at most 1024; 0 is one per core.
    uint32_t n_threads;
    /// Not 0: read the weights into memory instead of mapping the file. Survives a file that is truncated meanwhile.
    int32_t read_weights;
    /// Not 0: accept weights that are NaN or infinite, and skip the search for them.
    int32_t allow_nonfinite;
    /// Most tokens of one text, which cache and buffers are sized by; 0 is the model's context, which is also the most.
    uint64_t n_ctx;
} hw_engine_params;

/// A model on a device. Its sessions keep it alive: it may be freed before them.
typedef uint64_t hw_engine;

/// What an engine is.
typedef struct hw_info {
    /// Bytes of this struct.
    size_t size;
    /// Tokens that the KV cache can still take, in whole pages.
    size_t n_cache_free;
    /// Token ids, and logits in a row.
    uint32_t n_vocab;
    /// Positions: most tokens of one session.
    uint32_t n_ctx;
    /// Width of the residual stream.
    uint32_t n_embd;
    /// Attention heads.
    uint32_t n_head;
    /// Layers.
    uint32_t n_layer;
    /// Inner width of the MLPs.
    uint32_t n_inner;
    /// The token that an empty prompt stands for, or HW_NO_TOKEN.
    uint32_t bos_token;
    /// The first of the tokens that end a text, or HW_NO_TOKEN.
    uint32_t eos_token;
    /// How many tokens end a text.
    uint32_t n_eos_tokens;
    /// 1 if the model has a tokenizer, else 0.
    int32_t has_tokenizer;
} hw_info;

/// A text: see the rules for text that goes in.
typedef struct hw_text {
    /// UTF-8.
    const char *text;
    /// Bytes, or HW_NTS.
    size_t len;
} hw_text;

/// A message of a conversation.
typedef struct hw_message {
    /// Who speaks: system, user or assistant, or what else the template knows.
    struct hw_text role;
    /// What is said.
    struct hw_text content;
} hw_message;

/// One text that grows, its keys and values cached.
typedef uint64_t hw_session;

/// What is added to one token's logit.
typedef struct hw_logit_bias {
    /// The token.
    uint32_t token;
    /// A finite number.
    float bias;
} hw_logit_bias;

/// A sequence of tokens.
typedef struct hw_tokens {
    /// Their ids.
    const uint32_t *tokens;
    /// How many.
    size_t n_tokens;
} hw_tokens;

/// How tokens are chosen. The default is greedy.
///
/// Applied in Hugging Face's order: logit_bias, repetition_penalty, presence_penalty and frequency_penalty,
/// no_repeat_ngram_size, banned; then, unless temperature is 0, temperature, top_k, top_p, min_p, typical_p.
typedef struct hw_sampling_params {
    /// Bytes of this struct.
    size_t size;
    /// Key of the random numbers: a seed gives the same text on every run.
    uint64_t seed;
    /// Added to the logits of single tokens.
    const struct hw_logit_bias *logit_bias;
    /// How many.
    size_t n_logit_bias;
    /// Sequences of tokens that never occur.
    const struct hw_tokens *banned;
    /// How many.
    size_t n_banned;
    /// Logits are divided by it; 0 takes the most likely token. At least 0.
    float temperature;
    /// Keeps the most likely tokens whose probabilities first reach it; 1 keeps all. Above 0, at most 1.
    float top_p;
    /// Keeps tokens at least this many times as likely as the most likely one; 0 keeps all. At most 1.
    float min_p;
    /// Keeps the tokens whose surprise is closest to the expected one, up to this mass; 1 keeps all. Above 0, at most 1.
    float typical_p;
    /// Divides the positive logits of tokens already seen and multiplies the negative ones; 1 does nothing. Above 0.
    float repetition_penalty;
    /// Subtracted from the logit of every token already generated. From -2 to 2.
    float presence_penalty;
    /// Subtracted from the logit of a token for each time it was generated. From -2 to 2.
    float frequency_penalty;
    /// Keeps this many most likely tokens, and those as likely as the last of them; 0 keeps all.
    uint32_t top_k;
    /// No sequence of this many tokens occurs twice; 0 allows all.
    uint32_t no_repeat_ngram_size;
    /// Which of several answers to one prompt this is: part of the key.
    uint32_t choice;
} hw_sampling_params;

/// One token and its log-probability.
typedef struct hw_token_logprob {
    /// The token.
    uint32_t token;
    /// Natural logarithm of its probability, before temperature, penalties and bans.
    float logprob;
} hw_token_logprob;

/// One step of a generation. It and what it points to is valid until the callback returns.
typedef struct hw_step {
    /// Bytes of this struct.
    size_t size;
    /// The text that became certain: empty while a character or a stop string may be incomplete. Not terminated.
    const char *text;
    /// Bytes of the text.
    size_t text_len;
    /// The likeliest tokens, most likely first.
    const struct hw_token_logprob *top;
    /// How many.
    size_t n_top;
    /// The token; HW_NO_TOKEN where a cancelled generation hands out text that it held back.
    uint32_t token;
    /// The token's log-probability; NaN where none was asked for, and for the first token of a text.
    float logprob;
    /// 1 if the token is the prompt's (only with echo), else 0.
    int32_t is_prompt;
    /// 0.
    int32_t reserved;
} hw_step;

/// Gets every step of a generation, in the thread that generates. A result other than 0 ends it after this step. It may call
/// anything but what needs its own session, which is HW_E_BUSY; hw_session_cancel may be called.
typedef int32_t (*hw_step_callback)(const struct hw_step *step, void *user_data);

/// How a text is generated. The default is greedy, until the text ends or the context is full.
typedef struct hw_generate_params {
    /// Bytes of this struct.
    size_t size;
    /// How tokens are chosen; NULL is greedy.
    const struct hw_sampling_params *sampling;
    /// Most tokens to generate, or HW_NO_LIMIT.
    size_t max_tokens;
    /// No end-of-text token is chosen before this many tokens.
    size_t min_tokens;
    /// Strings that end the text. They are not part of it.
    const struct hw_text *stop;
    /// How many.
    size_t n_stop;
    /// Tokens that end the text, beside the model's own.
    const uint32_t *stop_tokens;
    /// How many.
    size_t n_stop_tokens;
    /// Strings that the text never contains, as the tokenizer writes them with or without a space before.
    const struct hw_text *banned;
    /// How many.
    size_t n_banned;
    /// Gets every step; may be NULL.
    hw_step_callback callback;
    /// For the callback.
    void *user_data;
    /// Not 0: go on past the model's end-of-text tokens.
    int32_t ignore_eos;
    /// Not 0: the text begins with the prompt.
    int32_t echo;
    /// Not 0: report each token's log-probability.
    int32_t logprobs;
    /// With logprobs, also those of this many likeliest tokens.
    uint32_t n_top;
} hw_generate_params;

/// How a generation went.
typedef struct hw_stats {
    /// Bytes of this struct.
    size_t size;
    /// Tokens in the prompt.
    size_t n_prompt;
    /// How many of them were cached already.
    size_t n_cached;
    /// Tokens generated.
    size_t n_generated;
    /// From the start to the first token, in seconds.
    double prompt_seconds;
    /// From the first token to the last, in seconds.
    double decode_seconds;
    /// Why it ended: an hw_finish.
    int32_t finish;
    /// Which of the stop strings ended it, from 0; -1 if none did.
    int32_t stop_index;
} hw_stats;

/// What one session does in a call of hw_decode.
typedef struct hw_turn {
    /// The session. In one call each has one turn, and all are of one engine.
    hw_session session;
    /// The tokens that are appended to its text.
    const uint32_t *tokens;
    /// How many; at least 1.
    size_t n_tokens;
    /// Which of them get logits: an hw_rows.
    int32_t rows;
    /// What they are: an hw_phase.
    int32_t phase;
} hw_turn;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/// The library's version, like "0.1.0".
const char *hw_version(void);

/// The library's HW_ABI_VERSION: a program works with the library if it is the program's.
uint32_t hw_abi_version(void);

/// The name of an hw_status, like "HW_E_BUSY"; "?" for other numbers.
const char *hw_status_name(int32_t status);

/// Why the last call of this thread that failed did so: the function's name and a text. Empty if none failed. Valid until the
/// next call of this thread that fails; calls that succeed leave it.
const char *hw_last_error(void);

/// Sends messages to `callback` from now on; NULL, as at the start, sends them nowhere. Returns when the calls of the callback before
/// have returned. HW_E_BUSY from inside of a log callback.
hw_status hw_log_set(hw_log_callback callback,
                     void *user_data);

/// Fills in the defaults; `size` is sizeof *params.
hw_status hw_engine_params_default(struct hw_engine_params *params, size_t size);

/// Opens a model: a folder, a weights file or a name in the Hugging Face cache. "tales" is the small model that comes with the
/// library. `params` may be NULL. Nothing is downloaded.
hw_status hw_engine_open(const char *model,
                         size_t model_len,
                         const struct hw_engine_params *params,
                         hw_engine *engine);

/// Frees an engine. Its sessions go on, and the last of them takes the model with it. 0 is ignored.
hw_status hw_engine_free(hw_engine engine);

/// What an engine is; `size` is sizeof *info.
hw_status hw_engine_info(hw_engine engine, struct hw_info *info, size_t size);

/// What runs the model, for people: "CPU (AVX-512, 2 threads)".
hw_status hw_engine_device(hw_engine engine, char *text, size_t capacity, size_t *text_len);

/// The tokens of a text. With `special` not 0, special tokens that are spelled out in it, like `<|endoftext|>`, become their ids:
/// for text of which every word is trusted. Else they are text like any other.
hw_status hw_tokenize(hw_engine engine,
                      const char *text,
                      size_t text_len,
                      int32_t special,
                      uint32_t *tokens,
                      size_t capacity,
                      size_t *n_tokens);

/// The text of tokens, special ones left out. Bytes that are not UTF-8 become U+FFFD.
hw_status hw_detokenize(hw_engine engine,
                        const uint32_t *tokens,
                        size_t n_tokens,
                        char *text,
                        size_t capacity,
                        size_t *text_len);

/// The bytes that one token stands for, which may be a part of a character; those of a special token are its name.
hw_status hw_token_bytes(hw_engine engine,
                         uint32_t token,
                         uint8_t *bytes,
                         size_t capacity,
                         size_t *n_bytes);

/// The tokens of a conversation, as the model was taught to read it: the prompt for an answer, or with `add_generation_prompt` 0
/// the conversation alone. `chat_template` is Jinja, a file's name or the text itself; NULL is the model's own. Special tokens in
/// messages are text, those that the template writes are ids. An answer ends at the model's own end-of-text tokens.
hw_status hw_chat_tokenize(hw_engine engine,
                           const char *chat_template,
                           size_t chat_template_len,
                           const struct hw_message *messages,
                           size_t n_messages,
                           int32_t add_generation_prompt,
                           uint32_t *tokens,
                           size_t capacity,
                           size_t *n_tokens);

/// Starts an empty session.
hw_status hw_session_open(hw_engine engine, hw_session *session);

/// Starts a session `fork` with the text of `session`: whole pages of keys and values are shared, and the tokens beyond them, which
/// hw_session_tokens of the fork lacks, are for its user to give again.
hw_status hw_session_fork(hw_session session,
                          hw_session *fork);

/// Frees a session. HW_E_BUSY while a call has it: cancel the generation, wait until its call has returned, free again. 0 is
/// ignored.
hw_status hw_session_free(hw_session session);

/// Ends the generation that another thread, or the callback's caller, runs on `session`, within one forward call. Does nothing
/// if there is none: a later one is not ended.
hw_status hw_session_cancel(hw_session session);

/// The tokens whose keys and values are cached, the prompt's and those generated; the last one that was generated is not among
/// them until something follows it.
hw_status hw_session_tokens(hw_session session,
                            uint32_t *tokens,
                            size_t capacity,
                            size_t *n_tokens);

/// Rewinds a session to its first `n_tokens` tokens at most; 0 empties it. `n_kept`, which may be NULL, gets how many are left:
/// fewer than asked for where the cut goes through a page that a fork shares.
hw_status hw_session_truncate(hw_session session,
                              size_t n_tokens,
                              size_t *n_kept);

/// Fills in the defaults; `size` is sizeof *params.
hw_status hw_sampling_params_default(struct hw_sampling_params *params, size_t size);

/// Fills in the defaults; `size` is sizeof *params.
hw_status hw_generate_params_default(struct hw_generate_params *params, size_t size);

/// Generates what follows `prompt`: the whole text so far, of which what the session has cached is not computed again. An empty
/// prompt is the model's first token. `params` may be NULL. `stats`, of `stats_size` bytes, may be NULL.
hw_status hw_generate(hw_session session,
                      const char *prompt,
                      size_t prompt_len,
                      const struct hw_generate_params *params,
                      struct hw_stats *stats,
                      size_t stats_size);

/// hw_generate, of a prompt that is tokens.
hw_status hw_generate_tokens(hw_session session,
                             const uint32_t *prompt,
                             size_t n_prompt,
                             const struct hw_generate_params *params,
                             struct hw_stats *stats,
                             size_t stats_size);

/// Appends every turn's tokens to its session, all in one forward call; `turn_size` is sizeof *turns. A session gets the bits
/// that it would get alone. After a failure every session is as it was.
hw_status hw_decode(const struct hw_turn *turns,
                    size_t n_turns,
                    size_t turn_size);

/// A row of logits of the session's last hw_decode, n_vocab of them. Rows count from 0, one for each token that got logits. There are
/// none after a generation or hw_session_truncate.
hw_status hw_session_logits(hw_session session,
                            size_t row,
                            float *logits,
                            size_t capacity,
                            size_t *n_logits);

/// Chooses the token that follows the session's text, from the last row of logits of its last hw_decode, as hw_generate would. The
/// first `n_prompt` tokens count as the prompt's. `params` may be NULL for the most likely token. The token is not appended.
hw_status hw_session_sample(hw_session session,
                            const struct hw_sampling_params *params,
                            size_t n_prompt,
                            uint32_t *token);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HALFWARP_H */

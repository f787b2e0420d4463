//! Fields that would change the text and that nobody here does anything about: refused by name, so that no client takes a text for
//! what it asked for.
//!
//! They are OpenAI's, vLLM's and llama.cpp's. A value that asks for nothing is accepted, since clients send whole sets of defaults;
//! any other field is allowed, and named in the answer's head and in the log.

use super::{error::ApiError, json::Fields};
use serde_json::Value;

const FREE: &str = "texts are free in their form";
const TOOLS: &str = "the model was not taught to call any";
const TEXT: &str = "only text goes in and comes out";
const SAMPLER: &str = "this way to choose tokens is not there";

/// Each field, the values that ask for nothing, and why the others are refused.
const REFUSED: [(&str, &[&str], &str); 52] = [
    // OpenAI's
    ("suffix", &["\"\""], "texts are continued, not filled in"),
    ("response_format", &["{\"type\": \"text\"}"], "only {\"type\": \"text\"} is"),
    ("tools", &["[]"], TOOLS),
    ("functions", &["[]"], TOOLS),
    ("tool_choice", &["\"none\"", "\"auto\""], TOOLS),
    ("function_call", &["\"none\"", "\"auto\""], TOOLS),
    ("audio", &[], TEXT),
    ("modalities", &["[\"text\"]"], TEXT),
    ("prediction", &[], "there is no use for it"),
    ("web_search_options", &[], "nothing is searched"),
    // vLLM's
    ("guided_json", &[], FREE),
    ("guided_regex", &[], FREE),
    ("guided_choice", &[], FREE),
    ("guided_grammar", &[], FREE),
    ("structured_outputs", &[], FREE),
    ("structural_tag", &[], FREE),
    ("use_beam_search", &["false"], "tokens are sampled one by one"),
    ("length_penalty", &["1"], "it belongs to beam search"),
    ("allowed_token_ids", &[], "use logit_bias"),
    ("logits_processors", &["[]"], SAMPLER),
    ("prompt_embeds", &[], "give text or token ids"),
    ("prompt_logprobs", &[], "use echo with logprobs"),
    ("skip_special_tokens", &["true"], "special tokens leave no text"),
    ("spaces_between_special_tokens", &["true"], "special tokens leave no text"),
    ("truncation_side", &["\"left\""], "the end of a prompt is kept"),
    ("chat_template", &[], "start the server with --chat-template"),
    ("chat_template_kwargs", &["{}"], "the template sees the messages alone"),
    ("documents", &["[]"], "the template sees the messages alone"),
    ("mm_processor_kwargs", &["{}"], TEXT),
    ("thinking_token_budget", &[], "the model was not taught to think"),
    ("images", &["[]"], TEXT),
    // llama.cpp's
    ("grammar", &["\"\""], FREE),
    ("json_schema", &["{}"], FREE),
    ("lora", &["[]"], "there are no adapters"),
    ("mirostat", &["0"], SAMPLER),
    ("dry_multiplier", &["0"], SAMPLER),
    ("xtc_probability", &["0"], SAMPLER),
    ("dynatemp_range", &["0"], SAMPLER),
    ("top_n_sigma", &["-1", "0"], SAMPLER),
    ("adaptive_target", &["-1"], SAMPLER),
    ("min_keep", &["0"], SAMPLER),
    ("samplers", &["[]"], "the order of the filters is Hugging Face's"),
    ("n_indent", &["0"], FREE),
    ("n_keep", &["0", "-1"], "a full context ends the text"),
    ("t_max_predict_ms", &["0"], "use the server's --timeout"),
    ("image_data", &["[]"], TEXT),
    ("multimodal_data", &["[]"], TEXT),
    ("input_extra", &["[]"], "texts are continued, not filled in"),
    ("input_prefix", &["\"\""], "texts are continued, not filled in"),
    ("input_suffix", &["\"\""], "texts are continued, not filled in"),
    ("control_vectors", &["[]"], "there are none"),
    ("reasoning_budget", &["-1"], "the model was not taught to think"),
];

/// Fields that no text depends on, beside those that are served.
const WITHOUT_EFFECT: [&str; 14] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "priority",
    "request_id",
    "cache_salt",
    "cache_prompt",
    "id_slot",
    "timings_per_token",
];

/// Fails where a request asks for what is not there.
pub fn check(fields: &Fields) -> Result<(), ApiError> {
    REFUSED.iter().try_for_each(|(name, nothing, why)| {
        fields.refuse(name, |value| nothing.iter().any(|text| is(value, text)), why)
    })
}

/// Whether a field that nobody read is worth a word to the client.
pub fn is_ignored(name: &str) -> bool {
    !WITHOUT_EFFECT.contains(&name)
}

/// Whether a value is what `text` spells, `1.0` the same as `1`.
fn is(value: &Value, text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|expected| {
        expected == *value || value.as_f64().is_some_and(|x| expected.as_f64() == Some(x))
    })
}

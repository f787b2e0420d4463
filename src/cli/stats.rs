//! Counts, times and speeds of a generation, for people and as JSON.

use super::{
    model::Model,
    output::{ms, per_second},
};
use halfwarp::engine::Stats;
use serde_json::{Value, json};

/// Forward calls that `decode_time` spans: the first token comes out of the prompt's.
fn n_decoded(stats: &Stats) -> usize {
    stats.n_generated.saturating_sub(1)
}

/// Weight bytes per second while decoding, in GB/s.
fn gigabytes_per_second(model: &Model, stats: &Stats) -> Option<f64> {
    per_second(n_decoded(stats), stats.decode_time)
        .map(|rate| rate * model.footprint.bytes_per_token as f64 / 1e9)
}

/// A few lines for people.
pub fn table(model: &Model, stats: &Stats) -> String {
    let n_new = stats.n_prompt - stats.n_cached;
    let row = |name: &str, time, n: usize| {
        let rate = per_second(n, time).map_or(String::new(), |r| format!("  {r:9.1} tok/s"));
        format!("{name:8}{:11.1} ms {n:6} tokens{rate}", ms(time))
    };
    let decode = row("decode", stats.decode_time, n_decoded(stats));
    let speed =
        gigabytes_per_second(model, stats).map_or(String::new(), |gb| format!("  {gb:6.1} GB/s of weights"));
    let cached = match stats.n_cached {
        0 => String::new(),
        n => format!("  ({n} more were cached)"),
    };
    let total = model.load_time + stats.prompt_time + stats.decode_time;
    [
        format!("load    {:11.1} ms", ms(model.load_time)),
        row("prompt", stats.prompt_time, n_new) + &cached,
        decode + &speed,
        format!("total   {:11.1} ms {:6} tokens", ms(total), stats.n_prompt + stats.n_generated),
    ]
    .join("\n")
}

/// One line for people.
pub fn line(model: &Model, stats: &Stats, seed: u64) -> String {
    let rate =
        per_second(n_decoded(stats), stats.decode_time).map_or(String::new(), |r| format!(", {r:.0} tok/s"));
    let speed = gigabytes_per_second(model, stats).map_or(String::new(), |gb| format!(", {gb:.1} GB/s"));
    format!(
        "[{} new and {} cached tokens in {:.1} ms, {} more in {:.1} ms{rate}{speed}; seed {seed}]",
        stats.n_prompt - stats.n_cached,
        stats.n_cached,
        ms(stats.prompt_time),
        stats.n_generated,
        ms(stats.decode_time),
    )
}

/// Counts, under the names that the OpenAI API gives them.
pub fn usage(stats: &Stats) -> Value {
    json!({
        "prompt_tokens": stats.n_prompt,
        "cached_tokens": stats.n_cached,
        "completion_tokens": stats.n_generated,
        "total_tokens": stats.n_prompt + stats.n_generated,
    })
}

/// Times in milliseconds, and speeds.
pub fn timings(model: &Model, stats: &Stats) -> Value {
    json!({
        "load_ms": ms(model.load_time),
        "prompt_ms": ms(stats.prompt_time),
        "prompt_per_second": per_second(stats.n_prompt - stats.n_cached, stats.prompt_time),
        "decode_ms": ms(stats.decode_time),
        "decode_per_second": per_second(n_decoded(stats), stats.decode_time),
        "decode_gigabytes_per_second": gigabytes_per_second(model, stats),
    })
}

//! What changes a logit before anything is chosen: bias, penalties and bans.

use super::{History, SamplingParams};

/// The log-odds that a ban gives a token.
const BANNED: f64 = f64::NEG_INFINITY;

/// Changes `scores`, `[V]`, in Hugging Face's order; presence and frequency penalties, which Hugging Face lacks, come
/// after the repetition penalty as in vLLM. `counts`, `[V]`, is all zeros before and after.
///
/// Tokens beyond the vocabulary, which a padded embedding allows in a prompt, have no score to change.
pub(super) fn apply(
    params: &SamplingParams,
    history: History<'_>,
    suppressed: &[u32],
    scores: &mut [f64],
    counts: &mut [u32],
) {
    for &(id, bias) in &params.logit_bias {
        scores[id as usize] += f64::from(bias);
    }
    if params.repetition_penalty != 1.0 {
        penalize_repetition(f64::from(params.repetition_penalty), history.tokens, scores, counts);
    }
    if params.presence_penalty != 0.0 || params.frequency_penalty != 0.0 {
        let generated = history.tokens.get(history.n_prompt..).unwrap_or(&[]);
        penalize_presence(params, generated, scores, counts);
    }
    ban_repeated_ngrams(params.no_repeat_ngram_size, history.tokens, scores);
    for sequence in &params.banned {
        if let Some((&last, before)) = sequence.split_last()
            && history.tokens.ends_with(before)
        {
            ban(last, scores);
        }
    }
    for &id in suppressed {
        ban(id, scores);
    }
}

fn ban(id: u32, scores: &mut [f64]) {
    if let Some(score) = scores.get_mut(id as usize) {
        *score = BANNED;
    }
}

/// Once for each token that occurs, however often.
fn penalize_repetition(penalty: f64, tokens: &[u32], scores: &mut [f64], counts: &mut [u32]) {
    count(tokens, counts);
    take_counts(tokens, counts, |id, _| {
        let score = &mut scores[id];
        *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
    });
}

/// Of the tokens generated: by whether and by how often they were.
fn penalize_presence(params: &SamplingParams, generated: &[u32], scores: &mut [f64], counts: &mut [u32]) {
    let (presence, frequency) = (f64::from(params.presence_penalty), f64::from(params.frequency_penalty));
    count(generated, counts);
    take_counts(generated, counts, |id, n| scores[id] -= presence + frequency * f64::from(n));
}

fn count(tokens: &[u32], counts: &mut [u32]) {
    for &id in tokens {
        if let Some(n) = counts.get_mut(id as usize) {
            *n += 1;
        }
    }
}

/// Calls `each` once with every token that was counted and its count, which becomes zero again.
fn take_counts(tokens: &[u32], counts: &mut [u32], mut each: impl FnMut(usize, u32)) {
    for &id in tokens {
        let id = id as usize;
        if let Some(n) = counts.get_mut(id).filter(|n| **n > 0) {
            each(id, std::mem::take(n));
        }
    }
}

/// Bans every token that followed the last `size - 1` tokens before.
fn ban_repeated_ngrams(size: usize, tokens: &[u32], scores: &mut [f64]) {
    if size == 0 || tokens.len() < size {
        return;
    }
    let end = &tokens[tokens.len() - (size - 1)..];
    for ngram in tokens.windows(size) {
        if ngram[..size - 1] == *end {
            ban(ngram[size - 1], scores);
        }
    }
}

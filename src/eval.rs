//! How well a model predicts a text: perplexity over sliding windows, as Hugging Face defines it for models of fixed
//! length (<https://huggingface.co/docs/transformers/perplexity>).
//!
//! A window starts every `stride` tokens and scores those of its tokens that no earlier window scored, given what
//! precedes them in the window. Each token is scored once; the first of a text, which nothing precedes, is not, and
//! neither is the first of each window where windows do not overlap. Called by `halfwarp eval`; tested in
//! `tests/eval.rs`.

use crate::{Error, Result, Session, sampler::SamplingError};
use std::ops::Range;

/// How a text is cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Tokens in a window.
    pub len: usize,
    /// Tokens from the start of one window to that of the next.
    pub stride: usize,
}

impl Windows {
    /// The windows over a text of `n_tokens`, each with the first position whose token it scores.
    fn over(self, n_tokens: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let mut n_scored = 0;
        let mut starts = (0..).step_by(self.stride);
        std::iter::from_fn(move || {
            if n_scored >= n_tokens {
                return None;
            }
            let start = starts.next()?;
            let window = start..(start + self.len).min(n_tokens);
            let first = n_scored.max(start + 1);
            n_scored = window.end;
            Some((window, first))
        })
    }
}

/// Sums over the tokens scored so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Tokens scored.
    pub n_tokens: usize,
    /// Sum of their negative log-probabilities, in nats.
    pub sum: f64,
    /// Sum of the squares.
    pub sum_of_squares: f64,
}

impl Score {
    fn add(&mut self, nats: f64) {
        self.n_tokens += 1;
        self.sum += nats;
        self.sum_of_squares += nats * nats;
    }

    /// Mean negative log-probability of a token, in nats.
    pub fn mean(&self) -> f64 {
        self.sum / self.n_tokens as f64
    }

    /// Standard error of the mean, as if tokens were independent.
    pub fn mean_error(&self) -> f64 {
        let n = self.n_tokens as f64;
        let variance = (self.sum_of_squares - self.sum * self.sum / n) / (n - 1.0);
        (variance.max(0.0) / n).sqrt()
    }

    /// `exp` of the mean.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// Standard error of the perplexity, to first order.
    pub fn perplexity_error(&self) -> f64 {
        self.perplexity() * self.mean_error()
    }

    /// Bits to encode a byte of the text, where the scored tokens stand for `n_bytes`.
    pub fn bits_per_byte(&self, n_bytes: usize) -> f64 {
        self.sum / std::f64::consts::LN_2 / n_bytes as f64
    }
}

/// Scores the text `ids`. `each` is called with every scored position and its token's negative log-probability in
/// nats, in order. The session's own text is forgotten.
pub fn score(
    session: &mut Session,
    ids: &[u32],
    windows: Windows,
    mut each: impl FnMut(usize, f64),
) -> Result<Score> {
    let Windows { len, stride } = windows;
    let n_ctx = session.engine().config().n_ctx;
    if len < 2 || len > n_ctx || stride == 0 || stride > len {
        return Err(Error::Windows { len, stride, n_ctx });
    }
    if ids.len() < 2 {
        return Err(Error::NothingToScore { n_tokens: ids.len() });
    }
    let mut score = Score::default();
    let mut bad = None;
    for (window, first) in windows.over(ids.len()).filter(|(window, first)| *first < window.end) {
        // The logits at a position are those of the next token, so the last position of a window predicts nothing.
        let context = &ids[window.start..window.end - 1];
        session.logits_from(context, first - 1 - window.start, |i, logits| {
            let position = window.start + i + 1;
            let nats = match ids.get(position).and_then(|&id| surprise(logits, id)) {
                Some(nats) => nats,
                None => return bad = bad.or(Some(position)),
            };
            score.add(nats);
            each(position, nats);
        })?;
        if let Some(position) = bad {
            return Err(SamplingError::NonFinite { position }.into());
        }
    }
    Ok(score)
}

/// `-log softmax(logits)[id]`, in nats; `None` where there is no such token or the result is not finite.
fn surprise(logits: &[f32], id: u32) -> Option<f64> {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - max).exp()).sum();
    let nats = max + sum.ln() - f64::from(*logits.get(id as usize)?);
    nats.is_finite().then_some(nats)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loop of Hugging Face's page: begin, end, and how many targets at the end of the window count.
    fn reference(n_tokens: usize, max_length: usize, stride: usize) -> Vec<usize> {
        let (mut scored, mut previous_end) = (Vec::new(), 0);
        for begin in (0..n_tokens).step_by(stride) {
            let end = (begin + max_length).min(n_tokens);
            let target_len = end - previous_end;
            // Labels are shifted by one, so that the first of a window is no target.
            scored.extend((end - target_len).max(begin + 1)..end);
            previous_end = end;
            if end == n_tokens {
                break;
            }
        }
        scored
    }

    #[test]
    fn windows_score_what_hugging_faces_loop_scores() {
        for n_tokens in [2, 3, 7, 8, 9, 31, 64] {
            for len in [2, 3, 8, 64] {
                for stride in 1..=len {
                    let windows = Windows { len, stride };
                    let scored: Vec<usize> =
                        windows.over(n_tokens).flat_map(|(w, first)| first..w.end).collect();
                    assert_eq!(scored, reference(n_tokens, len, stride), "{n_tokens} {windows:?}");
                    if stride < len {
                        assert_eq!(scored, (1..n_tokens).collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    #[test]
    fn surprise_is_the_negative_log_softmax() {
        let logits = [1.0f32, 2.0, 3.0];
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (id, &logit) in logits.iter().enumerate() {
            let expected = -(f64::from(logit).exp() / sum).ln();
            assert!((surprise(&logits, id as u32).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(surprise(&logits, 3), None);
        assert_eq!(surprise(&[0.0, f32::NAN], 1), None);
        assert_eq!(surprise(&[0.0, f32::INFINITY], 0), None);
    }

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        let mut score = Score::default();
        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|x| score.add(x));
        // Variance of the sample: (4 + 1 + 0 + 9) / 3.
        assert!((score.mean_error() - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert!((score.bits_per_byte(6) - 2.0 / std::f64::consts::LN_2).abs() < 1e-12);
    }
}

//! Any parameters and any logits, NaN among both: an error in words, or a token that may be chosen.
//!
//! Input: the parameters in the order of [`params`], the history's length and tokens, then logits of four bytes each.

use halfwarp::sampler::{History, Sampler, SamplingParams, TokenLogprobs};

const N_VOCAB_MAX: usize = 512;

/// Takes values off the front of an input; zeros after its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn number(&mut self) -> f32 {
        f32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn tokens(&mut self) -> Vec<u32> {
        let n = self.byte() % 32;
        (0..n).map(|_| u32::from(self.byte())).collect()
    }
}

fn params(input: &mut Input) -> SamplingParams {
    SamplingParams {
        temperature: input.number(),
        top_k: input.byte().into(),
        top_p: input.number(),
        min_p: input.number(),
        typical_p: input.number(),
        repetition_penalty: input.number(),
        presence_penalty: input.number(),
        frequency_penalty: input.number(),
        no_repeat_ngram_size: (input.byte() % 8).into(),
        logit_bias: (0..input.byte() % 4).map(|_| (input.byte().into(), input.number())).collect(),
        banned: (0..input.byte() % 4).map(|_| input.tokens()).collect(),
        seed: input.byte().into(),
        choice: input.byte().into(),
    }
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let params = params(&mut input);
    let tokens = input.tokens();
    let suppressed = input.tokens();
    let (bytes, _) = input.0.as_chunks::<4>();
    let logits: Vec<f32> = bytes.iter().take(N_VOCAB_MAX).map(|b| f32::from_le_bytes(*b)).collect();

    let top = TokenLogprobs::new(&logits, 3, 5).top;
    assert!(top.len() <= 5 && top.iter().all(|&(id, _)| (id as usize) < logits.len()));

    let mut sampler = match Sampler::new(params, logits.len()) {
        Ok(sampler) => sampler,
        Err(e) => return assert!(e.to_string().contains("expected")),
    };
    let history = History { tokens: &tokens, n_prompt: tokens.len() / 2 };
    let token = sampler.sample(&logits, history, &suppressed).map_err(|e| e.to_string());
    let kept = sampler.distribution(&logits, history, &suppressed).map_err(|e| e.to_string());
    match (token, kept) {
        (Ok(token), Ok(kept)) => {
            let probability = kept.iter().find(|&&(id, _)| id == token).map(|&(_, p)| p);
            assert!(probability.is_some_and(|p| p > 0.0), "{token} has the probability {probability:?}");
            assert!(logits[token as usize] > f32::NEG_INFINITY && !suppressed.contains(&token));
            assert!((kept.iter().map(|&(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-9);
        }
        (token, kept) => assert_eq!(token.err(), kept.err(), "both fail, for one reason"),
    }
}

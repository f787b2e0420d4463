//! Shapes of models to measure without a download.

use super::super::exit::Failure;
use halfwarp::Config;
use std::{fmt, str::FromStr};

/// Layers, heads and width of a model with GPT-2's vocabulary and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
}

const NAMED: [(&str, Shape); 4] = [
    ("gpt2", Shape { n_layer: 12, n_head: 12, n_embd: 768 }),
    ("gpt2-medium", Shape { n_layer: 24, n_head: 16, n_embd: 1024 }),
    ("gpt2-large", Shape { n_layer: 36, n_head: 20, n_embd: 1280 }),
    ("gpt2-xl", Shape { n_layer: 48, n_head: 25, n_embd: 1600 }),
];

impl Shape {
    /// The whole config.
    pub fn config(self) -> Result<Config, Failure> {
        let Self { n_layer, n_head, n_embd } = self;
        let json = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024,
            "n_layer": n_layer, "n_head": n_head, "n_embd": n_embd,
        });
        halfwarp::family::parse_config(json.to_string().as_bytes())
            .map_err(|e| Failure::because("--random", e))
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, shape)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*shape);
        }
        let numbers: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[n_layer, n_head, n_embd]) => Ok(Self { n_layer, n_head, n_embd }),
            _ => Err("expected gpt2, gpt2-medium, gpt2-large, gpt2-xl or LAYERSxHEADSxWIDTH".into()),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match NAMED.iter().find(|(_, shape)| shape == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}x{}x{}", self.n_layer, self.n_head, self.n_embd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_named_or_written_out() {
        assert_eq!("12x12x768".parse::<Shape>().unwrap().to_string(), "gpt2");
        assert_eq!("2x4x64".parse::<Shape>().unwrap(), Shape { n_layer: 2, n_head: 4, n_embd: 64 });
        for bad in ["", "gpt3", "12x12", "12x12x768x1", "12x-1x768", "1e3x1x1"] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_width_that_heads_do_not_divide_is_refused() {
        assert!("2x5x64".parse::<Shape>().unwrap().config().is_err());
    }
}

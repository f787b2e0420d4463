//! Finds stop strings in text that arrives in pieces.
//!
//! Text that may be the beginning of a stop string is held back until it is decided, so no part of a stop string is
//! ever handed out. Used by [`crate::engine`]; tested below.

/// Watches a stream of text for any of several strings.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// A matcher for `stops`. Empty strings are ignored.
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new() }
    }

    /// The strings it watches for.
    pub fn stops(&self) -> &[String] {
        &self.stops
    }

    /// Adds text. Returns what can be handed out, and the index of the stop string that ended it, if one did.
    pub fn push(&mut self, text: &str) -> (String, Option<usize>) {
        self.held.push_str(text);
        let found =
            self.stops.iter().enumerate().filter_map(|(i, s)| Some((self.held.find(s.as_str())?, i))).min();
        if let Some((at, which)) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), Some(which));
        }
        let keep = self.stops.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// Ends the text: what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Length of the longest proper prefix of `stop` that ends `text`.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len()).rev().find(|&n| stop.is_char_boundary(n) && text.ends_with(&stop[..n])).unwrap_or(0)
}

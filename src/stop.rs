//! Finds stop strings in text that arrives in pieces.
//!
//! The stop string that is complete first ends the text. If several are complete at the same character the longest wins,
//! so that nothing of it stays in the text; of equal strings the first listed. How the text is cut into pieces changes
//! nothing. Text is held back only while it is the beginning of a stop string. Used by [`crate::engine`]; tested in
//! `tests/stop_strings.rs` against a search of the whole text.
//!
//! Each stop string has a Knuth-Morris-Pratt automaton, which takes amortized constant time a byte, however long the
//! stop string is and however much text it holds back.

/// Watches a stream of text for any of several strings.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    automata: Vec<Automaton>,
    held: Held,
}

impl StopMatcher {
    /// A matcher for `stops`. Empty strings are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops: Vec<String> = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        let automata = stops.iter().map(|s| Automaton::new(s.as_bytes())).collect();
        Self { stops, automata, held: Held::default() }
    }

    /// The strings it watches for.
    pub fn stops(&self) -> &[String] {
        &self.stops
    }

    /// Adds text. Returns what can be handed out, and the index of the stop string that ended it, if one did; the rest of
    /// `text` is dropped then.
    pub fn push(&mut self, text: &str) -> (String, Option<usize>) {
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            if let Some(which) = self.step(byte) {
                self.held.push(&text[..=i]);
                let end = self.held.len() - self.stops[which].len();
                let before = self.held.take(end);
                self.finish();
                return (before, Some(which));
            }
        }
        self.held.push(text);
        let n_kept = self.automata.iter().map(|a| a.n_matched).max().unwrap_or(0);
        (self.held.take(self.held.len() - n_kept), None)
    }

    /// Ends the text: what was held back.
    pub fn finish(&mut self) -> String {
        self.automata.iter_mut().for_each(|a| a.n_matched = 0);
        std::mem::take(&mut self.held).into_string()
    }

    /// Feeds one byte to every automaton. Returns the longest stop string that it completes, the first of equal ones.
    fn step(&mut self, byte: u8) -> Option<usize> {
        let mut longest: Option<usize> = None;
        for (which, (automaton, stop)) in self.automata.iter_mut().zip(&self.stops).enumerate() {
            let complete = automaton.step(stop.as_bytes(), byte);
            if complete && longest.is_none_or(|l| stop.len() > self.stops[l].len()) {
                longest = Some(which);
            }
        }
        longest
    }
}

/// How far a text matches one pattern.
#[derive(Clone, Debug)]
struct Automaton {
    /// `borders[n]`: length of the longest proper prefix of `pattern[..n + 1]` that also ends it.
    borders: Vec<u32>,
    /// Length of the longest prefix of the pattern that ends the text.
    n_matched: usize,
}

impl Automaton {
    fn new(pattern: &[u8]) -> Self {
        let mut borders = vec![0; pattern.len()];
        let mut n = 0;
        for i in 1..pattern.len() {
            while n > 0 && pattern[n] != pattern[i] {
                n = borders[n - 1] as usize;
            }
            n += usize::from(pattern[n] == pattern[i]);
            borders[i] = n as u32;
        }
        Self { borders, n_matched: 0 }
    }

    /// Adds one byte of text. Returns whether the pattern ends there.
    fn step(&mut self, pattern: &[u8], byte: u8) -> bool {
        let mut n = self.n_matched;
        while n > 0 && pattern[n] != byte {
            n = self.borders[n - 1] as usize;
        }
        n += usize::from(pattern[n] == byte);
        let complete = n == pattern.len();
        // After a match the text has ended, so the state matters no more; it only has to stay inside the pattern.
        self.n_matched = if complete { 0 } else { n };
        complete
    }
}

/// Text that is taken from the front as it grows at the back, in amortized constant time a byte.
#[derive(Clone, Debug, Default)]
struct Held {
    text: String,
    start: usize,
}

impl Held {
    fn len(&self) -> usize {
        self.text.len() - self.start
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Takes the first `n` bytes, which end at a character boundary: a stop string, whole or begun, starts there.
    fn take(&mut self, n: usize) -> String {
        let taken = self.text[self.start..self.start + n].to_string();
        self.start += n;
        if self.start > self.text.len() / 2 {
            self.text.drain(..self.start);
            self.start = 0;
        }
        taken
    }

    fn into_string(mut self) -> String {
        self.text.split_off(self.start)
    }
}

//! Special tokens that a text spells out, found in one walk over it, however many of them there are.
//!
//! Hugging Face's rule: the leftmost first, and of several that begin at one place the longest. Used where text is trusted, and where
//! it is not and has to be hidden from those who trust it. Tested in `tests/tokenizers/special.rs`.

use aho_corasick::{AhoCorasick, MatchKind};
use std::ops::Range;

/// Special tokens, ready to be found.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    automaton: AhoCorasick,
    /// Ids in the order of the automaton's patterns.
    ids: Vec<u32>,
}

impl SpecialTokens {
    /// Tokens by id and spelling, none of them empty.
    pub fn new<'a>(tokens: impl Iterator<Item = (u32, &'a str)>) -> Result<Self, String> {
        let (ids, spellings): (Vec<_>, Vec<_>) = tokens.unzip();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(spellings);
        Ok(Self { automaton: automaton.map_err(|error| error.to_string())?, ids })
    }

    /// Where `text` has which token, from left to right.
    pub fn find_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Range<usize>, u32)> + 'a {
        self.automaton.find_iter(text).map(|found| (found.range(), self.ids[found.pattern()]))
    }
}

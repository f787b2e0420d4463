//! Text to ids: the steps of the `tokenizers` crate, called one by one.
//!
//! Long texts go through them in pieces ([`Cuts`]), so that memory does not grow with the text, and what a text may cost is
//! watched between and within the pieces ([`Watch`]). Patterns run here and not in the crate, which takes a pattern that has
//! given up for one that has found nothing. Called by [`Tokenizer`](super::Tokenizer) alone; tested in
//! `tests/tokenizers/pieces.rs` and `tests/hostile_tokenizers.rs`.

use super::{
    TokenizerError,
    cuts::{Cuts, PATTERNS},
};
use fancy_regex::{Error, Regex, RuntimeError};
use std::{
    cell::Cell,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::{Duration, Instant},
};
use tokenizers::{
    Model, ModelWrapper, OffsetType, Offsets, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    SplitDelimiterBehavior, pre_tokenizers::split::SplitPattern, tokenizer::pattern::Pattern,
};

/// The pattern of a ByteLevel pre-tokenizer that has none of its own: GPT-2's.
pub(super) const BYTE_LEVEL_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The patterns of a tokenizer may work so long at each MiB of a piece. Those that are published take a tenth of it.
const PATTERN_TIME: Duration = Duration::from_secs(1);

/// Words whose tokens each thread remembers; the longest of them take 9 KiB.
const N_REMEMBERED: usize = 1000;

/// What an encoding may cost.
pub struct Watch<'a> {
    /// Whether the ids are still wanted; asked at every word.
    pub goes_on: &'a dyn Fn() -> bool,
    /// More tokens are of no use.
    pub n_max: usize,
}

impl Watch<'_> {
    /// An encoding that is wanted whatever it costs.
    pub const PATIENT: Self = Self { goes_on: &|| true, n_max: usize::MAX };

    fn check(&self) -> Result<(), TokenizerError> {
        if (self.goes_on)() { Ok(()) } else { Err(TokenizerError::Stopped) }
    }
}

/// The steps that make ids of a text.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Normalizer, model and added tokens.
    inner: tokenizers::Tokenizer,
    /// The pre-tokenizer.
    steps: Vec<Step>,
    cuts: Option<Cuts>,
}

impl Pipeline {
    /// The steps of `inner`, on whole texts where there are no `cuts`.
    pub fn new(mut inner: tokenizers::Tokenizer, cuts: Option<Cuts>) -> Result<Self, String> {
        if let ModelWrapper::BPE(model) = inner.get_model() {
            let mut model = model.clone();
            model.resize_cache(N_REMEMBERED);
            inner.with_model(model);
        }
        let mut steps = Vec::new();
        if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
            Step::append(pre_tokenizer, &mut steps)?;
        }
        Ok(Self { inner, steps, cuts })
    }

    /// The ids of `text`.
    pub fn encode(&self, text: &str, watch: &Watch) -> Result<Vec<u32>, TokenizerError> {
        let (mut ids, mut start) = (Vec::new(), 0);
        while start < text.len() {
            let piece = self.piece(text, start);
            let words = |words: PreTokenizedString| words.into_encoding(None, 0, OffsetType::None);
            ids.extend_from_slice(survive(|| words(self.words(piece, watch)?))?.get_ids());
            start += piece.len();
            if ids.len() > watch.n_max {
                let (n_tokens, n_bytes) = (ids.len(), start);
                return Err(TokenizerError::TooMany { n_max: watch.n_max, n_tokens, n_bytes });
            }
        }
        Ok(ids)
    }

    /// The bytes of `text` up to the end of what each of its tokens stands for.
    #[cfg(feature = "server")]
    pub fn ends(&self, text: &str, watch: &Watch) -> Result<Vec<usize>, TokenizerError> {
        let (mut ends, mut start) = (Vec::new(), 0);
        while start < text.len() {
            let piece = self.piece(text, start);
            let words = |words: PreTokenizedString| words.into_encoding(None, 0, OffsetType::Byte);
            let encoding = survive(|| words(self.words(piece, watch)?))?;
            ends.extend(encoding.get_offsets().iter().map(|&(_, end)| start + end));
            start += piece.len();
        }
        Ok(ends)
    }

    /// What is tokenized in one piece from byte `start` on.
    fn piece<'t>(&self, text: &'t str, start: usize) -> &'t str {
        let rest = &text[start..];
        self.cuts.as_ref().map_or(rest, |cuts| &rest[..cuts.piece_len(rest)])
    }

    /// The words of `text`, tokenized in one piece.
    fn words(&self, text: &str, watch: &Watch) -> tokenizers::Result<PreTokenizedString> {
        let inner = &self.inner;
        watch.check()?;
        let mut words = inner.get_added_vocabulary().extract_and_normalize(inner.get_normalizer(), text);
        let until = Instant::now() + PATTERN_TIME * text.len().div_ceil(1 << 20) as u32;
        for step in &self.steps {
            step.split(&mut words, watch, until)?;
        }
        words.tokenize(|word| {
            watch.check()?;
            inner.get_model().tokenize(word.get())
        })?;
        Ok(words)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        self.inner.token_to_id(piece)
    }
}

/// A part of the pre-tokenizer.
#[derive(Debug)]
enum Step {
    /// A space in front of what has none.
    Prefix,
    Split {
        regex: Regex,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    /// One without a pattern of its own.
    Other(PreTokenizerWrapper),
}

impl Step {
    fn append(pre_tokenizer: &PreTokenizerWrapper, steps: &mut Vec<Self>) -> Result<(), String> {
        match pre_tokenizer {
            PreTokenizerWrapper::Sequence(parts) => {
                return parts.as_ref().iter().try_for_each(|part| Self::append(part, steps));
            }
            PreTokenizerWrapper::Split(split) => {
                let pattern = match &split.pattern {
                    SplitPattern::String(text) => fancy_regex::escape(text).into_owned(),
                    SplitPattern::Regex(pattern) => pattern.clone(),
                };
                steps.push(Self::pattern(&pattern, split.behavior, split.invert)?);
            }
            PreTokenizerWrapper::ByteLevel(bytes) => {
                if bytes.add_prefix_space {
                    steps.push(Self::Prefix);
                }
                if bytes.use_regex {
                    steps.push(Self::pattern(BYTE_LEVEL_PATTERN, SplitDelimiterBehavior::Isolated, false)?);
                }
                let bytes = bytes.add_prefix_space(false).use_regex(false);
                steps.push(Self::Other(PreTokenizerWrapper::ByteLevel(bytes)));
            }
            other => steps.push(Self::Other(other.clone())),
        }
        Ok(())
    }

    fn pattern(pattern: &str, behavior: SplitDelimiterBehavior, invert: bool) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok(Self::Split { regex, behavior, invert })
    }

    fn split(&self, words: &mut PreTokenizedString, watch: &Watch, until: Instant) -> tokenizers::Result<()> {
        match self {
            Self::Prefix => words.normalize(|word| {
                if !word.get().starts_with(' ') {
                    word.prepend(" ");
                }
                Ok(())
            }),
            Self::Split { regex, behavior, invert } => {
                words.split(|_, word| word.split(Watched { regex, invert: *invert, watch, until }, *behavior))
            }
            Self::Other(pre_tokenizer) => pre_tokenizer.pre_tokenize(words),
        }
    }
}

/// A pattern at work.
struct Watched<'a> {
    regex: &'a Regex,
    /// Whether what lies between the matches counts as one, and a match does not.
    invert: bool,
    watch: &'a Watch<'a>,
    until: Instant,
}

impl Pattern for Watched<'_> {
    fn find_matches(&self, text: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        let (mut parts, mut end) = (Vec::new(), 0);
        // Where the search goes on: behind a match without text there is a character that no other begins at.
        let mut from = 0;
        while let Some(found) = self.find(text, from)? {
            self.check()?;
            if found.start > end {
                parts.push(((end, found.start), self.invert));
            }
            if !found.is_empty() {
                parts.push(((found.start, found.end), !self.invert));
            }
            end = found.end;
            let skipped = text[end..].chars().next().filter(|_| found.is_empty());
            from = end + skipped.map_or(0, char::len_utf8);
            if from == text.len() {
                break;
            }
        }
        if end < text.len() || text.is_empty() {
            parts.push(((end, text.len()), self.invert));
        }
        Ok(parts)
    }
}

impl Watched<'_> {
    /// The next match from `from` on.
    fn find(&self, text: &str, from: usize) -> Result<Option<Range<usize>>, TokenizerError> {
        match self.regex.find_from_pos(text, from) {
            Ok(found) => Ok(found.map(|found| found.range())),
            // A published pattern finds something at each place, and only its `\s+(?!\S)` needs memory.
            Err(Error::RuntimeError(RuntimeError::StackOverflow))
                if PATTERNS.contains(&self.regex.as_str()) =>
            {
                Ok(Some(from..from + spaces_len(&text[from..])))
            }
            Err(error) => Err(TokenizerError::Encode(format!("pre_tokenizer: {error}"))),
        }
    }

    fn check(&self) -> Result<(), TokenizerError> {
        self.watch.check()?;
        if Instant::now() < self.until {
            return Ok(());
        }
        let limit = PATTERN_TIME.as_secs();
        let what = format!("pre_tokenizer: its patterns take longer than {limit} s for each MiB of text");
        Err(TokenizerError::Encode(what))
    }
}

/// What `\s+(?!\S)` matches at the start of `text`: all spaces, but the last one before a word.
fn spaces_len(text: &str) -> usize {
    match text.char_indices().find(|(_, c)| !c.is_whitespace()) {
        Some((len, _)) => len - text[..len].chars().next_back().map_or(0, char::len_utf8),
        None => text.len(),
    }
}

thread_local! {
    /// Whether a panic of this thread will be an error.
    static IS_SURVIVED: Cell<bool> = const { Cell::new(false) };
}

/// Calls the `tokenizers` crate, which panics on some malformed files: at load, or at the first text. The checks at load
/// refuse the files of which that is known; this is the belt beside them. Such a panic prints nothing.
pub(super) fn survive<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, TokenizerError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_SURVIVED.get() {
                before(panic);
            }
        }));
    });
    IS_SURVIVED.set(true);
    // The crate's state cannot break: a tokenizer is not changed by encoding, and one that failed to load is gone.
    let result = catch_unwind(AssertUnwindSafe(call));
    IS_SURVIVED.set(false);
    let panicked = |_| Err("the tokenizers crate panicked".into());
    result.unwrap_or_else(panicked).map_err(|error| match error.downcast::<TokenizerError>() {
        Ok(error) => *error,
        Err(error) => TokenizerError::Encode(error.to_string()),
    })
}

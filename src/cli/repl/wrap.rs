//! Breaks lines between words, for a terminal, while the text comes in pieces.
//!
//! A word is held back until its end is known. Wide characters (Chinese, Japanese, Korean) are words of their own, but for
//! punctuation that may not begin a line, which stays with the one before it. A word that is wider than the terminal is left to it.

use unicode_width::UnicodeWidthChar;

/// Wide punctuation that stays with what is before it.
const CLOSING: &str = "、。，．：；！？）］｝〉》」』】〕〗〙”’…ー々";

/// Text on its way to a terminal.
pub struct Wrap {
    /// Columns of a line.
    width: usize,
    /// Columns of the line that are written.
    column: usize,
    /// White space that is written before the word, if that is on the same line.
    space: String,
    word: String,
}

impl Wrap {
    /// For lines of `width` columns; the first one is empty.
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), column: 0, space: String::new(), word: String::new() }
    }

    /// What can be written once `text` has come.
    pub fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            let is_wide = c.width() == Some(2);
            match c {
                '\n' => {
                    self.end(&mut out);
                    out.push('\n');
                    self.column = 0;
                }
                ' ' | '\t' => {
                    self.end_word(&mut out);
                    self.space.push(c);
                }
                _ => {
                    let was_wide = self.word.chars().any(|c| c.width() == Some(2));
                    let is_joined = self.word.ends_with('\u{200d}') || c.width() == Some(0);
                    if (is_wide || was_wide) && !is_joined && !CLOSING.contains(c) {
                        self.end_word(&mut out);
                    }
                    self.word.push(c);
                }
            }
        }
        out
    }

    /// What was held back; the next text begins a line.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.end(&mut out);
        self.column = 0;
        out
    }

    fn end(&mut self, out: &mut String) {
        self.end_word(out);
        out.push_str(&std::mem::take(&mut self.space));
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let columns = |text: &str, from: usize| {
            text.chars().fold(from, |column, c| match c {
                '\t' => (column / 8 + 1) * 8,
                c => column + c.width().unwrap_or(0),
            })
        };
        let (space, word) = (std::mem::take(&mut self.space), std::mem::take(&mut self.word));
        let after_space = columns(&space, self.column);
        let n_word = columns(&word, 0);
        if after_space + n_word <= self.width || after_space == 0 {
            out.push_str(&space);
            self.column = after_space + n_word;
        } else {
            out.push('\n');
            self.column = n_word;
        }
        out.push_str(&word);
        // After a word that is wider than the terminal, which has broken it, comes another line.
        self.column = self.column.min(self.width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` in lines of `width` columns, however it is cut into pieces.
    #[track_caller]
    fn wraps(width: usize, text: &str, expected: &str) {
        let chars: Vec<char> = text.chars().collect();
        for n in 1..=chars.len().max(1) {
            let mut wrap = Wrap::new(width);
            let pieces = chars.chunks(n).map(|piece| wrap.push(&piece.iter().collect::<String>()));
            let mut found: String = pieces.collect();
            found += &wrap.finish();
            assert_eq!(found, expected, "in pieces of {n}");
        }
    }

    #[test]
    fn lines_break_between_words_alone() {
        wraps(10, "Once upon a time there was", "Once upon\na time\nthere was");
        wraps(9, "Once upon a time", "Once upon\na time");
        wraps(10, "a\n\n  b", "a\n\n  b");
        wraps(10, "one two   three", "one two\nthree");
        wraps(4, "a word-that-is-long b", "a\nword-that-is-long\nb");
        wraps(10, "", "");
    }

    #[test]
    fn trailing_spaces_are_kept_and_tabs_reach_the_next_stop() {
        wraps(10, "a b ", "a b ");
        wraps(10, "a\tb\tc", "a\tb\nc");
    }

    #[test]
    fn wide_characters_take_two_columns_and_may_break_anywhere() {
        wraps(8, "请编写一篇文章", "请编写一\n篇文章");
        wraps(9, "请编写一篇文章", "请编写一\n篇文章");
        wraps(8, "请编写。一篇", "请编写。\n一篇");
        wraps(8, "请编写一。篇", "请编写\n一。篇");
        wraps(8, "한국어 텍스트", "한국어\n텍스트");
        wraps(8, "GPT模型ab cd", "GPT模型\nab cd");
    }

    #[test]
    fn what_has_no_width_stays_with_what_it_belongs_to() {
        wraps(4, "ne\u{301}e ab", "ne\u{301}e\nab");
        wraps(4, "a👩\u{200d}👧b", "a\n👩\u{200d}👧\nb");
    }
}

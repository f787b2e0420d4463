//! Names that a file made up, as errors and listings show them: one line, no control sequences, not endless.

use std::fmt::{self, Display, Write};

/// Most characters of a name that are shown.
const LONGEST: usize = 120;

/// Shows a name with what a terminal would act on escaped, and cut where it is longer than any real one.
pub(crate) struct Shown<'a>(pub &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(LONGEST) {
            if acts(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        match self.0.chars().count() {
            0..=LONGEST => Ok(()),
            n => write!(f, "… ({n} characters)"),
        }
    }
}

/// Whether `c` moves a cursor, ends a line or turns the direction of what follows.
pub fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_without_control_sequences() {
        assert_eq!(Shown("h.0.attn\u{e9}").to_string(), "h.0.attn\u{e9}");
        assert_eq!(Shown("a\n\x1b[2J\u{202e}b").to_string(), "a\\n\\u{1b}[2J\\u{202e}b");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(Shown(&"x".repeat(LONGEST)).to_string(), "x".repeat(LONGEST));
        let text = Shown(&"x".repeat(1_000_000)).to_string();
        assert!(text.ends_with("x… (1000000 characters)") && text.len() < 200, "{text}");
    }
}

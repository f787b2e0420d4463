//! [`Cover`]: hides what messages say while a template writes a prompt of it, so that no special token is read out of it.
//!
//! A covered character is another one, for private use, which no vocabulary has and no filter changes. White space is never
//! covered, so that a template can trim and split. A template may look for a text in a message, as Qwen's do for `</think>`: what
//! its source names is left as it is, unless it is a special token or a plain word.

use crate::Tokenizer;
use aho_corasick::AhoCorasick;
use serde_json::Value;
use std::collections::HashMap;

/// Roles that a template may write into a special token.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];
/// The first characters of the two planes for private use, and how many each has.
const PLANES: [u32; 2] = [0xf_0000, 0x10_0000];
const PLANE_LEN: usize = 0xfffe;

/// Whether `c` is one that covers others.
pub fn is_cover(c: char) -> bool {
    u32::from(c) >= PLANES[0]
}

/// Which character covers which.
pub struct Cover<'a> {
    tokenizer: &'a Tokenizer,
    /// What the template may look for.
    constants: &'a AhoCorasick,
    /// Covered characters; the place of each is that of what covers it.
    chars: Vec<char>,
    places: HashMap<char, usize>,
}

impl<'a> Cover<'a> {
    pub fn new(tokenizer: &'a Tokenizer, constants: &'a AhoCorasick) -> Self {
        Self { tokenizer, constants, chars: Vec::new(), places: HashMap::new() }
    }

    /// The messages with the special tokens that they spell covered.
    pub fn special_in(&mut self, messages: &[Value]) -> Vec<Value> {
        messages.iter().map(|message| self.value(message, false)).collect()
    }

    /// The messages with everything covered but what the template may look for.
    pub fn all_of(&mut self, messages: &[Value]) -> Vec<Value> {
        messages.iter().map(|message| self.value(message, true)).collect()
    }

    fn value(&mut self, value: &Value, all: bool) -> Value {
        match value {
            Value::String(text) => self.text(text, all).into(),
            Value::Array(list) => list.iter().map(|value| self.value(value, all)).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    let is_role = name == "role" && ROLES.iter().any(|role| value == role);
                    let value = if is_role { value.clone() } else { self.value(value, all) };
                    (name.clone(), value)
                };
                Value::Object(fields.iter().map(field).collect())
            }
            _ => value.clone(),
        }
    }

    fn text(&mut self, text: &str, all: bool) -> String {
        let mut is_covered = vec![all; text.len()];
        if all {
            for found in self.constants.find_overlapping_iter(text) {
                is_covered[found.range()].fill(false);
            }
        }
        for (place, _) in self.tokenizer.special_in(text) {
            is_covered[place].fill(true);
        }
        let cover = |(i, c): (usize, char)| {
            let is_covered = is_covered[i] || is_cover(c);
            if is_covered && !c.is_whitespace() { self.cover(c) } else { c }
        };
        text.char_indices().map(cover).collect()
    }

    /// What covers `c`; itself, once all are taken.
    fn cover(&mut self, c: char) -> char {
        let place = *self.places.entry(c).or_insert_with(|| {
            self.chars.push(c);
            self.chars.len() - 1
        });
        let plane = PLANES.get(place / PLANE_LEN);
        plane.and_then(|plane| char::from_u32(plane + (place % PLANE_LEN) as u32)).unwrap_or(c)
    }

    /// The text without covers.
    pub fn lift(&self, text: &str) -> String {
        let lift = |c: char| {
            let plane = PLANES.iter().rposition(|&plane| u32::from(c) >= plane)?;
            self.chars.get(plane * PLANE_LEN + (u32::from(c) - PLANES[plane]) as usize).copied()
        };
        text.chars().map(|c| lift(c).unwrap_or(c)).collect()
    }
}

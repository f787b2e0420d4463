//! What Jinja2 reads and minijinja does not, put in words that both read.

use std::collections::BTreeSet;

/// The filter that stands for the operator `%` after a string.
pub const PRINTF: &str = "_printf";
/// The function that looks at what a variable is set to.
pub const KEPT: &str = "_kept";
/// How deep formats may stand in formats.
const DEPTH_MAX: usize = 20;

/// The template, where `{% generation %}`, which marks answers for training, is a block like any other, `'%s' % x` calls
/// [`PRINTF`], and what variables and the arguments of macros are set to goes through [`KEPT`].
pub fn as_minijinja(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(start) = text[at..].find('{').map(|start| at + start) {
        written.push_str(&text[at..start]);
        let block = &text[start..];
        let end = match block.as_bytes().get(1) {
            Some(b'%') => end_of_block(block, "%}"),
            Some(b'{') => end_of_block(block, "}}"),
            Some(b'#') => block.find("#}").map_or(block.len(), |end| end + 2),
            _ => 1,
        };
        match block.as_bytes().get(1) {
            Some(b'%') => written.push_str(&statement(&block[..end])),
            Some(b'{') => written.push_str(&formats(&block[..end], 0)),
            _ => written.push_str(&block[..end]),
        }
        at = start + end;
        // What is raw is text, up to the block that ends it.
        if block.starts_with("{%") && tag(&block[..end]) == "raw" {
            let raw = text[at..]
                .find("endraw")
                .map_or(text.len() - at, |len| text[at..at + len].rfind("{%").unwrap_or(len));
            written.push_str(&text[at..at + raw]);
            at += raw;
        }
    }
    written + &text[at..]
}

/// The name of a block `{% name ... %}`.
fn tag(block: &str) -> &str {
    let inside = block[2..].trim_start_matches(['-', '+']).trim_start();
    &inside[..word(inside)]
}

/// A block `{% ... %}`.
fn statement(block: &str) -> String {
    let name = tag(block);
    let close = &block[block.len() - block.len().min(3)..];
    let close = if close.starts_with(['-', '+']) { close } else { "%}" };
    match name {
        "generation" => block.replacen(name, "if true", 1),
        "endgeneration" => block.replacen(name, "endif", 1),
        "set" => match assignment(block) {
            Some(at) => {
                let (to, value) = (&block[..at], &block[at + 1..block.len() - close.len()]);
                // An attribute of a namespace, which must not come to hold itself.
                let name = to[to.find("set").map_or(0, |at| at + 3)..].trim();
                let holder = name.split_once('.').map_or(String::new(), |(holder, _)| format!(", {holder}"));
                format!("{to}= {KEPT}(({}){holder}) {close}", formats(value, 0))
            }
            None => formats(block, 0),
        },
        "macro" => {
            let keep = |name: &str| format!("{{%- set {name} = {KEPT}({name}) {close}");
            formats(block, 0) + &parameters(block).map(keep).collect::<String>()
        }
        _ => formats(block, 0),
    }
}

/// Where the `=` of `{% set x = y %}` stands.
fn assignment(block: &str) -> Option<usize> {
    block.find(['=', '\'', '"', '|']).filter(|&at| block[at..].starts_with('=') && block.ends_with("%}"))
}

/// The parameters of `{% macro name(a, b=1) %}`.
fn parameters(block: &str) -> impl Iterator<Item = &str> {
    let list = block.find('(').map_or("", |start| &block[start..start + brackets(&block[start..])]);
    let list = list.get(1..list.len().saturating_sub(1)).unwrap_or_default();
    let (mut depth, mut is_new, mut at, mut names) = (0, true, 0, Vec::new());
    while at < list.len() {
        let rest = &list[at..];
        match rest.as_bytes()[0] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => is_new = true,
            _ if is_new && word(rest) > 0 => {
                names.push(&rest[..word(rest)]);
                is_new = false;
            }
            _ => {}
        }
        at += literal(rest).map_or_else(|| char_len(rest), str::len);
    }
    names.into_iter()
}

/// Bytes of the name that `text` begins with.
fn word(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// Where a block ends: after the first `close` that is in no string.
fn end_of_block(block: &str, close: &str) -> usize {
    let mut at = 2;
    while let Some(rest) = block.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(close) {
            return at + close.len();
        }
        at += literal(rest).map_or_else(|| char_len(rest), str::len);
    }
    block.len()
}

fn char_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The string literal that `text` begins with.
fn literal(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut is_escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some(&text[..end + 2])
}

/// The text of an expression, where `%` after a string calls [`PRINTF`].
fn formats(text: &str, depth: usize) -> String {
    let (mut written, mut at) = (String::with_capacity(text.len()), 0);
    while at < text.len() {
        let rest = &text[at..];
        let Some(string) = literal(rest) else {
            let len = char_len(rest);
            written.push_str(&rest[..len]);
            at += len;
            continue;
        };
        written.push_str(string);
        at += string.len();
        let after = text[at..].trim_start();
        let argument = after.strip_prefix('%').filter(|rest| !rest.starts_with('}') && depth < DEPTH_MAX);
        if let Some(argument) = argument.map(str::trim_start) {
            let len = operand(argument);
            written.push_str(&format!("|{PRINTF}({})", formats(&argument[..len], depth + 1)));
            at = text.len() - argument.len() + len;
        }
    }
    written
}

/// The bytes of the operand that `text` begins with: a name, a literal or what is in brackets, with what is called, indexed or
/// filtered of it.
fn operand(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let filter = rest.trim_start().strip_prefix('|').filter(|_| at > 0);
        at += match rest.chars().next() {
            Some('(' | '[' | '{') => brackets(rest),
            Some('\'' | '"') => literal(rest).map_or(rest.len(), str::len),
            Some('.') => 1 + word(&rest[1..]),
            Some(c) if at == 0 && (c.is_alphanumeric() || c == '_') => word(rest),
            _ => match filter.map(str::trim_start) {
                Some(name) if word(name) > 0 => rest.len() - name.len() + word(name),
                _ => return at,
            },
        };
    }
}

/// The bytes of the bracket that `text` begins with, its end included.
fn brackets(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        match rest.as_bytes()[0] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += literal(rest).map_or_else(|| char_len(rest), str::len);
        if depth == 0 {
            break;
        }
    }
    at
}

/// The strings that a template may look for: those of its literals that are no plain words.
pub fn constants(text: &str) -> BTreeSet<String> {
    let (mut found, mut at) = (BTreeSet::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        let string = literal(rest).filter(|string| !string.contains('\n'));
        if let Some(string) = string {
            let inner = unescaped(&string[1..string.len() - 1]);
            let inner = inner.trim();
            if inner.chars().any(|c| !c.is_alphanumeric()) {
                found.insert(inner.to_string());
            }
        }
        at += string.map_or_else(|| char_len(rest), str::len);
    }
    found
}

fn unescaped(text: &str) -> String {
    let (mut written, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        written.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    written
}

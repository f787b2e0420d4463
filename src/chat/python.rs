//! Values as Python writes them, which templates rely on: `True` and `None`, `['a']`, and JSON as `json.dumps` has it.

use minijinja::{
    Error, ErrorKind, State,
    value::{Kwargs, Rest, Value, ValueKind},
};
use std::fmt::Write;

/// Most bytes that a value may take in writing.
const LEN_MAX: usize = 16 << 20;
/// How deep lists and dictionaries may nest in it.
const DEPTH_MAX: usize = 200;

/// Python's `str(value)`.
pub fn str(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => {
            let mut out = String::new();
            repr(value, &mut out, 0)?;
            Ok(out)
        }
    }
}

/// Python's `repr(value)`.
fn repr(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    check(out, depth)?;
    let list = |open: &str, close: &str, out: &mut String| -> Result<(), Error> {
        out.push_str(open);
        for (i, item) in value.try_iter()?.enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            repr(&item, out, depth + 1)?;
            if value.kind() == ValueKind::Map {
                out.push_str(": ");
                repr(&value.get_item(&item)?, out, depth + 1)?;
            }
        }
        out.push_str(close);
        Ok(())
    };
    match value.kind() {
        ValueKind::Undefined if depth == 0 => {}
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Map => list("{", "}", out)?,
        ValueKind::Seq if value.is_tuple() => {
            let close = if value.len() == Some(1) { ",)" } else { ")" };
            list("(", close, out)?;
        }
        ValueKind::Seq => list("[", "]", out)?,
        ValueKind::Number => out.push_str(&number(value)),
        _ => write!(out, "{value}").map_err(|_| too_long())?,
    }
    Ok(())
}

/// A number as Python writes it: a float in the fewest digits that give it back, with an exponent below 1e-4 and from 1e16 on.
fn number(value: &Value) -> String {
    let float = f64::try_from(value.clone()).ok().filter(|f| !value.is_integer() && f.is_finite());
    match float {
        Some(float) if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) => {
            let text = format!("{float:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or_default();
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        _ => value.to_string(),
    }
}

/// A string as Python writes it in a list.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// How [`json_filter`] writes.
struct Json {
    item_separator: String,
    key_separator: String,
    indent: Option<String>,
    sort_keys: bool,
    ensure_ascii: bool,
}

/// `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, which is Python's `json.dumps`.
pub fn json_filter(
    state: &mut State,
    value: &Value,
    positional: Rest<Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let argument = |place: usize, name: &str| -> Result<Value, Error> {
        let named = named.get::<Option<Value>>(name)?;
        Ok(named.or(positional.get(place).cloned()).unwrap_or_default())
    };
    let ensure_ascii = argument(0, "ensure_ascii")?.is_true();
    let indent = argument(1, "indent")?;
    let separators = argument(2, "separators")?;
    let sort_keys = argument(3, "sort_keys")?.is_true();
    named.assert_all_used()?;
    let indent = match (indent.as_str(), usize::try_from(indent.clone())) {
        (Some(text), _) => Some(text.to_string()),
        (None, Ok(n)) => Some(" ".repeat(n.min(64))),
        _ => None,
    };
    let mut separators = separators.try_iter().into_iter().flatten().map(|text| text.to_string());
    let item_separator = separators.next().unwrap_or(if indent.is_some() { "," } else { ", " }.into());
    let key_separator = separators.next().unwrap_or(": ".into());
    let json = Json { item_separator, key_separator, indent, sort_keys, ensure_ascii };
    let mut out = String::new();
    json.write(value, &mut out, 0)?;
    state.consume_fuel(out.len() as u64 / 64)?;
    Ok(out)
}

impl Json {
    fn write(&self, value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
        check(out, depth)?;
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items("{}", keys, out, depth, |key, out| {
                    self.string(&json_key(key)?, out);
                    out.push_str(&self.key_separator);
                    self.write(&value.get_item(key)?, out, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect();
                self.items("[]", items, out, depth, |item, out| self.write(item, out, depth + 1))?;
            }
            kind => {
                let text = format!("a value of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::BadSerialization, text));
            }
        }
        Ok(())
    }

    fn items(
        &self,
        brackets: &str,
        items: Vec<Value>,
        out: &mut String,
        depth: usize,
        mut each: impl FnMut(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                (0..depth).for_each(|_| out.push_str(indent));
            }
        };
        out.push_str(&brackets[..1]);
        for (i, item) in items.iter().enumerate() {
            out.push_str(if i > 0 { &self.item_separator } else { "" });
            line(out, depth + 1);
            each(item, out)?;
        }
        if !items.is_empty() {
            line(out, depth);
        }
        out.push_str(&brackets[1..]);
        Ok(())
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || self.ensure_ascii && !matches!(c, ' '..='~') => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn json_key(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::String => Ok(key.to_string()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(Error::new(
            ErrorKind::BadSerialization,
            format!("a key of type {kind} is not JSON serializable"),
        )),
    }
}

fn check(out: &str, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        let text = format!("a value nests deeper than {DEPTH_MAX}");
        return Err(Error::new(ErrorKind::InvalidOperation, text));
    }
    if out.len() > LEN_MAX { Err(too_long()) } else { Ok(()) }
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a value takes more than {LEN_MAX} bytes in writing"))
}

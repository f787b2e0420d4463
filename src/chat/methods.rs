//! Python's methods of strings and dictionaries, those of `minijinja-contrib` and further ones, within limits.

use minijinja::{
    Error, ErrorKind, State,
    formatting::{FormatStyle, format},
    value::{Value, from_args},
};
use minijinja_contrib::pycompat;

/// Widest field of a format.
const WIDTH_MAX: usize = 10_000;

/// Calls a method that Jinja itself does not have.
pub fn call(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => of_text(state, value, text, name, arguments),
        None => pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

fn of_text(
    state: &mut State,
    value: &Value,
    text: &str,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    Ok(match name {
        "format" => formatted(FormatStyle::StrFormat, text, arguments)?.into(),
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "partition" | "rpartition" => {
            let (by,): (&str,) = from_args(arguments)?;
            let parts = match name {
                "partition" => text.split_once(by).map_or([text, "", ""], |(a, b)| [a, by, b]),
                _ => text.rsplit_once(by).map_or(["", "", text], |(a, b)| [a, by, b]),
            };
            minijinja::value::Tuple::new(parts.map(Value::from).to_vec()).into()
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(arguments)?;
            let at = if name == "index" { text.find(part) } else { text.rfind(part) };
            let at = at.ok_or_else(|| failed(format_args!("{part:?} is not in the string")))?;
            text[..at].chars().count().into()
        }
        "ljust" | "rjust" | "center" | "zfill" => padded(text, name, arguments)?.into(),
        "rsplit" => {
            let (by, n): (Option<&str>, Option<i64>) = from_args(arguments)?;
            charge_parts(state, text, by)?;
            rsplit(text, by, n).into_iter().rev().map(Value::from).collect()
        }
        "split" | "splitlines" => {
            let by = arguments.first().and_then(Value::as_str);
            charge_parts(state, text, if name == "split" { by } else { Some("\n") })?;
            pycompat::unknown_method_callback(state, value, name, arguments)?
        }
        _ => pycompat::unknown_method_callback(state, value, name, arguments)?,
    })
}

/// The parts of `text`, from the right, after at most `n` cuts.
fn rsplit<'a>(text: &'a str, by: Option<&str>, n: Option<i64>) -> Vec<&'a str> {
    let n = n.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let Some(by) = by else {
        let (mut parts, mut rest) = (Vec::new(), text.trim_end());
        while parts.len() < n
            && let Some((before, part)) = rest.rsplit_once(char::is_whitespace)
        {
            parts.push(part);
            rest = before.trim_end();
        }
        parts.extend(Some(rest.trim_start()).filter(|rest| !rest.is_empty()));
        return parts;
    };
    text.rsplitn(n.saturating_add(1), by).collect()
}

/// Takes fuel for each part that `text` will have.
fn charge_parts(state: &State, text: &str, by: Option<&str>) -> Result<(), Error> {
    let n = match by {
        Some(by) => text.matches(by).count(),
        None => text.split_whitespace().count(),
    };
    state.consume_fuel(n as u64)
}

fn padded(text: &str, name: &str, arguments: &[Value]) -> Result<String, Error> {
    let (width, fill): (i64, Option<char>) = from_args(arguments)?;
    let width = usize::try_from(width).unwrap_or(0);
    check_width(width)?;
    let (fill, missing) = (fill.unwrap_or(' '), width.saturating_sub(text.chars().count()));
    let pad = |n: usize, fill: char| fill.to_string().repeat(n);
    Ok(match name {
        "ljust" => format!("{text}{}", pad(missing, fill)),
        "rjust" => format!("{}{text}", pad(missing, fill)),
        "zfill" => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{digits}", pad(missing, '0'))
        }
        _ => {
            // As CPython rounds.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", pad(left, fill), pad(missing - left, fill))
        }
    })
}

/// Python's `text % argument`.
pub fn printf(text: &str, argument: &Value) -> Result<String, Error> {
    let several = if argument.is_tuple() { argument.try_iter()?.collect() } else { vec![argument.clone()] };
    formatted(FormatStyle::Printf, text, &several)
}

/// A format with its values, none of them wider than a line may be.
pub fn formatted(style: FormatStyle, text: &str, arguments: &[Value]) -> Result<String, Error> {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().unwrap_or(usize::MAX)).try_for_each(check_width)?;
    if text.contains('*') {
        arguments.iter().filter_map(Value::as_usize).try_for_each(check_width)?;
    }
    format(style, text, arguments)
}

fn check_width(width: usize) -> Result<(), Error> {
    if width <= WIDTH_MAX {
        return Ok(());
    }
    Err(failed(format_args!("a field of {width} characters, expected {WIDTH_MAX} at most")))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

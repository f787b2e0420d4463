//! The format strings of C, as device code prints with them.

use super::{decimal, hexadecimal};

/// Where the arguments of a format come from.
pub trait Arguments {
    /// What goes wrong when they are read.
    type Error;
    /// The next argument, of 4 or 8 bytes.
    fn next(&mut self, bytes: u64) -> Result<u64, Self::Error>;
    /// The bytes at an address up to a zero, `limit` at most; `None` at address 0.
    fn text(&mut self, address: u64, limit: usize) -> Result<Option<Vec<u8>>, Self::Error>;
    /// The format is wrong.
    fn wrong(&self, message: String) -> Self::Error;
}

/// Between `%` and the conversion.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spec {
    /// `-`
    pub left: bool,
    /// `+`
    pub plus: bool,
    /// A space.
    pub space: bool,
    /// `#`
    pub alternative: bool,
    /// `0`
    pub zeros: bool,
    /// The least number of characters.
    pub width: usize,
    /// After the point.
    pub precision: Option<usize>,
    /// Bytes of an integer.
    pub bytes: u32,
}

/// Longest width and precision; longer ones are refused.
const LONGEST: usize = 4096;

/// The text that the format makes of its arguments, and how many it took.
pub fn format<A: Arguments>(format: &[u8], arguments: &mut A) -> Result<(Vec<u8>, u32), A::Error> {
    let mut out = Vec::new();
    let mut taken = 0;
    let mut rest = format;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        out.extend_from_slice(&rest[..at]);
        let spec_text = &rest[at + 1..];
        let (spec, conversion, after) = spec(spec_text, arguments, &mut taken)?;
        rest = after;
        if conversion != b'%' {
            taken += 1;
        }
        convert(&mut out, spec, conversion, arguments)?;
    }
    out.extend_from_slice(rest);
    Ok((out, taken))
}

/// Reads flags, width, precision and size; gives the conversion and what follows it.
fn spec<'f, A: Arguments>(
    text: &'f [u8],
    arguments: &mut A,
    taken: &mut u32,
) -> Result<(Spec, u8, &'f [u8]), A::Error> {
    let mut spec = Spec { bytes: 4, ..Spec::default() };
    let mut rest = text;
    while let Some((&flag, after)) = rest.split_first() {
        match flag {
            b'-' => spec.left = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternative = true,
            b'0' => spec.zeros = true,
            _ => break,
        }
        rest = after;
    }
    let (width, after) = number(rest, arguments, taken)?;
    rest = after;
    if let Some(width) = width {
        spec.left |= width < 0;
        spec.width = width.unsigned_abs() as usize;
    }
    if let Some((b'.', after)) = rest.split_first() {
        let (precision, after) = number(after, arguments, taken)?;
        // A negative one, which can come from an argument alone, counts as none.
        spec.precision = usize::try_from(precision.unwrap_or(0)).ok();
        rest = after;
    }
    if spec.width > LONGEST || spec.precision.is_some_and(|p| p > LONGEST) {
        return Err(arguments.wrong(format!("printf of more than {LONGEST} characters at once")));
    }
    for (size, bytes) in [(&b"hh"[..], 1), (b"h", 2), (b"ll", 8), (b"l", 8), (b"z", 8), (b"j", 8), (b"t", 8)]
    {
        if let Some(after) = rest.strip_prefix(size) {
            (spec.bytes, rest) = (bytes, after);
            break;
        }
    }
    match rest.split_first() {
        Some((&conversion, after)) => Ok((spec, conversion, after)),
        None => Err(arguments.wrong("printf format ends after %".into())),
    }
}

/// A number in digits, or `*` for one from the arguments.
fn number<'f, A: Arguments>(
    text: &'f [u8],
    arguments: &mut A,
    taken: &mut u32,
) -> Result<(Option<i64>, &'f [u8]), A::Error> {
    if let Some((b'*', rest)) = text.split_first() {
        *taken += 1;
        let value = arguments.next(4)? as u32 as i32;
        return Ok((Some(i64::from(value)), rest));
    }
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let digit = |n: i64, &b: &u8| n.saturating_mul(10).saturating_add(i64::from(b - b'0'));
    let value = (digits > 0).then(|| text[..digits].iter().fold(0, digit));
    Ok((value, &text[digits..]))
}

fn convert<A: Arguments>(
    out: &mut Vec<u8>,
    spec: Spec,
    conversion: u8,
    arguments: &mut A,
) -> Result<(), A::Error> {
    match conversion {
        b'%' => out.push(b'%'),
        b'd' | b'i' => {
            let value = sign_extended(arguments.next(u64::from(spec.bytes.max(4)))?, spec.bytes);
            integer(out, spec, sign(spec, value < 0), "", &value.unsigned_abs().to_string());
        }
        b'u' | b'x' | b'X' | b'o' => {
            let value = arguments.next(u64::from(spec.bytes.max(4)))?;
            unsigned(out, spec, conversion, value & (u64::MAX >> (64 - 8 * spec.bytes)));
        }
        b'c' => {
            let byte = arguments.next(4)? as u8;
            pad(out, spec, &[], &[byte], false);
        }
        b's' => {
            let address = arguments.next(8)?;
            let text = arguments.text(address, spec.precision.unwrap_or(usize::MAX))?;
            pad(out, spec, &[], text.as_deref().unwrap_or(b"(null)"), false);
        }
        b'p' => match arguments.next(8)? {
            0 => pad(out, spec, &[], b"(nil)", false),
            address => integer(out, spec, sign(spec, false), "0x", &format!("{address:x}")),
        },
        b'f' | b'F' | b'e' | b'E' | b'g' | b'G' | b'a' | b'A' => {
            let value = f64::from_bits(arguments.next(8)?);
            float(out, spec, conversion, value);
        }
        other => {
            let shown = char::from(other).escape_default();
            return Err(
                arguments.wrong(format!("printf conversion %{shown} is not one of diuoxXcspfFeEgGaA%"))
            );
        }
    }
    Ok(())
}

fn sign_extended(value: u64, bytes: u32) -> i64 {
    let shift = 64 - 8 * bytes;
    ((value << shift) as i64) >> shift
}

fn sign(spec: Spec, negative: bool) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn unsigned(out: &mut Vec<u8>, spec: Spec, conversion: u8, value: u64) {
    let digits = match conversion {
        b'x' => format!("{value:x}"),
        b'X' => format!("{value:X}"),
        b'o' => format!("{value:o}"),
        _ => value.to_string(),
    };
    let prefix = match conversion {
        b'x' if spec.alternative && value != 0 => "0x",
        b'X' if spec.alternative && value != 0 => "0X",
        _ => "",
    };
    let mut spec = spec;
    // `#o` makes the precision long enough for a leading zero.
    if conversion == b'o' && spec.alternative && spec.precision.unwrap_or(1) <= digits.len() {
        // Where no precision was given, the flag `0` still fills the width.
        let filled = if spec.precision.is_none() && spec.zeros && !spec.left { spec.width } else { 0 };
        let least = if value == 0 { 1 } else { digits.len() + 1 };
        spec.precision = Some(least.max(filled));
    }
    integer(out, spec, "", prefix, &digits);
}

fn integer(out: &mut Vec<u8>, spec: Spec, sign: &str, prefix: &str, digits: &str) {
    let digits = match spec.precision {
        Some(0) if digits == "0" => String::new(),
        Some(p) => "0".repeat(p.saturating_sub(digits.len())) + digits,
        None => digits.to_string(),
    };
    let before = [sign, prefix].concat();
    pad(out, spec, before.as_bytes(), digits.as_bytes(), spec.precision.is_none());
}

fn float(out: &mut Vec<u8>, spec: Spec, conversion: u8, value: f64) {
    let upper = conversion.is_ascii_uppercase();
    let sign = sign(spec, value.is_sign_negative());
    let magnitude = value.abs();
    let (prefix, text) = match conversion.to_ascii_lowercase() {
        _ if value.is_nan() => ("", "nan".to_string()),
        _ if value.is_infinite() => ("", "inf".to_string()),
        b'f' => ("", decimal::fixed(magnitude, spec.precision.unwrap_or(6), spec.alternative)),
        b'e' => ("", decimal::scientific(magnitude, spec.precision.unwrap_or(6), spec.alternative)),
        b'g' => ("", decimal::general(magnitude, spec.precision.unwrap_or(6), spec.alternative)),
        _ => ("0x", hexadecimal::text(magnitude, spec.precision, spec.alternative)),
    };
    let before = [sign, prefix].concat();
    let (before, text) = match upper {
        true => (before.to_ascii_uppercase(), text.to_ascii_uppercase()),
        false => (before, text),
    };
    pad(out, spec, before.as_bytes(), text.as_bytes(), value.is_finite());
}

/// Appends `before` and `text`, filled up to the width: with zeros between them if `may_zero` and the flag say so.
fn pad(out: &mut Vec<u8>, spec: Spec, before: &[u8], text: &[u8], may_zero: bool) {
    let fill = spec.width.saturating_sub(before.len() + text.len());
    let blanks = |out: &mut Vec<u8>, byte| out.resize(out.len() + fill, byte);
    if spec.left {
        out.extend([before, text].concat());
        blanks(out, b' ');
    } else if spec.zeros && may_zero {
        out.extend(before);
        blanks(out, b'0');
        out.extend(text);
    } else {
        blanks(out, b' ');
        out.extend([before, text].concat());
    }
}

//! The body of a request: JSON that is exactly one object, of which only the fields that somebody asks for are built.
//!
//! Stricter than serde_json's own maps in one thing: a key that occurs twice is refused, so that nobody can disagree about which
//! one counts. A field is at most 128 deep and [`VALUES_MAX`] large; the others are skipped, and their names are known at the end.
//! Errors name the field, what was found and what was expected: serde's derived structs name neither the field nor a range, and
//! with `flatten`, which would collect the other fields, they build all of them.

mod value;

use super::error::ApiError;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};
use std::{cell::Cell, collections::BTreeMap, fmt, ops::RangeInclusive};

/// Most bytes of a key: no field is called anything longer.
const KEY_LEN_MAX: usize = 256;
/// Most fields of a body.
const FIELDS_MAX: usize = 256;
/// Most values in one field, where an object counts as eight: a few dozen bytes of memory for each.
const VALUES_MAX: usize = 140_000;

/// A JSON object of a client.
pub struct Fields<'a>(BTreeMap<String, Field<'a>>);

struct Field<'a> {
    text: &'a RawValue,
    was_read: Cell<bool>,
}

impl<'a> Fields<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        if body.trim_ascii_start().first().is_some_and(|&byte| byte != b'{') {
            return Err(ApiError::invalid("the body is not a JSON object"));
        }
        let invalid = |error| ApiError::invalid(format_args!("the body is not valid JSON: {error}"));
        let mut parser = serde_json::Deserializer::from_slice(body);
        let fields = parser.deserialize_map(FieldsVisitor).map_err(invalid)?;
        parser.end().map_err(invalid)?;
        Ok(Self(fields))
    }

    /// A field; `null` counts as absent.
    pub fn get(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let Some(field) = self.0.get(name) else { return Ok(None) };
        field.was_read.set(true);
        let value = value::parse(field.text.get(), VALUES_MAX)
            .map_err(|error| ApiError::param(name, format_args!("{name} is not acceptable: {error}")))?;
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// The fields that nobody asked for.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, field)| !field.was_read.get()).map(|(name, _)| name.as_str())
    }

    /// A whole number, however it is written.
    pub fn integer(&self, name: &str, range: RangeInclusive<i128>) -> Result<Option<i128>, ApiError> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let found = whole(&value).filter(|n| range.contains(n));
        found.map(Some).ok_or_else(|| {
            wrong(name, &value, format_args!("a whole number between {} and {}", range.start(), range.end()))
        })
    }

    /// A number that `accepts` holds of.
    pub fn number(
        &self,
        name: &str,
        expected: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let found = value.as_f64().filter(|&x| accepts(x));
        found.map(|x| Some(x as f32)).ok_or_else(|| wrong(name, &value, format_args!("a number {expected}")))
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(value) => Err(wrong(name, &value, "true or false")),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(wrong(name, &value, "a string")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, ApiError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(value) => Err(wrong(name, &value, "an object")),
        }
    }

    /// A list.
    pub fn list(&self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(value) => Err(wrong(name, &value, "a list")),
        }
    }

    /// Fails where a field is there and not `accepted`.
    pub fn refuse(&self, name: &str, accepted: impl Fn(&Value) -> bool, why: &str) -> Result<(), ApiError> {
        match self.get(name)? {
            Some(value) if !accepted(&value) => {
                Err(ApiError::unsupported(name, format_args!("{name} is not supported: {why}")))
            }
            _ => Ok(()),
        }
    }
}

/// `name` is `value`, which is not `expected`.
pub fn wrong(name: &str, value: &Value, expected: impl fmt::Display) -> ApiError {
    ApiError::param(name, format_args!("{name} must be {expected}, not {}", shown(value)))
}

/// The whole number that `value` is, `4.0` among them: larger ones than a float holds exactly have no other spelling.
pub fn whole(value: &Value) -> Option<i128> {
    let is_exact = |x: &f64| x.fract() == 0.0 && x.abs() <= (1_u64 << f64::MANTISSA_DIGITS) as f64;
    let float = || value.as_f64().filter(is_exact).map(|x| x as i128);
    value.as_u64().map(Into::into).or(value.as_i64().map(Into::into)).or_else(float)
}

/// A value as a message shows it: scalars that are short, and else what it is.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 40 => format!("a string of {} bytes", text.len()),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        scalar => scalar.to_string(),
    }
}

/// Finds where each field is, and builds none.
struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = BTreeMap<String, Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            check_key(&key, fields.contains_key(&key))?;
            if fields.len() == FIELDS_MAX {
                return Err(A::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
            }
            let text = entries.next_value()?;
            fields.insert(key, Field { text, was_read: Cell::new(false) });
        }
        Ok(fields)
    }
}

/// Fails where a key is too long, or was there before.
fn check_key<E: Error>(key: &str, was_there: bool) -> Result<(), E> {
    if key.len() > KEY_LEN_MAX {
        let text = format_args!("a key of {} bytes, expected at most {KEY_LEN_MAX}", key.len());
        return Err(E::custom(text));
    }
    if was_there {
        return Err(E::custom(format_args!("the key {key:?} occurs twice")));
    }
    Ok(())
}

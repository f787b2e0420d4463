//! The body of a request: JSON that is exactly one object, with every field checked for type and range.
//!
//! Stricter than serde_json's own maps in one thing: a key that occurs twice is refused, so that nobody can disagree about which
//! one counts. Its depth is serde_json's, 128. Errors name the field, what was found and what was expected.

use super::error::ApiError;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{fmt, ops::RangeInclusive};

/// Most bytes of a key: no field is called anything longer.
const KEY_LEN_MAX: usize = 256;

/// A JSON object of a client.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Strict(Value::Object(map))) => Ok(Self(map)),
            Ok(_) => Err(ApiError::invalid("the body is not a JSON object")),
            Err(error) => Err(ApiError::invalid(format_args!("the body is not valid JSON: {error}"))),
        }
    }

    /// A field; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A whole number.
    pub fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = value.as_u64().filter(|n| range.contains(n));
        found.map(Some).ok_or_else(|| {
            wrong(name, value, format_args!("a whole number between {} and {}", range.start(), range.end()))
        })
    }

    /// A number that `accepts` holds of.
    pub fn number(
        &self,
        name: &str,
        expected: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = value.as_f64().filter(|&x| accepts(x));
        found.map(|x| Some(x as f32)).ok_or_else(|| wrong(name, value, format_args!("a number {expected}")))
    }

    /// True or false; absent is false.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(wrong(name, value, "true or false")),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(wrong(name, value, "a string")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(value) => Err(wrong(name, value, "an object")),
        }
    }

    /// A list.
    pub fn list(&self, name: &str) -> Result<Option<&[Value]>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(value) => Err(wrong(name, value, "a list")),
        }
    }

    /// Fails where a field is there and not `accepted`.
    pub fn refuse(&self, name: &str, accepted: impl Fn(&Value) -> bool, why: &str) -> Result<(), ApiError> {
        match self.get(name) {
            Some(value) if !accepted(value) => {
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

/// A value as a message shows it: scalars that are short, and else what it is.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 40 => format!("a string of {} bytes", text.len()),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        scalar => scalar.to_string(),
    }
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Self)
    }
}

struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        // The parser refuses what does not fit.
        Ok(Number::from_f64(x).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(StrictSeed)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key.len() > KEY_LEN_MAX {
                let text = format_args!("a key of {} bytes, expected at most {KEY_LEN_MAX}", key.len());
                return Err(A::Error::custom(text));
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} occurs twice")));
            }
            map.insert(key, entries.next_value_seed(StrictSeed)?);
        }
        Ok(Value::Object(map))
    }
}

//! A JSON value of limited size in which no object has a key twice.

use super::check_key;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// What an object counts as: its table is that much larger than a value.
const OBJECT_WEIGHT: usize = 8;

/// The value that `text` is, of at most `n_max` values.
pub fn parse(text: &str, n_max: usize) -> Result<Value, serde_json::Error> {
    let (mut parser, mut n_left) = (serde_json::Deserializer::from_str(text), n_max);
    let value = Limited { n_left: &mut n_left, n_max }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// Builds a value, and counts.
struct Limited<'a> {
    n_left: &'a mut usize,
    n_max: usize,
}

impl Limited<'_> {
    /// One value inside this one.
    fn inner(&mut self) -> Limited<'_> {
        Limited { n_left: self.n_left, n_max: self.n_max }
    }

    fn take<E: Error>(&mut self, n: usize) -> Result<(), E> {
        let too_many = || E::custom(format_args!("more than {} values", self.n_max));
        *self.n_left = self.n_left.checked_sub(n).ok_or_else(too_many)?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Limited<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        self.take(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Limited<'_> {
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(self.inner())? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.take(OBJECT_WEIGHT - 1)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            check_key(&key, map.contains_key(&key))?;
            let value = entries.next_value_seed(self.inner())?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

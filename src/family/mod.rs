//! Whose checkpoint it is: config.json and tensor names of a family -> [`Config`] and the list of [`Slot`]s.
//!
//! A family is one file that maps names and fields, and one row of `FAMILIES`; everything else knows roles alone.
//! Called by the loader before any weights are read: every field that changes the result is honoured or refused by name.
//! Tested in `tests/malformed_config.rs` and `tests/formats.rs`.

mod error;
mod fields;
mod generation;
pub(crate) mod gpt2;
mod slot;

pub use error::{ConfigError, ConfigProblem};
pub(crate) use fields::Fields;
pub use generation::GenerationConfig;
pub use slot::{Layout, Param, Role, Slot};

use crate::config::Config;
use serde_json::{Map, Value};

/// How the checkpoints of one family spell a decoder.
pub(crate) struct Family {
    /// What config.json calls it.
    pub model_type: &'static str,
    /// What its exports put before a tensor's name, any number of them.
    pub prefixes: &'static [&'static str],
    /// What layers are numbered under: `h.` in `h.0.ln_1.weight`.
    pub layers: &'static str,
    /// The decoder that config.json describes.
    pub config: fn(&Fields) -> Result<Config, ConfigProblem>,
    /// How the matrices of linear layers are stored, by the shape of any tensor.
    pub layout: fn(&Config, &ShapeOf) -> Layout,
    /// The tensors of a model, in the order of the forward pass.
    pub slots: fn(&Config, Layout) -> Vec<Slot>,
    /// A config.json with every field that the model depends on, in the family's words; the source's is there to be
    /// written on.
    pub write: fn(&Config, &mut Map<String, Value>),
    /// The full name of a tensor in a checkpoint that is written.
    pub full_name: fn(&Slot) -> String,
}

/// The shape of the tensor of a name, where the checkpoint has it.
pub(crate) type ShapeOf<'a> = dyn Fn(&str) -> Option<&'a [usize]> + 'a;

/// The families that run. The first is that of a config.json without `model_type`.
pub(crate) const FAMILIES: &[&Family] = &[&gpt2::FAMILY];

/// A config.json, read.
pub(crate) struct Description {
    /// Whose it is.
    pub family: &'static Family,
    /// What it describes.
    pub config: Config,
    /// The file, to be written on.
    pub json: Map<String, Value>,
}

impl Description {
    /// Parses and checks the bytes of a config.json.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        Self::read(text).map_err(|problem| ConfigError { file: "config.json", problem })
    }

    fn read(text: &[u8]) -> Result<Self, ConfigProblem> {
        let fields = Fields::parse(text)?;
        let family = find(&fields)?;
        Ok(Self { family, config: (family.config)(&fields)?, json: fields.into_json() })
    }
}

/// The decoder that a config.json describes.
pub fn parse_config(text: &[u8]) -> Result<Config, ConfigError> {
    Ok(Description::parse(text)?.config)
}

fn find(fields: &Fields) -> Result<&'static Family, ConfigProblem> {
    let model_type = fields.text("model_type", FAMILIES[0].model_type)?;
    FAMILIES.iter().find(|family| family.model_type == model_type).copied().ok_or_else(|| {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
        ConfigProblem::Unsupported {
            key: "model_type",
            found: format!("{model_type:?}"),
            expected: names.join(", "),
        }
    })
}

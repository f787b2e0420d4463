//! What `/set` changes: the parameters of `generate` under the names of their options, read as the command line reads
//! them.

use super::TurnError;
use crate::cli::{
    exit::Failure,
    sampling::{EndArgs, SamplingArgs, default_sampling, generate_params},
};
use clap::{CommandFactory, Parser};
use halfwarp::{engine::GenerateParams, sampler::SamplingParams};
use std::{fmt::Debug, path::PathBuf};

/// Tokens in an answer unless something else is asked for: an early GPT-2 rarely ends a text by itself.
const MAX_TOKENS: &str = "128";

/// Everything that can be changed between answers.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_arg("max_tokens", |arg| arg.default_value(MAX_TOKENS).help("Generate at most N tokens in each answer")))]
#[command(mut_arg("seed", |arg| arg.help("Seed of the random choices [default: another one for each answer]")))]
#[command(mut_arg("ctx_size", |arg| arg.help("Use at most N tokens of the model's context [default: all of it]")))]
pub struct Settings {
    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    end: EndArgs,

    /// What stands for sampling values that are not set.
    #[arg(skip = default_sampling())]
    pub default: SamplingParams,

    /// When the context is full, go on with the last half of the text instead of stopping
    #[arg(long, help_heading = "Session")]
    pub context_shift: bool,

    /// Write times and speeds to standard error after each answer
    #[arg(long, help_heading = "Session")]
    pub stats: bool,
}

/// A setting as a command line of its own.
#[derive(Debug, clap::Parser)]
#[command(name = "/set", no_binary_name = true, disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// One setting.
struct Setting {
    /// The option's name.
    name: &'static str,
    /// Takes the value over from other settings; a list grows by theirs.
    add: fn(&mut Settings, &Settings),
    /// Takes the value over from other settings.
    replace: fn(&mut Settings, &Settings),
    show: fn(&Settings) -> String,
}

macro_rules! table {
    ($($name:literal: $($field:ident).+;)*) => {
        &[$(Setting {
            name: $name,
            add: |to, from| to.$($field).+.add(&from.$($field).+),
            replace: |to, from| to.$($field).+.clone_from(&from.$($field).+),
            show: |settings| settings.$($field).+.show(),
        }),*]
    };
}

const TABLE: &[Setting] = table! {
    "temperature": sampling.temperature;
    "top-k": sampling.top_k;
    "top-p": sampling.top_p;
    "min-p": sampling.min_p;
    "typical-p": sampling.typical_p;
    "repetition-penalty": sampling.repetition_penalty;
    "presence-penalty": sampling.presence_penalty;
    "frequency-penalty": sampling.frequency_penalty;
    "no-repeat-ngram-size": sampling.no_repeat_ngram_size;
    "logit-bias": sampling.logit_bias;
    "ban": sampling.ban;
    "ban-file": sampling.ban_file;
    "seed": sampling.seed;
    "max-tokens": end.max_tokens;
    "min-tokens": end.min_tokens;
    "stop": end.stop;
    "stop-token-id": end.stop_token_id;
    "ignore-eos": end.ignore_eos;
    "ctx-size": end.ctx_size;
    "context-shift": context_shift;
    "stats": stats;
};

/// The names of the settings.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|setting| setting.name)
}

impl Settings {
    /// Whether answers can be generated with these.
    pub fn check(&self) -> Result<(), Failure> {
        self.sampling.banned().map(drop)
    }

    /// The parameters of one answer, with a seed of its own unless one is set.
    pub fn params(&self) -> Result<GenerateParams, TurnError> {
        generate_params(&self.sampling, &self.end, &self.default)
            .map_err(|failure| TurnError::Settings(failure.to_string()))
    }

    /// Tokens of the context that are used, where not all are.
    pub fn ctx_size(&self) -> Option<usize> {
        self.end.ctx_size
    }

    /// Sets `name` to `value`, or adds it to a list; without a value puts the default back. Returns the new state, or
    /// what is wrong, as the command line puts it.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<String, String> {
        let name = match name.trim_start_matches('-').replace('_', "-").as_str() {
            "temp" => "temperature".to_string(),
            name => name.to_string(),
        };
        let setting = TABLE
            .iter()
            .find(|setting| setting.name == name)
            .ok_or_else(|| format!("there is no setting {name:?}; /set lists them"))?;
        let given = Line::parse_one(&name, value)?;
        let mut changed = self.clone();
        let apply = if value.is_some() { setting.add } else { setting.replace };
        apply(&mut changed, &given);
        changed.check().map_err(|failure| failure.to_string())?;
        *self = changed;
        Ok(format!("{name} {}", (setting.show)(&self.filled())))
    }

    /// These, with the defaults of what is not set.
    fn filled(&self) -> Self {
        Self { sampling: self.sampling.filled(&self.default), ..self.clone() }
    }

    /// All settings, one a line.
    pub fn show(&self) -> String {
        let filled = self.filled();
        let line = |setting: &Setting| format!("{:21} {}", setting.name, (setting.show)(&filled));
        TABLE.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Line {
    /// The defaults, but for one setting that has a value.
    fn parse_one(name: &str, value: Option<&str>) -> Result<Settings, String> {
        let option = match (value, Self::is_switch(name)) {
            (None, _) | (Some("off"), true) => None,
            (Some("on"), true) => Some(format!("--{name}")),
            (Some(value), true) => return Err(format!("{name} is on or off, found {value:?}")),
            (Some(value), false) => Some(format!("--{name}={value}")),
        };
        Self::try_parse_from(option).map(|line| line.settings).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{name} is {:?}, {why}", value.unwrap_or_default())
        })
    }

    fn is_switch(name: &str) -> bool {
        let command = Self::command();
        command.get_arguments().any(|arg| arg.get_long() == Some(name) && !arg.get_action().takes_values())
    }
}

/// A value that can be set and shown.
trait Value: Clone {
    fn show(&self) -> String;

    /// Takes `other` over; a list grows by it.
    fn add(&mut self, other: &Self) {
        self.clone_from(other);
    }
}

macro_rules! plain {
    ($($type:ty)*) => {
        $(impl Value for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
}

plain! { f32 u64 usize }

impl Value for PathBuf {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for bool {
    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or("default".to_string(), Value::show)
    }
}

impl<T: Clone + Debug> Value for Vec<T> {
    fn show(&self) -> String {
        if self.is_empty() { "none".to_string() } else { format!("{self:?}") }
    }

    fn add(&mut self, other: &Self) {
        self.extend_from_slice(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Settings {
        Line::parse_one("top-p", None).unwrap()
    }

    #[test]
    fn every_option_is_a_setting() {
        let command = Line::command();
        let options: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        let mut names: Vec<_> = names().collect();
        for option in options {
            let at = names.iter().position(|&name| name == option);
            names.remove(at.unwrap_or_else(|| panic!("--{option} cannot be set")));
        }
        assert_eq!(names, [""; 0], "settings that are no options");
    }

    #[test]
    fn values_are_those_of_the_command_line() {
        let mut settings = defaults();
        assert_eq!(settings.set("top-p", Some("0.5")).unwrap(), "top-p 0.5");
        assert_eq!(settings.set("--temp", Some("0")).unwrap(), "temperature 0");
        assert_eq!(settings.set("top_p", None).unwrap(), "top-p 0.95");
        assert_eq!(settings.set("max-tokens", None).unwrap(), format!("max-tokens {MAX_TOKENS}"));
        assert_eq!(settings.set("ignore-eos", Some("on")).unwrap(), "ignore-eos on");
        assert_eq!(settings.set("ignore-eos", Some("off")).unwrap(), "ignore-eos off");
        let error = settings.set("temperature", Some("101")).unwrap_err();
        assert_eq!(error, "temperature is \"101\", expected a number from 0 to 100");
        assert!(settings.set("stats", Some("5")).unwrap_err().contains("on or off"));
        assert!(settings.set("model", Some("x")).unwrap_err().contains("no setting"));
        assert!(settings.set("ban-file", Some("/no/such/file")).unwrap_err().contains("/no/such/file"));
        assert_eq!(settings.sampling.ban_file, None);
        assert_eq!(settings.sampling.temperature, Some(0.0), "errors change nothing");
    }

    #[test]
    fn the_models_values_are_the_defaults_of_what_is_not_set() {
        let mut settings = defaults();
        settings.default = SamplingParams { temperature: 0.5, top_k: 7, ..default_sampling() };
        assert!(settings.show().contains("temperature           0.5\ntop-k                 7\ntop-p"));
        assert_eq!(settings.set("top-k", Some("9")).unwrap(), "top-k 9");
        let sampling = settings.params().unwrap().sampling;
        assert_eq!((sampling.temperature, sampling.top_k, sampling.top_p), (0.5, 9, 0.95));
        assert_eq!(settings.set("top-k", None).unwrap(), "top-k 7");
    }

    #[test]
    fn lists_grow_until_they_are_put_back() {
        let mut settings = defaults();
        settings.set("stop", Some("\\n")).unwrap();
        assert_eq!(settings.set("stop", Some(" The")).unwrap(), "stop [\"\\n\", \" The\"]");
        assert_eq!(settings.set("stop", None).unwrap(), "stop none");
        assert_eq!(settings.set("logit-bias", Some("5=-100")).unwrap(), "logit-bias [(5, -100.0)]");
    }
}

//! The Jinja of chat templates, as transformers sets it up: what is there to be called, and how much work may be done.

use super::{
    TemplateError,
    cover::is_cover,
    methods::{self, formatted},
    python::{self, json_filter},
    rewrite,
};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use minijinja::{
    Environment, Error, ErrorKind, State,
    formatting::FormatStyle,
    syntax::SyntaxConfig,
    tests::is_sameas,
    value::{Rest, Serde, Value, ValueKind},
};
use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

/// Most bytes of a template: five times the longest in use.
const SOURCE_MAX: usize = 128 << 10;
/// Work that a template may do: one for a step, and one for 64 bytes that it reads or writes.
const FUEL: u64 = 1_000_000;
/// Time that a template may take, whatever it does with its work.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Stack for a template: what nests in its source nests there.
const STACK_LEN: usize = 128 << 20;
/// Longest format of a date.
const DATE_FORMAT_MAX: usize = 200;
/// How deep a value that is kept may nest, and how many others may be in it.
const KEPT_DEPTH: usize = 100;
const KEPT_LEN: usize = 100_000;

/// A template that is parsed.
pub struct Source {
    environment: Arc<Environment<'static>>,
    constants: AhoCorasick,
}

impl Source {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > SOURCE_MAX {
            return Err(TemplateError::SourceTooLong { n_bytes: text.len(), limit: SOURCE_MAX });
        }
        if let Some(c) = text.chars().find(|&c| is_cover(c)) {
            return Err(TemplateError::Jinja(format!("{c:?} is for private use")));
        }
        let text = text.to_string();
        apart(move || {
            let mut environment = environment()?;
            let text = rewrite::as_minijinja(&text);
            let constants = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::NoncontiguousNFA))
                .build(rewrite::constants(&text))
                .map_err(failed)?;
            environment.add_template_owned("chat", text)?;
            Ok(Self { environment: Arc::new(environment), constants })
        })
    }

    /// What the template may look for in a message.
    pub fn constants(&self) -> &AhoCorasick {
        &self.constants
    }

    /// What the template writes.
    pub fn render(
        &self,
        context: serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, TemplateError> {
        let environment = self.environment.clone();
        apart(move || environment.get_template("chat")?.render(Serde(&context)))
    }
}

/// Calls `call` on a thread of its own, whose stack holds what nests. One that is not done in time is left alone.
fn apart<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, TemplateError> {
    let (done, outcome) = mpsc::channel();
    // Nobody waits where the time is up.
    let call = move || drop(done.send(call()));
    let thread = std::thread::Builder::new().name("template".into()).stack_size(STACK_LEN).spawn(call);
    thread.map_err(|error| TemplateError::Jinja(format!("it has no thread: {error}")))?;
    match outcome.recv_timeout(TIME_MAX) {
        Ok(outcome) => outcome.map_err(|error| TemplateError::Jinja(error.to_string())),
        Err(RecvTimeoutError::Timeout) => Err(TemplateError::TooSlow { limit: TIME_MAX }),
        Err(RecvTimeoutError::Disconnected) => Err(TemplateError::Jinja("it panicked".into())),
    }
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| {
        let text = python::str(value)?;
        state.consume_fuel(text.len() as u64 / 64)?;
        out.write_str(&text).map_err(Error::from)
    });
    environment.set_unknown_method_callback(methods::call);
    minijinja_contrib::add_to_environment(&mut environment);
    environment.add_filter("tojson", json_filter);
    environment.add_filter("string", python::str);
    environment.add_filter(rewrite::PRINTF, methods::printf);
    environment.add_filter("format", |text: &str, arguments: Rest<Value>| {
        formatted(FormatStyle::Printf, text, &arguments)
    });
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function(rewrite::KEPT, kept);
    environment
        .add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    environment
        .add_function("raise_exception", |message: String| -> Result<String, Error> { Err(failed(message)) });
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

fn strftime_now(format: &str) -> Result<String, Error> {
    if format.len() > DATE_FORMAT_MAX {
        let text =
            format_args!("a date's format of {} bytes, expected {DATE_FORMAT_MAX} at most", format.len());
        return Err(failed(text));
    }
    jiff::fmt::strtime::format(format, &jiff::ZonedDateTime::now()).map_err(failed)
}

/// The value of a variable, or of an attribute of `holder`, unless so much is in it that nobody could look at all of it, or its
/// holder.
fn kept(state: &State, value: Value, holder: Option<Value>) -> Result<Value, Error> {
    let mut n = 0;
    check_kept(&value, holder.as_ref(), 0, &mut n)?;
    state.consume_fuel(n as u64 / 8)?;
    Ok(value)
}

fn check_kept(value: &Value, holder: Option<&Value>, depth: usize, n: &mut usize) -> Result<(), Error> {
    *n += 1;
    if holder.is_some_and(|holder| is_sameas(value, holder)) {
        return Err(failed("a namespace would hold itself"));
    }
    if depth > KEPT_DEPTH || *n > KEPT_LEN {
        let text = format_args!(
            "a variable holds a value that nests deeper than {KEPT_DEPTH} or has more than {KEPT_LEN} others in it"
        );
        return Err(failed(text));
    }
    let is_map = value.kind() == ValueKind::Map;
    if !is_map && !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    for item in value.try_iter()? {
        if is_map {
            check_kept(&value.get_item(&item)?, holder, depth + 1, n)?;
        } else {
            check_kept(&item, holder, depth + 1, n)?;
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

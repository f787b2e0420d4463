//! The results as llama-bench writes them, with bytes per second beside.

use super::{
    super::{
        exit::Failure,
        footprint::Footprint,
        machine,
        output::{self, Out, bytes, count},
    },
    measure::{Samples, Test},
};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// How results are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    /// A Markdown table
    Md,
    /// Comma-separated values
    Csv,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
}

/// What was measured.
pub struct Model {
    /// What to call it.
    pub name: String,
    /// What it weighs.
    pub footprint: Footprint,
}

/// One test's results.
pub struct Record {
    /// The test.
    pub test: Test,
    /// Its times.
    pub samples: Samples,
    /// Threads that ran it.
    pub n_threads: usize,
    /// Bytes a second that these threads read from memory.
    pub read_rate: f64,
    /// That rate is the peak of a GPU's memory, not measured.
    pub is_peak: bool,
    /// What a token reads stays in the caches, so memory sets no bound.
    pub is_cached: bool,
    /// What ran it.
    pub backend: String,
}

impl Record {
    /// Mean and standard deviation of tokens a second.
    pub fn token_rate(&self) -> (f64, f64) {
        self.samples.stats(|seconds| self.test.n_tokens() as f64 / seconds)
    }

    /// Bytes a second that decoding reads; a prompt reads each weight once for many tokens, so bytes say little of it.
    pub fn byte_rate(&self, model: &Model) -> Option<f64> {
        let bytes = model.footprint.bytes_at(self.test.mean_context());
        self.test.is_decode().then(|| self.token_rate().0 * bytes)
    }

    /// The share of the bound that memory sets, if it sets one.
    fn share(&self, model: &Model) -> Option<f64> {
        Some(self.byte_rate(model)? / self.read_rate).filter(|_| !self.is_cached)
    }

    fn fields(&self, model: &Model) -> Map<String, Value> {
        let (avg_ts, stddev_ts) = self.token_rate();
        let (avg_ns, stddev_ns) = self.samples.stats(|seconds| seconds * 1e9);
        let whole = |x: f64| x.round() as u64;
        let rate = self.byte_rate(model);
        let value = json!({
            "build_commit": concat!("v", env!("CARGO_PKG_VERSION")),
            "build_number": 0,
            "cpu_info": machine::cpu_name().unwrap_or_default(),
            "gpu_info": "",
            "backends": self.backend,
            "model_filename": model.name,
            "model_type": format!("{} {}", model.name, model.footprint.dtype),
            "model_size": model.footprint.bytes,
            "model_n_params": model.footprint.n_params,
            "n_threads": self.n_threads,
            "type_k": "f32",
            "type_v": "f32",
            "n_prompt": self.test.n_prompt,
            "n_gen": self.test.n_gen,
            "n_depth": self.test.depth,
            "test_time": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "avg_ns": whole(avg_ns),
            "stddev_ns": whole(stddev_ns),
            "avg_ts": avg_ts,
            "stddev_ts": stddev_ts,
            "samples_ns": self.samples.0.iter().map(|s| whole(s * 1e9)).collect::<Vec<_>>(),
            "samples_ts": self.samples.0.iter().map(|s| self.test.n_tokens() as f64 / s).collect::<Vec<_>>(),
            "bytes_per_token": self.test.is_decode().then(|| whole(model.footprint.bytes_at(self.test.mean_context()))),
            "avg_gb_s": rate.map(|r| r / 1e9),
            "read_gb_s": self.read_rate / 1e9,
            "percent_of_read": self.share(model).map(|share| 100.0 * share),
        });
        match value {
            Value::Object(fields) => fields,
            _ => unreachable!("the macro makes an object"),
        }
    }

    /// What memory gives to these threads.
    fn footnote(&self) -> String {
        let (rate, n_threads) = (self.read_rate / 1e9, self.n_threads);
        let threads = if n_threads == 1 { "1 thread".into() } else { format!("{n_threads} threads") };
        match (self.is_peak, self.is_cached) {
            (true, _) => format!("read: {rate:.1} GB/s, the peak of the GPU's memory"),
            (_, false) => format!("read: {rate:.1} GB/s, {threads} over memory and nothing else"),
            (_, true) => format!(
                "read: {rate:.1} GB/s, {threads} over memory and nothing else; the weights stay in the caches, so it is no bound"
            ),
        }
    }

    fn row(&self, model: &Model) -> [String; 9] {
        let (mean, deviation) = self.token_rate();
        let rate = self.byte_rate(model);
        [
            format!("{} {}", model.name, model.footprint.dtype),
            bytes(model.footprint.bytes),
            count(model.footprint.n_params),
            self.backend.clone(),
            self.n_threads.to_string(),
            self.test.to_string(),
            format!("{mean:.2} ± {deviation:.2}"),
            rate.map_or(String::new(), |r| format!("{:.1}", r / 1e9)),
            self.share(model).map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
        ]
    }
}

const HEADINGS: [&str; 9] =
    ["model", "size", "params", "backend", "threads", "test", "t/s", "GB/s", "of read"];

/// Writes `records` to standard output.
pub fn print(format: Format, model: &Model, records: &[Record]) -> Result<(), Failure> {
    let fields = records.iter().map(|r| r.fields(model));
    match format {
        Format::Json => output::print_json(&Value::Array(fields.map(Value::Object).collect())),
        Format::Jsonl => {
            let mut out = Out::new();
            fields.map(Value::Object).try_for_each(|record| out.line(record))?;
            out.flush()
        }
        Format::Csv => csv(fields),
        Format::Md => markdown(model, records),
    }
}

/// Text columns to the left, numbers to the right, as wide as they need to be.
fn markdown(model: &Model, records: &[Record]) -> Result<(), Failure> {
    let rows: Vec<[String; 9]> = records.iter().map(|r| r.row(model)).collect();
    let width = |c: usize| {
        let cells = rows.iter().map(|row| row[c].chars().count());
        cells.chain([HEADINGS[c].len()]).max().unwrap_or(0)
    };
    let is_text = |c: usize| matches!(c, 0 | 3);
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = (0..HEADINGS.len()).map(cell).collect();
        format!("| {} |", cells.join(" | "))
    };
    let pad = |c: usize, text: &str| match is_text(c) {
        true => format!("{text:<width$}", width = width(c)),
        false => format!("{text:>width$}", width = width(c)),
    };
    let mut out = Out::new();
    out.line(line(&|c| pad(c, HEADINGS[c])))?;
    out.line(line(&|c| match is_text(c) {
        true => "-".repeat(width(c)),
        false => "-".repeat(width(c) - 1) + ":",
    }))?;
    for row in &rows {
        out.line(line(&|c| pad(c, &row[c])))?;
    }
    out.line("")?;
    for records in records.chunk_by(|a, b| a.n_threads == b.n_threads) {
        out.line(records[0].footnote())?;
    }
    out.flush()
}

/// All fields but the lists of samples.
fn csv(records: impl Iterator<Item = Map<String, Value>>) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fail = |e: csv::Error| Failure::because("cannot write CSV", e);
    let mut headed = false;
    for record in records {
        let fields = record.iter().filter(|(_, value)| !value.is_array());
        let (names, values): (Vec<&String>, Vec<String>) =
            fields.map(|(name, value)| (name, cell(value))).unzip();
        if !std::mem::replace(&mut headed, true) {
            writer.write_record(names).map_err(fail)?;
        }
        writer.write_record(values).map_err(fail)?;
    }
    let bytes = writer.into_inner().map_err(|e| Failure::because("cannot write CSV", e))?;
    let mut out = Out::new();
    out.write(String::from_utf8_lossy(&bytes))?;
    out.flush()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_bound_only_of_what_does_not_stay_in_the_caches() {
        let weights = halfwarp::Source::Bundled.weights(&Default::default()).unwrap();
        let model = Model { name: "tales".into(), footprint: Footprint::of(&weights) };
        let record = |is_cached| Record {
            test: Test { n_prompt: 0, n_gen: 4, depth: 0 },
            samples: Samples(vec![0.5]),
            n_threads: 2,
            read_rate: 4.0 * model.footprint.bytes_at(2.0) * 8.0,
            is_peak: false,
            is_cached,
            backend: "CPU".into(),
        };
        assert!(record(false).row(&model)[8].ends_with(" %"));
        assert!(record(false).fields(&model)["percent_of_read"].is_number());
        assert_eq!(record(true).row(&model)[8], "");
        assert!(record(true).fields(&model)["percent_of_read"].is_null());
        assert!(!record(false).footnote().contains("caches") && record(true).footnote().contains("caches"));
    }
}

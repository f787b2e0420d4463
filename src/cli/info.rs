//! `halfwarp info`: what is in a model, and what this machine offers it.

use super::{
    exit::{Failure, one_line},
    footprint::Footprint,
    machine,
    model::ModelArgs,
    output::{self, Out, bytes, count},
};
use halfwarp::{Config, Tokenizer, backend, source};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

const AFTER_HELP: &str = "\
Examples:
  halfwarp info
  halfwarp info --model gpt2 --bandwidth
  halfwarp info --json | jq .model.kv_bytes_per_token";

/// Show what is in a model, and what this machine offers it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Measure how fast the memory is read: takes a second or two
    #[arg(long)]
    bandwidth: bool,

    /// Write one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// Everything that is shown.
struct Info {
    name: String,
    config: Config,
    footprint: Footprint,
    tokenizer: Option<Tokenizer>,
    stored: source::Info,
    device: String,
    cuda: Result<String, String>,
    n_threads: usize,
    bandwidth: Option<f64>,
    /// What a token reads stays in the caches.
    is_cached: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let source = args.model.weights.source.source()?;
    let (weights, tokenizer) = source.load(&args.model.weights.options())?;
    let n_threads = args.model.device.threads.unwrap_or_else(machine::n_cores);
    let footprint = Footprint::of(&weights);
    let bandwidth = args.bandwidth.then(|| machine::read_bandwidth(n_threads)).transpose()?;
    let is_cached = bandwidth.map(|rate| machine::fits_in_cache(n_threads, footprint.bytes_per_token, rate));
    let info = Info {
        name: args.model.weights.source.name(),
        config: weights.config.clone(),
        footprint,
        tokenizer,
        stored: source.info()?,
        cuda: backend::cuda_device(0),
        device: args.model.backend(weights)?.name(),
        n_threads,
        bandwidth,
        is_cached: is_cached.transpose()?.unwrap_or(false),
    };
    if args.json { output::print_json(&info.to_json()) } else { info.print() }
}

impl Info {
    fn print(&self) -> Result<(), Failure> {
        let mut out = Out::new();
        out.line("model")?;
        self.model_lines().into_iter().try_for_each(|(name, value)| out.line(row(name, &value)))?;
        out.line("machine")?;
        self.machine_lines().into_iter().try_for_each(|(name, value)| out.line(row(name, &value)))?;
        out.flush()
    }

    fn model_lines(&self) -> Vec<(&'static str, String)> {
        let (c, f) = (&self.config, &self.footprint);
        let tokenizer = match &self.tokenizer {
            Some(tokenizer) => format!("{} tokens", tokenizer.n_vocab()),
            None => "none: token ids only".into(),
        };
        let cache = f.kv_bytes_per_token * c.n_ctx as u64;
        vec![
            ("name", self.name.clone()),
            ("parameters", count(f.n_params)),
            ("layers", format!("{}", c.n_layer)),
            ("heads", format!("{} of {}", c.attn.n_head, c.attn.head_dim)),
            ("width", format!("{}, MLP {}", c.n_embd, c.mlp.n_inner)),
            ("vocabulary", format!("{}", c.n_vocab)),
            ("context", format!("{} tokens", c.n_ctx)),
            ("activation", format!("{:?}", c.mlp.activation)),
            ("tokenizer", tokenizer),
            ("generation", self.generation()),
            ("files", self.files()),
            ("weights", format!("{} in {}, used as {}", self.stored_dtypes(), bytes(f.bytes), f.dtype)),
            (
                "per token",
                format!(
                    "{} of weights read, {} of keys and values kept",
                    bytes(f.bytes_per_token),
                    bytes(f.kv_bytes_per_token)
                ),
            ),
            ("full cache", bytes(cache)),
            ("memory", format!("{} with one full context", bytes(f.bytes + cache))),
        ]
    }

    /// The weights files with their sizes, and what in them is no part of the model.
    fn files(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let files: Vec<String> = self
            .stored
            .weights_files
            .iter()
            .map(|(path, n)| format!("{} {}", name(path), bytes(*n)))
            .collect();
        let ignored = match self.stored.ignored.len() {
            0 => String::new(),
            n => format!(", {n} tensors ignored"),
        };
        match &files[..] {
            [] => "compiled into the program".into(),
            _ => files.join(", ") + &ignored,
        }
    }

    fn stored_dtypes(&self) -> String {
        let dtypes: Vec<&str> = self.stored.dtypes.iter().map(|total| total.dtype.as_str()).collect();
        dtypes.join(" and ")
    }

    fn machine_lines(&self) -> Vec<(&'static str, String)> {
        let unknown = || std::env::consts::ARCH.to_string();
        let mut lines = vec![
            ("CPU", machine::cpu_name().unwrap_or_else(unknown)),
            ("features", machine::cpu_features().join(" ")),
            ("cores", format!("{}, {} threads used", machine::n_cores(), self.n_threads)),
            ("CUDA", self.cuda.clone().unwrap_or_else(|reason| reason)),
            ("runs on", self.device.clone()),
        ];
        if let Some(bandwidth) = self.bandwidth {
            let bound = bandwidth / self.footprint.bytes_per_token as f64;
            lines.push(("bandwidth", format!("{:.1} GB/s with {} threads", bandwidth / 1e9, self.n_threads)));
            lines.push(match self.is_cached {
                true => ("bound", "none: the weights stay in the caches".into()),
                false => ("bound", format!("{bound:.0} tok/s if every token reads its weights from memory")),
            });
        }
        lines
    }

    /// The sampling values of generation_config.json.
    fn generation(&self) -> String {
        let values = self.stored.generation.values();
        let texts: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
        if texts.is_empty() { "no values of its own".into() } else { texts.join(", ") }
    }

    fn to_json(&self) -> Value {
        let (c, f) = (&self.config, &self.footprint);
        json!({
            "model": {
                "name": self.name,
                "n_params": f.n_params,
                "n_layer": c.n_layer,
                "n_head": c.attn.n_head,
                "n_embd": c.n_embd,
                "n_inner": c.mlp.n_inner,
                "n_vocab": c.n_vocab,
                "n_ctx": c.n_ctx,
                "activation": format!("{:?}", c.mlp.activation),
                "tie_word_embeddings": c.tied,
                "tokenizer_n_vocab": self.tokenizer.as_ref().map(Tokenizer::n_vocab),
                "dtype": f.dtype,
                "stored_dtypes": self.stored.dtypes.iter().map(|t| &t.dtype).collect::<Vec<_>>(),
                "weights_files": self.stored.weights_files.iter().map(|(p, _)| p).collect::<Vec<_>>(),
                "generation": self.stored.generation.values().into_iter().collect::<BTreeMap<_, _>>(),
                "eos_token_ids": c.eos_token_ids,
                "ignored_tensors": self.stored.ignored,
                "bytes": f.bytes,
                "bytes_per_token": f.bytes_per_token,
                "kv_bytes_per_token": f.kv_bytes_per_token,
            },
            "machine": {
                "cpu": machine::cpu_name(),
                "arch": std::env::consts::ARCH,
                "features": machine::cpu_features(),
                "n_cores": machine::n_cores(),
                "n_threads": self.n_threads,
                "device": self.device,
                "cuda": self.cuda.as_ref().ok(),
                "no_cuda_because": self.cuda.as_ref().err(),
                "read_bandwidth": self.bandwidth,
            },
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:11} {}", one_line(value))
}

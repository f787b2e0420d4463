//! Which model, on what: the arguments that the commands share, and the model they open.

use super::{exit::Failure, footprint::Footprint, machine, output::note};
use halfwarp::{
    Config, Engine, EngineOptions, Source, Weights,
    backend::{self, Backend, Device, OpenOptions},
    source::cache::ModelId,
    weights::LoadOptions,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    ffi::OsString,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Which model.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct SourceArgs {
    /// A folder, a weights file, or a name on the Hugging Face hub, which is downloaded unless it is in the cache [default: the small bundled model]
    #[arg(short, long, env = "HALFWARP_MODEL", value_name = "MODEL")]
    pub model: Option<OsString>,
}

impl SourceArgs {
    /// Finds the model.
    pub fn source(&self) -> Result<Source, Failure> {
        match &self.model {
            None => Ok(Source::Bundled),
            Some(name) => match name.to_str() {
                Some(name) => super::download::source(name),
                None => Ok(Source::Folder(name.into())),
            },
        }
    }

    /// What to call the model.
    pub fn name(&self) -> String {
        self.names().swap_remove(0)
    }

    /// The names of the model: a name on the hub, whole and without its organisation, or that of the folder.
    pub fn names(&self) -> Vec<String> {
        let Some(name) = &self.model else { return vec!["tales".into()] };
        let path = Path::new(name);
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let id = match folder.filter(|_| path.exists()).map(Path::canonicalize) {
            Some(Ok(folder)) => match ModelId::of_snapshot(&folder) {
                Some(id) => id.name,
                None => return vec![folder.file_name().unwrap_or(name).to_string_lossy().into_owned()],
            },
            _ => match name.to_str().and_then(ModelId::parse) {
                Some(id) => id.name,
                None => return vec![name.to_string_lossy().into_owned()],
            },
        };
        let short = id.split_once('/').map(|(_, name)| name.to_string());
        [id].into_iter().chain(short).collect()
    }
}

/// How weights are read.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Load {
    #[default]
    Map,
    Read,
}

/// Which weights, and how to read them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct WeightsArgs {
    #[command(flatten)]
    pub source: SourceArgs,

    /// How to read the weights: map the file, or read it into memory, in huge pages where the system has them: decode on a CPU is
    /// then up to 1.3x faster, and the file may change
    #[arg(long, env = "HALFWARP_LOAD", value_name = "HOW", default_value = "map")]
    pub load: Load,

    /// Accept weights that are NaN or infinite
    #[arg(long, env = "HALFWARP_ALLOW_NONFINITE", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_nonfinite: bool,
}

impl WeightsArgs {
    /// How to read the weights.
    pub fn options(&self) -> LoadOptions {
        LoadOptions { read: matches!(self.load, Load::Read), allow_nonfinite: self.allow_nonfinite }
    }
}

/// The device and its threads.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Where to run: auto, cpu, cuda or cuda:N
    #[arg(short, long, env = "HALFWARP_DEVICE", value_name = "DEVICE", default_value = "auto")]
    pub device: Device,

    /// Threads of the CPU backend [default: one per core]
    #[arg(short, long, env = "HALFWARP_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = parse_threads)]
    pub threads: Option<usize>,
}

/// Most threads that can be asked for.
const MAX_THREADS: usize = 1024;

/// Parses a number of threads.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=MAX_THREADS).contains(n))
        .ok_or_else(|| format!("expected a whole number in 1..={MAX_THREADS}"))
}

/// A model on a device.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub weights: WeightsArgs,

    #[command(flatten)]
    pub device: DeviceArgs,
}

impl ModelArgs {
    /// Loads the model and puts it on the device, with a KV cache for one text.
    pub fn open(&self) -> Result<Model, Failure> {
        self.open_with(None, |config| config.n_ctx)
    }

    /// Loads the model and puts it on the device, for texts of at most `n_ctx` tokens where that is fewer than the model's
    /// context, with a KV cache of as many tokens as `n_cache` says.
    pub fn open_with(
        &self,
        n_ctx: Option<usize>,
        n_cache: impl FnOnce(&Config) -> usize,
    ) -> Result<Model, Failure> {
        let started = Instant::now();
        machine::note_threads(self.device.threads.unwrap_or(0));
        let source = self.weights.source.source()?;
        let load = self.weights.options();
        let (mut weights, tokenizer) = source.load(&load)?;
        if let Some(n_ctx) = n_ctx {
            let n_ctx = n_ctx.min(weights.config.n_ctx);
            weights.config.limit_context(n_ctx).map_err(halfwarp::Error::from)?;
        }
        let footprint = Footprint::of(&weights);
        if let Some(notice) = weights.notice() {
            note(format_args!("note: {notice}"));
        }
        let options = EngineOptions {
            device: self.device.device,
            threads: self.device.threads,
            n_ctx: None,
            n_cache: Some(n_cache(&weights.config)),
            load,
        };
        let engine = with_progress(|progress| Engine::of(weights, tokenizer, &options, progress))?;
        Ok(Model {
            engine,
            name: self.weights.source.name(),
            source,
            footprint,
            load_time: started.elapsed(),
        })
    }

    /// Puts `weights` on the device.
    pub fn backend(&self, weights: Weights) -> Result<Box<dyn Backend>, Failure> {
        let n_cache = weights.config.n_ctx;
        let options = OpenOptions { device: self.device.device, threads: self.device.threads, n_cache };
        open_backend(Arc::new(weights), options)
    }
}

/// Puts `weights` on a device, with a progress bar where that takes a copy.
pub fn open_backend(weights: Arc<Weights>, options: OpenOptions) -> Result<Box<dyn Backend>, Failure> {
    with_progress(|progress| Ok(backend::open(weights, options, progress)?))
}

/// Calls `open` with a progress bar, which shows once something is copied.
fn with_progress<T>(open: impl FnOnce(&mut backend::Progress) -> halfwarp::Result<T>) -> Result<T, Failure> {
    let style = ProgressStyle::with_template("uploading [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = style.into_iter().fold(ProgressBar::no_length(), ProgressBar::with_style);
    let opened = open(&mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    Ok(opened?)
}

/// A model that is ready to run.
pub struct Model {
    /// Runs it.
    pub engine: Engine,
    /// What to call it.
    pub name: String,
    /// Where it was found.
    pub source: Source,
    /// What it weighs.
    pub footprint: Footprint,
    /// From the start of loading to the first possible call.
    pub load_time: Duration,
}

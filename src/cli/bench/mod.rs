//! `halfwarp bench`: how fast a model runs, in llama-bench's terms.

mod measure;
mod plot;
mod report;
mod shape;

use super::{
    exit::Failure,
    footprint::Footprint,
    machine,
    model::{WeightsArgs, open_backend, parse_threads},
    output::note,
};
use halfwarp::{
    Weights,
    backend::{Device, OpenOptions},
};
use indicatif::{ProgressBar, ProgressStyle};
use measure::{Bench, Test};
use report::{Format, Model, Record};
use shape::Shape;
use std::{path::PathBuf, sync::Arc};

const AFTER_HELP: &str = "\
Every list, such as -p 128,512, gives one test per item; with -d and -t, one per combination. A test is repeated -r \
times after a warm-up. Like llama-bench it times forward calls alone: no tokenizing, no sampling, random token ids. \
Before anything is timed, a prompt in one call and the same prompt token by token must give the same bits.

GB/s counts the weights and the cached keys and values that decoding reads; `of read` compares it with the rate at which \
the same threads read memory and do nothing else, where the weights do not stay in the caches; on a GPU, with its memory's peak. There a token is drawn on the device, and it \
alone comes back.

Examples:
  halfwarp bench                                       the bundled model
  halfwarp bench --random gpt2 -p 512 -n 128           the shape of GPT-2 124M, without a download
  halfwarp bench --random 12x12x768 -d 0,256,512 -o json
  halfwarp bench --model gpt2 --plot speed.svg";

/// Measure how fast a model runs
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Prompt lengths; 0 for none
    #[arg(short = 'p', long, value_name = "N,...", value_delimiter = ',', default_value = "512")]
    n_prompt: Vec<usize>,

    /// Numbers of tokens to generate; 0 for none
    #[arg(short = 'n', long, value_name = "N,...", value_delimiter = ',', default_value = "128")]
    n_gen: Vec<usize>,

    /// A prompt and the tokens after it, timed together; can be given several times
    #[arg(long = "pg", value_name = "P,N", value_parser = parse_pair)]
    prompt_and_gen: Vec<(usize, usize)>,

    /// Tokens that are cached before a test starts
    #[arg(short = 'd', long = "n-depth", alias = "depth", value_name = "N,...", value_delimiter = ',')]
    #[arg(default_value = "0")]
    depth: Vec<usize>,

    /// Times that each test is repeated
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repetitions: u32,

    /// Do not warm up
    #[arg(long)]
    no_warmup: bool,

    /// What to write
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    output: Format,

    /// Draw decode speed over context depth, beside the bound that memory sets, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// Random weights in the shape of gpt2, gpt2-medium, gpt2-large, gpt2-xl or LAYERSxHEADSxWIDTH
    #[arg(long, value_name = "SHAPE", conflicts_with = "model")]
    random: Option<Shape>,

    #[command(flatten)]
    weights: WeightsArgs,

    /// Where to run: auto, cpu, cuda or cuda:N
    #[arg(long, env = "HALFWARP_DEVICE", value_name = "DEVICE", default_value = "auto")]
    device: Device,

    /// Threads of the CPU backend, as a list [default: one per core]
    #[arg(short, long, env = "HALFWARP_THREADS", value_name = "N,...", value_delimiter = ',')]
    #[arg(value_parser = parse_threads)]
    threads: Vec<usize>,
}

fn parse_pair(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(',').and_then(|(p, n)| Some((p.parse().ok()?, n.parse().ok()?)));
    pair.ok_or_else(|| "expected two numbers, as in 512,128".to_string())
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let (name, weights) = match &args.random {
        Some(shape) => (format!("{shape} (random)"), Weights::random(shape.config()?, 0)),
        None => (args.weights.source.name(), args.weights.source.source()?.weights(&args.weights.options())?),
    };
    let weights = Arc::new(weights);
    let n_ctx = weights.config.n_ctx;
    let tests = args.tests(n_ctx);
    if let Some(test) = tests.iter().find(|test| test.n_positions() > n_ctx) {
        let what = format!("test {test} takes {} positions, the model has {n_ctx}", test.n_positions());
        return Err(Failure::because("cannot run the benchmark", what));
    }
    if tests.is_empty() {
        return Err(Failure::because("nothing to measure", "-p and -n are 0, and there is no --pg"));
    }
    let model = Model { name, footprint: Footprint::of(&weights) };

    let threads = match &args.threads[..] {
        [] => vec![machine::n_cores()],
        threads => threads.to_vec(),
    };
    machine::note_threads(threads.iter().copied().max().unwrap_or(0));
    let bar = progress_bar(threads.len() * tests.len() * args.repetitions as usize);
    let mut records = Vec::new();
    for &n_threads in &threads {
        let n_cache = weights.config.n_ctx;
        let options = OpenOptions { device: args.device, threads: Some(n_threads), n_cache };
        let backend = open_backend(weights.clone(), options)?;
        bar.set_message("measuring the memory");
        let peak = backend.peak_bandwidth();
        let read_rate = match peak {
            Some(peak) => peak,
            None => machine::read_bandwidth(n_threads)?,
        };
        let n_bytes = model.footprint.bytes_per_token;
        let is_cached = peak.is_none() && machine::fits_in_cache(n_threads, n_bytes, read_rate)?;
        let mut bench = Bench::new(backend)?;
        bench.verify()?;
        for &test in &tests {
            bar.set_message(format!("{test}, {n_threads} threads"));
            let samples = bench.run(test, args.repetitions, !args.no_warmup, || bar.inc(1))?;
            records.push(Record {
                test,
                samples,
                n_threads,
                read_rate,
                is_peak: peak.is_some(),
                is_cached,
                backend: bench.backend_name(),
            });
        }
    }
    bar.finish_and_clear();
    report::print(args.output, &model, &records)?;
    if let Some(path) = &args.plot {
        plot::draw(path, &model, &records)?;
        note(format_args!("wrote {}", path.display()));
    }
    Ok(())
}

impl Args {
    /// All tests, in the order of the report. A plot needs several depths: without `-d` they are spread over the context.
    fn tests(&self, n_ctx: usize) -> Vec<Test> {
        let prompts = self.n_prompt.iter().map(|&n| (n, 0));
        let gens = self.n_gen.iter().map(|&n| (0, n));
        let n_most = self.n_gen.iter().copied().max().unwrap_or(0);
        let spread = |i: usize| n_ctx.saturating_sub(n_most) * i / 8;
        let depths = match &self.depth[..] {
            [0] if self.plot.is_some() => (0..=8).map(spread).collect(),
            depths => depths.to_vec(),
        };
        prompts
            .chain(gens)
            .chain(self.prompt_and_gen.iter().copied())
            .filter(|&(p, n)| p + n > 0)
            .flat_map(|(n_prompt, n_gen)| depths.iter().map(move |&depth| Test { n_prompt, n_gen, depth }))
            .filter(|test| !(self.plot.is_some() && test.n_prompt > 0 && test.depth > 0))
            .collect()
    }
}

/// Hidden where standard error is no terminal.
fn progress_bar(n_runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}");
    ProgressBar::new(n_runs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

//! `halfwarp serve`: answers requests over HTTP.

use super::{
    exit::Failure,
    log::{Log, LogFormat},
    model::{Model, ModelArgs},
    output::note,
    sampling::{ModelDefaults, parse_ctx_size},
    shutdown::Shutdown,
};
use clap::builder::FalseyValueParser;
use halfwarp::{
    Config, Scheduler,
    chat::{Template, TemplateError},
    scheduler::SchedulerOptions,
    server::{self, Limits, Server, ServerError, ServerOptions, Size},
};
use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};
use tokio::sync::oneshot;

const AFTER_HELP: &str = "\
Endpoints: /v1/completions, /v1/chat/completions and /v1/models as OpenAI has them; /tokenize, /detokenize, /health, \
/ready, /metrics. Every answer but those of /health and /ready needs a key, where there are any. TLS is a proxy's task. \
SIGTERM and Ctrl-C let the answers under way end, for as long as --drain-timeout says; the second one ends the program at once.

Examples:
  halfwarp serve
  halfwarp serve --model gpt2 --port 8000 --parallel 32
  halfwarp serve --model gpt2 --host 0.0.0.0 --api-key-file keys.txt --log-format json";

/// KV cache that is taken where nobody says how much, beyond one context.
const CACHE_BYTES: usize = 1 << 30;
/// Connections beside those of the texts, where nobody says how many: for what is no text, and for telling that there is no place.
const N_RESERVED: u32 = 64;
/// Threads that parse and tokenize.
const N_BLOCKING: usize = 4;

/// Answer requests over HTTP, in the shapes of OpenAI's API
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    address: AddressArgs,

    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    load: LoadArgs,

    /// How the log is written, one line a request, to standard error
    #[arg(long, env = "HALFWARP_LOG_FORMAT", value_name = "FORMAT", default_value = "plain")]
    log_format: LogFormat,

    /// Use at most N tokens of the model's context for a text, prompt included [default: all of it]
    #[arg(short, long, env = "HALFWARP_CTX_SIZE", value_name = "N", allow_negative_numbers = true, value_parser = parse_ctx_size, help_heading = "Model")]
    ctx_size: Option<usize>,

    #[command(flatten)]
    model_defaults: ModelDefaults,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
struct AddressArgs {
    /// Address to listen on: a name or a number
    #[arg(long, env = "HALFWARP_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "HALFWARP_PORT", value_name = "PORT", default_value_t = 8080)]
    port: u16,

    /// Name that clients call the model; repeatable, the first one is shown [default: the model's own, with and
    /// without its organisation]
    #[arg(
        long,
        visible_alias = "alias",
        env = "HALFWARP_SERVED_MODEL_NAME",
        value_name = "NAME",
        value_delimiter = ','
    )]
    served_model_name: Vec<String>,

    /// Chat template in Jinja: a file, or the text itself [default: the model's own]
    #[arg(long, env = "HALFWARP_CHAT_TEMPLATE", value_name = "FILE_OR_TEXT")]
    chat_template: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// Key that clients must send as `Authorization: Bearer KEY`; repeatable. Other users of this machine can see it: better in
    /// the environment or a file
    #[arg(long, env = "HALFWARP_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Vec<String>,

    /// File of keys, one per line
    #[arg(long, env = "HALFWARP_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Listen without a key where other machines can connect
    #[arg(long, env = "HALFWARP_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    insecure_no_auth: bool,

    /// Name that clients may use in `Host`, beside the server's own; repeatable
    #[arg(long, env = "HALFWARP_ALLOWED_HOST", value_name = "HOST", value_delimiter = ',')]
    allowed_host: Vec<String>,

    /// Origin of web pages that may ask, such as https://example.org; repeatable
    #[arg(long, env = "HALFWARP_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = parse_origin)]
    cors_origin: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Most texts that are computed at once
    #[arg(long, env = "HALFWARP_PARALLEL", value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,

    /// Most texts that wait; more are answered with status 503
    #[arg(long, env = "HALFWARP_MAX_QUEUE", value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_queue: u32,

    /// Tokens that the KV cache holds [default: as many contexts as are in parallel, up to 1 GiB; at least one]
    #[arg(long, env = "HALFWARP_N_CACHE", value_name = "TOKENS")]
    n_cache: Option<usize>,

    /// Seconds that an answer may take
    #[arg(long, env = "HALFWARP_TIMEOUT", value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,

    /// Seconds that the answers under way may take after the first SIGTERM or Ctrl-C
    #[arg(long, env = "HALFWARP_DRAIN_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u32))]
    drain_timeout: u32,

    /// Most connections at once [default: one for each text that is computed or waits, and 64]
    #[arg(long, env = "HALFWARP_MAX_CONNECTIONS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
}

impl LoadArgs {
    /// Connections at once: with fewer than one for each text, nobody would be told that the queue is full.
    fn n_connections(&self) -> usize {
        let n = self.max_connections.unwrap_or(u32::from(self.parallel) + self.max_queue + N_RESERVED);
        n as usize
    }
}

fn parse_origin(text: &str) -> Result<String, String> {
    let is_origin = text
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*']));
    if is_origin { Ok(text.into()) } else { Err("expected an origin, such as https://example.org".into()) }
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let options = args.options()?;
    let address = args.address.resolve()?;
    let log = Log::start(args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(N_BLOCKING)
        .enable_all()
        .build()
        .map_err(|e| Failure::because("cannot start the server's threads", e))?;
    let outcome = runtime.block_on(serve(args, address, options));
    // A model that is still being loaded does not hold up the end.
    runtime.shutdown_background();
    log.finish();
    outcome
}

async fn serve(args: Args, address: SocketAddr, options: ServerOptions) -> Result<(), Failure> {
    let shutdown = Shutdown::watch()?;
    let server = Server::bind(address, options)?;
    note(format_args!("listening on http://{}", server.address()));
    let (loader, (done, loaded)) = (server.loader(), oneshot::channel());
    // The last handle of the model would wait for the call that is under way, which on a device that hangs has no end.
    std::mem::forget(server.loader());
    let loading = move || {
        // Nobody waits for it where the program ends.
        let _ = done.send(args.load().map(|model| loader.load(model)));
    };
    std::thread::Builder::new()
        .name("loader".into())
        .spawn(loading)
        .map_err(|e| Failure::because("cannot start a thread", e))?;
    let failed = async {
        match loaded.await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Message("the model could not be loaded".into()),
        }
    };
    tokio::select! {
        outcome = server.run(shutdown.requested()) => Ok(outcome?),
        failure = failed => Err(failure),
    }
}

impl Args {
    fn options(&self) -> Result<ServerOptions, Failure> {
        Ok(ServerOptions {
            model_names: self.names(),
            api_keys: self.access.keys()?,
            insecure_no_auth: self.access.insecure_no_auth,
            allowed_hosts: self.access.allowed_host.clone(),
            cors_origins: self.access.cors_origin.clone(),
            limits: Limits {
                n_connections: self.load.n_connections(),
                answer_time: Duration::from_secs(self.load.timeout.into()),
                drain_time: Duration::from_secs(self.load.drain_timeout.into()),
                ..Limits::default()
            },
        })
    }

    /// What the model is called.
    fn names(&self) -> Vec<String> {
        let given = &self.address.served_model_name;
        if given.is_empty() { self.model.weights.source.names() } else { given.clone() }
    }

    /// Loads the model, and starts the scheduler that runs it.
    fn load(&self) -> Result<server::Model, Failure> {
        let n_running = usize::from(self.load.parallel);
        let n_cache = |config: &Config| self.load.n_cache.unwrap_or_else(|| n_cache(config, n_running));
        let Model { engine, footprint, load_time, source, .. } =
            self.model.open_with(self.ctx_size, n_cache)?;
        let sampling = self.model_defaults.sampling(server::default_sampling(), &source)?;
        let template = Template::open(self.address.chat_template.as_deref(), source.folder());
        match &template {
            Ok(_) | Err(TemplateError::Missing) => {}
            // What somebody asked for is not left out.
            Err(error) if self.address.chat_template.is_some() => {
                return Err(Failure::Message(error.to_string()));
            }
            Err(error) => note(format_args!("warning: {error}; requests for chat are refused")),
        }
        let options = SchedulerOptions {
            n_running,
            n_waiting: self.load.max_queue as usize,
            ..SchedulerOptions::default()
        };
        let size = Size { n_params: footprint.n_params, n_bytes: footprint.bytes };
        let model = server::Model::new(Scheduler::new(engine, options)?, template, size);
        let model = model.with_sampling(sampling);
        let (device, name) = (model.device(), self.names().swap_remove(0));
        note(format_args!("{name} is ready on {device} after {:.2} s", load_time.as_secs_f64()));
        Ok(model)
    }
}

/// Contexts for all texts at once, as far as they fit into [`CACHE_BYTES`]; the scheduler makes do with one.
fn n_cache(config: &Config, n_running: usize) -> usize {
    let n_fitting = CACHE_BYTES / config.kv_bytes_per_token().max(1);
    (n_running * config.n_ctx).min(n_fitting).max(config.n_ctx)
}

impl AddressArgs {
    fn resolve(&self) -> Result<SocketAddr, Failure> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok((ip, self.port).into());
        }
        let found = (host, self.port).to_socket_addrs().map(|mut addresses| addresses.next());
        let unknown =
            |why: &dyn std::fmt::Display| Failure::because(format_args!("--host {}", self.host), why);
        found.map_err(|e| unknown(&e))?.ok_or_else(|| unknown(&"has no address"))
    }
}

impl AccessArgs {
    fn keys(&self) -> Result<Vec<String>, Failure> {
        let mut keys = self.api_key.clone();
        if let Some(path) = &self.api_key_file {
            let text = std::fs::read_to_string(path).map_err(|e| Failure::because(path.display(), e))?;
            let n_before = keys.len();
            keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string));
            if keys.len() == n_before {
                return Err(Failure::because(path.display(), "there is no key in it"));
            }
        }
        Ok(keys)
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Message(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfwarp::config::Attn;

    #[test]
    fn the_cache_holds_a_context_for_each_text_as_far_as_there_is_memory() {
        let tales = halfwarp::Source::Bundled.weights(&Default::default()).unwrap().config;
        assert_eq!(n_cache(&tales, 16), 16 * 512);
        let attn = Attn { n_head: 25, head_dim: 64, scale: vec![0.125; 48] };
        let xl = Config { n_ctx: 1024, n_embd: 1600, n_layer: 48, attn, ..tales };
        let n = n_cache(&xl, 16);
        assert!((1024..4096).contains(&n), "{n} tokens of {} bytes", xl.kv_bytes_per_token());
        assert_eq!(n_cache(&Config { n_ctx: 1 << 20, ..xl }, 1), 1 << 20);
    }

    #[test]
    fn there_is_a_connection_for_each_text_unless_somebody_says_how_many() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            load: LoadArgs,
        }
        for (line, n) in [
            ("", 16 + 256 + 64),
            ("--parallel 300 --max-queue 1000", 1364),
            ("--parallel 300 --max-connections 7", 7),
        ] {
            let line =
                <Line as clap::Parser>::parse_from(std::iter::once("serve").chain(line.split_whitespace()));
            assert_eq!(line.load.n_connections(), n);
        }
    }

    #[test]
    fn origins_are_exact() {
        assert!(parse_origin("https://example.org").is_ok() && parse_origin("http://localhost:3000").is_ok());
        for bad in ["*", "example.org", "https://", "https://*.example.org", "https://example.org/", "null"] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }
}

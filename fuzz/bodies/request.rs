//! A body of any content to any of the paths that take one: an answer, or an error that names what is wrong.
//!
//! Input: which path (one byte), the body.

#[path = "../../tests/server/client.rs"]
#[allow(dead_code)]
mod client;

use client::{Answer, Connection, request};
use halfwarp::{
    Config, Engine, EngineOptions, Scheduler, Source, Tokenizer,
    backend::{self, Backend, Device, Logits},
    batch::Batch,
    cache::{KvCache, PAGE_LEN},
    chat::Template,
    scheduler::SchedulerOptions,
    server::{Model, Server, ServerOptions, Size},
};
use std::{cell::RefCell, net::SocketAddr, sync::LazyLock};

const PATHS: [&str; 4] = ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"];

/// Every token is as likely as every other: what a body asks for counts, and not what is answered.
struct Flat {
    config: Config,
    rows: Vec<f32>,
}

impl Backend for Flat {
    fn name(&self) -> String {
        "flat".into()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn new_cache(&mut self, n_tokens: usize) -> backend::Result<KvCache> {
        Ok(KvCache::new(n_tokens.div_ceil(PAGE_LEN), self.config.n_ctx, self.config.n_vocab))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> backend::Result<Logits<'_>> {
        cache.append(batch)?;
        self.rows.resize(batch.n_rows() * self.config.n_vocab, 0.0);
        Ok(Logits::from_host(&self.rows, self.config.n_vocab))
    }
}

/// A server of a small context, that lives as long as the process.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let options = EngineOptions { device: Device::Cpu, ..EngineOptions::default() };
    let bundled = Engine::open(&Source::Bundled, &options).expect("the bundled model loads");
    let config = Config { n_ctx: 48, ..bundled.config().clone() };
    let backend = Box::new(Flat { config, rows: Vec::new() });
    let engine = Engine::new(backend, Some(Tokenizer::bundled()), 48 * 16).expect("nothing is large");
    let scheduler = Scheduler::new(engine, SchedulerOptions::default()).expect("a thread");
    let model = Model::new(scheduler, Template::open(None, None), Size { n_params: 1, n_bytes: 1 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = runtime.block_on(async {
        let options = ServerOptions { model_names: vec!["flat".into()], ..ServerOptions::default() };
        Server::bind("127.0.0.1:0".parse().expect("an address"), options)
    });
    let server = server.expect("a free port");
    let address = server.address();
    server.loader().load(model);
    std::thread::spawn(move || runtime.block_on(server.run(std::future::pending())));
    address
});

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Asks on the connection of the last call, or on a new one where that has ended.
fn ask(bytes: &[u8]) -> Answer {
    let kept = CONNECTION.take().and_then(|mut kept| {
        kept.send(bytes);
        let answer = kept.answer()?;
        Some((kept, answer))
    });
    let (kept, answer) = kept.unwrap_or_else(|| {
        let mut new = Connection::open(*SERVER);
        new.send(bytes);
        let answer = new.answer().expect("an answer");
        (new, answer)
    });
    CONNECTION.set((answer.header("connection") != Some("close")).then_some(kept));
    answer
}

/// Returns whether it was answered, or what was wrong.
pub fn run(data: &[u8]) -> Result<(), String> {
    let Some((&which, body)) = data.split_first() else { return Err("no path".into()) };
    let path = PATHS[usize::from(which) % PATHS.len()];
    let length = body.len().to_string();
    let mut bytes = request("POST", path, &[("content-length", &length)], "").into_bytes();
    bytes.extend_from_slice(body);
    let answer = ask(&bytes);
    assert!([200, 400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    if answer.status == 200 {
        return Ok(());
    }
    match answer.json()["error"]["message"].as_str() {
        Some(message) => Err(message.into()),
        None => panic!("an error without a message: {}", answer.text()),
    }
}

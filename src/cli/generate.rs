//! `halfwarp generate`: continues a text.

use super::{
    chat::ChatArgs,
    exit::Failure,
    interrupt::Interrupt,
    model::{Model, ModelArgs},
    output::{self, Out, note},
    prompt::PromptArgs,
    sampling::{EndArgs, ModelDefaults, SamplingArgs, default_sampling, generate_params},
    stats,
};
use halfwarp::{
    engine::{Completion, FinishReason, GenerateParams, Prompt, Step},
    sampler::TokenLogprobs,
};
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
The text is written as it is generated, with the prompt before it and one line break after it. Without a prompt \
the model starts a text of its own. Text that looks like a special token stays text, unless --special is given. With \
--chat the prompt is a message, and only the answer is written. Ctrl-C ends the text, with exit code 130. With --ids and a model that has no tokenizer, token ids are written instead of text.

Logits are changed in this order: bias and bans, penalties, temperature, top-k, top-p, min-p, typical-p.

Examples:
  halfwarp generate                                           a story from the bundled model
  halfwarp generate --seed 7 --max-tokens 80 \"The old king\"   the same one every time
  halfwarp generate --temperature 0 --stop '\\n' --no-echo \"The name of the cat was\"
  echo \"Once upon a time\" | halfwarp generate --json | jq .text
  halfwarp generate --model distilgpt2 --ids 464,3290 --stats";

/// Continue a text
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    prompt: PromptArgs,

    #[command(flatten)]
    chat: ChatArgs,

    #[command(flatten)]
    end: EndArgs,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    model_defaults: ModelDefaults,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Begin the text with the prompt [default, except with --json and --chat]
    #[arg(long, overrides_with = "no_echo")]
    echo: bool,

    /// Write only what is new
    #[arg(long)]
    no_echo: bool,

    /// Report the log-probability of every token and of the N likeliest ones; with --echo also the prompt's
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,

    /// Write times and speeds to standard error
    #[arg(long)]
    stats: bool,

    /// Write one JSON object, on one line, at the end instead of text
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    fn echo(&self, is_chat: bool) -> bool {
        self.echo || !self.no_echo && !self.json && !is_chat
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let prompt = args.prompt.read()?;
    let mut params = generate_params(&args.sampling, &args.end, &default_sampling())?;
    params.logprobs = args.output.logprobs;
    // A model's first token, where nothing was given, is no text of the user's.
    params.echo =
        args.output.echo(args.chat.chat) && !matches!(&prompt, Prompt::Text(text) if text.is_empty());
    let model = args.model.open_with(args.end.ctx_size, |config| config.n_ctx)?;
    params.sampling = args.sampling.params(&args.model_defaults.sampling(default_sampling(), &model.source)?);
    let ids = match (prompt, args.chat.conversation(&model.source)?) {
        (Prompt::Text(text), Some(mut conversation)) => {
            params.stop_token_ids.extend(conversation.eos_token_id(model.engine.tokenizer()?));
            conversation.push("user", &text);
            conversation.prompt(model.engine.tokenizer()?)?
        }
        (Prompt::Text(text), None) if args.chat.special => {
            model.engine.prompt_ids(Prompt::WithSpecial(text))?
        }
        (prompt, _) => model.engine.prompt_ids(prompt)?,
    };
    let n_left = model.engine.config().n_ctx.saturating_sub(ids.len());
    params.max_tokens = params.max_tokens.map(|n| n.min(n_left));

    let interrupt = Interrupt::watch()?;
    params.cancel = interrupt.token();
    let completion = if args.output.json {
        let completion = model.engine.session().generate_with(ids.clone(), &params, |_| ())?;
        output::print(to_json(&model, &params, &ids, &completion))?;
        completion
    } else {
        stream(&model, ids, &params)?
    };
    if args.output.stats {
        note(format_args!("{}", stats::table(&model, &completion.stats)));
        note(format_args!("seed {}, {}", params.sampling.seed, model.engine.device_name()));
    }
    match completion.finish_reason {
        FinishReason::Cancel => Err(Failure::Interrupted),
        _ => Ok(()),
    }
}

/// Generates and writes the text, or ids where there is no tokenizer, as they come.
fn stream(model: &Model, ids: Vec<u32>, params: &GenerateParams) -> Result<Completion, Failure> {
    let mut out = Out::new();
    let mut session = model.engine.session();
    let mut generation = session.generate(ids, params)?;
    let as_text = model.engine.tokenizer().is_ok();
    let mut separator = "";
    for step in generation.by_ref() {
        match step? {
            Step { text, .. } if as_text => out.write(text)?,
            Step { token_id: Some(id), .. } => {
                out.write(format_args!("{separator}{id}"))?;
                separator = ",";
            }
            Step { .. } => (),
        }
        out.flush()?;
    }
    out.line("")?;
    out.flush()?;
    Ok(generation.into_completion())
}

fn to_json(model: &Model, params: &GenerateParams, prompt_ids: &[u32], completion: &Completion) -> Value {
    let n_echoed = completion.token_ids.len() - completion.stats.n_generated;
    let (prompt_logprobs, logprobs) = completion.logprobs.split_at(n_echoed);
    let token_ids = &completion.token_ids[n_echoed..];
    let mut value = json!({
        "model": model.name,
        "device": model.engine.device_name(),
        "seed": params.sampling.seed,
        "text": completion.text,
        "token_ids": token_ids,
        "prompt_ids": prompt_ids,
        "finish_reason": completion.finish_reason.as_str(),
        "stop": completion.stop,
        "usage": stats::usage(&completion.stats),
        "timings": stats::timings(model, &completion.stats),
    });
    if params.logprobs.is_some() {
        let report = |ids: &[u32], logprobs: &[Option<TokenLogprobs>]| -> Vec<Value> {
            ids.iter().zip(logprobs).map(|(&id, l)| token_json(model, id, l.as_ref())).collect()
        };
        value["logprobs"] = report(token_ids, logprobs).into();
        if params.echo {
            value["prompt_logprobs"] = report(prompt_ids, prompt_logprobs).into();
        }
    }
    value
}

fn token_json(model: &Model, id: u32, logprobs: Option<&TokenLogprobs>) -> Value {
    let bytes = |id: u32| model.engine.tokenizer().ok().and_then(|t| t.token_bytes(id).ok());
    let token = |id: u32| bytes(id).map(String::from_utf8_lossy);
    let top = |l: &TokenLogprobs| -> Vec<Value> {
        let one = |&(id, logprob): &(u32, f32)| json!({"id": id, "token": token(id), "bytes": bytes(id), "logprob": logprob});
        l.top.iter().map(one).collect()
    };
    json!({
        "id": id,
        "token": token(id),
        "bytes": bytes(id),
        "logprob": logprobs.map(|l| l.logprob),
        "top_logprobs": logprobs.map(top),
    })
}

//! [`Model`]: what is served, once it is loaded.

use super::error::ApiError;
use crate::{
    Scheduler, Tokenizer,
    chat::{Template, TemplateError},
    sampler::SamplingParams,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A token stands for so many bytes at least, where it is asked how much text a context can hold: a mark of a special token has fewer.
const BYTES_A_TOKEN: usize = 32;

/// A model that is ready to answer.
pub struct Model {
    /// Runs it.
    pub scheduler: Scheduler,
    /// Makes a prompt of a conversation; or why there is nothing that does.
    template: Result<Template, TemplateError>,
    /// How tokens are chosen where a request does not say.
    sampling: SamplingParams,
    /// What computes, for people and for `system_fingerprint`.
    device: String,
    /// Weights, and their bytes.
    size: Size,
    /// Seconds since 1970.
    created: u64,
}

/// How large a model is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Weights.
    pub n_params: u64,
    /// Bytes of their tensors.
    pub n_bytes: u64,
}

impl Model {
    /// A model that `scheduler` runs. Without a template it answers everything but conversations.
    pub fn new(scheduler: Scheduler, template: Result<Template, TemplateError>, size: Size) -> Self {
        let device = scheduler.engine().device_name();
        let sampling = default_sampling();
        Self { scheduler, template, sampling, device, size, created: unix_time() }
    }

    /// The same with other sampling where a request does not say.
    pub fn with_sampling(self, sampling: SamplingParams) -> Self {
        Self { sampling, ..self }
    }

    pub(super) fn sampling(&self) -> &SamplingParams {
        &self.sampling
    }

    /// What computes, for people.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The template for conversations.
    pub(super) fn template(&self) -> Result<&Template, ApiError> {
        let way_out = "use /v1/completions, or start the server with --chat-template";
        self.template.as_ref().map_err(|error| ApiError::invalid(format_args!("{error}: {way_out}")))
    }

    /// What computes, for clients that compare answers.
    pub(super) fn fingerprint(&self) -> String {
        format!("halfwarp {}, {}", env!("CARGO_PKG_VERSION"), self.device)
    }

    pub(super) fn n_ctx(&self) -> usize {
        self.scheduler.engine().config().n_ctx
    }

    /// Token ids that prompts may have.
    pub(super) fn n_vocab(&self) -> usize {
        self.scheduler.engine().config().n_vocab
    }

    /// Token ids that can be chosen: those that the tokenizer knows.
    pub(super) fn n_choices(&self) -> usize {
        self.tokenizer().map_or(self.n_vocab(), |t| t.n_vocab().min(self.n_vocab()))
    }

    pub(super) fn tokenizer(&self) -> Result<&Tokenizer, ApiError> {
        Ok(self.scheduler.engine().tokenizer()?)
    }

    /// Most bytes that a prompt may have: more are more tokens than the context holds, whatever they are.
    pub(super) fn n_bytes_max(&self) -> usize {
        let longest = self.tokenizer().ok().and_then(Tokenizer::longest);
        longest.map_or(usize::MAX, |n_bytes| self.n_ctx().saturating_mul(n_bytes.max(BYTES_A_TOKEN)))
    }

    /// Fails where a prompt of `n_bytes` cannot fit into the context, before it is tokenized, which takes time and memory.
    pub(super) fn check_len(&self, n_bytes: usize) -> Result<(), ApiError> {
        if n_bytes <= self.n_bytes_max() { Ok(()) } else { Err(self.too_long(n_bytes)) }
    }

    pub(super) fn too_long(&self, n_bytes: usize) -> ApiError {
        let (n_ctx, n_max) = (self.n_ctx(), self.n_bytes_max());
        let message = format_args!(
            "this model's maximum context length is {n_ctx} tokens, which are at most {n_max} bytes; \
             the prompt has {n_bytes} bytes"
        );
        ApiError::too_long("prompt", message)
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn created(&self) -> u64 {
        self.created
    }
}

/// How tokens are chosen where neither a request nor the model says, as OpenAI's API has it: from all of them.
pub fn default_sampling() -> SamplingParams {
    SamplingParams { temperature: 1.0, ..SamplingParams::default() }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

//! The kernels of prompts, each launched by itself behind what it depends on, in a shape in which every wait counts.

use crate::rig::Random;
use half::f16;
use halfwarp::{
    Config, Result,
    backend::cuda::{
        driver::{Buffer, Gpu},
        images::Image,
        kernels::{Dims, Kernels, Linear, MAX_TOKENS, Norm, Packed, Pages, Plan, Prompt, PromptActivations},
    },
    cache::PAGE_LEN,
};

/// Inputs of which a warp of the narrow products has two slices, so that it uses its tile again, and of which the wide ones
/// take more steps than they have stages.
const NARROW_INPUTS: usize = 49 * 64;
const WIDE_INPUTS: usize = 5 * 64;

/// Heads, their width, the MLP's inner width.
type Widths = (usize, usize, usize);

/// What launches `kernel` of `images`, and what it leaves.
pub fn run(kernel: &str, images: &'static [Image]) -> Result<Vec<f32>> {
    if let Some(head_dim) = kernel.strip_prefix("attention_prefill_f32_") {
        let head_dim = head_dim.parse().expect("a width");
        // Tiles of 64 and of 6 tokens, over three pages.
        let mut pass = Pass::open(images, None, (1, head_dim, 8))?;
        return pass.run(70, |run, act, pages, layer| {
            run.layernorm(act, &layer.norm)?;
            run.qkv(act, pages, &layer.linear(run.gpu, 3 * head_dim, head_dim)?)?;
            run.attention(act, pages, 0.2)
        });
    }
    let Some((product, size)) = kernel.strip_prefix("linear_prefill_").and_then(|k| k.split_once("_f16_"))
    else {
        return Pass::open(images, None, (2, 64, 8))?
            .run(5, |run, act, _, layer| run.layernorm(act, &layer.norm));
    };
    // As many tokens as the narrow block takes; 70, and a device so large or small that it is this wide block.
    let size: usize = size.parse().expect("a number");
    let (n_tokens, n_sms, n_in) = match size {
        64 => (70, Some(u32::MAX), WIDE_INPUTS),
        128 => (70, Some(1), WIDE_INPUTS),
        _ => (size, None, NARROW_INPUTS),
    };
    match product {
        "qkv" => Pass::open(images, n_sms, (n_in / 64, 64, 8))?.run(n_tokens, |run, act, pages, layer| {
            run.layernorm(act, &layer.norm)?;
            run.qkv(act, pages, &layer.linear(run.gpu, 3 * n_in, n_in)?)
        }),
        "fc" => Pass::open(images, n_sms, (n_in / 64, 64, 200))?.run(n_tokens, |run, act, _, layer| {
            run.layernorm(act, &layer.norm)?;
            run.c_fc(act, &layer.linear(run.gpu, 200, n_in)?)
        }),
        _ => {
            let mut pass = Pass::open(images, n_sms, (3, 64, n_in))?;
            let inner = pass.layer.halves(pass.act.inner.len());
            pass.gpu.write(&mut pass.act.inner, 0, &inner)?;
            pass.run(n_tokens, |run, act, _, layer| run.mlp_c_proj(act, &layer.linear(run.gpu, 192, n_in)?))
        }
    }
}

/// A device with room for a pass, but no model.
struct Pass {
    gpu: Gpu,
    dims: Dims,
    kernels: Kernels,
    act: PromptActivations,
    pages: Pages,
    layer: Layer,
    n_embd: usize,
}

/// Weights as they are asked for.
struct Layer {
    norm: Norm,
    halves: Vec<u16>,
}

impl Pass {
    fn open(
        images: &'static [Image],
        n_sms: Option<u32>,
        (n_head, head_dim, n_inner): Widths,
    ) -> Result<Self> {
        let n_embd = n_head * head_dim;
        let json = serde_json::json!({"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_head": n_head,
            "n_embd": n_embd, "n_inner": n_inner, "n_positions": 128, "vocab_size": 67, "layer_norm_epsilon": 1e-5});
        let config = Config::from_json(json.to_string().as_bytes())?;
        let mut gpu = Gpu::open(0)?.with_images(images);
        gpu.bind()?;
        gpu.n_sms = n_sms.unwrap_or(gpu.n_sms);
        let dims = Dims::new(&config)?;
        let kernels = Kernels::load(&gpu, &dims)?;
        let act = PromptActivations::new(&gpu, &config)?;
        let len = 3 * n_head * PAGE_LEN * dims.padded_dim();
        let pages = Pages { keys: gpu.zeros(len, "keys")?, values: gpu.zeros(len, "values")? };
        let mut random = Random(n_embd as u64);
        // A prime number of them, so that no two rows are the same.
        let halves =
            (0..8191).map(|_| f16::from_f32(random.below(2001) as f32 / 1e3 - 1.0).to_bits()).collect();
        let floats: Vec<f32> = (0..n_embd).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        let norm = Norm { gain: gpu.upload(&floats, "gain")?, shift: gpu.upload(&floats, "shift")? };
        Ok(Self { gpu, dims, kernels, act, pages, layer: Layer { norm, halves }, n_embd })
    }

    /// Embeds `n_tokens` and launches what `launch` says; all that any kernel leaves.
    fn run(
        &mut self,
        n_tokens: usize,
        launch: impl FnOnce(&Prompt<'_>, &mut PromptActivations, &mut Pages, &Layer) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let Self { gpu, dims, kernels, act, pages, layer, n_embd } = self;
        let mut plan = Plan::new(dims);
        plan.push(&(0..n_tokens as u32).map(|t| t % 67).collect::<Vec<_>>(), 0, &[2, 0, 1]);
        let mut on_device = gpu.zeros(dims.plan_len(), "the plan")?;
        gpu.write(&mut on_device, 0, plan.words())?;
        let wte = layer.packed(gpu, 67, *n_embd)?;
        let wpe = gpu.upload(&layer.halves(128 * *n_embd), "positions")?;
        let run = Prompt { gpu, kernels, dims, plan: &plan, on_device: &on_device };
        run.embed(act, &wte, &wpe)?;
        launch(&run, act, pages, layer)?;
        let mut all = Vec::new();
        for (buffer, len) in [
            (&act.residual, n_tokens * *n_embd),
            (&act.q, n_tokens * *n_embd),
            (&pages.keys, pages.keys.len()),
            (&pages.values, pages.values.len()),
        ] {
            let mut floats = vec![0.0; len];
            gpu.read(buffer, 0, &mut floats)?;
            all.extend(floats);
        }
        for buffer in [&act.h, &act.inner] {
            for plane in 0..2 {
                let width = buffer.len() / 2 / MAX_TOKENS;
                let mut halves = vec![0u16; n_tokens * width];
                gpu.read(buffer, plane * MAX_TOKENS * width, &mut halves)?;
                all.extend(halves.into_iter().map(f32::from));
            }
        }
        Ok(all)
    }
}

impl Layer {
    fn halves(&self, len: usize) -> Vec<u16> {
        self.halves.iter().copied().cycle().take(len).collect()
    }

    /// A matrix whose padding is not zero, which only adds to what nobody reads.
    fn packed(&self, gpu: &Gpu, n_rows: usize, n_cols: usize) -> Result<Packed> {
        let pieces: Buffer<u16> = gpu.upload(&self.halves(Packed::len(n_rows, n_cols)), "a matrix")?;
        Ok(Packed { pieces, n_rows, n_cols })
    }

    fn linear(&self, gpu: &Gpu, n_rows: usize, n_cols: usize) -> Result<Linear> {
        let weight = self.packed(gpu, n_rows, n_cols)?;
        Ok(Linear { weight, bias: gpu.zeros(n_rows, "a bias")? })
    }
}

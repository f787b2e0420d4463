//! The kernels of prompts, each launched by itself behind what it depends on, in a shape in which every wait counts.

use crate::rig::Random;
use half::f16;
use halfwarp::{
    backend::{
        Result,
        cuda::{
            driver::{Buffer, Gpu},
            images::Image,
            kernels::{
                Dims, Kernels, Linear, MAX_TOKENS, Norm, Packed, Pages, Plan, Prompt, PromptActivations,
                padded,
            },
        },
    },
    cache::PAGE_LEN,
};

/// Inputs of which a warp of the narrow products has two slices, so that it uses its tile again, and of which the wide ones
/// take more steps than they have stages.
const NARROW_INPUTS: usize = 49 * 64;
const WIDE_INPUTS: usize = 5 * 64;

/// Heads, their width, the MLP's inner width.
type Widths = (usize, usize, usize);

/// Launches `kernel` of `images` behind what it depends on; what they leave.
pub fn run(kernel: &str, images: &'static [Image]) -> Result<Vec<f32>> {
    if let Some(head_dim) = kernel.strip_prefix("attention_prefill_f32_") {
        let head_dim = head_dim.parse().expect("a width");
        // Tiles of 64 and of 6 tokens, over three pages.
        let pass = Pass::open(images, None, (1, head_dim, 8), (3 * head_dim, head_dim))?;
        return pass.run(70, |run, act, pages, norm, qkv| {
            run.layernorm(act, norm)?;
            run.qkv(act, pages, qkv)?;
            run.attention(act, pages, 0.2)
        });
    }
    let Some((product, size)) = kernel.strip_prefix("linear_prefill_").and_then(|k| k.split_once("_f16_"))
    else {
        let pass = Pass::open(images, None, (2, 64, 8), (8, 8))?;
        return pass.run(5, |run, act, _, norm, _| run.layernorm(act, norm));
    };
    // As many tokens as the narrow block takes; 70, and a device so large or small that it is this wide block.
    let size: usize = size.parse().expect("a number");
    let (n_tokens, n_sms, n_in) = match size {
        64 => (70, Some(u32::MAX), WIDE_INPUTS),
        128 => (70, Some(1), WIDE_INPUTS),
        _ => (size, None, NARROW_INPUTS),
    };
    match product {
        "qkv" => Pass::open(images, n_sms, (n_in / 64, 64, 8), (3 * n_in, n_in))?.run(
            n_tokens,
            |run, act, pages, norm, qkv| {
                run.layernorm(act, norm)?;
                run.qkv(act, pages, qkv)
            },
        ),
        "up" => Pass::open(images, n_sms, (n_in / 64, 64, 200), (200, n_in))?.run(
            n_tokens,
            |run, act, _, norm, up| {
                run.layernorm(act, norm)?;
                run.up(act, up)
            },
        ),
        _ => Pass::open(images, n_sms, (3, 64, n_in), (192, n_in))?
            .run(n_tokens, |run, act, _, _, down| run.down(act, down)),
    }
}

/// A device with room for a pass, and the weights that one kernel takes.
struct Pass {
    gpu: Gpu,
    dims: Dims,
    kernels: Kernels,
    act: PromptActivations,
    pages: Pages,
    token_embd: Packed,
    position_embd: Buffer<u16>,
    norm: Norm,
    linear: Linear,
    n_embd: usize,
}

impl Pass {
    /// `linear` are the rows and columns of its matrix. Its padding is not zero, which only adds to what nobody reads.
    fn open(
        images: &'static [Image],
        n_sms: Option<u32>,
        (n_head, head_dim, n_inner): Widths,
        linear: (usize, usize),
    ) -> Result<Self> {
        let n_embd = n_head * head_dim;
        let json = serde_json::json!({"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_head": n_head,
            "n_embd": n_embd, "n_inner": n_inner, "n_positions": 128, "vocab_size": 67, "layer_norm_epsilon": 1e-5});
        let config =
            halfwarp::family::parse_config(json.to_string().as_bytes()).expect("the config is valid");
        let mut gpu = Gpu::open(0)?.with_images(images);
        gpu.bind()?;
        gpu.n_sms = n_sms.unwrap_or(gpu.n_sms);
        let dims = Dims::new(&config)?;
        let kernels = Kernels::load(&gpu, &dims)?;
        let mut act = PromptActivations::new(&gpu, &dims)?;
        gpu.write(&mut act.inner, 0, &halves(2 * MAX_TOKENS * padded(n_inner)))?;
        let len = 3 * n_head * PAGE_LEN * dims.padded_dim();
        let pages = Pages { keys: gpu.zeros(len, "keys")?, values: gpu.zeros(len, "values")? };
        let packed = |(n_rows, n_cols): (usize, usize)| -> Result<Packed> {
            let pieces = gpu.upload(&halves(Packed::len(n_rows, n_cols)), "a matrix")?;
            Ok(Packed { pieces, n_rows, n_cols })
        };
        let floats: Vec<f32> = (0..n_embd).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        Ok(Self {
            token_embd: packed((67, n_embd))?,
            position_embd: gpu.upload(&halves(128 * n_embd), "positions")?,
            norm: Norm { gain: gpu.upload(&floats, "gain")?, shift: gpu.upload(&floats, "shift")? },
            linear: Linear { weight: packed(linear)?, bias: gpu.zeros(linear.0, "a bias")? },
            gpu,
            dims,
            kernels,
            act,
            pages,
            n_embd,
        })
    }

    /// Embeds `n_tokens` and launches what `launch` says: nothing but launches, so that they overlap. All that any kernel leaves.
    fn run(
        mut self,
        n_tokens: usize,
        launch: impl FnOnce(&Prompt<'_>, &mut PromptActivations, &mut Pages, &Norm, &Linear) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let Self { gpu, dims, kernels, act, pages, token_embd, position_embd, norm, linear, n_embd } =
            &mut self;
        let mut plan = Plan::new(dims);
        plan.push(&(0..n_tokens as u32).map(|t| t % 67).collect::<Vec<_>>(), 0, &[2, 0, 1]);
        let mut on_device = gpu.zeros(dims.plan_len(), "the plan")?;
        gpu.write(&mut on_device, 0, plan.words())?;
        let run = Prompt { gpu, kernels, dims, plan: &plan, on_device: &on_device };
        run.embed(act, token_embd, position_embd)?;
        launch(&run, act, pages, norm, linear)?;
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

/// In -1 ..= 1, again and again after a prime number of them, so that no two rows are the same.
fn halves(len: usize) -> Vec<u16> {
    let mut random = Random(3);
    let once: Vec<u16> =
        (0..8191).map(|_| f16::from_f32(random.below(2001) as f32 / 1e3 - 1.0).to_bits()).collect();
    once.into_iter().cycle().take(len).collect()
}

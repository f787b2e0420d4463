//! Engines: opening, and what they are.

use crate::{
    args::{Args, Growing},
    guard::guard,
    handle, log,
    status::{Call, Failure},
    types::{hw_status::*, *},
};
use halfwarp::{
    Engine, EngineOptions, Error, Source,
    backend::{self, BackendError, Device},
    weights::LoadOptions,
};
use std::{ffi::c_char, ops::ControlFlow, ptr};

const AUTO: i32 = hw_device::HW_DEVICE_AUTO as i32;
const CPU: i32 = hw_device::HW_DEVICE_CPU as i32;

/// Most threads that can be asked for.
const N_THREADS_MAX: u32 = 1024;

// SAFETY: checked by `tests::structs_have_no_padding`.
unsafe impl Growing for hw_engine_params {
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        n_cache: 0,
        progress: None,
        progress_user_data: ptr::null_mut(),
        device: AUTO,
        n_threads: 0,
        read_weights: 0,
        allow_nonfinite: 0,
        n_ctx: 0,
    };
}

// SAFETY: checked by `tests::structs_have_no_padding`.
unsafe impl Growing for hw_info {
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        n_cache_free: 0,
        n_vocab: 0,
        n_ctx: 0,
        n_embd: 0,
        n_head: 0,
        n_layer: 0,
        n_inner: 0,
        bos_token: HW_NO_TOKEN,
        eos_token: HW_NO_TOKEN,
        n_eos_tokens: 0,
        has_tokenizer: 0,
    };
}

/// Fills in the defaults; `size` is sizeof *params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_engine_params_default(params: *mut hw_engine_params, size: usize) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_engine_params_default", || {
        args.output_struct("params", params, size)?.write(hw_engine_params::DEFAULT);
        Ok(())
    })
}

/// Opens a model: a folder, a weights file or a name in the Hugging Face cache. "tales" is the small model that comes with the
/// library. `params` may be NULL. Nothing is downloaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_engine_open(
    model: *const c_char,
    model_len: usize,
    params: *const hw_engine_params,
    engine: *mut hw_engine,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_engine_open", || {
        let output = args.output("engine", engine)?;
        let model = args.text("model", model, model_len)?;
        if model.is_empty() || model.contains('\0') {
            return Err(Failure::bad_arg(format!("model is {model:?}, expected a name or path")));
        }
        let params = args.params("params", params)?;
        let source = Source::find(model).map_err(Error::from)?;
        let engine = open(&args, &source, &params)?;
        log::write(hw_log_level::HW_LOG_INFO, &format!("{model} runs on {}", engine.device_name()));
        output.write(handle::add_engine(engine, source.folder()));
        Ok(())
    })
}

fn open(args: &Args, source: &Source, params: &hw_engine_params) -> Call<Engine> {
    let options = options(params)?;
    let progress = args.callback(params.progress, params.progress_user_data);
    let tell = |fraction| -> Call {
        if progress.call(fraction)? { Err(Error::from(BackendError::Cancelled).into()) } else { Ok(()) }
    };
    tell(0.0)?;
    if let (Device::Auto, Err(reason)) = (options.device, backend::cuda_device(0)) {
        log::write(hw_log_level::HW_LOG_INFO, &format!("no CUDA device: {reason}"));
    }
    let mut failure = None;
    let opened =
        Engine::open_with(source, &options, &mut |done, all| match tell(done as f32 / all.max(1) as f32) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        });
    // A callback that panicked is not one that asked to stop.
    let engine = opened.map_err(|error| failure.unwrap_or_else(|| error.into()))?;
    tell(1.0)?;
    Ok(engine)
}

fn options(params: &hw_engine_params) -> Call<EngineOptions> {
    let device = match params.device {
        AUTO => Device::Auto,
        CPU => Device::Cpu,
        number => Device::Cuda(usize::try_from(number).map_err(|_| {
            Failure::bad_arg(format!(
                "device is {number}, expected HW_DEVICE_AUTO, HW_DEVICE_CPU or 0 and up"
            ))
        })?),
    };
    if params.n_threads > N_THREADS_MAX {
        let found = params.n_threads;
        return Err(Failure::bad_arg(format!("n_threads is {found}, expected at most {N_THREADS_MAX}")));
    }
    let n_cache = match params.n_cache {
        0 => None,
        n => Some(usize::try_from(n).ok().filter(|_| n <= 1 << 32).ok_or_else(|| {
            Failure::new(HW_E_OUT_OF_MEMORY, format!("n_cache is {n} tokens, expected at most 2^32"))
        })?),
    };
    Ok(EngineOptions {
        device,
        threads: (params.n_threads > 0).then_some(params.n_threads as usize),
        n_ctx: (params.n_ctx > 0).then(|| usize::try_from(params.n_ctx).unwrap_or(usize::MAX)),
        n_cache,
        load: LoadOptions { read: params.read_weights != 0, allow_nonfinite: params.allow_nonfinite != 0 },
    })
}

/// Frees an engine. Its sessions go on, and the last of them takes the model with it. 0 is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn hw_engine_free(engine: hw_engine) -> hw_status {
    guard("hw_engine_free", || if engine == 0 { Ok(()) } else { handle::free_engine(engine) })
}

/// What an engine is; `size` is sizeof *info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_engine_info(engine: hw_engine, info: *mut hw_info, size: usize) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_engine_info", || {
        let output = args.output_struct("info", info, size)?;
        let engine = handle::engine(engine)?;
        let config = engine.config();
        output.write(hw_info {
            n_cache_free: engine.n_cache_free(),
            n_vocab: config.n_vocab as u32,
            n_ctx: config.n_ctx as u32,
            n_embd: config.n_embd as u32,
            n_head: config.attn.n_head as u32,
            n_layer: config.n_layer as u32,
            n_inner: config.mlp.n_inner as u32,
            bos_token: config.bos_token_id.unwrap_or(HW_NO_TOKEN),
            eos_token: config.eos_token_ids.first().copied().unwrap_or(HW_NO_TOKEN),
            n_eos_tokens: config.eos_token_ids.len() as u32,
            has_tokenizer: engine.tokenizer().is_ok().into(),
            ..hw_info::DEFAULT
        });
        Ok(())
    })
}

/// What runs the model, for people: "CPU (AVX-512, 2 threads)".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_engine_device(
    engine: hw_engine,
    text: *mut c_char,
    capacity: usize,
    text_len: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_engine_device", || {
        let output = args.buffer("text", text.cast::<u8>(), capacity, text_len)?;
        output.write(handle::engine(engine)?.device_name().as_bytes())
    })
}

//! Text to tokens and back.

use crate::{args::Args, guard::guard, handle, types::*};
use std::ffi::c_char;

/// The tokens of a text. With `special` not 0, special tokens that are spelled out in it, like `<|endoftext|>`, become their ids:
/// for text of which every word is trusted. Else they are text like any other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_tokenize(
    engine: hw_engine,
    text: *const c_char,
    text_len: usize,
    special: i32,
    tokens: *mut u32,
    capacity: usize,
    n_tokens: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_tokenize", || {
        let output = args.buffer("tokens", tokens, capacity, n_tokens)?;
        let text = args.text("text", text, text_len)?;
        let engine = handle::engine(engine)?;
        let tokenizer = engine.tokenizer()?;
        output.write(&if special != 0 {
            tokenizer.encode_with_special(text)?
        } else {
            tokenizer.encode(text)?
        })
    })
}

/// The text of tokens, special ones left out. Bytes that are not UTF-8 become U+FFFD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_detokenize(
    engine: hw_engine,
    tokens: *const u32,
    n_tokens: usize,
    text: *mut c_char,
    capacity: usize,
    text_len: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_detokenize", || {
        let output = args.buffer("text", text.cast::<u8>(), capacity, text_len)?;
        let tokens = args.slice("tokens", tokens, n_tokens)?;
        output.write(handle::engine(engine)?.tokenizer()?.decode(tokens)?.as_bytes())
    })
}

/// The bytes that one token stands for, which may be a part of a character; those of a special token are its name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_token_bytes(
    engine: hw_engine,
    token: u32,
    bytes: *mut u8,
    capacity: usize,
    n_bytes: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_token_bytes", || {
        let output = args.buffer("bytes", bytes, capacity, n_bytes)?;
        output.write(handle::engine(engine)?.tokenizer()?.token_bytes(token)?)
    })
}

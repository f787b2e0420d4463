//! Decoding by hand: one forward call over several sessions, the logits it leaves, and sampling from them.

use crate::{
    args::Args,
    generate::sampling_params,
    guard::guard,
    handle,
    status::{Call, Failure},
    types::{hw_status::*, *},
};
use halfwarp::{
    batch::{Phase, Rows},
    engine::Turn,
    sampler::{History, Sampler},
};
use std::ptr;

/// Appends every turn's tokens to its session, all in one forward call; `turn_size` is sizeof *turns. A session gets the bits
/// that it would get alone. After a failure every session is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_decode(turns: *const hw_turn, n_turns: usize, turn_size: usize) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_decode", || {
        let nothing = hw_turn {
            session: 0,
            tokens: ptr::null(),
            n_tokens: 0,
            rows: hw_rows::HW_ROWS_NONE as i32,
            phase: hw_phase::HW_PHASE_PROMPT as i32,
        };
        decode(&args, &args.structs("turns", turns, n_turns, turn_size, nothing)?)
    })
}

fn decode(args: &Args, turns: &[hw_turn]) -> Call {
    for (i, turn) in turns.iter().enumerate() {
        if let Some(first) = turns[..i].iter().position(|other| other.session == turn.session) {
            return Err(Failure::bad_arg(format!("turns {first} and {i} have the same session")));
        }
    }
    let slots = turns.iter().map(|turn| handle::session(turn.session)).collect::<Call<Vec<_>>>()?;
    let held = slots.iter().zip(turns).map(|(slot, turn)| slot.hold(turn.session));
    let mut held = held.collect::<Call<Vec<_>>>()?;
    let (mut ours, mut rows_of) = (Vec::new(), Vec::new());
    for (i, (turn, held)) in turns.iter().zip(&mut held).enumerate() {
        let open = held.get();
        let tokens = args.slice("tokens", turn.tokens, turn.n_tokens)?;
        let rows = rows(i, turn.rows)?;
        rows_of.push((&mut open.logits, n_rows(rows, tokens.len())));
        ours.push(Turn { session: &mut open.session, tokens, phase: phase(i, turn.phase)?, rows });
    }
    let Some(first) = ours.first() else { return Ok(()) };
    let engine = first.session.engine().clone();
    engine.forward(&ours, |logits| {
        let mut row = 0;
        for (to, n_rows) in rows_of {
            to.clear();
            for _ in 0..n_rows {
                to.extend_from_slice(logits.row(row)?);
                row += 1;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn n_rows(rows: Rows, n_tokens: usize) -> usize {
    match rows {
        Rows::None => 0,
        Rows::Last => 1,
        Rows::All => n_tokens,
    }
}

fn rows(turn: usize, rows: i32) -> Call<Rows> {
    const NONE: i32 = hw_rows::HW_ROWS_NONE as i32;
    const LAST: i32 = hw_rows::HW_ROWS_LAST as i32;
    const ALL: i32 = hw_rows::HW_ROWS_ALL as i32;
    match rows {
        NONE => Ok(Rows::None),
        LAST => Ok(Rows::Last),
        ALL => Ok(Rows::All),
        _ => Err(Failure::bad_arg(format!("rows of turn {turn} is {rows}, expected an hw_rows"))),
    }
}

fn phase(turn: usize, phase: i32) -> Call<Phase> {
    const PROMPT: i32 = hw_phase::HW_PHASE_PROMPT as i32;
    const GENERATED: i32 = hw_phase::HW_PHASE_GENERATED as i32;
    match phase {
        PROMPT => Ok(Phase::Prompt),
        GENERATED => Ok(Phase::Generated),
        _ => Err(Failure::bad_arg(format!("phase of turn {turn} is {phase}, expected an hw_phase"))),
    }
}

/// A row of logits of the session's last hw_decode, n_vocab of them. Rows count from 0, one for each token that got logits. There are
/// none after a generation or hw_session_truncate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_logits(
    session: hw_session,
    row: usize,
    logits: *mut f32,
    capacity: usize,
    n_logits: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_logits", || {
        let output = args.buffer("logits", logits, capacity, n_logits)?;
        let slot = handle::session(session)?;
        let mut held = slot.hold(session)?;
        let open = held.get();
        let n_vocab = open.session.engine().config().n_vocab;
        let mut rows = open.logits.chunks_exact(n_vocab);
        let n_rows = rows.len();
        let found = rows.nth(row);
        output.write(
            found.ok_or_else(|| {
                Failure::bad_arg(format!("row {row} of logits, and the session has {n_rows}"))
            })?,
        )
    })
}

/// Chooses the token that follows the session's text, from the last row of logits of its last hw_decode, as hw_generate would. The
/// first `n_prompt` tokens count as the prompt's. `params` may be NULL for the most likely token. The token is not appended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_sample(
    session: hw_session,
    params: *const hw_sampling_params,
    n_prompt: usize,
    token: *mut u32,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_sample", || {
        let output = args.output("token", token)?;
        let params = sampling_params(&args, params)?;
        let slot = handle::session(session)?;
        let mut held = slot.hold(session)?;
        let open = held.get();
        let engine = open.session.engine();
        let n_vocab = engine.config().n_vocab;
        // A vocabulary padded beyond the tokenizer's has logits that stand for nothing.
        let n_choices = engine.tokenizer().map_or(n_vocab, |tokenizer| tokenizer.n_vocab().min(n_vocab));
        let Some(start) = open.logits.len().checked_sub(n_vocab) else {
            return Err(Failure::bad_arg("the session has no logits: hw_decode leaves them"));
        };
        let tokens = open.session.tokens()?;
        if n_prompt > tokens.len() {
            let text = format!("n_prompt is {n_prompt}, and the session has {} tokens", tokens.len());
            return Err(Failure::new(HW_E_BAD_ARG, text));
        }
        let sampler = match &mut open.sampler {
            Some((before, sampler)) if *before == params => sampler,
            other => {
                let sampler = Sampler::new(params.clone(), n_choices)?;
                &mut other.insert((params, sampler)).1
            }
        };
        let history = History { tokens: &tokens, n_prompt };
        output.write(sampler.sample(&open.logits[start..][..n_choices], history, &[])?);
        Ok(())
    })
}

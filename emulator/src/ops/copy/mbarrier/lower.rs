//! Lowering of `mbarrier` operations.
//!
//! Operands: the result is `r[0]`, the address `r[2]` and `r[3]`, a count, parity or state `r[4]`, a time limit `r[5]`.

use super::{
    super::{address, needs},
    arrive, arrive_later, complete_tx, expect_tx,
    form::*,
    init, inval, pending_count, wait,
};
use crate::{
    program::{Builder, Exec, WarpFn},
    ptx::ast::{Operand, Space, Type},
};

/// The modifiers after the operation.
#[derive(Default)]
struct Spelling {
    form: i64,
    ordering: Option<&'static str>,
    scope: Option<&'static str>,
    space: Option<&'static str>,
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    needs(b, 80)?;
    let source = b.source;
    let modifiers: Vec<&str> = source.modifiers.iter().map(String::as_str).collect();
    let [operation, rest @ .., "b64"] = &modifiers[..] else { return Err("unknown form".into()) };
    if *operation == "pending_count" && rest.is_empty() {
        b.expect_operands(2)?;
        b.destination(0, b.operand(0)?, Type::B32)?;
        b.source(4, b.operand(1)?, Type::B64)?;
        return b.emit(Exec::Warp(pending_count));
    }
    let spelling = spell(operation, rest)?;
    let remote = spelling.space == Some("shared::cluster");
    if remote || spelling.scope == Some("cluster") || spelling.ordering == Some("relaxed") {
        needs(b, 90)?;
    }
    match *operation {
        "init" => plain(b, spelling, Some(Type::B32), init),
        "inval" => plain(b, spelling, None, inval),
        "expect_tx" => needs(b, 90).and_then(|()| plain(b, spelling, Some(Type::B32), expect_tx)),
        "complete_tx" => needs(b, 90).and_then(|()| plain(b, spelling, Some(Type::B32), complete_tx)),
        "arrive" | "arrive_drop" => lower_arrive(b, spelling, remote),
        _ => lower_wait(b, spelling),
    }
}

/// Lowers `cp.async.mbarrier.arrive`; `modifiers` are those after it.
pub fn lower_arrive_later(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    needs(b, 80)?;
    let (form, rest) = match modifiers {
        ["noinc", rest @ ..] => (0, rest),
        rest => (COUNT, rest),
    };
    let space = match rest {
        ["b64"] => None,
        ["shared" | "shared::cta", "b64"] => Some("shared"),
        _ => return Err("unknown form".into()),
    };
    plain(b, Spelling { form, space, ..Spelling::default() }, None, arrive_later)
}

fn spell(operation: &str, modifiers: &[&str]) -> Result<Spelling, String> {
    let arrives = matches!(operation, "arrive" | "arrive_drop");
    let waits = matches!(operation, "test_wait" | "try_wait");
    let counts = matches!(operation, "expect_tx" | "complete_tx");
    if !arrives && !waits && !counts && !matches!(operation, "init" | "inval") {
        return Err("unknown form".into());
    }
    let mut s = Spelling::default();
    for m in modifiers {
        let (slot, value) = match *m {
            "noComplete" if arrives => (None, NO_COMPLETE),
            "expect_tx" if arrives => (None, EXPECT),
            "parity" if waits => (None, PARITY),
            "release" if arrives => (Some((&mut s.ordering, "release")), 0),
            "acquire" if waits => (Some((&mut s.ordering, "acquire")), 0),
            "relaxed" if arrives || waits || counts => (Some((&mut s.ordering, "relaxed")), RELAXED),
            "cta" if arrives || waits || counts => (Some((&mut s.scope, "cta")), 0),
            "cluster" if arrives || waits || counts => (Some((&mut s.scope, "cluster")), 0),
            "shared" | "shared::cta" => (Some((&mut s.space, "shared")), 0),
            "shared::cluster" if arrives || counts => (Some((&mut s.space, "shared::cluster")), 0),
            other => return Err(format!("unknown modifier {other}")),
        };
        let twice = slot.is_some_and(|(slot, name)| slot.replace(name).is_some()) || s.form & value != 0;
        if twice {
            return Err(format!("modifier {m} contradicts one before it"));
        }
        s.form |= value;
    }
    if s.ordering.is_some() != s.scope.is_some() {
        return Err("ordering and scope go together".into());
    }
    if operation == "arrive_drop" {
        s.form |= DROP;
    }
    if operation == "try_wait" {
        s.form |= TRY;
    }
    Ok(s)
}

/// `[addr]` or `[addr], number`.
fn plain(b: &mut Builder<'_>, s: Spelling, number: Option<Type>, run: WarpFn) -> Result<(), String> {
    b.expect_operands(1 + usize::from(number.is_some()))?;
    if let Some(ty) = number {
        b.source(4, b.operand(1)?, ty)?;
    }
    finish(b, 0, s, run)
}

/// `state, [addr]{, count}`.
fn lower_arrive(b: &mut Builder<'_>, mut s: Spelling, remote: bool) -> Result<(), String> {
    let source = b.source;
    let [state, _, count @ ..] = &source.operands[..] else {
        return Err(format!("has {} operands, expected 2 or 3", source.operands.len()));
    };
    if s.form & EXPECT != 0 {
        needs(b, 90)?;
    }
    match (count, s.form & (EXPECT | NO_COMPLETE)) {
        ([], 0) => {}
        ([count], NO_COMPLETE | 0) => {
            if s.form & NO_COMPLETE == 0 {
                needs(b, 90)?;
            }
            b.source(4, count, Type::B32)?;
            s.form |= COUNT;
        }
        ([bytes], EXPECT) => b.source(4, bytes, Type::B32)?,
        _ => return Err(format!("has {} operands with these modifiers", source.operands.len())),
    }
    if s.form & NO_COMPLETE != 0 && (s.ordering == Some("relaxed") || s.scope == Some("cluster") || remote) {
        return Err(".noComplete goes with .release.cta and .shared::cta only".into());
    }
    if remote && *state != Operand::Sink {
        return Err("an arrival in shared::cluster gives no state: expected _".into());
    }
    b.destination(0, state, Type::B64)?;
    finish(b, 1, s, arrive)
}

/// `over, [addr], state | parity{, limit}`.
fn lower_wait(b: &mut Builder<'_>, s: Spelling) -> Result<(), String> {
    let source = b.source;
    let which = match (&source.operands[..], s.form & TRY) {
        ([_, _, which], _) => which,
        ([_, _, which, limit], TRY) => {
            b.source(5, limit, Type::B32)?;
            which
        }
        (other, _) => return Err(format!("has {} operands", other.len())),
    };
    if s.form & TRY != 0 {
        needs(b, 90)?;
    }
    b.source(4, which, if s.form & PARITY != 0 { Type::B32 } else { Type::B64 })?;
    b.destination(0, b.operand(0)?, Type::Pred)?;
    finish(b, 1, s, wait)
}

/// The address operand, and all that the spelling says.
fn finish(b: &mut Builder<'_>, address: usize, mut s: Spelling, run: WarpFn) -> Result<(), String> {
    let operand = b.operand(address)?;
    let wide = match s.space {
        Some(_) => address::lower(b, 2, operand, Space::Shared)?,
        None => {
            s.form |= GENERIC;
            address::lower_generic(b, 2, operand)?;
            true
        }
    };
    b.set_imm(s.form);
    b.set_flags(u8::from(wide));
    b.emit(Exec::Warp(run))
}

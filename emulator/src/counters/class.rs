//! What kind of instruction one is.

use serde::Serialize;

/// A class of instructions, as `warp instructions by class` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Class {
    Integer,
    Float16,
    Float32,
    Float64,
    Convert,
    Move,
    Compare,
    Predicate,
    Special,
    Control,
    Barrier,
    Fence,
    GlobalLoad,
    GlobalStore,
    SharedLoad,
    SharedStore,
    LocalLoad,
    LocalStore,
    ParameterLoad,
    GenericLoad,
    GenericStore,
    Atomic,
    Exchange,
    Copy,
    MatrixLoad,
    Tensor,
    Other,
}

/// One PTX instruction, for the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its class.
    pub class: Class,
    /// Multiply-adds of a matrix instruction; 0 for others.
    pub multiply_adds: u64,
}

impl Part {
    /// The part of this opcode and these modifiers.
    pub fn of(opcode: &str, modifiers: &[String]) -> Part {
        let class = class(opcode, modifiers);
        let matrix =
            matches!(opcode, "mma" | "wmma") && !modifiers.iter().any(|m| m == "load" || m == "store");
        let multiply_adds = if matrix { modifiers.iter().find_map(|m| shape(m)).unwrap_or(0) } else { 0 };
        Part { class, multiply_adds }
    }
}

/// `m16n8k16` is 16 * 8 * 16.
fn shape(modifier: &str) -> Option<u64> {
    let (m, rest) = modifier.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some(m.parse::<u64>().ok()? * n.parse::<u64>().ok()? * k.parse::<u64>().ok()?)
}

fn class(opcode: &str, modifiers: &[String]) -> Class {
    let has = |m: &str| modifiers.iter().any(|x| x == m || x.split("::").next() == Some(m));
    let last = modifiers.last().map(String::as_str).unwrap_or_default();
    match opcode {
        "ld" | "ldu" | "st" => memory(opcode != "st", has),
        "atom" | "red" => Class::Atomic,
        "bar" | "barrier" if has("warp") => Class::Exchange,
        "bar" | "barrier" => Class::Barrier,
        "membar" | "fence" => Class::Fence,
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => Class::Exchange,
        "ldmatrix" | "stmatrix" | "movmatrix" => Class::MatrixLoad,
        "wmma" if has("load") || has("store") => Class::MatrixLoad,
        "mma" | "wmma" => Class::Tensor,
        "cp" | "mbarrier" | "griddepcontrol" => Class::Copy,
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "nanosleep" => Class::Control,
        "mov" | "cvta" | "prmt" => Class::Move,
        "cvt" => Class::Convert,
        "setp" | "set" | "selp" | "slct" | "testp" => Class::Compare,
        _ if last == "pred" => Class::Predicate,
        "sin" | "cos" | "lg2" | "ex2" | "tanh" | "rsqrt" => Class::Special,
        "rcp" | "sqrt" | "div" if has("approx") || has("full") => Class::Special,
        _ => match last {
            "f16" | "f16x2" | "bf16" | "bf16x2" => Class::Float16,
            "f32" | "f32x2" => Class::Float32,
            "f64" => Class::Float64,
            t if t.starts_with(['s', 'u', 'b']) => Class::Integer,
            _ => Class::Other,
        },
    }
}

fn memory(load: bool, has: impl Fn(&str) -> bool) -> Class {
    match (load, has("global") || has("const"), has("shared"), has("local"), has("param")) {
        (true, true, ..) => Class::GlobalLoad,
        (false, true, ..) => Class::GlobalStore,
        (true, _, true, ..) => Class::SharedLoad,
        (false, _, true, ..) => Class::SharedStore,
        (true, _, _, true, _) => Class::LocalLoad,
        (false, _, _, true, _) => Class::LocalStore,
        (true, _, _, _, true) => Class::ParameterLoad,
        (false, _, _, _, true) => Class::LocalStore,
        (true, ..) => Class::GenericLoad,
        (false, ..) => Class::GenericStore,
    }
}

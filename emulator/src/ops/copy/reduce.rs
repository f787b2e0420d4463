//! The operations of `cp.reduce.async.bulk` to global memory.

use crate::{
    memory::{Allocation, update},
    numeric::{Round, bf16, double, half, minmax, single},
};

/// An operation on elements of a size.
#[derive(Debug, Clone, Copy)]
pub struct Reduction {
    name: &'static str,
    /// Bytes of an element.
    pub size: usize,
    /// Of the element in memory and the one that comes.
    operation: fn(u64, u64) -> u64,
}

macro_rules! table {
    ($($name:literal: $size:literal = |$a:ident: $t:ty, $b:ident| $result:expr),* $(,)?) => {
        &[$(Reduction {
            name: $name,
            size: $size,
            operation: |a, b| {
                let ($a, $b) = (a as $t, b as $t);
                ($result) as u64
            },
        }),*]
    };
}

/// What the ISA's table of operations and types has for global memory.
const ALL: &[Reduction] = table! {
    "add.u32": 4 = |a: u32, b| a.wrapping_add(b),
    "add.s32": 4 = |a: u32, b| a.wrapping_add(b),
    "add.u64": 8 = |a: u64, b| a.wrapping_add(b),
    "add.f32": 4 = |a: u32, b| add_f32(a, b),
    "add.f64": 8 = |a: u64, b| double::add(f64::from_bits(a), f64::from_bits(b), Round::Rn).to_bits(),
    "add.noftz.f16": 2 = |a: u16, b| half::add(a, b),
    "add.noftz.bf16": 2 = |a: u16, b| bf16::add(a, b),
    "min.u32": 4 = |a: u32, b| a.min(b),
    "max.u32": 4 = |a: u32, b| a.max(b),
    "min.s32": 4 = |a: u32, b| (a as i32).min(b as i32) as u32,
    "max.s32": 4 = |a: u32, b| (a as i32).max(b as i32) as u32,
    "min.u64": 8 = |a: u64, b| a.min(b),
    "max.u64": 8 = |a: u64, b| a.max(b),
    "min.s64": 8 = |a: i64, b| a.min(b),
    "max.s64": 8 = |a: i64, b| a.max(b),
    "min.f16": 2 = |a: u16, b| minmax::min16::<{ half::INF }>(a, b, minmax::Mode::default()),
    "max.f16": 2 = |a: u16, b| minmax::max16::<{ half::INF }>(a, b, minmax::Mode::default()),
    "min.bf16": 2 = |a: u16, b| minmax::min16::<{ bf16::INF }>(a, b, minmax::Mode::default()),
    "max.bf16": 2 = |a: u16, b| minmax::max16::<{ bf16::INF }>(a, b, minmax::Mode::default()),
    "inc.u32": 4 = |a: u32, b| if a >= b { 0 } else { a + 1 },
    "dec.u32": 4 = |a: u32, b| if a == 0 || a > b { b } else { a - 1 },
    "and.b32": 4 = |a: u32, b| a & b,
    "or.b32": 4 = |a: u32, b| a | b,
    "xor.b32": 4 = |a: u32, b| a ^ b,
    "and.b64": 8 = |a: u64, b| a & b,
    "or.b64": 8 = |a: u64, b| a | b,
    "xor.b64": 8 = |a: u64, b| a ^ b,
};

/// Subnormal inputs and results become zeros of the same sign.
fn add_f32(a: u32, b: u32) -> u32 {
    let [a, b] = [a, b].map(|x| single::ftz(f32::from_bits(x)));
    single::ftz(single::add(a, b, Round::Rn)).to_bits()
}

/// The number of the operation spelt so.
pub fn number(name: &str) -> Result<usize, String> {
    ALL.iter()
        .position(|r| r.name == name)
        .ok_or_else(|| format!("unknown reduction {name} to global memory"))
}

impl Reduction {
    /// The operation of this number.
    pub fn numbered(number: usize) -> Option<&'static Reduction> {
        ALL.get(number)
    }

    /// Reduces words into those from `to` on. The range must lie inside.
    pub fn apply(&self, allocation: &Allocation, to: u64, data: &[u32]) {
        let (words, first) = (allocation.words(), (to - allocation.base) as usize);
        let operation = self.operation;
        for (i, &new) in data.iter().enumerate() {
            let at = first + 4 * i;
            match self.size {
                2 => {
                    let half = |old: u16, new: u32| operation(old.into(), (new & 0xFFFF).into()) as u16;
                    update::half(words, at, |old| half(old, new));
                    update::half(words, at + 2, |old| half(old, new >> 16));
                }
                4 => {
                    update::word(words, at, |old| operation(old.into(), new.into()) as u32);
                }
                _ if i % 2 == 0 => {
                    let new = u64::from(new) | u64::from(data[i + 1]) << 32;
                    update::double(words, at, |old| operation(old, new));
                }
                _ => {}
            }
        }
    }
}

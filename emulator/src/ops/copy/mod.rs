//! Asynchronous copies and what orders them: `cp.async`.
//!
//! A copy reads its source when it is issued, and lands as late as the program allows: when somebody waits for it. So a kernel
//! that forgets to wait reads what was there before. Under [`crate::machine::Order::Random`] some copies land earlier, at
//! moments that the seed chooses; watchers are told of a landing when it is waited for all the same. Copies live with the
//! block ([`Transfers`]), since others than their issuer may wait for them. Tests: `tests/copies.rs`.

mod address;
mod single;

pub use single::leave;

use crate::{
    machine::{Context, Order},
    program::Builder,
};

/// What a warp knows of its copies.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// Groups of `cp.async` that each lane has committed: the number of the group that it is filling.
    committed: [u32; 32],
}

/// Copies of a block under way.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    /// Copies by `cp.async`, of each warp in the order of issue.
    single: Vec<Vec<single::Copy>>,
    /// Random numbers drawn so far.
    drawn: u64,
}

impl Transfers {
    /// In how many turns of its warp a copy lands by itself: `None` for never.
    fn early(&mut self, order: Order, block: u32) -> Option<u32> {
        let Order::Random(seed) = order else { return None };
        self.drawn += 1;
        let mut z = seed ^ u64::from(block) << 32 ^ self.drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // Mostly soon: within one, two, four or eight turns.
        (z & 1 == 0).then_some((z >> 3) as u32 % (1 << (z >> 1 & 3)))
    }

    /// Lets copies land whose moment has come. Called at the start of a turn of the warp.
    pub fn drift(&mut self, warp: u32, shared: &mut [u32]) {
        if let Some(copies) = self.single.get_mut(warp as usize) {
            copies.iter_mut().for_each(|c| c.drift(shared));
        }
    }
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let modifiers: Vec<&str> = b.source.modifiers.iter().map(String::as_str).collect();
    match (b.source.opcode.as_str(), &modifiers[..]) {
        ("cp", ["async", rest @ ..]) => single::lower(b, rest),
        _ => Err("unknown form".into()),
    }
}

/// Demands a module for at least this compute capability.
fn needs(b: &Builder<'_>, least: u32) -> Result<(), String> {
    match b.scope.target {
        target if target >= least => Ok(()),
        target => Err(format!("needs .target sm_{least} or higher, found sm_{target}")),
    }
}

/// Whether anybody hears of events.
fn watched(cx: &Context<'_, '_>) -> bool {
    !cx.watch.observers.is_empty()
}

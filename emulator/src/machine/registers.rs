//! The register file of a warp.

use bytemuck::{Pod, Zeroable};

/// All lanes of a warp.
pub const FULL: u32 = u32::MAX;

/// A 32-bit register of all lanes. Two neighbours, the first of an even number, make a 64-bit register.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Slot(pub [u32; 32]);

/// The registers of the function that a group of lanes is in.
pub struct Registers<'a> {
    /// 32-bit registers.
    pub slots: &'a mut [Slot],
    /// Predicates: a bit a lane.
    pub predicates: &'a mut [u32],
}

impl Registers<'_> {
    /// A 32-bit register.
    #[inline(always)]
    pub fn single(&self, register: u16) -> &[u32; 32] {
        &self.slots[register as usize].0
    }

    /// A 32-bit register, to be written.
    #[inline(always)]
    pub fn single_mut(&mut self, register: u16) -> &mut [u32; 32] {
        &mut self.slots[register as usize].0
    }

    /// A 64-bit register.
    #[inline(always)]
    pub fn double(&self, register: u16) -> &[u64; 32] {
        let i = register as usize;
        match self.slots[i..i + 2].first_chunk::<2>() {
            Some(pair) => bytemuck::cast_ref(pair),
            None => unreachable!("a slice of two has two elements"),
        }
    }

    /// A 64-bit register, to be written.
    #[inline(always)]
    pub fn double_mut(&mut self, register: u16) -> &mut [u64; 32] {
        let i = register as usize;
        match self.slots[i..i + 2].first_chunk_mut::<2>() {
            Some(pair) => bytemuck::cast_mut(pair),
            None => unreachable!("a slice of two has two elements"),
        }
    }

    /// A predicate.
    #[inline(always)]
    pub fn predicate(&self, register: u16) -> u32 {
        self.predicates[register as usize]
    }

    /// Writes the lanes of `mask` of a 32-bit register.
    #[inline(always)]
    pub fn write_single(&mut self, register: u16, mask: u32, values: &[u32; 32]) {
        blend(self.single_mut(register), mask, values);
    }

    /// Writes the lanes of `mask` of a 64-bit register.
    #[inline(always)]
    pub fn write_double(&mut self, register: u16, mask: u32, values: &[u64; 32]) {
        blend(self.double_mut(register), mask, values);
    }

    /// Writes the lanes of `mask` of a predicate.
    #[inline(always)]
    pub fn write_predicate(&mut self, register: u16, mask: u32, values: u32) {
        let p = &mut self.predicates[register as usize];
        *p = (*p & !mask) | (values & mask);
    }
}

#[inline(always)]
fn blend<T: Copy>(to: &mut [T; 32], mask: u32, values: &[T; 32]) {
    if mask == FULL {
        *to = *values;
        return;
    }
    for lane in 0..32 {
        if mask >> lane & 1 == 1 {
            to[lane] = values[lane];
        }
    }
}

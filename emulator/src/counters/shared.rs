//! Wavefronts of a shared-memory request.
//!
//! Lanes are served in phases: all 32 at up to four bytes each, 16 at eight bytes, 8 at sixteen. A phase takes as many wavefronts as
//! its busiest bank has distinct words; the same word is given to all who ask. A phase without lanes takes none.

use super::SharedMemory;
use crate::machine::Access;

impl SharedMemory {
    /// Counts a load or store.
    #[inline(always)]
    pub fn request(&mut self, access: &Access<'_>) {
        self.requests += 1;
        self.bytes += u64::from(access.bytes * access.mask.count_ones());
        let lanes_a_phase = (128 / access.bytes.max(4)).clamp(1, 32);
        if in_order(access) {
            let phases = u64::from(32 / lanes_a_phase);
            self.wavefronts += phases;
            self.ideal_wavefronts += phases;
            return;
        }
        for phase in (0..32).step_by(lanes_a_phase as usize) {
            let lanes = (u64::from(u32::MAX) >> (32 - lanes_a_phase)) << phase;
            let waves = wavefronts(access, access.mask & lanes as u32);
            self.wavefronts += waves;
            self.ideal_wavefronts += u64::from(waves > 0);
        }
    }

    /// Counts an atomic: lanes on the same word take turns.
    pub fn atomic(&mut self, access: &Access<'_>) {
        self.atomics += 1;
        let lanes = || (0..32).filter(|l| access.mask >> l & 1 == 1).map(|l| access.addresses[l]);
        let turns = lanes().map(|a| lanes().filter(|&b| b == a).count()).max().unwrap_or(0);
        self.atomic_turns += turns as u64;
    }
}

/// Whether all lanes take part, at neighbouring addresses: no bank is asked for two words in a phase.
#[inline(always)]
fn in_order(access: &Access<'_>) -> bool {
    let first = access.addresses[0];
    let mut gaps = 0;
    for l in 0..32 {
        gaps |= access.addresses[l] ^ first.wrapping_add(l as u64 * u64::from(access.bytes));
    }
    access.mask == u32::MAX && gaps == 0 && access.bytes <= 16
}

/// The largest number of distinct words that one bank is asked for by these lanes.
#[inline(never)]
fn wavefronts(access: &Access<'_>, lanes: u32) -> u64 {
    let mut words = [[0u64; 32]; 32];
    let mut counts = [0usize; 32];
    for lane in (0..32).filter(|l| lanes >> l & 1 == 1) {
        let first = access.addresses[lane] / 4;
        let last = (access.addresses[lane] + u64::from(access.bytes) - 1) / 4;
        for word in first..=last {
            let bank = (word % 32) as usize;
            if !words[bank][..counts[bank]].contains(&word) && counts[bank] < 32 {
                words[bank][counts[bank]] = word;
                counts[bank] += 1;
            }
        }
    }
    counts.iter().copied().max().unwrap_or(0) as u64
}

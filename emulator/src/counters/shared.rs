//! Wavefronts of a shared-memory request.
//!
//! Lanes are served in phases: all 32 at up to four bytes each, 16 at eight bytes, 8 at sixteen. A phase takes as many wavefronts as
//! its busiest bank has distinct words; the same word is given to all who ask. A phase without lanes takes none.

use super::SharedMemory;
use crate::{
    machine::Access,
    ops::memory::{each_lane, in_a_row},
};

impl SharedMemory {
    /// Counts a load or store.
    #[inline(always)]
    pub fn request(&mut self, access: &Access<'_>) {
        self.requests += 1;
        self.bytes += u64::from(access.bytes * access.mask.count_ones());
        let lanes_a_phase = (128 / access.bytes.max(4)).clamp(1, 32);
        if access.bytes <= 16 && in_a_row(access.mask, access.addresses, access.bytes) {
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

/// Words that a bank may be asked for in a phase before they are counted the slow way.
const FEW: usize = 4;

/// The largest number of distinct words that one bank is asked for by these lanes.
fn wavefronts(access: &Access<'_>, lanes: u32) -> u64 {
    let (mut words, mut counts) = ([[0u32; FEW]; 32], [0usize; 32]);
    let mut most = 0;
    for word in touched(access, lanes) {
        let bank = (word % 32) as usize;
        if !words[bank][..counts[bank]].contains(&word) {
            if counts[bank] == FEW {
                return many(access, lanes);
            }
            words[bank][counts[bank]] = word;
            counts[bank] += 1;
            most = most.max(counts[bank]);
        }
    }
    most as u64
}

/// The words that these lanes ask for, some perhaps more than once.
fn touched(access: &Access<'_>, lanes: u32) -> impl Iterator<Item = u32> {
    let range = |a: u64| (a / 4) as u32..=((a + u64::from(access.bytes) - 1) / 4) as u32;
    each_lane(lanes).flat_map(move |l| range(access.addresses[l]))
}

#[inline(never)]
fn many(access: &Access<'_>, lanes: u32) -> u64 {
    let mut words: Vec<u32> = touched(access, lanes).collect();
    words.sort_unstable();
    words.dedup();
    let mut counts = [0; 32];
    words.iter().for_each(|w| counts[(w % 32) as usize] += 1);
    counts.into_iter().max().unwrap_or(0)
}

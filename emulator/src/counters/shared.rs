//! Wavefronts of a shared-memory request.
//!
//! Lanes are served in phases: all 32 at up to four bytes each, 16 at eight bytes, 8 at sixteen. A phase takes as many wavefronts as
//! its busiest bank has distinct words; the same word is given to all who ask. A phase without lanes takes none.

use super::SharedMemory;
use crate::{machine::Access, ops::memory::each_lane};

impl SharedMemory {
    /// Counts a load or store.
    #[inline(always)]
    pub fn request(&mut self, access: &Access<'_>, memory: &mut [Pattern; PATTERNS]) {
        self.requests += 1;
        self.bytes += u64::from(access.bytes * access.mask.count_ones());
        let pattern = if access.contiguous { None } else { Pattern::of(access) };
        let (wavefronts, ideal) = match pattern {
            // Lanes in a row never ask a bank for two words in one phase.
            None if access.contiguous => {
                let phases = u64::from(access.bytes.div_ceil(4));
                (phases, phases)
            }
            None => phases(access),
            Some((first, stride)) => {
                let (last, key) =
                    (&mut memory[first as usize / 16 % PATTERNS], (first, stride, access.bytes));
                if last.key != key {
                    *last = Pattern { key, counts: phases(access) };
                }
                last.counts
            }
        };
        self.wavefronts += wavefronts;
        self.ideal_wavefronts += ideal;
    }

    /// Counts an atomic: lanes on the same word take turns.
    pub fn atomic(&mut self, access: &Access<'_>) {
        self.atomics += 1;
        let lanes = || (0..32).filter(|l| access.mask >> l & 1 == 1).map(|l| access.addresses[l]);
        let turns = lanes().map(|a| lanes().filter(|&b| b == a).count()).max().unwrap_or(0);
        self.atomic_turns += turns as u64;
    }
}

/// Patterns remembered: one for each place of sixteen bytes in the banks.
pub const PATTERNS: usize = 8;

/// A pattern of addresses with a constant distance from lane to lane, and its counts: loops repeat it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pattern {
    /// First bank's byte, distance, and bytes of each lane.
    key: (u64, u64, u32),
    counts: (u64, u64),
}

impl Pattern {
    /// Where in the banks the first lane is, and the distance between lanes, if it is constant and all lanes take part.
    #[inline(always)]
    fn of(access: &Access<'_>) -> Option<(u64, u64)> {
        let (first, stride) = (access.addresses[0], access.addresses[1].wrapping_sub(access.addresses[0]));
        let mut off = 0;
        for l in 0..32 {
            off |= access.addresses[l] ^ first.wrapping_add((l as u64).wrapping_mul(stride));
        }
        (access.mask == u32::MAX && off == 0).then_some((first % 128, stride))
    }
}

/// Wavefronts of all phases, and the least there could be.
#[inline(never)]
fn phases(access: &Access<'_>) -> (u64, u64) {
    let lanes_a_phase = (128 / access.bytes.max(4)).clamp(1, 32);
    let (mut wavefronts_sum, mut ideal) = (0, 0);
    for phase in (0..32).step_by(lanes_a_phase as usize) {
        let lanes = (u64::from(u32::MAX) >> (32 - lanes_a_phase)) << phase;
        let waves = wavefronts(access, access.mask & lanes as u32);
        wavefronts_sum += waves;
        ideal += u64::from(waves > 0);
    }
    (wavefronts_sum, ideal)
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

//! The counts of a launch, as JSON has them.

use super::Class;
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests to global memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Warp instructions that reached memory.
    pub requests: u64,
    /// Sectors of 32 bytes, each counted once a request.
    pub sectors: u64,
    /// Bytes that lanes asked for.
    pub bytes: u64,
    /// Of these, bytes at different addresses.
    pub distinct_bytes: u64,
}

impl Memory {
    /// Adds the counts of another core or launch. Distinct bytes are added as well.
    pub fn merge(&mut self, other: &Memory) {
        self.requests += other.requests;
        self.sectors += other.sectors;
        self.bytes += other.bytes;
        self.distinct_bytes += other.distinct_bytes;
    }

    /// Sectors a request: 16 for 16 bytes of each lane in a row.
    pub fn sectors_per_request(&self) -> f64 {
        ratio(self.sectors, self.requests)
    }
}

/// Requests to shared memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SharedMemory {
    /// Warp loads and stores.
    pub requests: u64,
    /// Bytes that lanes asked for.
    pub bytes: u64,
    /// Wavefronts that they take.
    pub wavefronts: u64,
    /// Wavefronts that they would take without bank conflicts.
    pub ideal_wavefronts: u64,
    /// Warp atomics.
    pub atomics: u64,
    /// Turns that lanes on the same word take at them.
    pub atomic_turns: u64,
}

impl SharedMemory {
    /// Adds the counts of another core or launch.
    pub fn merge(&mut self, other: &SharedMemory) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.wavefronts += other.wavefronts;
        self.ideal_wavefronts += other.ideal_wavefronts;
        self.atomics += other.atomics;
        self.atomic_turns += other.atomic_turns;
    }

    /// Wavefronts over those without bank conflicts; 1 is best.
    pub fn wavefronts_over_ideal(&self) -> f64 {
        if self.ideal_wavefronts == 0 { 1.0 } else { ratio(self.wavefronts, self.ideal_wavefronts) }
    }
}

/// The counts of a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The kernel.
    pub kernel: String,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// PTX instructions issued, for a warp each.
    pub warp_instructions: u64,
    /// The same times the lanes that ran them.
    pub thread_instructions: u64,
    /// Warp instructions by class.
    pub by_class: BTreeMap<Class, u64>,
    /// Loads from global memory, those of asynchronous copies as well.
    pub read: Memory,
    /// Of these, the loads through the read-only path (`ld.global.nc`).
    pub read_only: Memory,
    /// Stores to global memory.
    pub written: Memory,
    /// Atomics on global memory.
    pub atomic: Memory,
    /// Loads and stores of shared memory.
    pub shared: SharedMemory,
    /// Block barriers completed.
    pub barriers: u64,
    /// Meetings of all blocks on one word.
    pub grid_barriers: u64,
    /// Multiply-adds of matrix instructions.
    pub tensor_multiply_adds: u64,
}

/// The counts of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Launches.
    pub launches: u64,
    /// Their instructions.
    pub warp_instructions: u64,
    /// Their loads; `distinct_bytes` is the sum over launches.
    pub read: Memory,
    /// Of these, the loads through the read-only path; likewise.
    pub read_only: Memory,
    /// Their stores; likewise.
    pub written: Memory,
    /// Their atomics.
    pub atomic: Memory,
    /// Their shared memory.
    pub shared: SharedMemory,
    /// Their barriers.
    pub barriers: u64,
    /// Their meetings of all blocks.
    pub grid_barriers: u64,
    /// Their multiply-adds of matrix instructions.
    pub tensor_multiply_adds: u64,
}

impl Totals {
    /// The sums over launches.
    pub fn of(records: &[Record]) -> Totals {
        let mut sum = Totals::default();
        for r in records {
            sum.add(&Totals {
                launches: 1,
                warp_instructions: r.warp_instructions,
                read: r.read,
                read_only: r.read_only,
                written: r.written,
                atomic: r.atomic,
                shared: r.shared,
                barriers: r.barriers,
                grid_barriers: r.grid_barriers,
                tensor_multiply_adds: r.tensor_multiply_adds,
            });
        }
        sum
    }

    /// Adds other sums.
    pub fn add(&mut self, other: &Totals) {
        self.launches += other.launches;
        self.warp_instructions += other.warp_instructions;
        self.read.merge(&other.read);
        self.read_only.merge(&other.read_only);
        self.written.merge(&other.written);
        self.atomic.merge(&other.atomic);
        self.shared.merge(&other.shared);
        self.barriers += other.barriers;
        self.grid_barriers += other.grid_barriers;
        self.tensor_multiply_adds += other.tensor_multiply_adds;
    }
}

/// `a / b`, 0 if there is no `b`.
pub(super) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

//! What a profiler would be asked: instructions, requests, sectors, wavefronts, for each launch and in total.
//!
//! Only what follows from the program and its data is counted; cycles, hit rates and stalls are not, as they follow from the hardware.
//! The definitions are in the README. The interpreter counts straight runs of instructions, the handlers tell of
//! accesses; [`Counters::finish`] makes the [`Record`] of a launch. Tests: `tests/counters.rs`.

mod class;
mod distinct;
mod record;
mod sectors;
mod shared;
mod table;

pub use class::{Class, Part};
pub use record::{Memory, Record, SharedMemory, Totals};
pub use table::table;

use crate::{
    machine::{Access, AccessKind, Event, Launch, Ordering, Scope},
    program::Program,
    ptx::ast::Space,
};
use distinct::Distinct;
use std::collections::HashMap;

/// The counters of one launch, or of one core's part of it.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Changes of the number of issues, and of lanes, from one instruction to the next: straight runs add at their ends only.
    issues: Vec<i64>,
    lanes: Vec<i64>,
    /// Coherent loads, and those through the read-only path.
    reads: [Memory; 2],
    writes: Memory,
    atomics: Memory,
    shared: SharedMemory,
    patterns: [shared::Pattern; shared::PATTERNS],
    read_bytes: [Distinct; 2],
    written_bytes: Distinct,
    barriers: u64,
    /// Of each word that blocks count each other on: how often each block did.
    arrivals: HashMap<u64, HashMap<u32, u64>>,
}

/// Words that grid-wide synchronisation is looked for at: a kernel that uses more of them does something else.
const ARRIVAL_WORDS: usize = 1024;

impl Counters {
    /// Begins to count a launch of `program`.
    pub fn begin(&mut self, program: &Program) {
        *self = Counters::default();
        self.issues = vec![0; program.code.len() + 1];
        self.lanes = vec![0; program.code.len() + 1];
    }

    /// Counters of the same program, at zero.
    pub fn fork(&self) -> Counters {
        let zeros = vec![0; self.issues.len()];
        Counters { issues: zeros.clone(), lanes: zeros, ..Counters::default() }
    }

    /// The instructions from `first` to before `end` were issued for `lanes` lanes.
    #[inline(always)]
    pub fn run(&mut self, first: u32, end: u32, lanes: u32) {
        self.issues[first as usize] += 1;
        self.issues[end as usize] -= 1;
        self.lanes[first as usize] += i64::from(lanes);
        self.lanes[end as usize] -= i64::from(lanes);
    }

    /// The guard of an instruction, issued for `of` lanes, let only `lanes` run it.
    #[inline(always)]
    pub fn guarded(&mut self, pc: u32, of: u32, lanes: u32) {
        let off = i64::from(of - lanes);
        self.lanes[pc as usize] -= off;
        self.lanes[pc as usize + 1] += off;
    }

    /// A memory access.
    #[inline(always)]
    pub fn access(&mut self, block: u32, access: &Access<'_>) {
        match (access.space, access.kind) {
            (Space::Global, AccessKind::Load | AccessKind::CopyRead) => {
                let path = usize::from(access.ordering == Ordering::NonCoherent);
                self.reads[path].request(access);
                self.read_bytes[path].add(access);
            }
            (Space::Global, AccessKind::Store) => {
                self.writes.request(access);
                self.written_bytes.add(access);
            }
            (Space::Global, AccessKind::Atomic(_)) => self.atomic(block, access),
            (Space::Shared, AccessKind::Load | AccessKind::Store) => {
                self.shared.request(access, &mut self.patterns)
            }
            (Space::Shared, AccessKind::Atomic(_)) => self.shared.atomic(access),
            _ => {}
        }
    }

    fn atomic(&mut self, block: u32, access: &Access<'_>) {
        self.atomics.request(access);
        if access.scope < Scope::Device {
            return;
        }
        for lane in (0..32).filter(|l| access.mask >> l & 1 == 1) {
            let known = self.arrivals.len();
            let word = access.addresses[lane];
            if known < ARRIVAL_WORDS || self.arrivals.contains_key(&word) {
                *self.arrivals.entry(word).or_default().entry(block).or_default() += 1;
            }
        }
    }

    /// Something else.
    pub fn event(&mut self, event: &Event) {
        self.barriers += u64::from(matches!(event, Event::BarrierComplete { .. }));
    }

    /// Adds the counts of another core.
    pub fn merge(&mut self, other: &Counters) {
        let add = |to: &mut Vec<i64>, from: &[i64]| to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut self.issues, &other.issues);
        add(&mut self.lanes, &other.lanes);
        self.reads.iter_mut().zip(&other.reads).for_each(|(a, b)| a.merge(b));
        self.writes.merge(&other.writes);
        self.atomics.merge(&other.atomics);
        self.shared.merge(&other.shared);
        self.read_bytes.iter_mut().zip(&other.read_bytes).for_each(|(a, b)| a.merge(b));
        self.written_bytes.merge(&other.written_bytes);
        self.barriers += other.barriers;
        for (&word, blocks) in &other.arrivals {
            let to = self.arrivals.entry(word).or_default();
            blocks.iter().for_each(|(&block, n)| *to.entry(block).or_default() += n);
        }
    }

    /// The record of the launch.
    pub fn finish(&self, program: &Program, launch: &Launch) -> Record {
        let blocks: u32 = launch.grid.iter().product();
        let [coherent, read_only] = &self.read_bytes;
        let mut all = coherent.clone();
        all.merge(read_only);
        let mut read = self.reads[0];
        read.merge(&self.reads[1]);
        let mut record = Record {
            kernel: program.functions[launch.kernel].name.clone(),
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes(program),
            read: Memory { distinct_bytes: all.count(), ..read },
            read_only: Memory { distinct_bytes: read_only.count(), ..self.reads[1] },
            written: Memory { distinct_bytes: self.written_bytes.count(), ..self.writes },
            atomic: self.atomics,
            shared: self.shared,
            barriers: self.barriers,
            grid_barriers: self.grid_barriers(blocks),
            ..Record::default()
        };
        let (mut issued, mut lanes) = (0, 0);
        for (pc, parts) in program.parts.iter().enumerate() {
            issued += self.issues[pc];
            lanes += self.lanes[pc];
            for part in parts.iter().filter(|_| issued > 0) {
                record.warp_instructions += issued as u64;
                record.thread_instructions += lanes as u64;
                *record.by_class.entry(part.class).or_default() += issued as u64;
                record.tensor_multiply_adds += part.multiply_adds * issued as u64;
            }
        }
        record
    }

    /// How often all blocks of the grid met: over words on which every block did atomics at device scope, the least number that
    /// any did. Kernels of one block meet nobody.
    fn grid_barriers(&self, blocks: u32) -> u64 {
        let meetings = |by_block: &HashMap<u32, u64>| match by_block.len() as u32 == blocks && blocks > 1 {
            true => by_block.values().copied().min().unwrap_or(0),
            false => 0,
        };
        self.arrivals.values().map(meetings).sum()
    }
}

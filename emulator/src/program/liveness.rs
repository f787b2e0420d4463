//! Which registers hold a value that a lane may still read, at each instruction.

use super::{Access, Control, Exec, draft::Draft};

/// Where registers are live.
pub(super) struct Liveness {
    /// The first and last instruction at which each register is live or touched, `None` for a register never touched.
    pub intervals: Vec<Option<(u32, u32)>>,
    /// Registers that are live at the start: which some path reads before it writes them.
    pub at_start: Vec<usize>,
    /// The largest sum of the sizes of registers that are live between two instructions.
    pub pressure: u32,
}

/// Finds it for as many registers as `sizes` has.
///
/// Backward data flow over basic blocks. A guarded write does not end the life of the old value.
pub(super) fn find(drafts: &[Draft], tables: &[Vec<u32>], table_base: i64, sizes: &[u32]) -> Liveness {
    let registers = sizes.len();
    let blocks = Blocks::find(drafts, tables, table_base);
    let live_out = blocks.solve(drafts, registers);
    let mut intervals: Vec<Option<(u32, u32)>> = vec![None; registers];
    let mut touch = |register: usize, at: u32| {
        let interval = intervals[register].get_or_insert((at, at));
        *interval = (interval.0.min(at), interval.1.max(at));
    };
    let (mut at_start, mut pressure) = (Vec::new(), 0);
    for (b, range) in blocks.ranges.iter().enumerate() {
        let mut live = live_out[b].clone();
        live.each(|r| touch(r, range.end as u32 - 1));
        for pc in range.clone().rev() {
            step(&drafts[pc], &mut live, |r| touch(r, pc as u32));
            let mut sum = 0;
            live.each(|r| sum += sizes[r]);
            pressure = pressure.max(sum);
        }
        live.each(|r| touch(r, range.start as u32));
        if b == 0 {
            live.each(|r| at_start.push(r));
        }
    }
    Liveness { intervals, at_start, pressure }
}

/// Moves `live` from after an instruction to before it; `seen` hears of every register that it touches.
fn step(draft: &Draft, live: &mut Bits, mut seen: impl FnMut(usize)) {
    for u in &draft.uses {
        seen(u.register as usize);
        if u.access == Access::Write && !draft.uses.iter().any(|u| u.at == super::Use::GUARD) {
            live.clear(u.register as usize);
        }
    }
    for u in draft.uses.iter().filter(|u| u.access.reads()) {
        live.set(u.register as usize);
    }
}

struct Blocks {
    ranges: Vec<std::ops::Range<usize>>,
    successors: Vec<Vec<usize>>,
}

impl Blocks {
    fn find(drafts: &[Draft], tables: &[Vec<u32>], table_base: i64) -> Blocks {
        let mut starts = vec![false; drafts.len() + 1];
        starts[0] = true;
        for (pc, draft) in drafts.iter().enumerate() {
            let targets = targets(draft, tables, table_base);
            targets.iter().for_each(|&t| starts[t] = true);
            if !targets.is_empty()
                || matches!(draft.instr.exec, Exec::Control(Control::Exit | Control::Return))
            {
                starts[pc + 1] = true;
            }
        }
        let mut begins: Vec<usize> = (0..drafts.len()).filter(|&pc| starts[pc]).collect();
        begins.push(drafts.len());
        let ranges: Vec<_> = begins.windows(2).map(|w| w[0]..w[1]).collect();
        let block_of = |pc: usize| begins.partition_point(|&b| b <= pc) - 1;
        let successors = ranges
            .iter()
            .map(|range| {
                let last = &drafts[range.end - 1];
                let mut to: Vec<usize> =
                    targets(last, tables, table_base).iter().map(|&t| block_of(t)).collect();
                let guarded = last.uses.iter().any(|u| u.at == super::Use::GUARD);
                let leaves = matches!(
                    last.instr.exec,
                    Exec::Control(Control::Branch | Control::BranchTable | Control::Exit | Control::Return)
                );
                if (!leaves || guarded) && range.end < drafts.len() {
                    to.push(block_of(range.end));
                }
                to
            })
            .collect();
        Blocks { ranges, successors }
    }

    /// Registers live at the end of each block.
    fn solve(&self, drafts: &[Draft], registers: usize) -> Vec<Bits> {
        let mut predecessors = vec![Vec::new(); self.ranges.len()];
        for (b, to) in self.successors.iter().enumerate() {
            to.iter().for_each(|&s| predecessors[s].push(b));
        }
        let mut live_in: Vec<Bits> = vec![Bits::new(registers); self.ranges.len()];
        let mut live_out = live_in.clone();
        let mut work: Vec<usize> = (0..self.ranges.len()).collect();
        let mut queued = vec![true; self.ranges.len()];
        while let Some(b) = work.pop() {
            queued[b] = false;
            let mut live = Bits::new(registers);
            self.successors[b].iter().for_each(|&s| live.union(&live_in[s]));
            live_out[b] = live.clone();
            self.ranges[b].clone().rev().for_each(|pc| step(&drafts[pc], &mut live, |_| {}));
            if live != live_in[b] {
                live_in[b] = live;
                for &p in predecessors[b].iter().filter(|&&p| !std::mem::replace(&mut queued[p], true)) {
                    work.push(p);
                }
            }
        }
        live_out
    }
}

fn targets(draft: &Draft, tables: &[Vec<u32>], table_base: i64) -> Vec<usize> {
    match draft.instr.exec {
        Exec::Control(Control::Branch) => vec![draft.instr.imm as usize],
        Exec::Control(Control::BranchTable) => {
            tables[(draft.instr.imm - table_base) as usize].iter().map(|&t| t as usize).collect()
        }
        _ => Vec::new(),
    }
}

/// A set of small numbers.
#[derive(Clone, PartialEq)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(n: usize) -> Bits {
        Bits(vec![0; n.div_ceil(64)])
    }

    fn set(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn clear(&mut self, i: usize) {
        self.0[i / 64] &= !(1 << (i % 64));
    }

    fn union(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn each(&self, mut f: impl FnMut(usize)) {
        for (i, &word) in self.0.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                f(64 * i + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}

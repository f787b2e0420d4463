//! Special registers, and addresses that depend on the thread's place.

use crate::{
    machine::{Context, Fault},
    program::{Builder, Exec, Instr, Place, Width, align_up},
    ptx::ast::{Operand, Type},
};

/// A special register: its value in a lane.
type Value = fn(&Context<'_, '_>, u32) -> u64;

/// Who may read a special register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// `mov` of 32 bits; of 16, which gets the lower half (the ISA keeps it for old programs).
    Short,
    /// `mov` of 32 bits.
    Single,
    /// `mov` of 64 bits.
    Double,
    /// `mov.pred`.
    Predicate,
}

/// The thread's coordinates in a block.
fn tid(cx: &Context<'_, '_>, lane: u32, axis: usize) -> u64 {
    let [x, y, _] = cx.launch.block;
    let t = cx.thread(lane);
    u64::from([t % x, t / x % y, t / x / y][axis])
}

/// Bytes of shared memory of a block as the hardware gives them out: in units of 128, and of 256 before compute capability 8.0.
fn shared_size(cx: &Context<'_, '_>) -> u64 {
    let unit = if cx.settings.device.capability.0 >= 8 { 128 } else { 256 };
    u64::from(align_up(cx.block.shared_bytes, unit))
}

/// With what the system keeps for itself: 1 KiB a block from compute capability 8.0 on.
fn all_shared_size(cx: &Context<'_, '_>) -> u64 {
    shared_size(cx) + if cx.settings.device.capability.0 >= 8 { 1024 } else { 0 }
}

/// Warps that fit on a multiprocessor.
fn most_warps(cx: &Context<'_, '_>) -> u64 {
    match cx.settings.device.compute_capability() {
        75 => 32,
        86 | 87 | 89 | 120 | 121 => 48,
        _ => 64,
    }
}

/// Where the barrier of a cooperative launch lies; other launches have none. The driver tells kernels in registers that the ISA leaves
/// to it; cooperative groups read them.
fn workspace(cx: &Context<'_, '_>) -> u64 {
    if cx.launch.cooperative { cx.program.workspace } else { 0 }
}

/// All of them. Time is counted in instructions of the warp: it goes on, and is the same in every run. A cluster is one block.
const REGISTERS: &[(&str, Size, Value)] = &[
    ("tid.x", Size::Short, |cx, lane| tid(cx, lane, 0)),
    ("tid.y", Size::Short, |cx, lane| tid(cx, lane, 1)),
    ("tid.z", Size::Short, |cx, lane| tid(cx, lane, 2)),
    ("ntid.x", Size::Short, |cx, _| u64::from(cx.launch.block[0])),
    ("ntid.y", Size::Short, |cx, _| u64::from(cx.launch.block[1])),
    ("ntid.z", Size::Short, |cx, _| u64::from(cx.launch.block[2])),
    ("ctaid.x", Size::Short, |cx, _| u64::from(cx.block.index[0])),
    ("ctaid.y", Size::Short, |cx, _| u64::from(cx.block.index[1])),
    ("ctaid.z", Size::Short, |cx, _| u64::from(cx.block.index[2])),
    ("nctaid.x", Size::Short, |cx, _| u64::from(cx.launch.grid[0])),
    ("nctaid.y", Size::Short, |cx, _| u64::from(cx.launch.grid[1])),
    ("nctaid.z", Size::Short, |cx, _| u64::from(cx.launch.grid[2])),
    ("laneid", Size::Single, |_, lane| u64::from(lane)),
    ("warpid", Size::Single, |cx, _| u64::from(cx.warp.index)),
    ("nwarpid", Size::Single, |cx, _| most_warps(cx)),
    ("smid", Size::Single, |cx, _| u64::from(cx.block.sm)),
    ("nsmid", Size::Single, |cx, _| u64::from(cx.settings.device.multiprocessors)),
    ("lanemask_eq", Size::Single, |_, lane| 1 << lane),
    ("lanemask_lt", Size::Single, |_, lane| (1 << lane) - 1),
    ("lanemask_le", Size::Single, |_, lane| (2 << lane) - 1),
    ("lanemask_gt", Size::Single, |_, lane| u64::from(u32::MAX) & !((2 << lane) - 1)),
    ("lanemask_ge", Size::Single, |_, lane| u64::from(u32::MAX) & !((1 << lane) - 1)),
    ("clock", Size::Single, |cx, _| cx.warp.clock),
    ("clock_hi", Size::Single, |cx, _| cx.warp.clock >> 32),
    ("clock64", Size::Double, |cx, _| cx.warp.clock),
    ("globaltimer", Size::Double, |cx, _| cx.warp.clock),
    ("globaltimer_lo", Size::Single, |cx, _| cx.warp.clock),
    ("globaltimer_hi", Size::Single, |cx, _| cx.warp.clock >> 32),
    ("dynamic_smem_size", Size::Single, |cx, _| u64::from(cx.launch.dynamic_shared)),
    ("total_smem_size", Size::Single, |cx, _| shared_size(cx)),
    ("aggr_smem_size", Size::Single, |cx, _| all_shared_size(cx)),
    ("cluster_ctaid.x", Size::Single, |_, _| 0),
    ("cluster_ctaid.y", Size::Single, |_, _| 0),
    ("cluster_ctaid.z", Size::Single, |_, _| 0),
    ("cluster_nctaid.x", Size::Single, |_, _| 1),
    ("cluster_nctaid.y", Size::Single, |_, _| 1),
    ("cluster_nctaid.z", Size::Single, |_, _| 1),
    ("cluster_ctarank", Size::Single, |_, _| 0),
    ("cluster_nctarank", Size::Single, |_, _| 1),
    ("clusterid.x", Size::Single, |cx, _| u64::from(cx.block.index[0])),
    ("clusterid.y", Size::Single, |cx, _| u64::from(cx.block.index[1])),
    ("clusterid.z", Size::Single, |cx, _| u64::from(cx.block.index[2])),
    ("nclusterid.x", Size::Single, |cx, _| u64::from(cx.launch.grid[0])),
    ("nclusterid.y", Size::Single, |cx, _| u64::from(cx.launch.grid[1])),
    ("nclusterid.z", Size::Single, |cx, _| u64::from(cx.launch.grid[2])),
    ("is_explicit_cluster", Size::Predicate, |_, _| 0),
    ("envreg1", Size::Single, |cx, _| workspace(cx) >> 32),
    ("envreg2", Size::Single, |cx, _| workspace(cx)),
];

/// Lowers `mov d, %special`.
pub fn read(b: &mut Builder<'_>, d: &Operand, name: &str, ty: Type) -> Result<(), String> {
    let which = REGISTERS
        .iter()
        .position(|r| r.0 == name)
        .ok_or_else(|| format!("special register %{name} is not supported"))?;
    let fits = match (REGISTERS[which].1, ty.size()) {
        (Size::Short, 2 | 4) | (Size::Single, 4) | (Size::Double, 8) => true,
        (Size::Predicate, _) => ty == Type::Pred,
        _ => false,
    };
    if !fits {
        return Err(format!("special register %{name} cannot be read as {ty:?}"));
    }
    if *d == Operand::Sink {
        return Err("the destination is _, expected a register".into());
    }
    b.scope.reads_workspace |= name.starts_with("envreg");
    b.destination(0, d, ty)?;
    b.set_imm(which as i64);
    b.set_flags(ty.size() as u8);
    b.emit(Exec::Warp(value))
}

fn value(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (_, _, value) = REGISTERS[instr.imm as usize];
    let values: [u64; 32] = std::array::from_fn(|lane| value(cx, lane as u32));
    match instr.flags {
        0 => {
            let bits = (0..32).fold(0, |bits, l| bits | u32::from(values[l] != 0) << l);
            cx.registers.write_predicate(instr.r[0], mask, bits);
        }
        2 => cx.registers.write_single(instr.r[0], mask, &values.map(|v| v as u32 & 0xFFFF)),
        4 => cx.registers.write_single(instr.r[0], mask, &values.map(|v| v as u32)),
        _ => cx.registers.write_double(instr.r[0], mask, &values),
    }
    Ok(())
}

/// Lowers `mov d, name` of a variable in local memory: its address depends on the depth of calls.
pub fn frame_address(
    b: &mut Builder<'_>,
    d: &Operand,
    name: &str,
    offset: i64,
    ty: Type,
) -> Result<(), String> {
    let Some(Place::Frame(at)) = b.scope.places.get(name).copied() else {
        return Err(format!("unknown name {name}"));
    };
    if *d == Operand::Sink {
        return Err("the destination is _, expected a register".into());
    }
    b.destination(0, d, ty)?;
    b.set_imm(i64::from(at) + offset);
    b.set_flags(u8::from(Width::of(ty) == Width::Double));
    b.emit(Exec::Warp(local_address))
}

fn local_address(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let address = u64::from(cx.frame.local).wrapping_add_signed(instr.imm);
    match instr.flags {
        1 => cx.registers.write_double(instr.r[0], mask, &[address; 32]),
        _ => cx.registers.write_single(instr.r[0], mask, &[address as u32; 32]),
    }
    Ok(())
}

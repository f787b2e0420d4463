//! Special registers, and addresses that depend on the thread's place.

use crate::{
    machine::{Context, Fault},
    program::{Builder, Exec, Instr, Place, WarpFn, Width},
    ptx::ast::{Operand, Type},
};

/// Lowers `mov d, %special`.
pub fn read(b: &mut Builder<'_>, d: &Operand, name: &str, ty: Type) -> Result<(), String> {
    let (run, which): (WarpFn, i64) = match name {
        "tid.x" => (thread, 0),
        "tid.y" => (thread, 1),
        "tid.z" => (thread, 2),
        "ntid.x" | "ntid.y" | "ntid.z" | "ctaid.x" | "ctaid.y" | "ctaid.z" | "nctaid.x" | "nctaid.y"
        | "nctaid.z" => (
            uniform,
            i64::from(name.as_bytes()[0]) << 8
                | i64::from(name.as_bytes()[name.len() - 1] - b'x')
                | (name.len() as i64) << 16,
        ),
        "laneid" => (lane, 0),
        _ => return Err(format!("special register %{name} is not supported")),
    };
    if Width::of(ty) != Width::Single {
        return Err(format!("special register %{name} has 32 bits, expected by {ty:?}"));
    }
    b.destination(0, d, ty)?;
    b.set_imm(which);
    b.emit(Exec::Warp(run))
}

fn thread(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let [x, y, _] = cx.launch.block;
    let first = 32 * cx.warp.index;
    let values = std::array::from_fn(|l| {
        let t = first + l as u32;
        match instr.imm {
            0 => t % x,
            1 => t / x % y,
            _ => t / x / y,
        }
    });
    cx.registers.write_single(instr.r[0], mask, &values);
    Ok(())
}

fn uniform(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let axis = (instr.imm & 0xFF) as usize;
    let value = match ((instr.imm >> 8 & 0xFF) as u8, instr.imm >> 16) {
        (b'c', _) => cx.block.index[axis],
        (_, 6) => cx.launch.block[axis],
        _ => cx.launch.grid[axis],
    };
    cx.registers.write_single(instr.r[0], mask, &[value; 32]);
    Ok(())
}

fn lane(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    cx.registers.write_single(instr.r[0], mask, &std::array::from_fn(|l| l as u32));
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

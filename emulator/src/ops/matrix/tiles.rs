//! `ldmatrix`, `stmatrix` and `movmatrix`: the registers are `r[1]` to `r[4]`, the address is at [`crate::ops::memory::ADDRESS`].

use super::{check_all_here, demand_target, vector, wait_for_all};
use crate::{
    machine::{AccessKind, Context, FULL, Fault, FaultKind},
    memory::{Window, window_of},
    ops::memory::{
        Form, addresses, check_alignment, check_bounds, describe, lanes_where, place_address, tell,
    },
    program::{Builder, Exec, Instr, NONE},
    ptx::ast::{Operand, Space, Type},
    tensor::matrix8x8::{self, Row, address_lane},
};

/// Bytes of a row.
const ROW: u32 = 16;
/// In the flags: how many matrices, `.trans`, and that the address is generic.
const COUNT: u8 = 7;
const TRANSPOSE: u8 = 8;
const GENERIC: u8 = 16;

/// Lowers `ldmatrix.sync.aligned`.
pub fn load(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    demand_target(b, 75)?;
    let flags = spell(modifiers)?;
    b.expect_operands(2)?;
    for (i, register) in
        vector(b.operand(0)?, usize::from(flags & COUNT), "the destination")?.iter().enumerate()
    {
        b.destination(1 + i, register, Type::B32)?;
    }
    finish(b, 1, flags, load_tiles)
}

/// Lowers `stmatrix.sync.aligned`.
pub fn store(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    demand_target(b, 90)?;
    let flags = spell(modifiers)?;
    b.expect_operands(2)?;
    for (i, register) in vector(b.operand(1)?, usize::from(flags & COUNT), "the source")?.iter().enumerate() {
        b.source(1 + i, register, Type::B32)?;
    }
    finish(b, 0, flags, store_tiles)
}

/// `m8n8`, a number of matrices, `trans`, a space and `b16`; the first two in either order.
fn spell(modifiers: &[&str]) -> Result<u8, String> {
    let (count, rest) = match modifiers {
        ["m8n8", count, rest @ ..] | [count, "m8n8", rest @ ..] => (*count, rest),
        _ => return Err("unknown form".into()),
    };
    let count = match count {
        "x1" => 1,
        "x2" => 2,
        "x4" => 4,
        other => return Err(format!("{other} matrices are not supported")),
    };
    let (transpose, rest) = match rest {
        ["trans", rest @ ..] => (TRANSPOSE, rest),
        rest => (0, rest),
    };
    match rest {
        ["shared" | "shared::cta", "b16"] => Ok(count | transpose),
        ["b16"] => Ok(count | transpose | GENERIC),
        _ => Err("unknown form".into()),
    }
}

fn finish(
    b: &mut Builder<'_>,
    address: usize,
    flags: u8,
    run: fn(&mut Context<'_, '_>, u32, &Instr) -> Result<(), Fault>,
) -> Result<(), String> {
    let Operand::Address { base, offset } = b.operand(address)? else {
        return Err(format!("operand {} is not an address", address + 1));
    };
    let space = if flags & GENERIC == 0 { Some("shared") } else { None };
    let (_, offset) = place_address(b, space, base, *offset)?;
    let offset = i32::try_from(offset).map_err(|_| format!("offset {offset} does not fit 32 bits"))?;
    let wide = match base.as_ref() {
        Operand::Register(id) => b.scope.register_type(*id).size() == 8,
        _ => true,
    };
    b.set_imm(Form::new(offset).with_wide_address(wide).0);
    b.set_flags(flags);
    wait_for_all(b)?;
    b.emit(Exec::Sync(run))
}

/// The offsets in shared memory of the rows, one to a lane, and the lanes that name one.
fn rows(cx: &Context<'_, '_>, instr: &Instr, mask: u32) -> Result<([u64; 32], u32), Fault> {
    check_all_here(cx, mask)?;
    let mut rows = addresses(cx, instr, Form(instr.imm));
    // Before sm_80 every lane's address had to be valid.
    let count = u32::from(instr.flags & COUNT);
    let named = if cx.settings.device.compute_capability() < 80 { FULL } else { FULL >> (32 - 8 * count) };
    if instr.flags & GENERIC != 0 {
        let outside = lanes_where(named, &rows, |a| !matches!(window_of(a), Window::Shared(_)));
        if outside != 0 {
            let address = rows[outside.trailing_zeros() as usize];
            let message = format!("address {address:#x} is not in shared memory");
            return Err(cx.fault(FaultKind::InvalidAddressSpace, outside, message));
        }
        rows = rows.map(|a| a & (crate::memory::WINDOW_SIZE - 1));
    }
    check_bounds(cx, named, &rows, ROW, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, named, &rows, ROW)?;
    Ok((rows, FULL >> (32 - 8 * count)))
}

fn load_tiles(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (rows, named) = rows(cx, instr, mask)?;
    tell(cx, &describe(Form(instr.imm), AccessKind::Load, Space::Shared, named, ROW, &rows))?;
    for i in 0..usize::from(instr.flags & COUNT) {
        let tile: [Row; 8] = std::array::from_fn(|r| {
            let first = rows[address_lane(i, r)] as usize / 4;
            std::array::from_fn(|word| cx.block.shared[first + word])
        });
        let lanes = matrix8x8::load(&tile, instr.flags & TRANSPOSE != 0);
        if instr.r[1 + i] != NONE {
            cx.registers.write_single(instr.r[1 + i], mask, &lanes);
        }
    }
    Ok(())
}

fn store_tiles(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (rows, named) = rows(cx, instr, mask)?;
    let mut words = [([0; 32], [0; 32]); 4];
    for i in 0..usize::from(instr.flags & COUNT) {
        let tile = matrix8x8::store(cx.registers.single(instr.r[1 + i]), instr.flags & TRANSPOSE != 0);
        for (r, row) in tile.iter().enumerate() {
            (0..4).for_each(|word| words[word].0[address_lane(i, r)] = row[word]);
        }
    }
    let mut access = describe(Form(instr.imm), AccessKind::Store, Space::Shared, named, ROW, &rows);
    (access.element, access.values) = (4, &words);
    tell(cx, &access)?;
    for lane in crate::ops::memory::each_lane(named) {
        for (word, values) in words.iter().enumerate() {
            cx.block.shared[rows[lane] as usize / 4 + word] = values.0[lane];
        }
    }
    Ok(())
}

/// Lowers `movmatrix.sync.aligned.m8n8.trans.b16`.
pub fn transpose(b: &mut Builder<'_>) -> Result<(), String> {
    demand_target(b, 75)?;
    b.expect_operands(2)?;
    b.destination(1, b.operand(0)?, Type::B32)?;
    b.source(2, b.operand(1)?, Type::B32)?;
    wait_for_all(b)?;
    b.emit(Exec::Sync(transpose_tile))
}

fn transpose_tile(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    check_all_here(cx, mask)?;
    let lanes = matrix8x8::transposed(cx.registers.single(instr.r[2]));
    if instr.r[1] != NONE {
        cx.registers.write_single(instr.r[1], mask, &lanes);
    }
    Ok(())
}

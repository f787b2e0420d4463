//! `wmma.load` and `wmma.store`.
//!
//! A lane's word is one access where its elements are neighbours in memory, and one for each element where they are not; registers that
//! repeat others are filled without an access. The first row (or column) must begin at a multiple of the fragment's bytes in a
//! lane, the others at multiples of 16 from it, or of those bytes if they are fewer: the weaker of what the PTX ISA (the fragment's
//! bytes for each) and the CUDA programming guide (32 for the first, 16 between them) ask for.
//!
//! The mask is `r[0]`, the address at [`ADDRESS`], the stride at [`STRIDE`], the registers at [`slot`]. The immediate holds the
//! offset as in [`Form`], above it the [`Piece`].

use super::{accumulator, check_all_here, demand_target, element, shape, vector, wait_for_all};
use crate::{
    machine::{AccessKind, Context, FULL, Fault, FaultKind},
    memory::{Kind, WINDOW_SIZE, Window, window_of},
    ops::memory::{
        ADDRESS, Form, addresses, check_bounds, describe, lanes_where, locate, place_address, store_element,
        tell,
    },
    program::{Builder, Exec, Instr, NONE, WarpFn},
    ptx::ast::{Operand, Space, Type},
    tensor::{
        Accumulator, Element, Lanes, Shape,
        wmma::{Matrix, Order},
    },
};
use std::sync::atomic::Ordering::Relaxed;

/// Where the stride stands.
const STRIDE: usize = 10;
/// In the flags: `.col`, and that the address is generic or in shared memory.
const COLUMN: u8 = 1;
const GENERIC: u8 = 2;
const SHARED: u8 = 4;
/// Bits of the immediate below the piece.
const PIECE: u32 = 48;

const SHAPES: [Shape; 4] = [(16, 16, 16), (32, 8, 16), (8, 32, 16), (16, 16, 8)];
const ELEMENTS: [Element; 5] = [Element::F16, Element::Bf16, Element::S8, Element::U8, Element::Tf32];
const SUMS: [Accumulator; 3] = [Accumulator::F16, Accumulator::F32, Accumulator::S32];

/// What is moved, as numbers into the tables above: the shape, and a type of A, of B, or of the sums.
#[derive(Clone, Copy)]
struct Piece {
    shape: usize,
    /// 0 for A, 1 for B, 2 for C and D.
    part: usize,
    ty: usize,
}

impl Piece {
    fn parse(size: &str, part: &str, ty: &str) -> Option<Piece> {
        let size = shape(size)?;
        let shape = SHAPES.iter().position(|&s| s == size)?;
        let part = ["a", "b", "c"].iter().position(|&p| p == part)?;
        let ty = match part {
            2 => SUMS.iter().position(|&t| Some(t) == accumulator(ty))?,
            _ => ELEMENTS.iter().position(|&t| Some(t) == element(ty))?,
        };
        let small = size == (16, 16, 8);
        let exists = if part == 2 { !small || SUMS[ty] == Accumulator::F32 } else { small == (ty == 4) };
        exists.then_some(Piece { shape, part, ty })
    }

    fn to_bits(self) -> i64 {
        ((self.shape | self.part << 2 | self.ty << 4) as i64) << PIECE
    }

    fn from_bits(bits: i64) -> Piece {
        let bits = (bits >> PIECE) as usize;
        Piece { shape: bits & 3, part: bits >> 2 & 3, ty: bits >> 4 & 7 }
    }

    fn matrix(self) -> Matrix {
        match self.part {
            0 => Matrix::a(SHAPES[self.shape], ELEMENTS[self.ty]),
            1 => Matrix::b(SHAPES[self.shape], ELEMENTS[self.ty]),
            _ => Matrix::sums(SHAPES[self.shape], SUMS[self.ty]),
        }
    }

    /// The compute capability that first had it.
    fn target(self) -> u32 {
        match (self.part, self.ty) {
            (0 | 1, 1 | 4) => 80,
            (0 | 1, 2 | 3) | (2, 2) => 72,
            _ => 70,
        }
    }

    /// Elements from one row to the next, or one column, where no stride is given.
    fn default_stride(self, order: Order) -> usize {
        let (m, n, k) = SHAPES[self.shape];
        let (rows, columns) = [(m, k), (k, n), (m, n)][self.part];
        if order == Order::Row { columns } else { rows }
    }
}

/// Where register `i` of a fragment stands: around [`ADDRESS`].
const fn slot(i: usize) -> usize {
    if i + 1 < ADDRESS { i + 1 } else { i + 2 }
}

/// `row` or `col`.
pub fn order(text: &str) -> Result<Order, String> {
    match text {
        "row" => Ok(Order::Row),
        "col" => Ok(Order::Column),
        other => Err(format!("unknown layout {other}")),
    }
}

/// Lowers `wmma.load.PART.sync.aligned`.
pub fn load(b: &mut Builder<'_>, part: &str, modifiers: &[&str]) -> Result<(), String> {
    let (piece, flags) = spell(b, part, modifiers)?;
    for (i, register) in vector(b.operand(0)?, piece.matrix().registers(), "the fragment")?.iter().enumerate()
    {
        b.destination(slot(i), register, Type::B32)?;
    }
    finish(b, 1, piece, flags, load_fragment)
}

/// Lowers `wmma.store.d.sync.aligned`.
pub fn store(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    let (piece, flags) = spell(b, "c", modifiers)?;
    for (i, register) in vector(b.operand(1)?, piece.matrix().registers(), "the fragment")?.iter().enumerate()
    {
        b.source(slot(i), register, if SUMS[piece.ty] == Accumulator::F32 { Type::F32 } else { Type::B32 })?;
    }
    finish(b, 0, piece, flags, store_fragment)
}

fn spell(b: &Builder<'_>, part: &str, modifiers: &[&str]) -> Result<(Piece, u8), String> {
    let [layout, size, rest @ ..] = modifiers else { return Err("expected a layout and a shape".into()) };
    let (space, ty) = match rest {
        ["global", ty] => (0, ty),
        ["shared" | "shared::cta", ty] => (SHARED, ty),
        [ty] => (GENERIC, ty),
        _ => return Err("expected a space and a type".into()),
    };
    let piece = Piece::parse(size, part, ty)
        .ok_or("this fragment does not exist with this shape and type, or is not supported")?;
    demand_target(b, piece.target())?;
    Ok((piece, space | if order(layout)? == Order::Column { COLUMN } else { 0 }))
}

fn finish(b: &mut Builder<'_>, address: usize, piece: Piece, flags: u8, run: WarpFn) -> Result<(), String> {
    let Operand::Address { base, offset } = b.operand(address)? else {
        return Err(format!("operand {} is not an address", address + 1));
    };
    let space = match flags & (GENERIC | SHARED) {
        SHARED => Some("shared"),
        GENERIC => None,
        _ => Some("global"),
    };
    let (_, offset) = place_address(b, space, base, *offset)?;
    let offset = i32::try_from(offset).map_err(|_| format!("offset {offset} does not fit 32 bits"))?;
    let wide = match base.as_ref() {
        Operand::Register(id) => b.scope.register_type(*id).size() == 8,
        _ => true,
    };
    let order = if flags & COLUMN != 0 { Order::Column } else { Order::Row };
    let usual = Operand::Integer(piece.default_stride(order) as i64);
    let stride = match b.source.operands.len() {
        2 => &usual,
        3 => b.operand(2)?,
        n => return Err(format!("has {n} operands, expected 2 or 3")),
    };
    b.address(STRIDE, stride, Type::B32)?;
    b.set_imm(Form::new(offset).with_wide_address(wide).0 | piece.to_bits());
    b.set_flags(flags);
    wait_for_all(b)?;
    b.emit(Exec::Sync(run))
}

/// A fragment in memory, its address and stride checked.
struct Place {
    space: Space,
    base: u64,
    stride: u64,
    order: Order,
    matrix: Matrix,
    /// Bytes of an element.
    size: u64,
}

impl Place {
    fn of(cx: &Context<'_, '_>, mask: u32, instr: &Instr) -> Result<Place, Fault> {
        check_all_here(cx, mask)?;
        let matrix = Piece::from_bits(instr.imm).matrix();
        let at = addresses(cx, instr, Form(instr.imm));
        let strides = cx.registers.single(instr.r[STRIDE]);
        let other = lanes_where(FULL, &at, |a| a != at[0]) | lanes_where(FULL, strides, |s| s != strides[0]);
        if other != 0 {
            let lane = other.trailing_zeros() as usize;
            let message = format!(
                "address {:#x} and stride {} are not those of lane 0, {:#x} and {}",
                at[lane], strides[lane], at[0], strides[0]
            );
            return Err(cx.fault(FaultKind::IllegalInstruction, other, message));
        }
        let (space, base) = match (instr.flags & (GENERIC | SHARED), window_of(at[0])) {
            (SHARED, _) => (Space::Shared, at[0]),
            (GENERIC, Window::Shared(_)) => (Space::Shared, at[0] & (WINDOW_SIZE - 1)),
            (GENERIC, Window::Local(_)) => {
                let message = format!("address {:#x} is in local memory", at[0]);
                return Err(cx.fault(FaultKind::InvalidAddressSpace, FULL, message));
            }
            _ => (Space::Global, at[0]),
        };
        let order = if instr.flags & COLUMN != 0 { Order::Column } else { Order::Row };
        let size = 4 / matrix.per_word() as u64;
        let place = Place { space, base, stride: u64::from(strides[0]), order, matrix, size };
        place.check_alignment(cx)?;
        Ok(place)
    }

    fn check_alignment(&self, cx: &Context<'_, '_>) -> Result<(), Fault> {
        let fragment = 4 * self.matrix.registers() as u64;
        let (step, unit) = (self.stride * self.size, fragment.min(16));
        if self.base.is_multiple_of(fragment) && step.is_multiple_of(unit) {
            return Ok(());
        }
        let message = format!(
            "address {:#x} and stride {step} bytes are not multiples of {fragment} and {unit}",
            self.base
        );
        Err(cx.fault(FaultKind::MisalignedAddress, FULL, message))
    }

    /// The addresses of the lanes' elements `index` of a register.
    fn addresses(&self, register: usize, index: usize) -> Lanes64 {
        std::array::from_fn(|lane| {
            let element = self.matrix.element(self.order, self.stride, register, lane, index);
            self.base.wrapping_add(element.wrapping_mul(self.size))
        })
    }

    /// The accesses that a register takes: each with how many bytes from which bit of the word on.
    fn accesses(&self, register: usize) -> Vec<(Lanes64, u32, u32)> {
        let n = self.matrix.per_word();
        let first = self.addresses(register, 0);
        if n == 1 || self.addresses(register, n - 1)[0] == first[0] + (n as u64 - 1) * self.size {
            return vec![(first, 4, 0)];
        }
        let bits = 32 / n as u32;
        (0..n).map(|i| (self.addresses(register, i), self.size as u32, bits * i as u32)).collect()
    }
}

type Lanes64 = [u64; 32];

fn load_fragment(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let place = Place::of(cx, mask, instr)?;
    let distinct = place.matrix.distinct_registers();
    let mut fragment: Vec<Lanes> = Vec::with_capacity(distinct);
    for r in 0..distinct {
        let mut lanes = [0; 32];
        for (at, bytes, shift) in place.accesses(r) {
            let values = gather(cx, place.space, &at, bytes, instr)?;
            (0..32).for_each(|lane| lanes[lane] |= values[lane] << shift);
        }
        fragment.push(lanes);
    }
    for i in 0..place.matrix.registers() {
        if instr.r[slot(i)] != NONE {
            cx.registers.write_single(instr.r[slot(i)], mask, &fragment[i % distinct]);
        }
    }
    Ok(())
}

fn store_fragment(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let place = Place::of(cx, mask, instr)?;
    for r in 0..place.matrix.registers() {
        let lanes = *cx.registers.single(instr.r[slot(r)]);
        for (at, bytes, shift) in place.accesses(r) {
            scatter(cx, place.space, &at, bytes, &lanes.map(|x| x >> shift), instr)?;
        }
    }
    Ok(())
}

/// Loads `bytes` bytes for each lane.
fn gather(
    cx: &mut Context<'_, '_>,
    space: Space,
    at: &Lanes64,
    bytes: u32,
    instr: &Instr,
) -> Result<Lanes, Fault> {
    let found = match space {
        Space::Shared => {
            check_bounds(cx, FULL, at, bytes, cx.block.shared_bytes, "shared memory").map(|()| None)
        }
        _ => locate(cx, FULL, at, bytes).map(Some),
    }?;
    tell(cx, &describe(Form(instr.imm), AccessKind::Load, space, FULL, bytes, at))?;
    let bits = u32::MAX >> (32 - 8 * bytes);
    Ok(std::array::from_fn(|lane| {
        let word = match found {
            None => cx.block.shared[at[lane] as usize / 4],
            Some(found) => {
                let allocation = found.allocation(cx, at[lane]);
                allocation.words()[(at[lane] - allocation.base) as usize / 4].load(Relaxed)
            }
        };
        word >> (8 * (at[lane] % 4)) & bits
    }))
}

/// Stores the low `bytes` bytes of each lane's value.
fn scatter(
    cx: &mut Context<'_, '_>,
    space: Space,
    at: &Lanes64,
    bytes: u32,
    values: &Lanes,
    instr: &Instr,
) -> Result<(), Fault> {
    let found = match space {
        Space::Shared => {
            check_bounds(cx, FULL, at, bytes, cx.block.shared_bytes, "shared memory").map(|()| None)
        }
        _ => locate(cx, FULL, at, bytes).map(Some),
    }?;
    let bits = u32::MAX >> (32 - 8 * bytes);
    let stored = [(values.map(|x| x & bits), [0; 32])];
    let mut access = describe(Form(instr.imm), AccessKind::Store, space, FULL, bytes, at);
    access.values = &stored;
    tell(cx, &access)?;
    for lane in 0..32 {
        let (address, shift) = (at[lane], 8 * (at[lane] % 4));
        match found {
            None => {
                let word = &mut cx.block.shared[address as usize / 4];
                *word = *word & !(bits << shift) | stored[0].0[lane] << shift;
            }
            Some(found) => {
                let allocation = found.allocation(cx, address);
                if allocation.kind == Kind::Constant {
                    let message = format!("store to constant memory at {address:#x}");
                    return Err(cx.fault(FaultKind::IllegalAddress, 1 << lane, message));
                }
                let (words, offset) = (allocation.words(), (address - allocation.base) as usize);
                match bytes {
                    2 => store_element(2, words, offset, stored[0].0[lane], 0),
                    _ => store_element(4, words, offset, stored[0].0[lane], 0),
                }
            }
        }
    }
    Ok(())
}

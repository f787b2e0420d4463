//! What loads and stores do in every space: check, tell the watchers, move the words.

use super::{
    Form, Shape, Words, describe, each_lane, misaligned, narrow,
    rows::{self, Rows},
    tell,
};
use crate::{
    isa::versions,
    machine::{AccessKind, Context, FULL, Fault},
    program::{Instr, NONE, WarpFn},
    ptx::ast::Space,
};

/// The lanes of an access.
pub(super) struct Lanes {
    /// The lanes that take part.
    pub mask: u32,
    /// Bytes of each lane.
    pub bytes: u32,
    /// The address of each lane; of those that do not take part, the address of one that does.
    pub addresses: [u64; 32],
    /// The highest address.
    pub highest: u64,
    /// The bits that are set in some address.
    bits: u64,
    /// Whether all lanes take part, and the bytes of each follow those of the one before.
    pub run: bool,
}

impl Lanes {
    /// Looks at the addresses once for all that is asked of them: compilers make vectors of one large loop, but not of several small ones.
    #[inline(always)]
    pub fn new(mask: u32, bytes: u32, address: impl Fn(usize) -> u64) -> Lanes {
        let first = address(mask.trailing_zeros() as usize & 31);
        let (mut addresses, mut bits, mut highest, mut gaps) = ([0; 32], 0, 0, 0);
        for l in 0..32 {
            let a = if mask >> l & 1 == 1 { address(l) } else { first };
            addresses[l] = a;
            bits |= a;
            highest = highest.max(a);
            gaps |= a ^ first.wrapping_add(l as u64 * u64::from(bytes));
        }
        Lanes { mask, bytes, addresses, highest, bits, run: mask == FULL && gaps == 0 }
    }

    /// The lanes of a load or store.
    #[inline(always)]
    fn of<S: Shape>(cx: &Context<'_, '_>, mask: u32, instr: &Instr) -> Lanes {
        let bytes = (S::E * S::V) as u32;
        let (register, offset) = (instr.r[super::ADDRESS], Form(instr.imm).offset());
        if Form(instr.imm).wide_address() {
            let base = cx.registers.double(register);
            Lanes::new(mask, bytes, |l| base[l].wrapping_add_signed(offset))
        } else {
            let base = cx.registers.single(register);
            Lanes::new(mask, bytes, |l| u64::from(base[l].wrapping_add(offset as u32)))
        }
    }

    #[inline(always)]
    fn check_alignment(&self, cx: &Context<'_, '_>) -> Result<(), Fault> {
        if self.bits & u64::from(self.bytes - 1) == 0 {
            return Ok(());
        }
        misaligned(cx, self.mask, &self.addresses, self.bytes)
    }
}

/// A memory that loads and stores reach.
pub(super) trait Region: 'static {
    /// Its name.
    const SPACE: Space;
    /// Where the lanes of an access were found.
    type Found: Copy;

    /// Finds the bytes of each lane; a fault if some are outside.
    fn locate(cx: &mut Context<'_, '_>, lanes: &Lanes) -> Result<Self::Found, Fault>;

    /// Loads `N` words of each lane, aligned to their size.
    fn load<const N: usize>(cx: &Context<'_, '_>, found: Self::Found, lanes: &Lanes) -> Rows<N>;

    /// The word of a lane that holds the byte at this distance from its address.
    fn word(cx: &Context<'_, '_>, found: Self::Found, lanes: &Lanes, lane: usize, at: usize) -> u32;

    /// Stores the elements of the lanes; where lanes meet, the last stays.
    fn store<S: Shape>(
        cx: &mut Context<'_, '_>,
        found: Self::Found,
        lanes: &Lanes,
        form: Form,
        values: &[Words],
    ) -> Result<(), Fault>;
}

/// Loads from the lanes' addresses in one space.
#[inline(always)]
pub(super) fn load_at<M: Region, S: Shape>(
    cx: &mut Context<'_, '_>,
    lanes: &Lanes,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    cx.warp.polled |= form.polls() && M::SPACE != Space::Local;
    let found = M::locate(cx, lanes)?;
    lanes.check_alignment(cx)?;
    let mut access = describe(form, AccessKind::Load, M::SPACE, lanes.mask, lanes.bytes, &lanes.addresses);
    (access.element, access.contiguous) = (S::E as u32, lanes.run && M::SPACE != Space::Local);
    tell(cx, &access)?;
    match S::E / 4 * S::V {
        0 => load_parts::<M, S>(cx, found, lanes, instr),
        1 => load_rows::<M, S, 1>(cx, found, lanes, instr),
        2 => load_rows::<M, S, 2>(cx, found, lanes, instr),
        4 => load_rows::<M, S, 4>(cx, found, lanes, instr),
        _ => load_rows::<M, S, 8>(cx, found, lanes, instr),
    }
    Ok(())
}

/// Loads elements of a word or two.
#[inline(always)]
fn load_rows<M: Region, S: Shape, const N: usize>(
    cx: &mut Context<'_, '_>,
    found: M::Found,
    lanes: &Lanes,
    instr: &Instr,
) {
    let (form, columns) = (Form(instr.imm), rows::turn(&M::load::<N>(cx, found, lanes)));
    if S::E == 4 && lanes.mask == FULL && form.register_bytes() <= 4 {
        for w in 0..N {
            if instr.r[w] != NONE {
                *cx.registers.single_mut(instr.r[w]) = columns[w];
            }
        }
        return;
    }
    for v in 0..S::V {
        let words = match S::E {
            8 => (columns[2 * v], columns[2 * v + 1]),
            _ => (columns[v], [0; 32]),
        };
        narrow::write::<S>(cx.registers, instr.r[v], lanes.mask, form, &words);
    }
}

/// Loads elements of one or two bytes.
#[inline(always)]
fn load_parts<M: Region, S: Shape>(cx: &mut Context<'_, '_>, found: M::Found, lanes: &Lanes, instr: &Instr) {
    for v in 0..S::V {
        let mut low = [0; 32];
        for l in each_lane(lanes.mask) {
            let at = v * S::E;
            let shift = 8 * ((lanes.addresses[l] as usize + at) % 4);
            low[l] = M::word(cx, found, lanes, l, at) >> shift;
        }
        narrow::write::<S>(cx.registers, instr.r[v], lanes.mask, Form(instr.imm), &(low, [0; 32]));
    }
}

/// Stores to the lanes' addresses in one space.
#[inline(always)]
pub(super) fn store_at<M: Region, S: Shape>(
    cx: &mut Context<'_, '_>,
    lanes: &Lanes,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let found = M::locate(cx, lanes)?;
    lanes.check_alignment(cx)?;
    let mut values = S::zeros();
    for (v, to) in values.as_mut().iter_mut().enumerate() {
        if instr.r[v] != NONE {
            *to = narrow::read::<S>(cx.registers, instr.r[v], form);
        }
    }
    let values = values.as_ref();
    let mut access = describe(form, AccessKind::Store, M::SPACE, lanes.mask, lanes.bytes, &lanes.addresses);
    access.contiguous = lanes.run && M::SPACE != Space::Local;
    (access.element, access.values) = (S::E as u32, values);
    tell(cx, &access)?;
    M::store::<S>(cx, found, lanes, form, values)
}

#[inline(always)]
pub(super) fn load_body<M: Region, S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let lanes = Lanes::of::<S>(cx, mask, instr);
    load_at::<M, S>(cx, &lanes, instr)
}

#[inline(always)]
pub(super) fn store_body<M: Region, S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let lanes = Lanes::of::<S>(cx, mask, instr);
    store_at::<M, S>(cx, &lanes, instr)
}

versions! {
    /// The handler of `ld` of one space.
    pub(super) fn load<M: Region, S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = load_body
}

versions! {
    /// The handler of `st` to one space.
    pub(super) fn store<M: Region, S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = store_body
}

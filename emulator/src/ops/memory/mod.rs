//! Loads and stores: `ld`, `ldu`, `st` in every space, width and cache form.
//!
//! Operands: the values are `r[0]` to `r[7]`, the address is `r[8]`. The form is in the immediate, see [`Form`].

mod access;
mod form;
mod generic;
mod global;
mod late;
mod local;
mod lower;
mod narrow;
mod rows;
mod shared;
mod uniform;

pub use form::Form;
pub use global::{Found, locate, outside_fault, store_element};
pub use late::Late;
pub use lower::{lower, place_address};
pub use shared::check_bounds;

use crate::{
    machine::{Access, AccessKind, Context, FULL, Fault, FaultKind, Ordering, Scene, WatchPlace},
    memory::{Window, window_of},
    program::Instr,
    ptx::ast::Space,
};

/// Where the address of a load or store stands in [`Instr::r`].
pub const ADDRESS: usize = 8;

/// The address of each lane.
#[inline(always)]
pub fn addresses(cx: &Context<'_, '_>, instr: &Instr, form: Form) -> [u64; 32] {
    let offset = form.offset();
    let mut addresses = [0; 32];
    if form.wide_address() {
        let base = cx.registers.double(instr.r[ADDRESS]);
        for l in 0..32 {
            addresses[l] = base[l].wrapping_add_signed(offset);
        }
    } else {
        let base = cx.registers.single(instr.r[ADDRESS]);
        for l in 0..32 {
            addresses[l] = u64::from(base[l].wrapping_add(offset as u32));
        }
    }
    addresses
}

/// Sizes of the elements of a load or store, as a type: handlers are compiled for each.
pub trait Shape: 'static {
    /// Bytes of an element.
    const E: usize;
    /// Elements of a lane.
    const V: usize;
    /// A low and a high word of each element, all lanes.
    type Words: AsRef<[Words]> + AsMut<[Words]>;
    /// Zeros.
    fn zeros() -> Self::Words;
}

/// The low and the high words of an element, all lanes.
pub type Words = ([u32; 32], [u32; 32]);

/// `V` elements of `E` bytes.
pub struct Elements<const E: usize, const V: usize>;

impl<const E: usize, const V: usize> Shape for Elements<E, V> {
    const E: usize = E;
    const V: usize = V;
    type Words = [Words; V];

    #[inline(always)]
    fn zeros() -> [Words; V] {
        [([0; 32], [0; 32]); V]
    }
}

/// Whether all lanes take part, and the bytes of each follow those of the one before.
#[inline(always)]
pub fn in_a_row(mask: u32, addresses: &[u64; 32], bytes: u32) -> bool {
    let first = addresses[0];
    let mut gaps = 0;
    for l in 0..32 {
        gaps |= addresses[l] ^ first.wrapping_add(l as u64 * u64::from(bytes));
    }
    mask == FULL && gaps == 0
}

/// The lanes of `mask` whose value satisfies `test`.
#[inline(always)]
pub fn lanes_where<T: Copy>(mask: u32, values: &[T; 32], test: impl Fn(T) -> bool) -> u32 {
    let mut found = 0;
    for lane in 0..32 {
        found |= u32::from(test(values[lane])) << lane;
    }
    found & mask
}

/// The numbers of the lanes of `mask`.
#[inline(always)]
pub fn each_lane(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros() as usize;
        (rest != 0).then(|| {
            rest &= rest - 1;
            lane
        })
    })
}

/// Demands that every address is a multiple of `bytes`.
#[inline(always)]
pub fn check_alignment(
    cx: &Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
) -> Result<(), Fault> {
    let mut all = 0;
    for l in 0..32 {
        all |= addresses[l];
    }
    if all & u64::from(bytes - 1) == 0 {
        return Ok(());
    }
    misaligned(cx, mask, addresses, bytes)
}

#[inline(never)]
fn misaligned(cx: &Context<'_, '_>, mask: u32, addresses: &[u64; 32], bytes: u32) -> Result<(), Fault> {
    let wrong = lanes_where(mask, addresses, |a| a & u64::from(bytes - 1) != 0);
    if wrong == 0 {
        return Ok(());
    }
    let address = addresses[wrong.trailing_zeros() as usize];
    Err(cx.fault(
        FaultKind::MisalignedAddress,
        wrong,
        format!("address {address:#x} is not a multiple of {bytes}"),
    ))
}

/// Tells the watchers of an access.
#[inline(always)]
pub fn tell(cx: &mut Context<'_, '_>, access: &Access<'_>) -> Result<(), Fault> {
    if let Some(late) = &mut cx.block.late {
        late.before(cx.memory, access);
    }
    let place = WatchPlace { block: cx.block.number, warp: cx.warp.index, pc: cx.pc };
    let scene = Scene { place, frame: cx.frame, program: cx.program, launch: cx.launch, memory: cx.memory };
    cx.watch.access(&scene, access)
}

/// Splits the lanes of a generic access by what they point into, and runs the part of each space.
#[inline(always)]
pub fn by_window(
    cx: &mut Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    mut run: impl FnMut(&mut Context<'_, '_>, u32, &[u64; 32], Space) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let shared = lanes_where(mask, addresses, |a| matches!(window_of(a), Window::Shared(_)));
    let local = lanes_where(mask, addresses, |a| matches!(window_of(a), Window::Local(_)));
    let offsets = || addresses.map(|a| a & (crate::memory::WINDOW_SIZE - 1));
    if shared != 0 {
        run(cx, shared, &offsets(), Space::Shared)?;
    }
    if local != 0 {
        run(cx, local, &offsets(), Space::Local)?;
    }
    match mask & !shared & !local {
        0 => Ok(()),
        global => run(cx, global, addresses, Space::Global),
    }
}

/// The description of an access for the watchers.
#[inline(always)]
pub fn describe(
    form: Form,
    kind: AccessKind,
    space: Space,
    mask: u32,
    bytes: u32,
    addresses: &[u64; 32],
) -> Access<'_> {
    let ordering = form.ordering();
    debug_assert!(kind != AccessKind::Store || ordering != Ordering::NonCoherent, "st.nc does not exist");
    Access {
        kind,
        space,
        ordering,
        scope: form.scope(),
        bytes,
        mask,
        addresses,
        contiguous: false,
        element: bytes,
        values: &[],
    }
}

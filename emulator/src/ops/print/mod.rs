//! What the device's runtime supplies to kernels that print and assert: `vprintf` and `__assertfail`.
//!
//! Text goes to [`Watch::output`](crate::machine::Watch), messages of failed assertions to [`Watch::errors`](crate::machine::Watch); the
//! driver writes them out when the host synchronises. Lanes print in their order. Tests: `tests/printf.rs`, against the host's C library.

mod decimal;
mod format;
mod hexadecimal;

use super::memory::each_lane;
use crate::{
    machine::{Context, Fault, FaultKind, Where},
    memory::{Window, window_of},
    program::{Builder, CallSite, Exec, Instr, WarpFn},
};
pub use format::{Arguments, Spec, format};

/// The longest string that is read: longer ones are not what they seem.
const LONGEST: usize = 1 << 20;

/// Lowers a call of a function that the emulator supplies; `None` if `site` names none.
pub fn lower_call(b: &mut Builder<'_>, site: &CallSite) -> Option<Result<(), String>> {
    let (run, arguments, results): (WarpFn, &[u32], &[u32]) = match site.name.as_str() {
        "vprintf" => (vprintf, &[8, 8], &[4]),
        "__assertfail" => (assert_fail, &[8, 8, 4, 8, 8], &[]),
        _ => return None,
    };
    let sizes = |list: &[(u32, u32)]| list.iter().map(|&(_, size)| size).collect::<Vec<_>>();
    if sizes(&site.arguments) != arguments || (!site.results.is_empty() && sizes(&site.results) != results) {
        return Some(Err(format!(
            "{} takes arguments of {arguments:?} bytes and returns {results:?}, called with {:?} and {:?}",
            site.name,
            sizes(&site.arguments),
            sizes(&site.results)
        )));
    }
    b.set_imm(b.scope.calls.len() as i64);
    b.scope.calls.push(site.clone());
    b.set_flags(super::BUILTIN_CALL);
    Some(b.emit(Exec::Warp(run)))
}

/// Reads memory as a lane sees it.
struct Reader<'c, 'a, 'r> {
    cx: &'c Context<'a, 'r>,
    lane: usize,
    /// The address of the next argument.
    next: u64,
}

impl Reader<'_, '_, '_> {
    fn byte(&self, address: u64) -> Result<u8, Fault> {
        let part = |word: u32| word.to_le_bytes()[address as usize % 4];
        let found = match window_of(address) {
            Window::Shared(at) if at < self.cx.block.shared_bytes => {
                self.cx.block.shared.get(at as usize / 4).copied().map(part)
            }
            Window::Shared(_) => None,
            Window::Local(at) => self.cx.warp.local.get(at as usize / 4).map(|slot| part(slot.0[self.lane])),
            Window::Global => self.cx.memory.range(address, 1).map(|allocation| {
                let mut byte = [0];
                allocation.read(address, &mut byte);
                byte[0]
            }),
        };
        found.ok_or_else(|| {
            let message = format!("printf or assert reads {address:#x}, which is not memory");
            Fault::new(FaultKind::IllegalAddress, self.lane as u32, message)
        })
    }

    fn little_endian(&self, address: u64, bytes: u64) -> Result<u64, Fault> {
        (0..bytes)
            .try_fold(0, |value, i| Ok(value | u64::from(self.byte(address.wrapping_add(i))?) << (8 * i)))
    }

    fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        while text.len() < limit.min(LONGEST) {
            match self.byte(address.wrapping_add(text.len() as u64))? {
                0 => break,
                byte => text.push(byte),
            }
        }
        Ok(text)
    }
}

impl Arguments for Reader<'_, '_, '_> {
    type Error = Fault;

    fn next(&mut self, bytes: u64) -> Result<u64, Fault> {
        let at = self.next.wrapping_add(bytes - 1) & !(bytes - 1);
        self.next = at.wrapping_add(bytes);
        self.little_endian(at, bytes)
    }

    fn text(&mut self, address: u64, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        if address == 0 { Ok(None) } else { self.string(address, limit).map(Some) }
    }

    fn wrong(&self, message: String) -> Fault {
        Fault::new(FaultKind::LaunchFailed, self.lane as u32, message)
    }
}

/// The value of the argument `number` of a call.
fn argument(cx: &Context<'_, '_>, site: &CallSite, lane: usize, number: usize) -> Result<u64, Fault> {
    let reader = Reader { cx, lane, next: 0 };
    let (offset, size) = site.arguments[number];
    let address = crate::memory::LOCAL_WINDOW + u64::from(cx.frame.local + offset);
    reader.little_endian(address, u64::from(size))
}

fn vprintf(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let site = &cx.program.calls[instr.imm as usize];
    for lane in each_lane(mask) {
        let (text, next) = (argument(cx, site, lane, 0)?, argument(cx, site, lane, 1)?);
        let mut reader = Reader { cx, lane, next };
        let text = reader.string(text, LONGEST)?;
        let (printed, taken) = format(&text, &mut reader)?;
        cx.watch.output.extend(printed);
        if let Some(&(offset, _)) = site.results.first() {
            cx.warp.local[((cx.frame.local + offset) / 4) as usize].0[lane] = taken;
        }
    }
    Ok(())
}

/// `__assertfail(condition, file, line, function, size of a character)`.
fn assert_fail(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let site = &cx.program.calls[instr.imm as usize];
    let mut first = None;
    for lane in each_lane(mask) {
        let reader = Reader { cx, lane, next: 0 };
        let text = |number: usize| -> Result<String, Fault> {
            let bytes = reader.string(argument(cx, site, lane, number)?, LONGEST)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let place = Where::new(cx.program, cx.launch, cx.block.index, cx.thread(lane as u32), cx.pc);
        let message = format!(
            "{}:{}: {}: block: {}, thread: {} Assertion `{}` failed.",
            text(1)?,
            argument(cx, site, lane, 2)?,
            text(3)?,
            triple(place.block),
            triple(place.thread),
            text(0)?
        );
        cx.watch.errors.extend(format!("{message}\n").into_bytes());
        first.get_or_insert(message);
    }
    Err(cx.fault(FaultKind::Assert, mask, first.unwrap_or_default()))
}

fn triple([x, y, z]: [u32; 3]) -> String {
    format!("[{x},{y},{z}]")
}

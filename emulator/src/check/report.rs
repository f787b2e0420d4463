//! What findings say.

use super::sets::{Class, Member};
use crate::{
    machine::{Access, AccessKind, Fault, FaultKind, Ordering, Scene, Where},
    ptx::ast::Space,
};

/// Names the parties of a finding.
pub struct Party<'a> {
    /// Where it was found.
    pub scene: &'a Scene<'a>,
    /// Warps of a block.
    pub warps: u32,
}

impl Party<'_> {
    /// Two accesses that nothing orders.
    pub fn race(&self, access: &Access<'_>, old: &Member, new: &Member, at: u64) -> Fault {
        let what = match (old.class, new.class) {
            (Class::Read | Class::StrongRead(_), _) => "write after read",
            (_, Class::Read | Class::StrongRead(_)) => "read after write",
            _ => "write after write",
        };
        let same = old.warp == new.warp;
        let missing = match (same, access.space) {
            (true, _) if old.pc == new.pc && old.epoch == new.epoch => {
                "two lanes of the warp access it in one instruction, or with no bar.warp.sync between"
            }
            (true, _) => "lanes of one warp are ordered by bar.warp.sync only",
            (_, Space::Shared) => "no barrier orders them",
            _ if old.warp / self.warps == new.warp / self.warps => {
                "no barrier, and no release and acquire, orders them"
            }
            _ => "no release and acquire of device scope orders them",
        };
        let message = format!(
            "race, {what}, in {}: {} is not ordered after {} by {}: {missing}",
            self.memory(access.space, at),
            kind(access),
            class(old.class),
            self.who(old)
        );
        self.fault(new, message)
    }

    /// A load through the read-only path of what the launch wrote.
    pub fn read_only_load(&self, access: &Access<'_>, old: &Member, new: &Member, at: u64) -> Fault {
        let message = format!(
            "read-only load (ld.global.nc) of {}, which {} by {} changed in the same launch",
            self.memory(access.space, at),
            class(old.class),
            self.who(old)
        );
        self.fault(new, message)
    }

    /// A write to what the launch read through the read-only path.
    pub fn write_to_read_only(&self, access: &Access<'_>, old: &Member, new: &Member, at: u64) -> Fault {
        let message = format!(
            "{} to {}, which the same launch reads through the read-only path (ld.global.nc): in this page first by {}",
            kind(access),
            self.memory(access.space, at),
            self.who(old)
        );
        self.fault(new, message)
    }

    fn fault(&self, new: &Member, message: String) -> Fault {
        Fault::new(FaultKind::Finding, new.mask.trailing_zeros() & 31, message)
    }

    /// "block (0,0,0), thread (3,0,0), PTX line 17: st.shared.f32 [%r1], %f1;".
    fn who(&self, member: &Member) -> String {
        let (block, warp) = (member.warp / self.warps, member.warp % self.warps);
        let thread = 32 * warp + (member.mask.trailing_zeros() & 31);
        place(self.scene, block, thread, member.pc)
    }

    fn memory(&self, space: Space, at: u64) -> String {
        memory(self.scene, space, at)
    }
}

/// Names a thread at an instruction.
pub fn place(scene: &Scene<'_>, block: u32, thread: u32, pc: u32) -> String {
    let [gx, gy, _] = scene.launch.grid.map(|n| n.max(1));
    let index = [block % gx, block / gx % gy, block / gx / gy];
    let at = Where::new(scene.program, scene.launch, index, thread, pc);
    let ([bx, by, bz], [tx, ty, tz]) = (at.block, at.thread);
    let source = at.source.map(|s| format!(" [{s}]")).unwrap_or_default();
    format!("block ({bx},{by},{bz}), thread ({tx},{ty},{tz}), PTX line {}: {}{source}", at.line, at.text)
}

/// Names a byte of memory.
pub fn memory(scene: &Scene<'_>, space: Space, at: u64) -> String {
    match space {
        Space::Shared => format!("shared memory at offset {at:#x}"),
        Space::Local => format!("local memory at offset {at:#x}"),
        _ => match scene.memory.range(at, 1) {
            Some(a) => format!(
                "global memory at {at:#x} (byte {} of {} allocated at {:#x})",
                at - a.base,
                a.len,
                a.base
            ),
            None => format!("global memory at {at:#x}"),
        },
    }
}

fn kind(access: &Access<'_>) -> String {
    let what = match access.kind {
        AccessKind::Load => "load",
        AccessKind::Store => "store",
        AccessKind::Atomic(_) => "atomic operation",
        AccessKind::CopyRead => "read of an asynchronous copy",
        AccessKind::CopyWrite => "write of an asynchronous copy",
    };
    let ordering = match access.ordering {
        Ordering::Weak | Ordering::NonCoherent => "",
        _ => "ordered ",
    };
    format!("this {ordering}{what} of {} bytes", access.bytes)
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Read => "the load",
        Class::Write => "the store",
        Class::StrongRead(true) => "the block-wide strong load",
        Class::StrongRead(false) => "the strong load",
        Class::StrongWrite(true) => "the block-wide strong write",
        Class::StrongWrite(false) => "the strong write",
        Class::Atomic(true) => "the block-wide atomic operation",
        Class::Atomic(false) => "the atomic operation",
    }
}

/// Where a value that nobody defined came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// A register that was not written.
    #[default]
    Register,
    /// Memory that holds nothing, read by a thread of a block at an instruction.
    Memory {
        /// The space.
        space: Space,
        /// The address.
        address: u64,
        /// The block.
        block: u32,
        /// The thread.
        thread: u32,
        /// The instruction.
        pc: u32,
    },
}

/// Names the origin of a value.
pub fn origin(scene: &Scene<'_>, origin: Origin) -> String {
    match origin {
        Origin::Register => "it depends on a register that was not written on this path".to_string(),
        Origin::Memory { space, address, block, thread, pc } => format!(
            "it depends on {}, which holds nothing when read by {}",
            memory(scene, space, address),
            place(scene, block, thread, pc)
        ),
    }
}

//! What a handler sees of the machine.

use super::{
    Event, Fault, FaultKind, Frame, Launch, Registers, Scene, Slot, WarpInfo, Watch, block::BlockInfo,
    launch::Settings, watch::Place,
};
use crate::{memory::GlobalMemory, program::Program};

/// The surroundings of an instruction that is more than arithmetic.
pub struct Context<'a, 'r> {
    /// The registers of the current function.
    pub registers: &'a mut Registers<'r>,
    /// The warp.
    pub warp: &'a mut WarpInfo,
    /// The block.
    pub block: &'a mut BlockInfo,
    /// The function that the lanes are in.
    pub frame: Frame,
    /// The launch.
    pub launch: &'a Launch,
    /// The code.
    pub program: &'a Program,
    /// The device's memory.
    pub memory: &'a GlobalMemory,
    /// The machine's settings.
    pub settings: &'a Settings,
    /// Counters and checks.
    pub watch: &'a mut Watch,
    /// The instruction.
    pub pc: u32,
    /// All lanes that are at this instruction, guarded off or not.
    pub group: u32,
}

impl Context<'_, '_> {
    /// Tells the watchers of an event.
    pub fn event(&mut self, event: &Event) -> Result<(), Fault> {
        if let (Event::Fence { .. }, Some(late)) = (event, &mut self.block.late) {
            late.show_all(self.memory);
        }
        let place = Place { block: self.block.number, warp: self.warp.index, pc: self.pc };
        let scene = Scene {
            place,
            frame: self.frame,
            program: self.program,
            launch: self.launch,
            memory: self.memory,
        };
        self.watch.event(&scene, event)
    }

    /// The thread number in the block of a lane.
    pub fn thread(&self, lane: u32) -> u32 {
        32 * self.warp.index + lane
    }

    /// Local memory of the current frame, in words; a word of each lane at a time.
    pub fn local(&mut self) -> &mut [Slot] {
        &mut self.warp.local
    }

    /// A fault of the first lane of `mask`.
    pub fn fault(&self, kind: FaultKind, mask: u32, message: impl Into<String>) -> Fault {
        Fault::new(kind, mask.trailing_zeros().min(31), message)
    }
}

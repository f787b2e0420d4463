//! Registers of a warp that hold values nobody defined.

use super::report::Origin;
use crate::{
    machine::Frame,
    program::{Use, Width},
};

/// Lanes in which a register holds a value that nobody defined, and where it came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The lanes.
    pub lanes: u32,
    /// Where one of the values came from.
    pub origin: Origin,
}

impl Mark {
    /// Both.
    pub fn or(self, other: Mark) -> Mark {
        let origin = if self.lanes != 0 { self.origin } else { other.origin };
        Mark { lanes: self.lanes | other.lanes, origin }
    }

    /// In these lanes only.
    pub fn within(self, mask: u32) -> Mark {
        Mark { lanes: self.lanes & mask, ..self }
    }

    /// With the lanes of `mask` replaced by those of `new`.
    fn replaced(self, mask: u32, new: Mark) -> Mark {
        self.within(!mask).or(new.within(mask))
    }
}

/// The marks of all registers of a warp; those that are not there are clear.
#[derive(Debug, Default)]
pub struct Poison {
    slots: Vec<Mark>,
    predicates: Vec<Mark>,
    /// Instructions followed since somebody looked whether anything is left.
    followed: u32,
}

impl Poison {
    /// The mark of a register of the function in `frame`.
    pub fn of(&self, frame: Frame, register: u32, width: Width) -> Mark {
        let get = |list: &[Mark], at: u32| list.get(at as usize).copied().unwrap_or_default();
        match width {
            Width::Predicate => get(&self.predicates, frame.predicate + register),
            Width::Single => get(&self.slots, frame.slot + register),
            Width::Double => {
                get(&self.slots, frame.slot + register).or(get(&self.slots, frame.slot + register + 1))
            }
        }
    }

    /// The mark of a register that an instruction uses.
    pub fn of_use(&self, frame: Frame, u: &Use) -> Mark {
        self.of(frame, u.register, u.width)
    }

    /// Sets the mark of a register in the lanes of `mask`.
    pub fn set(&mut self, frame: Frame, (register, width): (u32, Width), mask: u32, mark: Mark) {
        let (list, first, n) = match width {
            Width::Predicate => (&mut self.predicates, frame.predicate + register, 1),
            Width::Single => (&mut self.slots, frame.slot + register, 1),
            Width::Double => (&mut self.slots, frame.slot + register, 2),
        };
        for at in first as usize..first as usize + n {
            if at >= list.len() {
                if mark.lanes & mask == 0 {
                    continue;
                }
                list.resize(at + 1, Mark::default());
            }
            list[at] = list[at].replaced(mask, mark);
        }
    }

    /// Whether nothing is marked any more; looks only once in a while.
    pub fn is_clear(&mut self) -> bool {
        self.followed += 1;
        self.followed.is_multiple_of(256) && self.slots.iter().chain(&self.predicates).all(|m| m.lanes == 0)
    }
}

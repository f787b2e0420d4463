//! The state of an `mbarrier` object, and what operations do to it.

/// The largest count of arrivals, and the largest amount of the count of bytes.
pub const LIMIT: u32 = (1 << 20) - 1;
/// Turns the counts into something that no program takes for its own numbers.
const OPAQUE: u64 = 0xA5C3_9D1E_0F72_B846;

/// An object: a phase is over when no arrivals are pending and no bytes are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Arrivals that a phase begins with.
    pub expected: u32,
    /// Arrivals that the phase waits for.
    pub pending: u32,
    /// Bytes that it waits for; below zero while copies bring them before they are expected.
    pub tx: i32,
    /// Phases that are over.
    pub phase: u64,
}

impl Object {
    /// The object at its start.
    pub fn new(count: u32) -> Object {
        Object { expected: count, pending: count, tx: 0, phase: 0 }
    }

    /// Its contents in shared memory.
    pub fn encode(&self) -> [u32; 2] {
        let tx = (self.tx as u32 & 0x1F_FFFF) as u64;
        let bits =
            u64::from(self.expected) | u64::from(self.pending) << 20 | tx << 40 | (self.phase & 1) << 61;
        let bits = (bits | 1 << 62) ^ OPAQUE;
        [bits as u32, (bits >> 32) as u32]
    }

    /// What an arrival returns: the phase and the pending count before it.
    pub fn state(&self) -> u64 {
        (u64::from(self.pending) | self.phase << 20) ^ OPAQUE
    }

    /// The pending count of a state.
    pub fn pending_of(state: u64) -> u32 {
        (state ^ OPAQUE) as u32 & LIMIT
    }

    /// Whether the phase of a state is over; an error for phases other than this and the one before.
    pub fn over(&self, state: u64) -> Result<bool, String> {
        match (self.phase & (u64::MAX >> 20)).wrapping_sub((state ^ OPAQUE) >> 20) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("the state is not of its phase nor of the one before".into()),
        }
    }

    /// Whether the latest phase of this parity is over.
    pub fn over_by_parity(&self, parity: u32) -> Result<bool, String> {
        match parity {
            0 | 1 => Ok(self.phase as u32 & 1 != parity),
            _ => Err(format!("phase parity {parity}, expected 0 or 1")),
        }
    }

    /// `count` threads arrive.
    pub fn arrive(&mut self, count: u32) -> Result<(), String> {
        if count == 0 || count > LIMIT {
            return Err(format!("arrival count {count}, expected 1 to {LIMIT}"));
        }
        self.pending = self.pending.checked_sub(count).ok_or_else(|| {
            format!(
                "arrival of {count}, while the phase waits for {} more of {}",
                self.pending, self.expected
            )
        })?;
        self.turn();
        Ok(())
    }

    /// `count` threads will not arrive in later phases.
    pub fn drop(&mut self, count: u32) -> Result<(), String> {
        self.expected = self
            .expected
            .checked_sub(count)
            .ok_or_else(|| format!("{count} arrivals dropped of {}", self.expected))?;
        Ok(())
    }

    /// One more arrival is pending.
    pub fn await_one_more(&mut self) -> Result<(), String> {
        if self.pending >= LIMIT {
            return Err(format!("more than {LIMIT} pending arrivals"));
        }
        self.pending += 1;
        Ok(())
    }

    /// More bytes are expected.
    pub fn expect(&mut self, bytes: u32) -> Result<(), String> {
        self.add(i64::from(bytes))
    }

    /// Bytes have come.
    pub fn complete(&mut self, bytes: u32) -> Result<(), String> {
        self.add(-i64::from(bytes))
    }

    fn add(&mut self, bytes: i64) -> Result<(), String> {
        let sum = i64::from(self.tx) + bytes;
        if sum.unsigned_abs() > u64::from(LIMIT) {
            return Err(format!("{sum} bytes expected, which is more than {LIMIT} either way"));
        }
        self.tx = sum as i32;
        self.turn();
        Ok(())
    }

    /// Ends the phase if nothing is left to wait for.
    fn turn(&mut self) {
        if self.pending == 0 && self.tx == 0 {
            self.phase += 1;
            self.pending = self.expected;
        }
    }
}

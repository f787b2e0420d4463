//! What the immediate of a load or store says.

use crate::machine::{Ordering, Scope};

/// The form of a load, store or atomic, as the immediate of its instruction holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form(pub i64);

const ORDERINGS: [Ordering; 7] = [
    Ordering::Weak,
    Ordering::NonCoherent,
    Ordering::Volatile,
    Ordering::Relaxed,
    Ordering::Acquire,
    Ordering::Release,
    Ordering::AcquireRelease,
];
const SCOPES: [Scope; 4] = [Scope::Block, Scope::Cluster, Scope::Device, Scope::System];

impl Form {
    /// A weak access at this offset from the address register.
    pub fn new(offset: i32) -> Form {
        Form(i64::from(offset as u32))
    }

    /// With this ordering and scope.
    pub fn ordered(self, ordering: Ordering, scope: Scope) -> Form {
        let ordering = ORDERINGS.iter().position(|&o| o == ordering).unwrap_or(0) as i64;
        let scope = SCOPES.iter().position(|&s| s == scope).unwrap_or(0) as i64;
        Form(self.0 & !(0xFF << 32) | ordering << 32 | scope << 36)
    }

    /// With values in registers of this many bytes (2, 4 or 8), extended with their sign or with zeros.
    pub fn extended(self, register_bytes: usize, signed: bool) -> Form {
        Form(self.0 | i64::from(register_bytes.trailing_zeros()) << 40 | i64::from(signed) << 44)
    }

    /// With the address in a 64-bit register.
    pub fn with_wide_address(self, wide: bool) -> Form {
        Form(self.0 | i64::from(wide) << 45)
    }

    /// Bytes added to the address register.
    #[inline(always)]
    pub fn offset(self) -> i64 {
        i64::from(self.0 as i32)
    }

    /// How the access is ordered.
    #[inline(always)]
    pub fn ordering(self) -> Ordering {
        ORDERINGS[(self.0 >> 32 & 7) as usize]
    }

    /// Whether a loop around the load may be waiting for others.
    #[inline(always)]
    pub fn polls(self) -> bool {
        !matches!(self.ordering(), Ordering::Weak | Ordering::NonCoherent)
    }

    /// For whom it is ordered.
    #[inline(always)]
    pub fn scope(self) -> Scope {
        SCOPES[(self.0 >> 36 & 3) as usize]
    }

    /// Bytes of the registers.
    #[inline(always)]
    pub fn register_bytes(self) -> usize {
        1 << (self.0 >> 40 & 3)
    }

    /// Whether values are extended with their sign.
    #[inline(always)]
    pub fn signed(self) -> bool {
        self.0 >> 44 & 1 == 1
    }

    /// Whether the address is in a 64-bit register.
    #[inline(always)]
    pub fn wide_address(self) -> bool {
        self.0 >> 45 & 1 == 1
    }
}

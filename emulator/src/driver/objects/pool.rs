//! Memory pools: allocations in the order of a stream.
//!
//! A pool keeps nothing back: freed memory returns to the device, so that a stale pointer is found.

/// A memory pool.
#[derive(Debug, Default)]
pub struct Pool {
    /// Whether reuse follows events, happens opportunistically, or may add dependencies: `CU_MEMPOOL_ATTR_REUSE_...` 1 to 3.
    pub reuse: [u32; 3],
    /// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
    pub threshold: u64,
    /// The most that was in use at once.
    pub high: u64,
}

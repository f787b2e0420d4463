//! Windows of the generic address space.

/// Where the generic addresses of shared memory begin.
pub const SHARED_WINDOW: u64 = 0x80_0000_0000;
/// Where the generic addresses of local memory begin.
pub const LOCAL_WINDOW: u64 = 0x81_0000_0000;
/// Size of each window in bytes.
pub const WINDOW_SIZE: u64 = 1 << 24;
/// Where the addresses of device functions begin: one for each function of a module.
pub const FUNCTION_BASE: u64 = 0x82_0000_0000;

/// What a generic address points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Shared memory, at this offset.
    Shared(u32),
    /// Local memory, at this offset.
    Local(u32),
    /// Everything else.
    Global,
}

/// The window that `address` lies in.
#[inline(always)]
pub fn window_of(address: u64) -> Window {
    match address.wrapping_sub(SHARED_WINDOW) {
        offset if offset < WINDOW_SIZE => Window::Shared(offset as u32),
        _ => match address.wrapping_sub(LOCAL_WINDOW) {
            offset if offset < WINDOW_SIZE => Window::Local(offset as u32),
            _ => Window::Global,
        },
    }
}

//! What handles stand for, as plain data: objects name each other by typed handles, as streams and their contexts do, and know nothing
//! of the driver that holds them.

pub mod allocation;
pub mod capture;
pub mod code;
pub mod context;
pub mod event;
pub mod function;
pub mod graph;
pub mod handle;
pub mod host;
pub mod module;
pub mod pool;
pub mod stream;
pub mod work;

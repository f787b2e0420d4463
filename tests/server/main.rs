//! The HTTP server: what it answers, what it refuses, and what it does when clients or the device misbehave.
//!
//! The ids in the names (P01, S04, ...) group the cases: P parameters, X the context's limit, S streams and slow clients, H HTTP and
//! access, N numbers, G devices, O operation.

mod access;
mod answers;
mod arbitrary;
mod bodies;
mod browser;
mod chat;
mod client;
mod clients;
mod context;
mod disconnects;
mod faults;
mod http;
mod info;
#[cfg(all(feature = "cuda", target_os = "linux"))]
#[path = "../common/libcuda.rs"]
mod libcuda;
mod overload;
mod parameters;
mod program;
mod rig;
#[path = "../common/scripted.rs"]
mod scripted;
#[cfg(all(feature = "cli", unix))]
mod settings;
mod slow;
mod streams;
#[path = "../scheduler/watched.rs"]
#[allow(dead_code)]
mod watched;
mod words;

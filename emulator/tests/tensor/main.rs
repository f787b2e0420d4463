//! The matrix instructions against loops over matrices, with fragments packed by lane tables of the tests' own.

#[path = "../exact/mod.rs"]
mod exact;

mod adders;
mod edges;
mod matrices;
mod mma;
mod reference;
mod speed;
mod tables;
mod wmma;

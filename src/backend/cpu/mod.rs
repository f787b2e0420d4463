//! The CPU: the fast path, and its plain twin in [`naive`].

pub mod naive;

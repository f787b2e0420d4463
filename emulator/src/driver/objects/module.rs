//! Modules: PTX that was loaded, its kernels and its variables. A library is a module that no context was asked for.

use super::{context::Context, function::Function, handle::Id};
use crate::program::Program;
use std::{collections::BTreeMap, sync::Arc};

/// A loaded module.
pub struct Module {
    pub context: Id<Context>,
    pub program: Arc<Program>,
    /// Its kernels by name.
    pub functions: BTreeMap<String, Id<Function>>,
    /// The module was loaded as a library.
    pub as_library: bool,
}

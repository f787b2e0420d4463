//! The names of variables and functions at module scope.

use std::collections::HashMap;

/// The names of a module: where its variables and functions are in their lists.
#[derive(Default)]
pub(super) struct Globals<'a> {
    pub names: HashMap<&'a str, Global>,
}

#[derive(Clone, Copy)]
pub(super) enum Global {
    Variable(usize),
    Function(usize),
}

impl Globals<'_> {
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

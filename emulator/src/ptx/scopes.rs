//! Names in the nested blocks of one function.
//!
//! Registers and variables are declared before they are used, so they resolve at once. A label may stand after the branch to
//! it, in the same block or in one around it; a reference to anything else is kept until its block closes, and then either
//! finds its label there or moves out to the block around. What is left when the function ends names something of the module.

use super::ast::{Function, Operand, RegId, Register, Type};
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;

/// Blocks in blocks beyond which a text is refused: its names would take too long to look up.
const MAX_DEPTH: usize = 256;

/// What a name is declared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// A register.
    Register(RegId),
    /// A variable; of those with this name in the function, the one of this number, from 1.
    Variable(u32),
    /// A label, likewise.
    Label(u32),
}

/// A use of a name that may be a label.
pub(super) struct Reference<'a> {
    /// The name.
    pub name: &'a str,
    /// Its line.
    pub line: u32,
    place: Place,
}

/// What holds a reference.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// An instruction, by index.
    Code(usize),
    /// A list of targets, by its label.
    Targets(String),
}

#[derive(Default)]
struct Scope<'a> {
    /// What is declared name by name.
    names: HashMap<Cow<'a, str>, Named>,
    /// The least number that any of `names` has after its stem.
    least: HashMap<String, u32>,
    /// Registers declared like `%r<20>`: by stem, the first and how many. There may be 20,000, so they are not in `names`.
    ranges: HashMap<&'a str, (RegId, u32)>,
    references: Vec<Reference<'a>>,
}

/// The blocks that are open, and the names that the function has used up.
pub(super) struct Scopes<'a> {
    open: Vec<Scope<'a>>,
    used: HashMap<&'a str, u32>,
}

impl<'a> Scopes<'a> {
    /// The outermost scope of a function: its parameters, and what its body declares outside of inner blocks.
    pub fn new() -> Scopes<'a> {
        Scopes { open: vec![Scope::default()], used: HashMap::new() }
    }

    /// Opens a block; an error if too many are open.
    pub fn open(&mut self) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} blocks in each other"));
        }
        self.open.push(Scope::default());
        Ok(())
    }

    /// Closes a block that is not the outermost and resolves the references to its labels in `function`.
    pub fn close(&mut self, function: &mut Function) -> Result<(), (u32, String)> {
        let scope = self.open.pop().unwrap_or_default();
        let left = scope.resolve(function)?;
        if let Some(outer) = self.open.last_mut() {
            outer.references.extend(left);
        }
        Ok(())
    }

    /// Whether only the outermost scope is open.
    pub fn outermost(&self) -> bool {
        self.open.len() <= 1
    }

    /// Closes the outermost scope; gives the references to names that are none of the function's own, but `global` ones.
    pub fn finish(
        mut self,
        function: &mut Function,
        global: impl Fn(&str) -> bool,
    ) -> Result<Vec<Reference<'a>>, (u32, String)> {
        let left = self.open.pop().unwrap_or_default().resolve(function)?;
        // If the module declared the name only later, it would mean the variable of the other block to whoever reads the tree.
        let stray =
            |reference: &&Reference<'_>| self.used.contains_key(reference.name) && !global(reference.name);
        match left.iter().find(stray) {
            Some(stray) => Err((stray.line, format!("{} is declared in another block only", stray.name))),
            None => Ok(left),
        }
    }

    /// What the name means here; labels are looked for in [`Scopes::refer`] only.
    pub fn find(&self, name: &str) -> Option<Named> {
        let found = self.open.iter().rev().find_map(|scope| scope.find(name));
        found.filter(|named| !matches!(named, Named::Label(_)))
    }

    /// Notes that `place` holds a name that [`Scopes::find`] does not know.
    pub fn refer(&mut self, name: &'a str, line: u32, place: Place) {
        if let Some(scope) = self.open.last_mut() {
            scope.references.push(Reference { name, line, place });
        }
    }

    /// Declares a register in the innermost block.
    pub fn register(&mut self, function: &mut Function, name: Cow<'a, str>, ty: Type) -> Result<(), String> {
        let id = add_register(function, name.to_string(), ty)?;
        self.declare(name, Named::Register(id))
    }

    /// Declares `count` registers in the innermost block whose names are `stem` and a number from 0.
    pub fn registers(
        &mut self,
        function: &mut Function,
        stem: &'a str,
        count: u32,
        ty: Type,
    ) -> Result<(), String> {
        if stem.ends_with(|last: char| last.is_ascii_digit()) {
            // `%r1<3>` has `%r12`, whose number is 12 after the stem `%r`: with these in `ranges`, a name had several stems.
            return (0..count)
                .try_for_each(|number| self.register(function, Cow::Owned(format!("{stem}{number}")), ty));
        }
        let mut first = None;
        for number in 0..count {
            let id = add_register(function, format!("{stem}{number}"), ty)?;
            first = first.or(Some(id));
        }
        let (Some(scope), Some(first)) = (self.open.last_mut(), first) else {
            return Ok(());
        };
        if let Some(number) = scope.least.get(stem).filter(|number| **number < count) {
            return Err(twice(&format!("{stem}{number}")));
        }
        match scope.ranges.insert(stem, (first, count)) {
            Some(_) => Err(twice(&format!("{stem}0"))),
            None => Ok(()),
        }
    }

    /// Declares a variable in the innermost block; gives its name as it is unique in the function. `global` says that the
    /// module has this name, too.
    pub fn variable(&mut self, name: &'a str, global: bool) -> Result<String, String> {
        let number = self.count(name, global);
        self.declare(Cow::Borrowed(name), Named::Variable(number))?;
        Ok(unique(name, number))
    }

    /// Declares a label in the innermost block; gives its name as it is unique in the function.
    pub fn label(&mut self, name: &'a str, global: bool) -> Result<String, String> {
        let number = self.count(name, global);
        self.declare(Cow::Borrowed(name), Named::Label(number))?;
        Ok(unique(name, number))
    }

    fn count(&mut self, name: &'a str, global: bool) -> u32 {
        let number = self.used.entry(name).or_insert(u32::from(global));
        *number = number.saturating_add(1);
        *number
    }

    fn declare(&mut self, name: Cow<'a, str>, named: Named) -> Result<(), String> {
        let Some(scope) = self.open.last_mut() else {
            return Ok(());
        };
        if scope.find(&name).is_some() {
            return Err(twice(&name));
        }
        if let Some((stem, number)) = split(&name) {
            match scope.least.get_mut(stem) {
                Some(least) => *least = number.min(*least),
                None => drop(scope.least.insert(stem.to_string(), number)),
            }
        }
        scope.names.insert(name, named);
        Ok(())
    }
}

/// The stem of a name and the number after it, if it has one as ranges of registers make them.
fn split(name: &str) -> Option<(&str, u32)> {
    let stem = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let digits = name.get(stem.len()..)?;
    let canonical = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| canonical).map(|number| (stem, number))
}

fn twice(name: &str) -> String {
    format!("{name} is declared twice in this block")
}

fn add_register(function: &mut Function, name: String, ty: Type) -> Result<RegId, String> {
    let index = u32::try_from(function.registers.len()).map_err(|_| "too many registers".to_string())?;
    function.registers.push(Register { name, ty });
    Ok(RegId(index))
}

impl<'a> Scope<'a> {
    fn find(&self, name: &str) -> Option<Named> {
        let numbered = || {
            let (stem, number) = split(name).filter(|_| !self.ranges.is_empty())?;
            let (first, count) = self.ranges.get(stem)?;
            (number < *count).then_some(Named::Register(RegId(first.0 + number)))
        };
        numbered().or_else(|| self.names.get(name).copied())
    }

    /// Renames what refers to this scope's labels; gives the references that are not to them.
    fn resolve(mut self, function: &mut Function) -> Result<Vec<Reference<'a>>, (u32, String)> {
        let mut left = Vec::new();
        for reference in mem::take(&mut self.references) {
            match self.find(reference.name) {
                None => left.push(reference),
                Some(Named::Label(1)) => {}
                Some(Named::Label(number)) => reference.rename(number, function),
                Some(_) => {
                    return Err((
                        reference.line,
                        format!("{} is used before its declaration", reference.name),
                    ));
                }
            }
        }
        Ok(left)
    }
}

impl Reference<'_> {
    fn rename(&self, number: u32, function: &mut Function) {
        let to = unique(self.name, number);
        match &self.place {
            Place::Code(index) => {
                for operand in function.code.get_mut(*index).iter_mut().flat_map(|code| &mut code.operands) {
                    rename(operand, self.name, &to);
                }
            }
            Place::Targets(label) => {
                for target in function
                    .targets
                    .get_mut(label)
                    .into_iter()
                    .flatten()
                    .filter(|target| *target == self.name)
                {
                    target.clone_from(&to);
                }
            }
        }
    }
}

fn rename(operand: &mut Operand, from: &str, to: &str) {
    match operand {
        Operand::Symbol(name, _) if name == from => name.replace_range(.., to),
        Operand::Address { base, .. } => rename(base, from, to),
        Operand::Vector(parts) | Operand::List(parts) => {
            parts.iter_mut().for_each(|part| rename(part, from, to))
        }
        Operand::Pair(first, second) => {
            rename(first, from, to);
            rename(second, from, to);
        }
        _ => {}
    }
}

/// The name of the `number`th variable or label called `name`. A quote cannot stand in a name.
pub(super) fn unique(name: &str, number: u32) -> String {
    match number {
        0 | 1 => name.to_string(),
        _ => format!("{name}'{number}"),
    }
}

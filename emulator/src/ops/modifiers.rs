//! Reads the modifiers of an instruction from left to right, as the grammar of PTX has them; what is left over is an error.

use crate::{numeric::Round, program::Builder, ptx::ast::Type};

/// The modifiers not read yet.
pub struct Modifiers<'a> {
    rest: &'a [String],
}

impl<'a> Modifiers<'a> {
    /// The modifiers of the instruction that is being lowered.
    pub fn of(b: &Builder<'a>) -> Modifiers<'a> {
        Modifiers { rest: &b.source.modifiers }
    }

    /// Reads the next word, whatever it is.
    pub fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Reads `word` if it comes next; gives whether it did.
    pub fn accept(&mut self, word: &str) -> bool {
        self.choose(&[(word, ())]).is_some()
    }

    /// Reads one of the words of the table if one comes next; gives its meaning.
    pub fn choose<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        let (first, rest) = self.rest.split_first()?;
        let &(_, meaning) = table.iter().find(|(word, _)| word == first)?;
        self.rest = rest;
        Some(meaning)
    }

    /// Reads two words if both come next, in this order; gives whether they did.
    pub fn accept_both(&mut self, first: &str, second: &str) -> bool {
        match self.rest {
            [a, b, rest @ ..] if a == first && b == second => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// As [`Modifiers::choose`], where one must come.
    pub fn require<T: Copy>(&mut self, table: &[(&str, T)]) -> Result<T, String> {
        self.choose(table).ok_or_else(|| {
            let words: Vec<&str> = table.iter().map(|&(word, _)| word).collect();
            format!("{}, expected one of .{}", self.found(), words.join(" ."))
        })
    }

    /// Reads a rounding of floating-point results, if one comes next.
    pub fn round(&mut self) -> Option<Round> {
        self.choose(&[("rn", Round::Rn), ("rz", Round::Rz), ("rm", Round::Rm), ("rp", Round::Rp)])
    }

    /// Reads a type, one of these.
    pub fn ty(&mut self, allowed: &[Type]) -> Result<Type, String> {
        let found = self.rest.first().and_then(|word| Type::parse(word)).filter(|ty| allowed.contains(ty));
        let ty = found.ok_or_else(|| {
            let names: Vec<String> = allowed.iter().map(|ty| format!("{ty:?}").to_lowercase()).collect();
            format!("{}, expected one of the types .{}", self.found(), names.join(" ."))
        })?;
        self.rest = &self.rest[1..];
        Ok(ty)
    }

    /// Reads a type, one of these, which must be the last.
    pub fn last_ty(mut self, allowed: &[Type]) -> Result<Type, String> {
        let ty = self.ty(allowed)?;
        self.end()?;
        Ok(ty)
    }

    /// Demands that all are read.
    pub fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("{}, expected no more modifiers", self.found()))
        }
    }

    fn found(&self) -> String {
        self.rest.first().map_or("the modifiers end".into(), |word| format!("found modifier .{word}"))
    }
}

/// Demands that the module was compiled for at least this compute capability (90 for 9.0).
pub fn needs(b: &Builder<'_>, target: u32) -> Result<(), String> {
    let found = b.scope.target;
    if found >= target {
        Ok(())
    } else {
        Err(format!("needs .target sm_{target} or higher, the module has sm_{found}"))
    }
}

//! The statements of a function's body.

use super::ast::{Function, Instruction, Space, Type, Variable};
use super::cursor::Cursor;
use super::debug::Places;
use super::error::Result;
use super::globals::Globals;
use super::lexer::Token;
use super::scopes::{Place, Reference, Scopes};
use super::variable;
use std::borrow::Cow;

/// A function while its parameters and body are read.
pub(super) struct Body<'p, 'a> {
    pub cursor: &'p mut Cursor<'a>,
    pub scopes: Scopes<'a>,
    pub function: Function,
    globals: &'p Globals<'a>,
    places: Places,
    /// Registers that the module may still declare.
    registers: &'p mut usize,
}

impl<'p, 'a> Body<'p, 'a> {
    pub fn new(
        cursor: &'p mut Cursor<'a>,
        function: Function,
        globals: &'p Globals<'a>,
        registers: &'p mut usize,
    ) -> Body<'p, 'a> {
        Body { cursor, scopes: Scopes::new(), function, globals, places: Places::default(), registers }
    }

    /// Declares parameters, or the values that the function returns.
    pub fn declare_parameters(&mut self, parameters: Vec<(&'a str, Variable)>) -> Result<Vec<Variable>> {
        let mut declared = Vec::new();
        for (name, mut variable) in parameters {
            let done = match variable.space {
                Space::Register => self.scopes.register(&mut self.function, Cow::Borrowed(name), variable.ty),
                _ => self
                    .scopes
                    .variable(name, self.globals.contains(name))
                    .map(|unique| variable.name = unique),
            };
            done.map_err(|message| self.cursor.error_at(variable.line, message))?;
            declared.push(variable);
        }
        Ok(declared)
    }

    /// Reads statements up to the brace that closes the body; gives the names that are not the function's own.
    pub fn read(mut self) -> Result<(Function, Vec<Reference<'a>>)> {
        while !(self.cursor.peek() == Token::Mark('}') && self.scopes.outermost()) {
            self.statement()?;
        }
        let finished = self.scopes.finish(&mut self.function, |name| self.globals.contains(name));
        let references = finished.map_err(|(line, message)| self.cursor.error_at(line, message))?;
        self.cursor.next()?;
        Ok((self.function, references))
    }

    fn statement(&mut self) -> Result<()> {
        match self.cursor.peek() {
            Token::Mark('{') => {
                self.scopes.open().map_err(|message| self.cursor.error(message))?;
                self.cursor.next().map(drop)
            }
            Token::Mark('}') => {
                let closed = self.scopes.close(&mut self.function);
                closed.map_err(|(line, message)| self.cursor.error_at(line, message))?;
                self.cursor.next().map(drop)
            }
            Token::Mark('@') => self.guarded(),
            Token::Dotted(word) => self.directive(word),
            Token::Name(_) => self.label_or_instruction(),
            Token::End => Err(self.cursor.error(format!("the body of {} is not closed", self.function.name))),
            _ => Err(self.cursor.unexpected("a statement")),
        }
    }

    fn directive(&mut self, word: &str) -> Result<()> {
        match word {
            "reg" | "local" | "shared" | "param" => {
                self.cursor.next()?;
                self.declaration(variable::space(word).unwrap_or(Space::Register))?;
                self.cursor.expect(';')
            }
            "loc" => {
                self.cursor.next()?;
                self.places.read(self.cursor, &mut self.function.inlined)
            }
            "pragma" => pragma(self.cursor),
            _ => Err(self.cursor.error(format!("the directive .{word} is not supported in a function"))),
        }
    }

    /// Reads the type and names of a declaration.
    fn declaration(&mut self, space: Space) -> Result<()> {
        let head = variable::head(self.cursor, space)?;
        loop {
            if space == Space::Register {
                if head.vector > 1 {
                    return Err(self.cursor.error("vectors of registers are not supported"));
                }
                self.registers(head.ty)?;
            } else {
                let (name, mut variable) = variable::declarator(self.cursor, head, false)?;
                let unique = self.scopes.variable(name, self.globals.contains(name));
                variable.name = unique.map_err(|message| self.cursor.error_at(variable.line, message))?;
                self.function.variables.push(variable);
            }
            if !self.cursor.accept(',')? {
                return Ok(());
            }
        }
    }

    /// Reads `%p` or `%r<5>`, which declares `%r0` to `%r4`.
    fn registers(&mut self, ty: Type) -> Result<()> {
        let line = self.cursor.line();
        let name = self.cursor.name("the name of a register")?;
        let declared = if self.cursor.accept('<')? {
            let count = self.cursor.count()?;
            self.cursor.expect('>')?;
            self.take_registers(count as usize, line)?;
            self.scopes.registers(&mut self.function, name, count, ty)
        } else {
            self.take_registers(1, line)?;
            self.scopes.register(&mut self.function, Cow::Borrowed(name), ty)
        };
        declared.map_err(|message| self.cursor.error_at(line, message))
    }

    /// Takes from the registers that the module may still declare.
    fn take_registers(&mut self, count: usize, line: u32) -> Result<()> {
        match self.registers.checked_sub(count) {
            Some(left) => *self.registers = left,
            None => {
                return Err(self
                    .cursor
                    .error_at(line, "the module declares more registers than its text could use"));
            }
        }
        Ok(())
    }

    fn label_or_instruction(&mut self) -> Result<()> {
        let line = self.cursor.line();
        let name = self.cursor.name("an instruction")?;
        if !self.cursor.accept(':')? {
            return self.instruction(name, None, line);
        }
        let unique = self.scopes.label(name, self.globals.contains(name));
        let unique = unique.map_err(|message| self.cursor.error_at(line, message))?;
        match self.cursor.peek() {
            Token::Dotted("callprototype") => self.prototype(unique),
            Token::Dotted("branchtargets" | "calltargets") => self.targets(unique),
            _ => {
                self.function.labels.insert(unique, self.function.code.len());
                Ok(())
            }
        }
    }

    /// Reads `.callprototype (.param .b32 _) _ (.param .b32 _);`.
    fn prototype(&mut self, label: String) -> Result<()> {
        self.cursor.next()?;
        let returns = if self.cursor.accept('(')? { variable::parameters(self.cursor)? } else { Vec::new() };
        self.cursor.expect_name("_")?;
        let params = if self.cursor.accept('(')? { variable::parameters(self.cursor)? } else { Vec::new() };
        self.cursor.accept_dotted("noreturn")?;
        self.cursor.expect(';')?;
        let variables =
            |list: Vec<(&str, Variable)>| list.into_iter().map(|(_, variable)| variable).collect();
        self.function.prototypes.insert(label, (variables(returns), variables(params)));
        Ok(())
    }

    /// Reads `.branchtargets a, b;` or `.calltargets f, g;`.
    fn targets(&mut self, label: String) -> Result<()> {
        self.cursor.next()?;
        let mut names = Vec::new();
        loop {
            let line = self.cursor.line();
            let name = self.cursor.name("a label or function")?;
            self.scopes.refer(name, line, Place::Targets(label.clone()));
            names.push(name.to_string());
            if !self.cursor.accept(',')? {
                break;
            }
        }
        self.cursor.expect(';')?;
        self.function.targets.insert(label, names);
        Ok(())
    }

    /// Reads `@p instruction` or `@!p instruction`.
    fn guarded(&mut self) -> Result<()> {
        let line = self.cursor.line();
        self.cursor.expect('@')?;
        let negated = self.cursor.accept('!')?;
        let register = self.register_of_guard(line)?;
        let opcode = self.cursor.name("an instruction")?;
        self.instruction(opcode, Some((register, negated)), line)
    }

    fn register_of_guard(&mut self, line: u32) -> Result<super::ast::RegId> {
        let id = self.register()?;
        match self.function.registers.get(id.0 as usize) {
            Some(register) if register.ty == Type::Pred => Ok(id),
            _ => Err(self.cursor.error_at(line, "the guard is not a predicate")),
        }
    }

    /// Reads modifiers and operands, after the opcode.
    fn instruction(
        &mut self,
        opcode: &str,
        guard: Option<(super::ast::RegId, bool)>,
        line: u32,
    ) -> Result<()> {
        let mut modifiers = Vec::new();
        while let Token::Dotted(word) = self.cursor.peek() {
            modifiers.push(word.to_string());
            self.cursor.next()?;
        }
        let mut operands = Vec::new();
        if !self.cursor.accept(';')? {
            operands.push(self.operand()?);
            while self.cursor.accept(',')? {
                operands.push(self.operand()?);
            }
            self.cursor.expect(';')?;
        }
        let (location, inlined) = (self.places.location, self.places.inlined);
        let opcode = opcode.to_string();
        self.function.code.push(Instruction { guard, opcode, modifiers, operands, line, location, inlined });
        Ok(())
    }
}

/// Reads `.pragma "nounroll";`: a hint to an optimizer, without meaning for what is computed.
pub(super) fn pragma(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.next()?;
    cursor.quoted("the text of a pragma")?;
    while cursor.accept(',')? {
        cursor.quoted("the text of a pragma")?;
    }
    cursor.expect(';')
}

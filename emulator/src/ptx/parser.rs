//! The statements of a module.

use super::ast::{Function, Init, Module, Space, Variable};
use super::body::{self, Body};
use super::cursor::Cursor;
use super::debug;
use super::error::{Error, Result};
use super::globals::{Global, Globals};
use super::lexer::Token;
use super::variable;

/// Registers that a module may declare beyond one for each byte of its text: a text cannot use as many as that.
const SPARE_REGISTERS: usize = 1 << 16;

/// Directives between the parameters and the body of a function, and how many values each has at most.
const DIRECTIVES: [(&str, usize); 11] = [
    ("maxntid", 3),
    ("reqntid", 3),
    ("minnctapersm", 1),
    ("maxnctapersm", 1),
    ("maxnreg", 1),
    ("maxclusterrank", 1),
    ("reqnctapercluster", 3),
    ("explicitcluster", 0),
    ("blocksareclusters", 0),
    ("noreturn", 0),
    ("abi_preserve", 1),
];

/// Parses a PTX module. Zero bytes at its end, which end a string in C, are not part of it.
pub fn parse(text: &[u8]) -> Result<Module> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches('\0');
    let module = Module { lines: text.lines().map(String::from).collect(), ..Module::default() };
    let cursor = Cursor::new(text)?;
    let registers = text.len() + SPARE_REGISTERS;
    let mut parser = Parser { cursor, module, globals: Globals::default(), uses: Vec::new(), registers };
    parser.header()?;
    while parser.cursor.peek() != Token::End {
        parser.item()?;
    }
    parser.check_uses()?;
    Ok(parser.module)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    module: Module,
    globals: Globals<'a>,
    /// Names that functions and initial values use, with their lines.
    uses: Vec<(String, u32)>,
    /// Registers that may still be declared.
    registers: usize,
}

impl<'a> Parser<'a> {
    /// Reads `.version 9.0 .target sm_80 .address_size 64`.
    fn header(&mut self) -> Result<()> {
        self.expect_directive("version")?;
        let line = self.cursor.line();
        let Token::Number(text) = self.cursor.next()? else {
            return Err(self.cursor.error_at(line, "expected a version like 9.0"));
        };
        let version =
            text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        self.module.version =
            version.ok_or_else(|| self.cursor.error_at(line, "expected a version like 9.0"))?;
        self.expect_directive("target")?;
        self.target()?;
        self.expect_directive("address_size")?;
        let line = self.cursor.line();
        match self.cursor.count()? {
            64 => Ok(()),
            other => Err(self
                .cursor
                .error_at(line, format!("addresses of {other} bits are not supported, only of 64"))),
        }
    }

    fn expect_directive(&mut self, word: &str) -> Result<()> {
        match self.cursor.accept_dotted(word)? {
            true => Ok(()),
            false => Err(self.cursor.unexpected(&format!(".{word}"))),
        }
    }

    /// Reads `sm_90a`, and `, debug` after it.
    fn target(&mut self) -> Result<()> {
        let line = self.cursor.line();
        let name = self.cursor.name("a target like sm_80")?;
        let number = name
            .strip_prefix("sm_")
            .map(|rest| rest.split_at(rest.trim_end_matches(char::is_alphabetic).len()));
        let target = number.and_then(|(number, suffix)| Some((number.parse().ok()?, suffix.to_string())));
        self.module.target =
            target.ok_or_else(|| self.cursor.error_at(line, "expected a target like sm_80"))?;
        while self.cursor.accept(',')? {
            let line = self.cursor.line();
            let option = self.cursor.name("a target option")?;
            if !matches!(option, "debug" | "texmode_unified" | "texmode_independent") {
                return Err(self
                    .cursor
                    .error_at(line, format!("the target option {option} is not supported")));
            }
        }
        Ok(())
    }

    /// Reads one statement of the module.
    fn item(&mut self) -> Result<()> {
        let Token::Dotted(word) = self.cursor.peek() else {
            return Err(self.cursor.unexpected("a directive"));
        };
        match word {
            "file" => {
                self.cursor.next()?;
                debug::file(&mut self.cursor, &mut self.module)
            }
            "section" => {
                self.cursor.next()?;
                debug::section(&mut self.cursor, &mut self.module)
            }
            "pragma" => body::pragma(&mut self.cursor),
            _ => self.declaration(),
        }
    }

    fn declaration(&mut self) -> Result<()> {
        let mut external = false;
        while let Token::Dotted(word @ ("visible" | "weak" | "common" | "extern")) = self.cursor.peek() {
            external |= word == "extern";
            self.cursor.next()?;
        }
        let Token::Dotted(word) = self.cursor.peek() else {
            return Err(self.cursor.unexpected("a declaration"));
        };
        match (word, variable::space(word)) {
            ("entry" | "func", _) => self.function(word == "entry", external),
            (_, Some(space @ (Space::Global | Space::Const | Space::Shared))) => {
                self.variables(space, external)
            }
            _ => Err(self.cursor.error(format!("the directive .{word} is not supported here"))),
        }
    }

    fn variables(&mut self, space: Space, external: bool) -> Result<()> {
        self.cursor.next()?;
        let head = variable::head(&mut self.cursor, space)?;
        loop {
            let (name, variable) = variable::declarator(&mut self.cursor, head, external)?;
            for (_, part) in &variable.init {
                if let Init::Symbol { name, .. } = part {
                    self.uses.push((name.clone(), variable.line));
                }
            }
            self.keep_variable(name, variable)?;
            if !self.cursor.accept(',')? {
                return self.cursor.expect(';');
            }
        }
    }

    /// Adds a variable, or puts it in the place of its declaration as `.extern`.
    fn keep_variable(&mut self, name: &'a str, variable: Variable) -> Result<()> {
        let index = match self.globals.names.get(name) {
            None => {
                self.globals.names.insert(name, Global::Variable(self.module.variables.len()));
                self.module.variables.push(variable);
                return Ok(());
            }
            Some(Global::Variable(index)) => *index,
            Some(Global::Function(_)) => return Err(self.twice(name, variable.line)),
        };
        let Some(earlier) =
            self.module.variables.get_mut(index).filter(|earlier| earlier.external || variable.external)
        else {
            return Err(self.twice(name, variable.line));
        };
        if (earlier.space, earlier.ty, earlier.vector) != (variable.space, variable.ty, variable.vector) {
            let message = format!("{name} was declared on line {} with another type", earlier.line);
            return Err(self.cursor.error_at(variable.line, message));
        }
        if earlier.external {
            *earlier = variable;
        }
        Ok(())
    }

    fn twice(&self, name: &str, line: u32) -> Error {
        self.cursor.error_at(line, format!("{name} is declared twice"))
    }

    /// Reads a function, from `.entry` or `.func` on.
    fn function(&mut self, entry: bool, external: bool) -> Result<()> {
        let line = self.cursor.line();
        self.cursor.next()?;
        let returns = if !entry && self.cursor.accept('(')? {
            variable::parameters(&mut self.cursor)?
        } else {
            Vec::new()
        };
        let name = self.cursor.name("the name of a function")?;
        let params =
            if self.cursor.accept('(')? { variable::parameters(&mut self.cursor)? } else { Vec::new() };
        let function = Function { name: name.to_string(), entry, line, ..Function::default() };
        let index = self.place_of(name, line)?;
        let mut body = Body::new(&mut self.cursor, function, &self.globals, &mut self.registers);
        let (returns, params) = (body.declare_parameters(returns)?, body.declare_parameters(params)?);
        (body.function.returns, body.function.params) = (returns, params);
        body.function.directives = directives(body.cursor)?;
        let function = if body.cursor.accept(';')? {
            body.function.external = true;
            body.function
        } else {
            if external {
                return Err(body.cursor.error_at(line, format!("{name} is .extern and has a body")));
            }
            body.cursor.expect('{')?;
            let (function, references) = body.read()?;
            self.uses.extend(references.iter().map(|reference| (reference.name.to_string(), reference.line)));
            function
        };
        self.keep_function(index, function)
    }

    /// The index of the function of this name, which is the next one if it is new.
    fn place_of(&mut self, name: &'a str, line: u32) -> Result<usize> {
        match *self.globals.names.entry(name).or_insert(Global::Function(self.module.functions.len())) {
            Global::Function(index) => Ok(index),
            Global::Variable(_) => Err(self.twice(name, line)),
        }
    }

    /// Adds a function, or puts its body in the place of its declaration.
    fn keep_function(&mut self, index: usize, function: Function) -> Result<()> {
        let Some(earlier) = self.module.functions.get_mut(index) else {
            self.module.functions.push(function);
            return Ok(());
        };
        if !earlier.external && !function.external {
            let message = format!("{} has a body on line {}, too", function.name, earlier.line);
            return Err(self.cursor.error_at(function.line, message));
        }
        if !agree(earlier, &function) {
            let message =
                format!("{} was declared on line {} with other parameters", function.name, earlier.line);
            return Err(self.cursor.error_at(function.line, message));
        }
        if !function.external {
            *earlier = function;
        }
        Ok(())
    }

    /// Fails if a name is used that nothing in the module declares.
    fn check_uses(&self) -> Result<()> {
        match self.uses.iter().find(|(name, _)| !self.globals.contains(name)) {
            Some((name, line)) => Err(self.cursor.error_at(*line, format!("{name} is not declared"))),
            None => Ok(()),
        }
    }
}

/// Whether both declare a function of the same kind, with parameters and returned values of the same types, sizes and alignments.
fn agree(one: &Function, other: &Function) -> bool {
    let layout = |list: &[Variable]| {
        list.iter().map(|variable| (variable.ty, variable.size, variable.align)).collect::<Vec<_>>()
    };
    one.entry == other.entry
        && layout(&one.returns) == layout(&other.returns)
        && layout(&one.params) == layout(&other.params)
}

/// Reads the directives between the parameters of a function and its body.
fn directives(cursor: &mut Cursor<'_>) -> Result<Vec<(String, Vec<u32>)>> {
    let mut all = Vec::new();
    while let Token::Dotted(word) = cursor.peek() {
        if word == "pragma" {
            body::pragma(cursor)?;
            continue;
        }
        let Some((_, most)) = DIRECTIVES.iter().find(|(name, _)| *name == word) else {
            return Err(cursor.error(format!("the directive .{word} of a function is not supported")));
        };
        cursor.next()?;
        let mut values = Vec::new();
        if *most > 0 {
            values.push(cursor.count()?);
        }
        while values.len() < *most && cursor.accept(',')? {
            values.push(cursor.count()?);
        }
        all.push((word.to_string(), values));
    }
    Ok(all)
}

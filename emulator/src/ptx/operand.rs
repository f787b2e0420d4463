//! Operands of instructions.

use super::ast::{Operand, RegId};
use super::body::Body;
use super::error::Result;
use super::lexer::Token;
use super::literal::Literal;
use super::scopes::{Named, Place};

/// How deep vectors and lists stand in each other before a text is refused; no instruction has more than two levels.
const MAX_DEPTH: usize = 4;

/// Special registers, without the `.x` of those that have four parts.
const SPECIAL: [&str; 45] = [
    "%tid",
    "%ntid",
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%ctaid",
    "%nctaid",
    "%smid",
    "%nsmid",
    "%gridid",
    "%clusterid",
    "%nclusterid",
    "%cluster_ctaid",
    "%cluster_nctaid",
    "%cluster_ctarank",
    "%cluster_nctarank",
    "%is_explicit_cluster",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
    "%clock",
    "%clock_hi",
    "%clock64",
    "%globaltimer",
    "%globaltimer_lo",
    "%globaltimer_hi",
    "%total_smem_size",
    "%aggr_smem_size",
    "%dynamic_smem_size",
    "%reserved_smem_offset_begin",
    "%reserved_smem_offset_end",
    "%reserved_smem_offset_cap",
    "%reserved_smem_offset_0",
    "%reserved_smem_offset_1",
    "%current_graph_exec",
    "%pm0",
    "%pm1",
    "%pm2",
    "%pm3",
    "%pm4",
    "%pm5",
    "%pm6",
    "%pm7",
];

impl Body<'_, '_> {
    /// Reads an operand: `d`, `d|p`, `5`, `[a+4]`, `{a, b}`, `(a, b)`.
    pub(super) fn operand(&mut self) -> Result<Operand> {
        let first = self.simple(0)?;
        if !self.cursor.accept('|')? {
            return Ok(first);
        }
        Ok(Operand::Pair(Box::new(first), Box::new(self.simple(0)?)))
    }

    fn simple(&mut self, depth: usize) -> Result<Operand> {
        if depth > MAX_DEPTH {
            return Err(self.cursor.error(format!("more than {MAX_DEPTH} braces in each other")));
        }
        match self.cursor.peek() {
            Token::Name(_) => {
                let operand = self.named()?;
                self.with_offset(operand)
            }
            Token::Mark('[') => self.address(depth),
            Token::Mark('{') => self.vector(depth),
            Token::Mark('(') => self.list(depth),
            Token::Mark('!') => {
                self.cursor.next()?;
                self.register().map(Operand::Negated)
            }
            Token::Mark('~') => {
                self.cursor.next()?;
                let value = self.immediate()?;
                match value {
                    Operand::Integer(value) => Ok(Operand::Integer(!value)),
                    _ => Err(self.cursor.error("expected an integer after ~")),
                }
            }
            Token::Number(_) | Token::Mark('-' | '+') => self.immediate(),
            _ => Err(self.cursor.unexpected("an operand")),
        }
    }

    /// Reads the offset after a variable.
    fn with_offset(&mut self, operand: Operand) -> Result<Operand> {
        match operand {
            Operand::Symbol(name, _) => Ok(Operand::Symbol(name, self.cursor.offset()?)),
            other => Ok(other),
        }
    }

    /// Reads the register of `!p` or `@p`.
    pub(super) fn register(&mut self) -> Result<RegId> {
        let line = self.cursor.line();
        let name = self.cursor.name("a register")?;
        match self.scopes.find(name) {
            Some(Named::Register(id)) => Ok(id),
            _ => Err(self.cursor.error_at(line, format!("{name} is not a register declared here"))),
        }
    }

    /// Reads a name: of a register, special register, constant, variable, function or label.
    fn named(&mut self) -> Result<Operand> {
        let line = self.cursor.line();
        let name = self.cursor.name("an operand")?;
        match self.scopes.find(name) {
            Some(Named::Register(id)) => match self.cursor.peek() {
                Token::Dotted(part) => {
                    Err(self.cursor.error(format!("parts of registers (.{part}) are not supported")))
                }
                _ => Ok(Operand::Register(id)),
            },
            Some(Named::Variable(number)) => Ok(Operand::Symbol(super::scopes::unique(name, number), 0)),
            _ if name == "_" => Ok(Operand::Sink),
            _ if name == "WARP_SZ" => Ok(Operand::Integer(32)),
            _ if name.starts_with('%') => self.special(name, line),
            _ => {
                self.scopes.refer(name, line, Place::Code(self.function.code.len()));
                Ok(Operand::Symbol(name.to_string(), 0))
            }
        }
    }

    fn special(&mut self, name: &str, line: u32) -> Result<Operand> {
        let numbered = name
            .strip_prefix("%envreg")
            .is_some_and(|number| number.parse::<u8>().is_ok_and(|number| number < 32));
        if !numbered && !SPECIAL.contains(&name) {
            return Err(self.cursor.error_at(line, format!("{name} is not a register declared here")));
        }
        let mut text = name.trim_start_matches('%').to_string();
        if let Token::Dotted(part) = self.cursor.peek() {
            if !matches!(part, "x" | "y" | "z" | "w") {
                return Err(self.cursor.unexpected(".x, .y, .z or .w"));
            }
            self.cursor.next()?;
            text.push('.');
            text.push_str(part);
        }
        Ok(Operand::Special(text))
    }

    /// Reads a number and the signs before it.
    fn immediate(&mut self) -> Result<Operand> {
        let negative = self.cursor.signs()?;
        let literal = self.cursor.literal()?;
        Ok(match if negative { literal.negated() } else { literal } {
            Literal::Integer(value) => Operand::Integer(value.cast_signed()),
            Literal::F32(bits) => Operand::F32(bits),
            Literal::F64(bits) => Operand::F64(bits),
        })
    }

    /// Reads `[base+offset]`, or `[tensor, {x, y}]`.
    fn address(&mut self, depth: usize) -> Result<Operand> {
        self.cursor.expect('[')?;
        let base = match self.cursor.peek() {
            Token::Name(_) => self.named()?,
            _ => self.immediate()?,
        };
        if !matches!(base, Operand::Register(_) | Operand::Symbol(..) | Operand::Integer(_)) {
            return Err(self.cursor.error("expected a register, a variable or an integer as address"));
        }
        let offset = self.cursor.offset()?;
        let mut parts = vec![base];
        while self.cursor.accept(',')? {
            parts.push(self.simple(depth + 1)?);
        }
        self.cursor.expect(']')?;
        let base = match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Operand::List(parts)
            }
        };
        Ok(Operand::Address { base: Box::new(base), offset })
    }

    fn vector(&mut self, depth: usize) -> Result<Operand> {
        self.cursor.expect('{')?;
        let mut parts = vec![self.simple(depth + 1)?];
        while self.cursor.accept(',')? {
            parts.push(self.simple(depth + 1)?);
        }
        self.cursor.expect('}')?;
        Ok(Operand::Vector(parts))
    }

    fn list(&mut self, depth: usize) -> Result<Operand> {
        self.cursor.expect('(')?;
        let mut parts = Vec::new();
        while !self.cursor.accept(')')? {
            if !parts.is_empty() {
                self.cursor.expect(',')?;
            }
            parts.push(self.simple(depth + 1)?);
        }
        Ok(Operand::List(parts))
    }
}

//! What the digits of a number mean.

/// A number as it stands in the text, without its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    /// Decimal, `0x`, `0b`, octal with a leading zero; a final `U` says nothing.
    Integer(u64),
    /// `0f` and 8 hexadecimal digits: bits of an f32.
    F32(u32),
    /// `0d` and 16 hexadecimal digits, or a decimal number with a point or an exponent: bits of an f64.
    F64(u64),
}

impl Literal {
    /// The number with this spelling; `None` if there is none or an integer has more than 64 bits.
    pub fn parse(text: &str) -> Option<Literal> {
        let (prefix, rest) = text.split_at_checked(2).unwrap_or(("", text));
        match prefix {
            "0f" | "0F" => hexadecimal(rest, 8).map(|bits| Literal::F32(bits as u32)),
            "0d" | "0D" => hexadecimal(rest, 16).map(Literal::F64),
            "0x" | "0X" => integer(rest, 16),
            "0b" | "0B" => integer(rest, 2),
            _ if text.contains(['.', 'e', 'E']) => {
                text.parse::<f64>().ok().map(|value| Literal::F64(value.to_bits()))
            }
            _ => match text.strip_prefix('0') {
                Some(rest) if !rest.trim_end_matches('U').is_empty() => integer(rest, 8),
                _ => integer(text, 10),
            },
        }
    }

    /// The number with its sign turned; of integers, the two's complement.
    pub fn negated(self) -> Literal {
        match self {
            Literal::Integer(value) => Literal::Integer(value.wrapping_neg()),
            Literal::F32(bits) => Literal::F32(bits ^ 1 << 31),
            Literal::F64(bits) => Literal::F64(bits ^ 1 << 63),
        }
    }
}

fn hexadecimal(digits: &str, count: usize) -> Option<u64> {
    if digits.len() != count {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn integer(digits: &str, radix: u32) -> Option<Literal> {
    let digits = digits.strip_suffix('U').unwrap_or(digits);
    u64::from_str_radix(digits, radix).ok().map(Literal::Integer)
}

//! Floats in decimal, rounded from their exact expansion to the nearer, of two equally near the even digit, as C libraries do.

/// The digits of a finite float that is not negative: all of them, with the number of those before the point.
struct Digits {
    digits: Vec<u8>,
    point: i32,
}

/// Digits after the point of the longest expansion, that of the least subnormal.
const LONGEST: usize = 1074;

impl Digits {
    /// Without leading zeros; of zero, none.
    fn of(x: f64) -> Digits {
        let text = format!("{x:.LONGEST$}");
        let whole = text.find('.').unwrap_or(text.len());
        let all = text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0');
        let zeros = all.clone().take_while(|&d| d == 0).count();
        Digits { digits: all.skip(zeros).collect(), point: whole as i32 - zeros as i32 }
    }

    /// The value rounded to `keep` digits; more than there are are zeros, and zero has none.
    fn rounded(mut self, keep: i32) -> Digits {
        if keep < 0 {
            return Digits { digits: Vec::new(), point: 0 };
        }
        let keep = keep as usize;
        if keep < self.digits.len() {
            let (head, tail) = self.digits.split_at(keep);
            let odd = head.last().is_some_and(|d| d % 2 == 1);
            let up = match tail[0] {
                5 => odd || tail[1..].iter().any(|&d| d != 0),
                d => d > 5,
            };
            self.digits.truncate(keep);
            if up {
                self.increment();
            }
        }
        self
    }

    fn increment(&mut self) {
        for d in self.digits.iter_mut().rev() {
            if *d < 9 {
                *d += 1;
                return;
            }
            *d = 0;
        }
        self.digits.insert(0, 1);
        self.point += 1;
    }

    /// The digit of the weight `10^power`.
    fn at(&self, power: i32) -> char {
        let i = self.point - 1 - power;
        let digit = usize::try_from(i).ok().and_then(|i| self.digits.get(i));
        char::from(b'0' + digit.copied().unwrap_or(0))
    }
}

/// `%f`.
pub fn fixed(x: f64, precision: usize, point: bool) -> String {
    let digits = Digits::of(x);
    let keep = digits.point + precision as i32;
    let digits = digits.rounded(keep);
    let mut text: String = (0..digits.point.max(1)).rev().map(|power| digits.at(power)).collect();
    if precision > 0 || point {
        text.push('.');
    }
    text.extend((1..=precision as i32).map(|i| digits.at(-i)));
    text
}

/// `%e`.
pub fn scientific(x: f64, precision: usize, point: bool) -> String {
    let digits = Digits::of(x).rounded(precision as i32 + 1);
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    let mut text = String::from(digits.at(exponent));
    if precision > 0 || point {
        text.push('.');
    }
    text.extend((1..=precision as i32).map(|i| digits.at(exponent - i)));
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{text}e{sign}{:02}", exponent.abs())
}

/// `%g`; `keep` is the flag `#`, which keeps zeros at the end.
pub fn general(x: f64, precision: usize, keep: bool) -> String {
    let significant = precision.max(1) as i32;
    let digits = Digits::of(x).rounded(significant);
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    let (text, suffix) = if exponent < -4 || exponent >= significant {
        let text = scientific(x, significant as usize - 1, keep);
        let at = text.find('e').unwrap_or(text.len());
        (text[..at].to_string(), text[at..].to_string())
    } else {
        (fixed(x, (significant - 1 - exponent) as usize, keep), String::new())
    };
    if keep || !text.contains('.') {
        return text + &suffix;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_string() + &suffix
}

//! Floats in hexadecimal: `%a`, without its `0x`.

/// Bits of the fraction of an f64.
const FRACTION: u32 = 52;

/// The text of a finite float that is not negative; without a precision, as many digits as it takes.
pub fn text(x: f64, precision: Option<usize>, point: bool) -> String {
    let bits = x.to_bits();
    let (raw, fraction) = ((bits >> FRACTION) as i32, bits & ((1 << FRACTION) - 1));
    let exponent = match (raw, fraction) {
        (0, 0) => 0,
        (0, _) => -1022,
        _ => raw - 1023,
    };
    let mut significand = fraction | u64::from(raw != 0) << FRACTION;
    let mut digits = 13;
    if let Some(p) = precision.filter(|&p| p < 13) {
        let dropped = FRACTION - 4 * p as u32;
        let (half, rest) = (1u64 << (dropped - 1), significand & ((1u64 << dropped) - 1));
        let odd = significand >> dropped & 1 == 1;
        significand = significand >> dropped << dropped;
        if rest > half || rest == half && odd {
            significand += 1 << dropped;
        }
        digits = p;
    }
    let mut fraction = format!("{:013x}", significand & ((1 << FRACTION) - 1));
    match precision {
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
        Some(p) => {
            fraction.truncate(digits);
            fraction.extend(std::iter::repeat_n('0', p - digits));
        }
    }
    let dot = if fraction.is_empty() && !point { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}{dot}{fraction}p{sign}{}", significand >> FRACTION, exponent.abs())
}

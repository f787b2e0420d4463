//! What `.f16` and `.bf16` share: all that follows from where infinity stands, and from the way to `.f32` and back.

/// Defines it for the format of the module, whose `to_f32`, `from_f32` and `fma` stand beside it.
macro_rules! of_sixteen_bits {
    ($format:ident, infinity $infinity:literal, one $one:literal) => {
        /// The bits of the NaN that every operation gives.
        pub const NAN: u16 = 0x7fff;
        /// The bits of plus infinity; magnitudes above are NaN.
        pub const INF: u16 = $infinity;
        /// The bits of 1.
        pub const ONE: u16 = $one;

        /// Whether `x` is NaN.
        #[inline(always)]
        pub fn is_nan(x: u16) -> bool {
            x & 0x7fff > INF
        }

        /// `cvt.f64`: exact; NaN becomes the canonical f64 NaN.
        #[inline(always)]
        pub fn to_f64(x: u16) -> f64 {
            $crate::numeric::double::canonical(f64::from(to_f32(x)))
        }

        /// `cvt.rn`, `.rz`, `.rm`, `.rp` from `.f64`, and so from every narrower float.
        #[inline]
        pub fn from_f64(x: f64, round: $crate::numeric::Round) -> u16 {
            use $crate::numeric::soft::{F64, Value, $format};
            match F64.decode(x.to_bits()) {
                Value::Nan => NAN,
                Value::Inf(neg) => $format.signed(neg, $format.overflow) as u16,
                Value::Finite(x) => $format.encode(x, round) as u16,
            }
        }

        /// `.ftz`, where a form has it: a subnormal number becomes zero of the same sign.
        #[inline(always)]
        pub fn ftz(x: u16) -> u16 {
            if x & INF == 0 { x & 0x8000 } else { x }
        }

        /// `.sat`: clamped to [0, 1]; NaN and -0 become +0.
        #[inline(always)]
        pub fn sat(x: u16) -> u16 {
            let above_one = if x > ONE { ONE } else { x };
            // Negative numbers, -0 and NaN of either sign.
            if x & 0x8000 != 0 || is_nan(x) { 0 } else { above_one }
        }

        /// `.relu`: negative numbers and -0 become +0, NaN the canonical one.
        #[inline(always)]
        pub fn relu(x: u16) -> u16 {
            let clamped = if x & 0x8000 != 0 { 0 } else { x };
            if is_nan(x) { NAN } else { clamped }
        }

        /// `.satfinite` on a result: an infinity becomes the largest finite number of its sign.
        #[inline(always)]
        pub fn satfinite(x: u16) -> u16 {
            if x & 0x7fff == INF { x - 1 } else { x }
        }

        /// `add`: `a + b`.
        #[inline(always)]
        pub fn add(a: u16, b: u16) -> u16 {
            from_f32(to_f32(a) + to_f32(b))
        }

        /// `sub`: `a - b`.
        #[inline(always)]
        pub fn sub(a: u16, b: u16) -> u16 {
            from_f32(to_f32(a) - to_f32(b))
        }

        /// `mul`: `a * b`.
        #[inline(always)]
        pub fn mul(a: u16, b: u16) -> u16 {
            from_f32(to_f32(a) * to_f32(b))
        }

        /// `neg`: flips the sign bit, of NaN too.
        #[inline(always)]
        pub fn neg(x: u16) -> u16 {
            x ^ 0x8000
        }

        /// `abs`: clears the sign bit, of NaN too.
        #[inline(always)]
        pub fn abs(x: u16) -> u16 {
            x & 0x7fff
        }

        $crate::numeric::pair::of_halves! {
            add2 = add(a, b);
            sub2 = sub(a, b);
            mul2 = mul(a, b);
            fma2 = fma(a, b, c);
            neg2 = neg(x);
            abs2 = abs(x);
            ftz2 = ftz(x);
            sat2 = sat(x);
            relu2 = relu(x);
        }
    };
}
pub(super) use of_sixteen_bits;

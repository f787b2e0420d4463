//! Arithmetic: functions within their documented errors, and roundings, integers and conversions exactly.

use crate::{
    harness::{ALL, args, on, over},
    numbers::{F16, Random},
};

/// A number and how many units of its last place (fp32) a result may be off, or how far absolutely.
struct Near {
    value: f64,
    ulps: f64,
    absolute: f64,
}

impl Near {
    fn holds(&self, got: f32) -> bool {
        let nearest = self.value as f32;
        if nearest.is_infinite() || got.is_infinite() {
            // At the edge of the range an error of a few units decides between the largest number and infinity.
            return got == nearest || self.ulps > 0.0 && (got.abs().min(nearest.abs()) > f32::MAX * 0.999);
        }
        let exponent = f64::from(nearest.abs().max(f32::MIN_POSITIVE)).log2().floor() as i32;
        let ulp = 2f64.powi(exponent - 23);
        (f64::from(got) - self.value).abs()
            <= self.ulps * ulp + 0.5 * ulp * self.ulps.min(1.0) + self.absolute
    }
}

/// The error function by its Taylor series, to some 13 digits.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

type Function = (&'static str, fn(f64) -> f64, f64, f64);

/// Name, function, and its error: units in the last place and absolute, from the CUDA C++ Programming Guide (16.1, 16.2).
const FUNCTIONS: [Function; 17] = [
    ("sinf", f64::sin, 2.0, 0.0),
    ("cosf", f64::cos, 2.0, 0.0),
    ("expf", f64::exp, 2.0, 0.0),
    ("logf", |x| positive(x).ln(), 1.0, 0.0),
    ("tanhf", f64::tanh, 2.0, 0.0),
    ("erff", erf, 2.0, 0.0),
    ("powf", |x| positive(x).powf(x), 4.0, 0.0),
    ("__sinf", f64::sin, 0.0, 3.6e-7),
    ("__cosf", f64::cos, 0.0, 4.2e-7),
    ("__expf", f64::exp, 7.0, 0.0),
    ("__logf", |x| positive(x).ln(), 3.0, 3.6e-7),
    ("floorf", f64::floor, 0.0, 0.0),
    ("ceilf", f64::ceil, 0.0, 0.0),
    ("rintf", f64::round_ties_even, 0.0, 0.0),
    ("truncf", f64::trunc, 0.0, 0.0),
    ("__fsqrt_rn", |x| f64::from(positive(x).sqrt() as f32), 0.0, 0.0),
    ("cbrtf", f64::cbrt, 1.0, 0.0),
];

/// `fabsf(x) + 0.0625f` of an fp32 number.
fn positive(x: f64) -> f64 {
    f64::from(x.abs() as f32 + 0.0625)
}

#[test]
fn functions_are_within_their_documented_errors() {
    on(&ALL, "zoo_math", |gpu| {
        let mut x = Random(1).floats(250, 3.1);
        let far = [1e5, -3e7, 1e10, 88.0, -103.0, 0.0, 0.5, -1.5, 2.5, 1e-30, -4.2e-39];
        let ordinary = x.len();
        x.extend(far);
        let (n, dx) = (x.len(), gpu.upload(&x));
        let y = gpu.output::<f32>(17 * n);
        gpu.launch("math_f32", over(n, 128), args![y, dx, n as u32]);
        let y = gpu.read(y);
        for (r, (name, f, ulps, absolute)) in FUNCTIONS.into_iter().enumerate() {
            // The intrinsics promise their bounds within -pi and pi alone.
            let promised = if (7..11).contains(&r) { ordinary } else { n };
            for i in 0..promised {
                let near = Near { value: f(f64::from(x[i])), ulps, absolute };
                assert!(
                    near.holds(y[r * n + i]),
                    "{name}({}) is {}, expected {}",
                    x[i],
                    y[r * n + i],
                    near.value
                );
            }
        }
    });
}

#[derive(Clone, Copy)]
enum To {
    Nearest,
    Zero,
    Up,
    Down,
}

/// `x` rounded to fp32. Right for results whose distance from every fp32 number is 0 or more than double precision loses.
fn round(x: f64, to: To) -> f32 {
    let nearest = x as f32;
    let too_far = match to {
        To::Nearest => false,
        To::Zero => f64::from(nearest).abs() > x.abs(),
        To::Up => f64::from(nearest) < x,
        To::Down => f64::from(nearest) > x,
    };
    match to {
        _ if !too_far => nearest,
        To::Zero if nearest > 0.0 => nearest.next_down(),
        To::Zero | To::Up => nearest.next_up(),
        _ => nearest.next_down(),
    }
}

#[test]
fn arithmetic_rounds_in_each_direction() {
    on(&ALL, "zoo_math", |gpu| {
        let n = 400;
        let mut random = Random(2);
        // 16 significant bits and exponents of -8 .. 8: sums, products and fused products are exact in double precision,
        // and quotients and roots lie at least 2^-49 from fp32 numbers that they do not equal.
        let mut numbers = || -> Vec<f32> {
            (0..n)
                .map(|_| {
                    let (bits, exponent) = (random.u32(), 119 + random.u32() % 17);
                    f32::from_bits(bits & 0x807f_ff00 | exponent << 23)
                })
                .collect()
        };
        let (a, b) = (numbers(), numbers());
        let (da, db) = (gpu.upload(&a), gpu.upload(&b));
        let y = gpu.output::<f32>(18 * n);
        gpu.launch("rounded_f32", over(n, 128), args![y, da, db, n as u32]);
        let y = gpu.read(y);
        let [sum, product, quotient]: [fn(f64, f64) -> f64; 3] = [|a, b| a + b, |a, b| a * b, |a, b| a / b];
        let [root, fused, inverse]: [fn(f64, f64) -> f64; 3] =
            [|a, _| a.abs().sqrt(), |a, b| a * b + a, |_, b| 1.0 / b];
        use To::{Down, Nearest, Up, Zero};
        let rows = [
            (sum, Nearest),
            (sum, Zero),
            (sum, Up),
            (sum, Down),
            (product, Nearest),
            (product, Zero),
            (product, Up),
            (product, Down),
            (quotient, Nearest),
            (quotient, Zero),
            (root, Up),
            (root, Down),
            (fused, Nearest),
            (fused, Zero),
            (fused, Up),
            (fused, Down),
            (inverse, Nearest),
            (inverse, Down),
        ];
        for (r, (f, to)) in rows.into_iter().enumerate() {
            for i in 0..n {
                let want = round(f(f64::from(a[i]), f64::from(b[i])), to);
                assert_eq!(y[r * n + i], want, "row {r} of {} and {}", a[i], b[i]);
            }
        }
    });
}

#[test]
fn double_precision_is_exact() {
    on(&ALL, "zoo_math", |gpu| {
        let n = 200;
        let mut random = Random(3);
        let mut numbers = || (0..n).map(|_| random.u64() as i64 as f64 / 2f64.powi(61)).collect::<Vec<_>>();
        let (a, b) = (numbers(), numbers());
        let (da, db) = (gpu.upload(&a), gpu.upload(&b));
        let y = gpu.output::<f64>(8 * n);
        gpu.launch("math_f64", over(n, 128), args![y, da, db, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let (u, v) = (a[i], b[i]);
            let want = [u + v, u * v, u / v, u.abs().sqrt(), u.mul_add(v, u), u.min(v), u.max(v)];
            let got: Vec<f64> = (0..7).map(|r| y[r * n + i]).collect();
            assert_eq!(got, want, "{u} and {v}");
            let (exp, want) = (y[7 * n + i], (-u.abs()).exp());
            // A unit in the last place of the kernel's, and one of the host's.
            assert!((exp - want).abs() <= 2.0 * f64::EPSILON * want, "exp(-|{u}|) is {exp}, expected {want}");
        }
    });
}

/// Bits `start ..` of x, as PTX defines `bfe`: bit by bit, with what lies past the end filled by 0 or the sign.
fn extract(x: u32, start: u32, length: u32, signed: bool) -> u32 {
    let fill = signed && length > 0 && x >> (start + length - 1).min(31) & 1 == 1;
    let bit = |i: u32| if i < length && start + i < 32 { x >> (start + i) & 1 == 1 } else { fill };
    (0..32).fold(0, |r, i| r | u32::from(bit(i)) << i)
}

/// x with bits `start ..` replaced, as PTX defines `bfi`.
fn insert(x: u32, bits: u32, start: u32, length: u32) -> u32 {
    (0..length).filter(|i| start + i < 32).fold(x, |r, i| {
        let at = start + i;
        r & !(1 << at) | (bits >> i & 1) << at
    })
}

fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
    u32::from_le_bytes([0, 4, 8, 12].map(|at| bytes[(selector >> at & 7) as usize]))
}

fn integers_32(u: u32, v: u32) -> [u32; 26] {
    let (s, su, sv) = (v % 64, u as i32, v as i32);
    let both = u64::from(v) << 32 | u64::from(u);
    let differences = [0, 8, 16, 24].map(|at| ((u >> at) as u8).abs_diff((v >> at) as u8));
    let halves = |x: u32| [i64::from(x as i16), i64::from((x >> 16) as i16)];
    let dot = halves(u)[0] * i64::from(v as i8) + halves(u)[1] * i64::from((v >> 8) as i8) + 3;
    let low24 = |x: i32| i64::from(x << 8 >> 8);
    [
        u.leading_zeros(),
        if u == 0 { 0 } else { u.trailing_zeros() + 1 },
        u.count_ones(),
        u.reverse_bits(),
        permute(u, v, 0x3175),
        permute(u, v, v),
        ((u64::from(u) * u64::from(v)) >> 32) as u32,
        ((i64::from(su) * i64::from(sv)) >> 32) as u32,
        (u & 0xff_ffff).wrapping_mul(v & 0xff_ffff),
        (low24(su) * low24(sv)) as u32,
        u.abs_diff(v).wrapping_add(7),
        su.abs_diff(sv).wrapping_add(7),
        (both << (s % 32) >> 32) as u32,
        (both >> (s % 32)) as u32,
        (both << s.min(32) >> 32) as u32,
        (both >> s.min(32)) as u32,
        extract(u, s, v >> 26, false),
        extract(u, s, v >> 26, true),
        insert(u, v, s, v >> 26),
        u32::from_le_bytes(differences),
        dot as u32,
        ((u64::from(u) + u64::from(v)) / 2) as u32,
        su.wrapping_rem(sv | 1) as u32,
        u / (v | 1),
        su.min(sv) as u32,
        su.wrapping_abs() as u32,
    ]
}

#[test]
fn bit_operations_of_32_bits_are_exact() {
    on(&ALL, "zoo_math", |gpu| {
        let n = 500;
        let mut random = Random(4);
        let (mut a, mut b) = (random.words(n), random.words(n));
        a[..4].copy_from_slice(&[0, u32::MAX, 1 << 31, 1]);
        b[..6].copy_from_slice(&[0, u32::MAX, 1 << 31, 32, 63, 31 | 1 << 31]);
        let (da, db) = (gpu.upload(&a), gpu.upload(&b));
        let y = gpu.output::<u32>(26 * n);
        gpu.launch("integers_32", over(n, 128), args![y, da, db, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let got: Vec<u32> = (0..26).map(|r| y[r * n + i]).collect();
            assert_eq!(got, integers_32(a[i], b[i]), "{:#x} and {:#x}", a[i], b[i]);
        }
    });
}

#[test]
fn arithmetic_of_64_bits_is_exact() {
    on(&ALL, "zoo_math", |gpu| {
        let n = 300;
        let mut random = Random(5);
        let mut numbers = || (0..n).map(|_| random.u64() >> (random.u32() % 50)).collect::<Vec<_>>();
        let (mut a, mut b) = (numbers(), numbers());
        a[..3].copy_from_slice(&[0, u64::MAX, 1 << 63]);
        b[..3].copy_from_slice(&[1, u64::MAX, 63]);
        b.iter_mut().for_each(|b| *b = (*b).max(1));
        let (da, db) = (gpu.upload(&a), gpu.upload(&b));
        let y = gpu.output::<u64>(13 * n);
        gpu.launch("integers_64", over(n, 128), args![y, da, db, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let (u, v) = (a[i], b[i]);
            let (su, sv, s) = (u as i64, v as i64, v % 64);
            let want = [
                u.wrapping_mul(v),
                ((u128::from(u) * u128::from(v)) >> 64) as u64,
                ((i128::from(su) * i128::from(sv)) >> 64) as u64,
                u / v,
                u % v,
                su.wrapping_div(sv | 1) as u64,
                u << s,
                u >> s,
                (su >> s) as u64,
                u64::from(u.leading_zeros()),
                u64::from(u.count_ones()),
                u.reverse_bits(),
                u64::from(u.checked_add(v).is_none()),
            ];
            let got: Vec<u64> = (0..13).map(|r| y[r * n + i]).collect();
            assert_eq!(got, want, "{u:#x} and {v:#x}");
        }
    });
}

/// A float as an integer of `low ..= high`, NaN as `nan`.
fn to_integer(x: f64, low: f64, high: f64, nan: u64) -> u64 {
    if x.is_nan() {
        return nan;
    }
    match x.clamp(low, high) as i128 {
        // Double precision has no 2^64 - 1: what reaches the top is held to it.
        i if i >= 1 << 64 => u64::MAX,
        i if low < 0.0 && i >= 1 << 63 => i64::MAX as u64,
        i => i as u64,
    }
}

fn conversions(v: f32) -> [u64; 14] {
    let (x, bits) = (f64::from(v), v.to_bits());
    let (min, max) = (f64::from(i32::MIN), f64::from(i32::MAX));
    let int = |x: f64| to_integer(x, min, max, 0) & 0xffff_ffff;
    let saturated = if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
    let half = F16.encode(x);
    let half_down = if half != 0 && F16.decode(half).abs() > x.abs() { half - 1 } else { half };
    let nan = v.is_nan();
    [
        int(x.round_ties_even()),
        int(x.trunc()),
        int(x.ceil()),
        int(x.floor()),
        to_integer(x.trunc(), 0.0, f64::from(u32::MAX), 0),
        to_integer(x.trunc(), -(2f64.powi(63)), 2f64.powi(63), 1 << 63),
        to_integer(x.round_ties_even(), 0.0, 2f64.powi(64), 1 << 63),
        u64::from(round(f64::from(bits as i32), To::Nearest).to_bits()),
        u64::from(round(f64::from(bits as i32), To::Down).to_bits()),
        u64::from(round(f64::from(bits), To::Zero).to_bits()),
        u64::from((saturated + 0.0).to_bits()),
        if nan { 0x7fff } else { u64::from(half) },
        if nan { 0x7fff } else { u64::from(half_down) },
        x.to_bits(),
    ]
}

#[test]
fn conversions_saturate_and_round_as_documented() {
    on(&ALL, "zoo_math", |gpu| {
        let mut random = Random(6);
        let mut x: Vec<f32> = (0..400).map(|_| f32::from_bits(random.u32())).collect();
        x.extend((0..200).map(|i| (i as f32 - 100.0) * 0.5));
        x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2147483648.0, -2147483648.0, 4294967296.0]);
        x.extend([1.8446744e19, 9.223372e18, -9.223372e18, 65504.0, 65519.0, 65520.0, 5.9e-8, 2.9e-8, -0.0]);
        let (n, dx) = (x.len(), gpu.upload(&x));
        let y = gpu.output::<u64>(14 * n);
        gpu.launch("conversions", over(n, 128), args![y, dx, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let got: Vec<u64> = (0..14).map(|r| y[r * n + i]).collect();
            let want = conversions(x[i]);
            assert_eq!(got[..13], want[..13], "{} ({:#x})", x[i], x[i].to_bits());
            let (got, want) = (f64::from_bits(got[13]), f64::from_bits(want[13]));
            assert!(got == want || got.is_nan() && want.is_nan(), "{} to double is {got}", x[i]);
        }
    });
}

//! Random straight-line programs against an evaluator of one lane at a time.
//!
//! Single instructions are tested elsewhere; here they meet: destinations that are sources or guards, values in registers of
//! every class at once, carries across other instructions, instructions that lower to several.

use crate::harness::{Random, cut, form, signed};
use crate::reference::{F16, F32};
use cuda_emulator::numeric::Round;
use proptest::prelude::*;

/// What registers hold: four of each class.
const CLASSES: [&str; 4] = ["b16", "b32", "b64", "pred"];
const H: usize = 0;
const R: usize = 1;
const D: usize = 2;
const P: usize = 3;
const EACH: usize = 4;

/// Results of an instruction; it may read and write the carry.
type Evaluate = fn(&[u64], &mut bool) -> [u64; 2];

/// The text, with `D` and `E` for destinations, `A`, `B`, `C`, `F` for sources; the classes of both; the meaning.
type Operation = (&'static str, &'static [usize], &'static [usize], Evaluate);

fn one(x: u64) -> [u64; 2] {
    [x, 0]
}

fn int(x: u64) -> i64 {
    signed(x, 32) as i64
}

fn single(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

/// The bits of a result, NaN canonical.
fn bits(x: f32) -> [u64; 2] {
    one(if x.is_nan() { 0x7fff_ffff } else { x.to_bits().into() })
}

fn add_carry(x: u64, y: u64, c: bool) -> (u64, bool) {
    let sum = cut(x, "b32") + cut(y, "b32") + u64::from(c);
    (sum, sum >> 32 != 0)
}

const OPERATIONS: &[Operation] = &[
    ("add.s32 D, A, B", &[R], &[R, R], |s, _| one(s[0].wrapping_add(s[1]))),
    ("sub.s64 D, A, B", &[D], &[D, D], |s, _| one(s[0].wrapping_sub(s[1]))),
    ("add.u16 D, A, B", &[H], &[H, H], |s, _| one(s[0] + s[1])),
    ("mul.lo.s32 D, A, B", &[R], &[R, R], |s, _| one(s[0].wrapping_mul(s[1]))),
    ("mul.hi.s32 D, A, B", &[R], &[R, R], |s, _| one(((int(s[0]) * int(s[1])) >> 32) as u64)),
    ("mul.wide.u32 D, A, B", &[D], &[R, R], |s, _| one(s[0] * s[1])),
    ("mul.wide.s16 D, A, B", &[R], &[H, H], |s, _| one((signed(s[0], 16) * signed(s[1], 16)) as u64)),
    ("mad.lo.s32 D, A, B, C", &[R], &[R, R, R], |s, _| one(s[0].wrapping_mul(s[1]).wrapping_add(s[2]))),
    ("mad.wide.s32 D, A, B, C", &[D], &[R, R, D], |s, _| {
        one((int(s[0]) * int(s[1])).wrapping_add(s[2] as i64) as u64)
    }),
    ("div.s32 D, A, B", &[R], &[R, R], |s, _| {
        one(if s[1] == 0 { u64::MAX } else { (int(s[0]) / int(s[1])) as u64 })
    }),
    ("rem.u64 D, A, B", &[D], &[D, D], |s, _| one(if s[1] == 0 { s[0] } else { s[0] % s[1] })),
    ("min.s32 D, A, B", &[R], &[R, R], |s, _| one(int(s[0]).min(int(s[1])) as u64)),
    ("max.u64 D, A, B", &[D], &[D, D], |s, _| one(s[0].max(s[1]))),
    ("abs.s32 D, A", &[R], &[R], |s, _| one(int(s[0]).unsigned_abs())),
    ("neg.s16 D, A", &[H], &[H], |s, _| one(s[0].wrapping_neg())),
    ("sad.u32 D, A, B, C", &[R], &[R, R, R], |s, _| one(s[0].abs_diff(s[1]) + s[2])),
    ("and.b32 D, A, B", &[R], &[R, R], |s, _| one(s[0] & s[1])),
    ("or.b64 D, A, B", &[D], &[D, D], |s, _| one(s[0] | s[1])),
    ("xor.b16 D, A, B", &[H], &[H, H], |s, _| one(s[0] ^ s[1])),
    ("not.b64 D, A", &[D], &[D], |s, _| one(!s[0])),
    ("and.pred D, A, B", &[P], &[P, P], |s, _| one(s[0] & s[1])),
    ("xor.pred D, A, !B", &[P], &[P, P], |s, _| one(s[0] ^ s[1] ^ 1)),
    ("not.pred D, A", &[P], &[P], |s, _| one(s[0] ^ 1)),
    ("lop3.b32 D, A, B, C, 0xe8", &[R], &[R, R, R], |s, _| one(s[0] & s[1] | s[0] & s[2] | s[1] & s[2])),
    ("lop3.or.b32 D|E, A, B, B, 0xc0, C", &[R, P], &[R, R, P], |s, _| {
        [s[0] & s[1], u64::from(s[0] & s[1] != 0) | s[2]]
    }),
    ("shl.b32 D, A, B", &[R], &[R, R], |s, _| one(if s[1] > 31 { 0 } else { s[0] << s[1] })),
    ("shr.s64 D, A, B", &[D], &[D, R], |s, _| one(((s[0] as i64) >> s[1].min(63)) as u64)),
    ("shf.l.wrap.b32 D, A, B, C", &[R], &[R, R, R], |s, _| one(((s[1] << 32 | s[0]) << (s[2] & 31)) >> 32)),
    ("prmt.b32 D, A, B, 0x5410", &[R], &[R, R], |s, _| one(s[0] & 0xffff | s[1] << 16)),
    ("popc.b64 D, A", &[R], &[D], |s, _| one(s[0].count_ones().into())),
    ("bfe.u32 D, A, 3, 9", &[R], &[R], |s, _| one(s[0] >> 3 & 0x1ff)),
    ("bfi.b32 D, A, B, 4, 8", &[R], &[R, R], |s, _| one(s[1] & !0xff0 | (s[0] & 0xff) << 4)),
    ("add.cc.u32 D, A, B", &[R], &[R, R], |s, c| {
        let sum = add_carry(s[0], s[1], false);
        *c = sum.1;
        one(sum.0)
    }),
    ("addc.cc.u32 D, A, B", &[R], &[R, R], |s, c| {
        let sum = add_carry(s[0], s[1], *c);
        *c = sum.1;
        one(sum.0)
    }),
    ("addc.u32 D, A, B", &[R], &[R, R], |s, c| one(add_carry(s[0], s[1], *c).0)),
    ("add.f32 D, A, B", &[R], &[R, R], |s, _| bits(single(s[0]) + single(s[1]))),
    ("sub.f32 D, A, B", &[R], &[R, R], |s, _| bits(single(s[0]) - single(s[1]))),
    ("mul.ftz.f32 D, A, B", &[R], &[R, R], |s, _| {
        one(F32.ftz(F32.apply("mul", &[F32.ftz(s[0]), F32.ftz(s[1])], Round::Rn)))
    }),
    ("fma.rn.f32 D, A, B, C", &[R], &[R, R, R], |s, _| {
        bits(single(s[0]).mul_add(single(s[1]), single(s[2])))
    }),
    ("fma.rz.f32 D, A, B, C", &[R], &[R, R, R], |s, _| one(F32.apply("fma", s, Round::Rz))),
    ("div.rn.f32 D, A, B", &[R], &[R, R], |s, _| bits(single(s[0]) / single(s[1]))),
    ("add.sat.f32 D, A, B", &[R], &[R, R], |s, _| one(F32.sat(F32.apply("add", s, Round::Rn)))),
    ("add.f64 D, A, B", &[D], &[D, D], |s, _| {
        let sum = f64::from_bits(s[0]) + f64::from_bits(s[1]);
        one(if sum.is_nan() { 0xfff8_0000_0000_0000 } else { sum.to_bits() })
    }),
    ("add.f16 D, A, B", &[H], &[H, H], |s, _| one(F16.apply("add", s, Round::Rn))),
    ("mul.f16x2 D, A, B", &[R], &[R, R], |s, _| {
        let half = |n: u32| F16.apply("mul", &[s[0] >> n & 0xffff, s[1] >> n & 0xffff], Round::Rn);
        one(half(0) | half(16) << 16)
    }),
    ("setp.lt.s32 D, A, B", &[P], &[R, R], |s, _| one(u64::from(int(s[0]) < int(s[1])))),
    ("setp.ne.and.b64 D|E, A, B, !C", &[P, P], &[D, D, P], |s, _| {
        [u64::from(s[0] != s[1]) & (1 - s[2]), u64::from(s[0] == s[1]) & (1 - s[2])]
    }),
    ("setp.geu.f32 D, A, B", &[P], &[R, R], |s, _| {
        let (a, b) = (single(s[0]), single(s[1]));
        one(u64::from(a >= b || a.is_nan() || b.is_nan()))
    }),
    ("set.gt.u32.f32 D, A, B", &[R], &[R, R], |s, _| {
        one(if single(s[0]) > single(s[1]) { u64::MAX } else { 0 })
    }),
    ("selp.b32 D, A, B, C", &[R], &[R, R, P], |s, _| one(if s[2] == 1 { s[0] } else { s[1] })),
    ("selp.b64 D, A, B, C", &[D], &[D, D, P], |s, _| one(if s[2] == 1 { s[0] } else { s[1] })),
    ("slct.b16.s32 D, A, B, C", &[H], &[H, H, R], |s, _| one(if int(s[2]) >= 0 { s[0] } else { s[1] })),
    ("cvt.s64.s32 D, A", &[D], &[R], |s, _| one(int(s[0]) as u64)),
    ("cvt.u32.u64 D, A", &[R], &[D], |s, _| one(s[0])),
    ("cvt.s32.s8 D, A", &[R], &[D], |s, _| one(signed(s[0], 8) as u64)),
    ("cvt.s16.s8 D, A", &[D], &[H], |s, _| one(signed(s[0], 8) as u64)),
    ("cvt.sat.u16.s32 D, A", &[H], &[R], |s, _| one(int(s[0]).clamp(0, 0xffff) as u64)),
    ("cvt.rn.f32.s32 D, A", &[R], &[R], |s, _| bits(int(s[0]) as f32)),
    ("cvt.rzi.s32.f32 D, A", &[R], &[R], |s, _| one((single(s[0]) as i32) as u64)),
    ("cvt.rn.sat.f16.f32 D, A", &[H], &[R], |s, _| one(F16.sat(F16.bits(F32.value(s[0]), Round::Rn)))),
    ("cvt.f32.f16 D, A", &[R], &[H], |s, _| one(F32.bits(F16.value(s[0]), Round::Rn))),
    ("mov.b32 D, {A, B}", &[R], &[H, H], |s, _| one(s[0] | s[1] << 16)),
    ("mov.b32 {D, E}, A", &[H, H], &[R], |s, _| [s[0], s[0] >> 16]),
    ("mov.b64 {D, E}, A", &[R, R], &[D], |s, _| [s[0], s[0] >> 32]),
    ("mov.b64 D, {A, B, C, F}", &[D], &[H, H, H, H], |s, _| one(s[0] | s[1] << 16 | s[2] << 32 | s[3] << 48)),
    ("mov.pred D, A", &[P], &[P], |s, _| one(s[0])),
];

/// An instruction: which operation, which registers of each class, the guard, and a constant for a source.
#[derive(Clone, Debug)]
struct Choice {
    operation: prop::sample::Index,
    registers: [usize; 6],
    guard: Option<(usize, bool)>,
    constant: Option<(usize, i32)>,
}

fn choice() -> impl Strategy<Value = Choice> {
    let guard = prop::option::weighted(0.3, (0..EACH, any::<bool>()));
    let constant = prop::option::weighted(0.15, (0..3usize, prop_oneof![any::<i32>(), -40..40i32]));
    (any::<prop::sample::Index>(), prop::array::uniform6(0..EACH), guard, constant)
        .prop_map(|(operation, registers, guard, constant)| Choice { operation, registers, guard, constant })
}

/// A choice made concrete.
struct Step {
    text: String,
    guard: Option<(usize, bool)>,
    destinations: Vec<(usize, usize)>,
    sources: Vec<Source>,
    evaluate: Evaluate,
}

enum Source {
    Register(usize, usize),
    Constant(u64),
}

/// The register `i` of a class, as the harness names it.
fn name(class: usize, i: usize) -> String {
    format!("%d{}", class * EACH + i)
}

fn step(choice: &Choice) -> Step {
    let &(template, destinations, sources, evaluate) = choice.operation.get(OPERATIONS);
    // Two destinations of one class are different registers.
    let place = |i: usize| {
        if i == 1 { (choice.registers[0] + 1 + choice.registers[1] % 3) % EACH } else { choice.registers[0] }
    };
    let destinations: Vec<_> = destinations.iter().enumerate().map(|(i, &class)| (class, place(i))).collect();
    let integer = !template.contains(".f") && !template.starts_with("mov") && !template.contains("lop3.or");
    let sources: Vec<Source> = sources
        .iter()
        .enumerate()
        .map(|(i, &class)| match choice.constant {
            Some((at, value)) if at == i && class != P && integer => {
                Source::Constant(cut(value as u64, CLASSES[class]))
            }
            _ => Source::Register(class, choice.registers[2 + i]),
        })
        .collect();
    let mut text = String::new();
    for c in template.chars() {
        text += &match c {
            'D' | 'E' => {
                let (class, i) = destinations[usize::from(c == 'E')];
                name(class, i)
            }
            'A' | 'B' | 'C' | 'F' => match sources["ABCF".find(c).unwrap_or(0)] {
                Source::Register(class, i) => name(class, i),
                Source::Constant(value) => (value as i64).to_string(),
            },
            other => other.to_string(),
        };
    }
    Step { text, guard: choice.guard, destinations, sources, evaluate }
}

/// One lane's registers after the program.
fn evaluate(steps: &[Step], initial: &[u64]) -> Vec<u64> {
    let mut registers = initial.to_vec();
    let mut carry = false;
    for step in steps {
        if step.guard.is_some_and(|(p, negated)| (registers[P * EACH + p] == 1) == negated) {
            continue;
        }
        let read = |source: &Source| match *source {
            Source::Register(class, i) => registers[class * EACH + i],
            Source::Constant(value) => value,
        };
        let sources: Vec<u64> = step.sources.iter().map(read).collect();
        let results = (step.evaluate)(&sources, &mut carry);
        for (&(class, i), result) in step.destinations.iter().zip(results) {
            registers[class * EACH + i] = cut(result, CLASSES[class]);
        }
    }
    registers
}

/// Values for all registers of 40 lanes: a warp and a part of one.
fn initial(seed: u64) -> Vec<Vec<u64>> {
    let mut random = Random(seed);
    let mut value = |class: usize| {
        let x = random.next();
        let small = x % 100;
        let float = u64::from(((small as f32 - 50.0) * 0.75).to_bits());
        cut([x, x, small, float, u64::MAX - small, 0x7f80_0000][(x >> 32) as usize % 6], CLASSES[class])
    };
    (0..40).map(|_| (0..4 * EACH).map(|i| value(i / EACH)).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_give_what_the_evaluator_of_one_lane_gives(
        choices in prop::collection::vec(choice(), 5..60),
        seed in any::<u64>(),
    ) {
        let steps: Vec<Step> = choices.iter().map(step).collect();
        let types: Vec<&'static str> = (0..4 * EACH).map(|i| CLASSES[i / EACH]).collect();
        let copies = types.iter().enumerate().map(|(i, ty)| format!("mov.{ty} %d{i}, %s{i};\n"));
        // The carry is undefined until an instruction writes it.
        let mut text = String::from("{ .reg .b32 %zero;\nadd.cc.u32 %zero, 0, 0;\n");
        text.extend(copies);
        for step in &steps {
            if let Some((p, negated)) = step.guard {
                text += &format!("@{}{} ", if negated { "!" } else { "" }, name(P, p));
            }
            text += &format!("{};\n", step.text);
        }
        text += "}";
        let rows = initial(seed);
        let found = form(&text, &types, &types).run_on_every_isa(&rows);
        for (lane, (row, found)) in rows.iter().zip(&found).enumerate() {
            prop_assert_eq!(found, &evaluate(&steps, row), "lane {}\n{}", lane, text);
        }
    }
}

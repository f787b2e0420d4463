//! `mma.sync`.

use crate::lab::{Lab, random};
use crate::{each, list};
use cuda_emulator::{
    device::Device,
    machine::{Argument, Machine, Settings},
    memory::Kind,
    tensor::{Accumulator, Adder, Element, Lanes, Product, Sums},
};

use Accumulator::{F16 as Sum16, F32 as Sum32, S32};
use Element::{Bf16, E4m3, E5m2, F16, S4, S8, Tf32, U4, U8};

/// Every spelling of `mma.sync.aligned`, and the product that it is.
fn forms() -> Vec<(String, Product)> {
    let mut forms = Vec::new();
    let mut add = |(m, n, k), types: &[(Element, &str)], sums: &[(Accumulator, &str)], saturate: bool| {
        for ((a, a_name), (b, b_name)) in types.iter().flat_map(|a| types.iter().map(move |b| (a, b))) {
            for (sum, sum_name) in sums {
                let Some(product) = Product::mma((m, n, k), *a, *b, *sum, saturate) else { continue };
                let saturate = if saturate { "satfinite." } else { "" };
                forms.push((
                    format!("m{m}n{n}k{k}.row.col.{saturate}{sum_name}.{a_name}.{b_name}.{sum_name}"),
                    product,
                ));
            }
        }
    };
    for k in [4, 8, 16, 32, 64] {
        let floats = [(F16, "f16"), (Bf16, "bf16"), (Tf32, "tf32"), (E4m3, "e4m3"), (E5m2, "e5m2")];
        add((16, 8, k), &floats, &[(Sum16, "f16"), (Sum32, "f32")], false);
        let integers = [(S8, "s8"), (U8, "u8"), (S4, "s4"), (U4, "u4")];
        for (m, saturate) in [(8, false), (8, true), (16, false), (16, true)] {
            add((m, 8, k), &integers, &[(S32, "s32")], saturate);
        }
    }
    forms
}

/// Numbers near 1 in every float format, any integers.
fn words(seed: u64, registers: usize) -> Vec<u32> {
    random(seed, 32 * registers).iter().map(|x| x & 0xbfbf_bfbf).collect()
}

fn lanes(words: &[u32]) -> Vec<Lanes> {
    words.chunks_exact(32).map(|w| std::array::from_fn(|lane| w[lane])).collect()
}

fn lines(spelling: &str, product: Product) -> String {
    let (na, nb, n) = (product.a().registers(), product.b().registers(), product.sums().registers());
    let kind = if product.types().2 == Sum32 { "f" } else { "r" };
    let loads = each("ld", "r", 10, 0, na) + &each("ld", "r", 20, na, nb) + &each("ld", kind, 30, na + nb, n);
    let (d, c) = (list(kind, 40, n), list(kind, 30, n));
    let (a, b) = (list("r", 10, na), list("r", 20, nb));
    format!("{loads}mma.sync.aligned.{spelling} {d}, {a}, {b}, {c};\n{}", each("st", kind, 40, 0, n))
}

fn expected(product: Product, x: &[u32], sums: Sums) -> Vec<u32> {
    let (na, nb, n) = (product.a().registers(), product.b().registers(), product.sums().registers());
    let registers = lanes(x);
    let mut d = vec![[0; 32]; n];
    product.run(&registers[..na], &registers[na..na + nb], &registers[na + nb..], &mut d, sums);
    d.into_iter().flatten().collect()
}

#[test]
fn every_form_of_mma_multiplies_its_registers() {
    let forms = forms();
    // tf32 2, f16 4, bf16 2, fp8 16; s8 and u8 24, s4 and u4 24.
    assert_eq!(forms.len(), 72, "forms that PTX has");
    for (spelling, product) in forms {
        let registers = product.a().registers() + product.b().registers() + product.sums().registers();
        let x = words(1, registers);
        let want = expected(product, &x, Sums::Exact);
        let y = Lab::new(lines(&spelling, product)).run(&x, want.len());
        assert_eq!(y, want, "{spelling}");
    }
}

#[test]
fn results_may_go_where_the_inputs_were() {
    let product = Product::mma((16, 8, 16), F16, F16, Sum16, false).expect("known");
    let x = words(2, 8);
    let want = expected(product, &x, Sums::Exact);
    let loads = each("ld", "r", 10, 0, 8);
    for d in [10, 12, 14, 16] {
        let (a, b, c) = (list("r", 10, 4), list("r", 14, 2), list("r", 16, 2));
        let mma = format!(
            "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {}, {a}, {b}, {c};\n",
            list("r", d, 2)
        );
        let y = Lab::new(format!("{loads}{mma}{}", each("st", "r", d, 0, 2))).run(&x, 64);
        assert_eq!(y, want, "D from %r{d}");
    }
}

#[test]
fn constants_and_sinks_may_stand_for_registers() {
    let product = Product::mma((16, 8, 8), F16, F16, Sum32, false).expect("known");
    let mut x = words(3, 7);
    x[3 * 32..].fill(0);
    let want = expected(product, &x, Sums::Exact);
    let loads = each("ld", "r", 10, 0, 3);
    let zero = "0f00000000";
    let mma = format!(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{%f1,%f2,%f3,%f4}}, {{%r10,%r11}}, {{%r12}}, {{{zero},{zero},{zero},{zero}}};\n"
    );
    let y = Lab::new(format!("{loads}{mma}{}", each("st", "f", 1, 0, 4))).run(&x, 128);
    assert_eq!(y, want);
}

/// A guard that no lane passes skips it; one that all pass does not.
#[test]
fn a_guard_decides_for_the_whole_warp() {
    let product = Product::mma((16, 8, 8), F16, F16, Sum32, false).expect("known");
    let x = words(4, 7);
    let plain = lines("m16n8k8.row.col.f32.f16.f16.f32", product)
        .replace("mma.sync", "setp.ge.u32 %p1, %r0, 0;\n@%p1 mma.sync");
    assert_eq!(Lab::new(&plain).run(&x, 128), expected(product, &x, Sums::Exact));
    let never = plain.replace("%r0, 0;", "%r0, 32;").replace("setp", "mov.f32 %f40, 0f3f800000;\nsetp");
    assert_eq!(Lab::new(never).run(&x, 128)[..32], vec![1f32.to_bits(); 32]);
}

/// With errors of approximate instructions asked for, sums are those of the device's tensor cores.
#[test]
fn jitter_sums_as_the_device_does() {
    let spelling = "m16n8k16.row.col.f32.f16.f16.f32";
    let product = Product::mma((16, 8, 16), F16, F16, Sum32, false).expect("known");
    let x = words(5, 10);
    let mut results = vec![expected(product, &x, Sums::Exact)];
    for (arch, adder) in [(80, Adder::AMPERE), (90, Adder::HOPPER)] {
        let want = expected(product, &x, Sums::Truncating(adder));
        let device = Device::for_arch(arch).expect("known");
        let mut machine = Machine::new(Settings { jitter: Some(1), ..Settings::new(device) });
        let text = Lab::new(lines(spelling, product)).arch(arch).text();
        let program = machine.load(text.as_bytes()).expect("loads");
        let input = machine.memory.allocate(4 * x.len() as u64, Kind::Device).expect("room");
        let output = machine.memory.allocate(4 * 128, Kind::Device).expect("room");
        input.write(input.base, &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        let arguments = [Argument::U64(output.base), Argument::U64(input.base)];
        machine.run(&program, "k", [1, 1, 1], [32, 1, 1], 0, &arguments).expect("runs");
        let mut raw = vec![0; 512];
        output.read(output.base, &mut raw);
        let y: Vec<_> = raw.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(y, want, "sm_{arch}");
        results.push(y);
    }
    results.dedup();
    assert_eq!(results.len(), 3, "the three sums differ somewhere");
}

#[test]
fn mma_of_f64_multiplies_with_one_rounding_a_step() {
    // A: (g, t), B: (t, g), C: (g, 2t + i), as in the ISA.
    let value = |i: usize| 1.0 + (i as f64).sqrt();
    let x: Vec<u32> = (0..4 * 32)
        .flat_map(|i| value(i).to_bits().to_le_bytes())
        .collect::<Vec<_>>()
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let address = "mul.wide.u32 %rd10, %r0, 8;\nadd.s64 %rd11, %rd1, %rd10;\nadd.s64 %rd12, %rd0, %rd10;\n";
    let loads: String = (0..4).map(|i| format!("ld.global.f64 %fd{i}, [%rd11+{}];\n", 256 * i)).collect();
    let stores: String =
        (0..2).map(|i| format!("st.global.f64 [%rd12+{}], %fd{};\n", 256 * i, 8 + i)).collect();
    let mma = "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd8,%fd9}, {%fd0}, {%fd1}, {%fd2,%fd3};\n";
    let y = Lab::new(format!("{address}{loads}{mma}{stores}")).run(&x, 128);
    let rounded_towards_zero = mma.replace("row.col.", "row.col.rz.");
    let z = Lab::new(format!("{address}{loads}{rounded_towards_zero}{stores}")).run(&x, 128);
    let f64_at = |y: &[u32], i: usize| f64::from_bits(u64::from(y[2 * i]) | u64::from(y[2 * i + 1]) << 32);
    let (a, b) = (|g: usize, k: usize| value(4 * g + k), |k: usize, n: usize| value(32 + 4 * n + k));
    for lane in 0..32 {
        for i in 0..2 {
            let (row, column) = (lane / 4, lane % 4 * 2 + i);
            let start = value(64 + 32 * i + lane);
            let want = (0..4).fold(start, |sum, k| a(row, k).mul_add(b(k, column), sum));
            assert_eq!(f64_at(&y, 32 * i + lane), want, "at {row}, {column}");
            let truncated = f64_at(&z, 32 * i + lane);
            assert!(truncated <= want && want - truncated < 8.0 * f64::EPSILON * want, "at {row}, {column}");
        }
    }
    assert_ne!(y, z);
}

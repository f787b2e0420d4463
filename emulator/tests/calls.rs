//! Calls of device functions: by name and by address, with lanes apart, and what they pass.

mod lab;

use cuda_emulator::{
    device::Device,
    machine::{FaultKind, Launch, Machine, Order, Settings},
    memory::Kind,
};
use lab::{Lab, random};

const ORDERS: [Order; 3] = [Order::InOrder, Order::Random(4), Order::Random(5)];

/// Calls `f` with `%r10`, and puts the result there.
const CALL: &str = "{\n.param .b32 a;\nst.param.b32 [a], %r10;\n.param .b32 q;\ncall.uni (q), f, (a);\nld.param.b32 %r10, [q];\n}";

/// `f(n) = n < 2 ? n : f(n - 1) + f(n - 2)`.
const FIBONACCI: &str = ".func (.param .b32 q) f(.param .b32 n)\n{\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nsetp.lt.u32 %p1, %r1, 2;\n@%p1 bra DONE;\n\
    sub.u32 %r2, %r1, 1;\n{\n.param .b32 a;\nst.param.b32 [a], %r2;\n.param .b32 s;\ncall.uni (s), f, (a);\nld.param.b32 %r3, [s];\n}\n\
    sub.u32 %r2, %r1, 2;\n{\n.param .b32 a;\nst.param.b32 [a], %r2;\n.param .b32 s;\ncall.uni (s), f, (a);\nld.param.b32 %r4, [s];\n}\n\
    add.u32 %r1, %r3, %r4;\nDONE:\nst.param.b32 [q], %r1;\nret;\n}";

#[test]
fn recursion_goes_to_another_depth_in_each_lane() {
    let mut fibonacci = vec![0u32, 1];
    (2..15).for_each(|i| fibonacci.push(fibonacci[i - 1] + fibonacci[i - 2]));
    let x: Vec<u32> = random(1, 64).iter().map(|v| v % 12).collect();
    for order in ORDERS {
        let lines = format!(
            "mov.u32 %r10, %r2;\n{CALL}\nst.global.u32 [%rd2], %r10;\nactivemask.b32 %r11;\nst.global.u32 [%rd2+256], %r11;"
        );
        let y = Lab::new(lines).module(FIBONACCI).block(64).order(order).run(&x, 128);
        for t in 0..64 {
            assert_eq!(y[t], fibonacci[x[t] as usize], "thread {t}");
            assert_eq!(y[64 + t], u32::MAX, "lanes are together after the call");
        }
    }
}

#[test]
fn recursion_without_end_is_a_fault() {
    let endless = FIBONACCI.replace("setp.lt.u32 %p1, %r1, 2", "setp.lt.u32 %p1, %r1, 0");
    let fault = Lab::new(CALL).module(endless).fault(&[], 1);
    assert_eq!(fault.kind, FaultKind::LaunchFailed, "{fault}");
    assert!(fault.message.contains("too deep"), "{fault}");
}

#[test]
fn a_guarded_call_leaves_the_other_lanes_alone() {
    let add = ".func (.param .b32 q) f(.param .b32 n)\n{\n.reg .b32 %r<12>;\nld.param.u32 %r10, [n];\nadd.u32 %r10, %r10, 100;\nst.param.b32 [q], %r10;\nret;\n}";
    let lines = "setp.ge.u32 %p1, %r0, 20;\n.param .b32 a;\n.param .b32 q;\nst.param.b32 [a], %r2;\nmov.u32 %r20, 5;\nst.param.b32 [q], %r20;\n@%p1 call (q), f, (a);\nld.param.b32 %r10, [q];\nst.global.u32 [%rd2], %r10;";
    let x = random(2, 32);
    for order in ORDERS {
        let y = Lab::new(lines).module(add).order(order).run(&x, 32);
        assert!((0..32).all(|l| y[l] == if l >= 20 { x[l].wrapping_add(100) } else { 5 }), "{y:?}");
    }
}

#[test]
fn lanes_that_return_from_different_places_meet_after_the_call() {
    // Returns 1 from the middle for odd n, loops n times otherwise.
    let f = ".func (.param .b32 q) f(.param .b32 n)\n{\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nand.b32 %r2, %r1, 1;\nsetp.eq.u32 %p1, %r2, 1;\nst.param.b32 [q], %r2;\n@%p1 ret;\n\
        mov.u32 %r3, 0;\nLOOP:\nadd.u32 %r3, %r3, 3;\nsub.u32 %r1, %r1, 1;\nsetp.lt.s32 %p2, %r1, 1;\n@!%p2 bra LOOP;\nst.param.b32 [q], %r3;\nret;\n}";
    let lines = format!(
        "mov.u32 %r10, %r2;\n{CALL}\nactivemask.b32 %r11;\nst.global.u32 [%rd2], %r10;\nst.global.u32 [%rd2+128], %r11;\nshfl.sync.bfly.b32 %r12, %r10, 1, 31, -1;\nst.global.u32 [%rd2+256], %r12;"
    );
    let x: Vec<u32> = random(3, 32).iter().map(|v| 1 + v % 50).collect();
    let f_of = |v: u32| if v % 2 == 1 { 1 } else { 3 * v };
    let y = Lab::new(lines).module(f).run(&x, 96);
    for l in 0..32 {
        assert_eq!((y[l], y[32 + l], y[64 + l]), (f_of(x[l]), u32::MAX, f_of(x[l ^ 1])), "lane {l}");
    }
}

#[test]
fn lanes_may_leave_the_kernel_inside_a_call() {
    let f = ".func (.param .b32 q) f(.param .b32 n)\n{\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nsetp.ge.u32 %p1, %r1, 10;\n@%p1 exit;\nst.param.b32 [q], %r1;\nret;\n}";
    let lines = format!(
        "mov.u32 %r10, %r0;\n{CALL}\nvote.sync.ballot.b32 %r3, !%p9, -1;\nst.global.u32 [%rd2], %r3;\nbar.sync 0;"
    );
    let y = Lab::new(lines).module(f).block(64).run(&[], 64);
    assert!((0..64).all(|t| y[t] == if t < 10 { 0x3FF } else { 0 }), "{y:?}");
}

const THREE: &str = ".func (.param .b32 q) f0(.param .b32 n)\n{\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nadd.u32 %r1, %r1, 7;\nst.param.b32 [q], %r1;\nret;\n}\n\
    .func (.param .b32 q) f1(.param .b32 n)\n{\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nmul.lo.u32 %r1, %r1, 3;\nst.param.b32 [q], %r1;\nret;\n}\n\
    .func (.param .b32 q) f2(.param .b32 n)\n{\n.reg .b32 %r<8>;\nld.param.u32 %r1, [n];\nsub.u32 %r1, 0, %r1;\nst.param.b32 [q], %r1;\nret;\n}\n\
    .func (.param .b32 q) pair(.param .b32 n, .param .b32 m)\n{\nret;\n}\n.global .align 8 .u64 table[4] = {f0, f1, f2, pair};";

/// Calls the function whose address is at `[%rd6]` with `%r2`, and stores what it gives.
const INDIRECT: &str = "ld.global.u64 %rd7, [%rd6];\n{\n.param .b32 a;\nst.param.b32 [a], %r2;\n.param .b32 q;\nprototype_0 : .callprototype (.param .b32 _) _ (.param .b32 _);\ncall (q), %rd7, (a), prototype_0;\nld.param.b32 %r10, [q];\n}\n\
    st.global.u32 [%rd2], %r10;\nactivemask.b32 %r11;\nst.global.u32 [%rd2+128], %r11;";

#[test]
fn each_lane_calls_the_function_that_it_points_to() {
    let lines = format!(
        "mul.hi.u32 %r5, %r2, 3;\nmul.wide.u32 %rd5, %r5, 8;\nmov.u64 %rd6, table;\nadd.s64 %rd6, %rd6, %rd5;\n{INDIRECT}"
    );
    let x = random(4, 32);
    let y = Lab::new(lines).module(THREE).run(&x, 64);
    for l in 0..32 {
        let expected = match (u64::from(x[l]) * 3) >> 32 {
            0 => x[l].wrapping_add(7),
            1 => x[l].wrapping_mul(3),
            _ => x[l].wrapping_neg(),
        };
        assert_eq!((y[l], y[32 + l]), (expected, u32::MAX), "lane {l}");
    }
}

#[test]
fn calls_of_what_is_no_such_function_are_faults() {
    let pair = Lab::new(format!("mov.u64 %rd6, table;\nadd.s64 %rd6, %rd6, 24;\n{INDIRECT}"))
        .module(THREE)
        .fault(&[], 64);
    assert_eq!(pair.kind, FaultKind::InvalidPc, "{pair}");
    assert!(pair.message.contains("pair"), "{pair}");
    let nothing = Lab::new(format!("mov.u64 %rd6, %rd0;\n{INDIRECT}")).module(THREE).fault(&[], 64);
    assert_eq!(nothing.kind, FaultKind::InvalidPc, "{nothing}");
}

#[test]
fn direct_calls_that_do_not_match_are_refused() {
    let f = ".func (.param .b32 q) f(.param .b64 n)\n{\nret;\n}";
    assert!(Lab::new(CALL).module(f).refused().contains("does not match"));
    let wider = ".func (.param .b64 q) f(.param .b32 n)\n{\nret;\n}";
    assert!(Lab::new(CALL).module(wider).refused().contains("does not match"));
    let kernel = ".visible .entry f(.param .b32 n)\n{\nret;\n}";
    let call = "{\n.param .b32 a;\ncall f, (a);\n}";
    assert!(Lab::new(call).module(kernel).refused().contains("kernel"));
}

#[test]
fn structs_and_narrow_values_pass_through_param_memory() {
    // f(struct { u8 a; s16 b; u32 c; u64 d; u32 e[4]; }) returns { u64, u16, u8 }.
    let f = ".func (.param .align 8 .b8 q[16]) f(.param .align 16 .b8 s[32])\n{\n.reg .b16 %h<4>;\n.reg .b32 %r<12>;\n.reg .b64 %rd<8>;\n\
        ld.param.u8 %r1, [s];\nld.param.s16 %r2, [s+2];\nld.param.u32 %r3, [s+4];\nld.param.u64 %rd1, [s+8];\nld.param.v4.u32 {%r4, %r5, %r6, %r7}, [s+16];\n\
        add.u32 %r8, %r4, %r5;\nadd.u32 %r8, %r8, %r6;\nadd.u32 %r8, %r8, %r7;\nadd.u32 %r8, %r8, %r1;\nadd.u32 %r8, %r8, %r2;\nadd.u32 %r8, %r8, %r3;\n\
        mov.b64 %rd2, {%r8, %r8};\nadd.u64 %rd1, %rd1, %rd2;\nst.param.u64 [q], %rd1;\nst.param.u16 [q+8], %r2;\nst.param.u8 [q+10], %r1;\nret;\n}";
    let lines = "{\n.param .align 16 .b8 a[32];\nst.param.u8 [a], %r2;\nst.param.u8 [a+1], %r0;\nst.param.u16 [a+2], %r2;\nst.param.u32 [a+4], %r2;\nmov.b64 %rd5, {%r2, %r0};\nst.param.u64 [a+8], %rd5;\n\
        st.param.v2.u32 [a+16], {%r0, %r2};\nst.param.v2.u32 [a+24], {%r2, %r0};\n.param .align 8 .b8 q[16];\ncall.uni (q), f, (a);\nld.param.u64 %rd6, [q];\nld.param.s16 %r5, [q+8];\nld.param.u8 %r6, [q+10];\n}\n\
        mul.wide.u32 %rd7, %r0, 16;\nadd.s64 %rd7, %rd7, %rd0;\nst.global.u64 [%rd7], %rd6;\nst.global.u32 [%rd7+8], %r5;\nst.global.u32 [%rd7+12], %r6;";
    let x = random(5, 32);
    let y = Lab::new(lines).module(f).run(&x, 128);
    for (l, found) in y.chunks_exact(4).enumerate() {
        let (v, lane) = (x[l], l as u32);
        let (narrow, short) = (v & 0xFF, v as i16 as i32 as u32);
        let sum = [lane, v, v, lane, narrow, short, v].iter().fold(0, |a: u32, &b| a.wrapping_add(b));
        let wide = (u64::from(v) | u64::from(lane) << 32).wrapping_add(u64::from(sum) << 32 | u64::from(sum));
        assert_eq!(found, [wide as u32, (wide >> 32) as u32, short, narrow], "lane {l}");
    }
}

#[test]
fn each_call_has_its_own_local_memory() {
    // f(n) keeps n in a local array across the call of f(n - 1).
    let f = ".func (.param .b32 q) f(.param .b32 n)\n{\n.local .align 8 .b8 spot[8];\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .b64 %rd<4>;\nld.param.u32 %r1, [n];\nmov.u64 %rd1, spot;\ncvta.local.u64 %rd2, %rd1;\nst.u32 [%rd2], %r1;\n\
        mov.u32 %r3, 0;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra DONE;\nsub.u32 %r2, %r1, 1;\n{\n.param .b32 a;\nst.param.b32 [a], %r2;\n.param .b32 s;\ncall.uni (s), f, (a);\nld.param.b32 %r3, [s];\n}\n\
        DONE:\nld.local.u32 %r4, [%rd1];\nadd.u32 %r3, %r3, %r4;\nst.param.b32 [q], %r3;\nret;\n}";
    let lines = format!("mov.u32 %r10, %r2;\n{CALL}\nst.global.u32 [%rd2], %r10;");
    let x: Vec<u32> = random(6, 32).iter().map(|v| v % 40).collect();
    let y = Lab::new(lines).module(f).run(&x, 32);
    assert!((0..32).all(|l| y[l] == x[l] * (x[l] + 1) / 2), "{y:?}");
}

#[test]
fn a_barrier_inside_a_function_holds_for_the_block() {
    let f = ".shared .align 4 .b8 total[4];\n.func (.param .b32 q) f(.param .b32 n)\n{\n.reg .b32 %r<4>;\nld.param.u32 %r1, [n];\natom.shared.add.u32 %r2, [total], %r1;\nbar.sync 0;\nld.shared.u32 %r3, [total];\nst.param.b32 [q], %r3;\nret;\n}";
    let lines = format!(
        "setp.eq.u32 %p1, %r0, 0;\nmov.u32 %r9, 0;\n@%p1 st.shared.u32 [total], %r9;\nbar.sync 0;\nmov.u32 %r10, %r0;\n{CALL}\nst.global.u32 [%rd2], %r10;"
    );
    for order in ORDERS {
        assert_eq!(Lab::new(&*lines).module(f).block(100).order(order).run(&[], 100), [4950; 100]);
    }
}

#[test]
fn branches_by_table_part_and_meet() {
    let lines = "targets: .branchtargets A, B, C;\nand.b32 %r5, %r2, 3;\nmin.u32 %r5, %r5, 2;\nbrx.idx %r5, targets;\nA:\nmov.u32 %r6, 10;\nbra JOIN;\nB:\nmov.u32 %r6, 20;\nbra JOIN;\nC:\nmov.u32 %r6, 30;\nJOIN:\n\
        activemask.b32 %r7;\nst.global.u32 [%rd2], %r6;\nst.global.u32 [%rd2+128], %r7;";
    let x = random(7, 32);
    let y = Lab::new(lines).run(&x, 64);
    for l in 0..32 {
        assert_eq!((y[l], y[32 + l]), (10 * (1 + (x[l] & 3).min(2)), u32::MAX), "lane {l}");
    }
    let fault = Lab::new(lines.replace("min.u32 %r5, %r5, 2;", "add.u32 %r5, %r5, 1;")).fault(&[2; 32], 64);
    assert_eq!(fault.kind, FaultKind::InvalidPc, "{fault}");
    assert!(fault.message.contains("entry 3 of a table of 3"), "{fault}");
}

#[test]
fn a_function_without_return_may_trap() {
    let f = ".func f() .noreturn\n{\ntrap;\n}";
    let lines = "setp.eq.u32 %p1, %r2, 9;\n@!%p1 bra OUT;\ncall f;\nOUT:\nst.global.u32 [%rd2], 1;";
    assert_eq!(Lab::new(lines).module(f).run(&[0; 32], 32), [1; 32]);
    let mut x = [0; 32];
    x[13] = 9;
    let fault = Lab::new(lines).module(f).fault(&x, 32);
    assert_eq!((fault.kind, fault.place.thread[0]), (FaultKind::LaunchFailed, 13), "{fault}");
}

const CONTROL: &[(u32, &[u8])] = &[
    (75, include_bytes!("kernels/ptx/zoo_control.sm_75.ptx")),
    (80, include_bytes!("kernels/ptx/zoo_control.sm_80.ptx")),
    (90, include_bytes!("kernels/ptx/zoo_control.sm_90.ptx")),
    (120, include_bytes!("kernels/ptx/zoo_control.sm_120.ptx")),
];

#[test]
fn compiled_calls_give_what_the_source_says() {
    let n = 100usize;
    let x: Vec<f32> = random(8, n).iter().map(|v| *v as f32 / 4e9).collect();
    let (f, g) = ((1.5f32, 0.25f32, 3u32), (0.5f32, -2.0f32, 1u32));
    let apply =
        |(scale, shift, times): (f32, f32, u32), x: f32| (0..times).fold(x, |x, _| scale.mul_add(x, shift));
    let compose = (f.0 * g.0, f.0.mul_add(g.1, f.1), 1);
    let mut fibonacci = vec![0u32, 1];
    (2..12).for_each(|i| fibonacci.push(fibonacci[i - 1] + fibonacci[i - 2]));
    for (&(arch, text), order) in
        CONTROL.iter().zip([Order::InOrder, Order::Random(1), Order::Random(2), Order::InOrder])
    {
        let settings =
            Settings { order, ..Settings::new(Device::for_arch(arch).expect("the emulator has the device")) };
        let mut m = Machine::new(settings);
        let program = m.load(text).expect("the module loads");
        let input = m.memory.allocate(4 * n as u64, Kind::Device).expect("there is room");
        let output = m.memory.allocate(16 * n as u64, Kind::Device).expect("there is room");
        x.iter().enumerate().for_each(|(i, v)| input.write(input.base + 4 * i as u64, &v.to_le_bytes()));
        let mut params = [output.base.to_le_bytes(), input.base.to_le_bytes()].concat();
        params.extend((n as u32).to_le_bytes());
        for (a, b, c) in [f, g] {
            params.extend([a.to_bits(), b.to_bits(), c].iter().flat_map(|w| w.to_le_bytes()));
        }
        let kernel = program.kernel("calls").expect("the kernel is there");
        let launch = Launch { kernel, grid: [4, 1, 1], block: [32, 1, 1], params, ..lab::empty_launch() };
        m.launch(&program, &launch).expect("the launch succeeds");
        let mut raw = vec![0; 16 * n];
        output.read(output.base, &mut raw);
        let y: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        for i in 0..n {
            let table = [x[i] * x[i], -x[i], 0.5 * x[i]][i % 3];
            let expected = [fibonacci[i % 12] as f32, apply(f, x[i]), apply(compose, x[i]), table];
            assert_eq!([y[i], y[n + i], y[2 * n + i], y[3 * n + i]], expected, "thread {i}, sm_{arch}");
        }
    }
}

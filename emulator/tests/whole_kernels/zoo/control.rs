//! Calls, branches, local arrays, and the ways in which a kernel speaks and stops.

use crate::{
    harness::{ALL, Argument, args, on, over, shape},
    numbers::Random,
};
use cuda_emulator::machine::FaultKind;

/// `struct Affine` of the kernel file.
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    shift: f32,
    times: u32,
}

impl Affine {
    fn apply(self, x: f32) -> f32 {
        (0..self.times).fold(x, |x, _| self.scale.mul_add(x, self.shift))
    }
}

impl From<Affine> for Argument {
    fn from(f: Affine) -> Argument {
        Argument([f.scale.to_le_bytes(), f.shift.to_le_bytes(), f.times.to_le_bytes()].concat())
    }
}

#[test]
fn calls_pass_and_return_structs_recurse_and_go_through_pointers() {
    on(&ALL, "zoo_control", |gpu| {
        let n = 100;
        let x = Random(1).floats(n, 2.0);
        let f = Affine { scale: 0.5, shift: 1.25, times: 3 };
        let g = Affine { scale: -2.0, shift: 0.75, times: 9 };
        let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(4 * n));
        gpu.launch("calls", over(n, 64), args![y, dx, n as u32, f, g]);
        let fibonacci = |n: usize| (0..n).fold((0u32, 1u32), |(a, b), _| (b, a + b)).0 as f32;
        let composed = Affine { scale: -1.0, shift: 0.5f32.mul_add(0.75, 1.25), times: 1 };
        let table: [fn(f32) -> f32; 3] = [|x| x * x, |x| -x, |x| 0.5 * x];
        let rows: [&dyn Fn(usize) -> f32; 4] =
            [&|i| fibonacci(i % 12), &|i| f.apply(x[i]), &|i| composed.apply(x[i]), &|i| table[i % 3](x[i])];
        let want: Vec<f32> = rows.iter().flat_map(|row| (0..n).map(row)).collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn branches_loops_and_switches_give_what_they_give_on_the_host() {
    on(&ALL, "zoo_control", |gpu| {
        let n = 300u32;
        let codes = Random(2).words(n as usize);
        let (dc, y) = (gpu.upload(&codes), gpu.output::<u32>(3 * n as usize));
        gpu.launch("branches", over(n as usize, 128), args![y, dc, n]);
        let switch = |i: u32| match codes[i as usize] % 9 {
            0 => i + 1,
            1 => i * 3,
            2 => (i ^ 0x55) + 7,
            3 => 1007,
            4 => i << 3,
            5 => !i,
            6 => i * i,
            7 => i / 5,
            _ => 1000,
        };
        let collatz = |i: u32| {
            std::iter::successors(Some(i + 1), |&v| {
                (v != 1).then_some(if v % 2 == 0 { v / 2 } else { 3 * v + 1 })
            })
            .count() as u32
                - 1
        };
        let divisor = |i: u32| (2..=i + 2).find(|d| (i + 2).is_multiple_of(*d)).expect("the number itself");
        let rows: [&dyn Fn(u32) -> u32; 3] = [&switch, &collatz, &divisor];
        let want: Vec<u32> = rows.iter().flat_map(|row| (0..n).map(row)).collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn local_arrays_are_indexed_by_data() {
    on(&ALL, "zoo_control", |gpu| {
        let n = 50;
        let x: Vec<u32> = Random(3).words(16 * n).iter().map(|x| x % 100).collect();
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(16 * n));
        gpu.launch("sort_locally", over(n, 32), args![y, dx, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let column = |m: &[u32]| (0..16).map(|j| m[j * n + i]).collect::<Vec<_>>();
            let mut want = column(&x);
            want.sort_unstable();
            assert_eq!(column(&y), want, "thread {i}");
        }
    });
}

#[test]
fn a_kernel_that_prints_runs_to_its_end() {
    on(&ALL, "zoo_control", |gpu| gpu.launch("say", shape(1, 2), args![10i32, 2.5f64]));
}

#[test]
fn a_failed_assertion_is_a_fault_of_its_thread() {
    on(&ALL, "zoo_control", |gpu| {
        let mut x = vec![1u32; 70];
        let dx = gpu.upload(&x);
        gpu.launch("check_below", over(70, 64), args![dx, 70u32, 5u32]);
        x[66] = 5;
        let dx = gpu.upload(&x);
        let fault = gpu
            .try_launch("check_below", over(70, 64), args![dx, 70u32, 5u32])
            .expect_err("x[66] is not below 5");
        assert_eq!(fault.kind, FaultKind::Assert, "{fault}");
        assert_eq!((fault.place.block, fault.place.thread), ([1, 0, 0], [2, 0, 0]), "{fault}");
        assert!(fault.to_string().contains("x[i] < limit"), "{fault}");
    });
}

#[test]
fn a_trap_stops_the_launch() {
    on(&ALL, "zoo_control", |gpu| {
        let x: Vec<u32> = (0..40).collect();
        let dx = gpu.upload(&x);
        gpu.launch("trap_at", over(40, 32), args![dx, 40u32, 40u32]);
        let fault =
            gpu.try_launch("trap_at", over(40, 32), args![dx, 40u32, 37u32]).expect_err("x[37] is 37");
        assert_eq!(fault.kind, FaultKind::LaunchFailed, "{fault}");
        assert_eq!((fault.place.block, fault.place.thread), ([1, 0, 0], [5, 0, 0]), "{fault}");
    });
}

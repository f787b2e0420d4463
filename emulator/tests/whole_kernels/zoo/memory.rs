//! State spaces, widths of accesses, cache hints, and the registers that say who a thread is.

use crate::{
    harness::{ALL, Shape, args, on, over, shape},
    numbers::Random,
};

#[test]
fn constants_and_module_variables_are_shared_with_the_host() {
    on(&ALL, "zoo_memory", |gpu| {
        let n = 100;
        let (setting, table) = (gpu.variable::<u32>("SETTING"), gpu.variable::<u32>("TABLE"));
        let calls = gpu.variable::<u64>("CALLS");
        assert_eq!(gpu.read(table), [2, 3, 5, 7, 11, 13, 17, 19], "initial values");
        for round in 0..2u32 {
            let primes: Vec<u32> = (0..8).map(|i| 100 * round + i).collect();
            gpu.write(table, &primes);
            gpu.write(setting, &[40 + round]);
            let y = gpu.output::<f32>(n);
            gpu.launch("constants", over(n, 32), args![y, n as u32]);
            let coefficients = [1.0f32, -0.5, 0.25, -0.125];
            let want: Vec<f32> = (0..n)
                .map(|i| {
                    let x = (i % 16) as f32;
                    let r = coefficients[3].mul_add(x, coefficients[2]).mul_add(x, coefficients[1]);
                    let r = r.mul_add(x, coefficients[i % 4]);
                    r + (40 + round) as f32 + primes[i % 8] as f32
                })
                .collect();
            assert_eq!(gpu.read(y), want, "round {round}");
            assert_eq!(gpu.read(calls), [u64::from(round + 1) * n as u64]);
        }
    });
}

#[test]
fn cache_hints_change_no_value() {
    on(&ALL, "zoo_memory", |gpu| {
        let n = 70;
        let x = Random(1).floats(11 * n, 1.0);
        let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(11 * n));
        gpu.launch("hints", over(n, 32), args![y, dx, n as u32]);
        assert_eq!(gpu.read(y), x);
    });
}

/// `struct Record` of the kernel file: 16 bytes, one of them padding.
#[derive(Clone, Copy)]
struct Record {
    a: i8,
    b: u8,
    c: i16,
    d: u16,
    e: bool,
    f: i64,
}

impl Record {
    fn random(random: &mut Random) -> Record {
        let [w, v] = [random.u32(), random.u32()];
        let (a, b, c, d) = (w as i8, (w >> 8) as u8, (w >> 16) as i16, v as u16);
        Record { a, b, c, d, e: v >> 16 & 1 == 1, f: random.u64() as i64 }
    }

    fn bytes(self) -> Vec<u8> {
        let small = [self.a as u8, self.b];
        let e = [u8::from(self.e), 0xff];
        [&small[..], &self.c.to_le_bytes(), &self.d.to_le_bytes(), &e, &self.f.to_le_bytes()].concat()
    }

    fn next(self) -> Record {
        let Record { a, b, c, d, e, f } = self;
        let (a, b, c, d) = (a.wrapping_add(1), b.wrapping_add(1), c.wrapping_add(1), d.wrapping_add(1));
        Record { a, b, c, d, e: !e, f: f.wrapping_add(1) }
    }
}

#[test]
fn narrow_and_wide_numbers_keep_their_sign_and_their_place() {
    on(&ALL, "zoo_memory", |gpu| {
        let n = 90;
        let mut random = Random(2);
        let records: Vec<Record> = (0..n).map(|_| Record::random(&mut random)).collect();
        let bytes: Vec<u8> = records.iter().flat_map(|r| r.bytes()).collect();
        // The padding byte of the output is 0xff like that of the reference: nobody writes it.
        let (input, output) = (gpu.upload(&bytes), gpu.output::<u8>(16 * n));
        let (vectors, shorts) = (gpu.output::<i64>(2 * n), gpu.output::<i16>(4 * n));
        gpu.launch("widths", over(n, 64), args![output, input, vectors, shorts, n as u32]);
        let next: Vec<u8> = records.iter().flat_map(|r| r.next().bytes()).collect();
        assert_eq!(gpu.read(output), next);
        let sum = |r: &Record| i64::from(r.a) + i64::from(r.b) + i64::from(r.c) + i64::from(r.d);
        assert_eq!(gpu.read(vectors), records.iter().flat_map(|r| [r.f, sum(r)]).collect::<Vec<_>>());
        let four = |r: &Record| [i16::from(r.a), i16::from(r.b), r.c, r.d as i16];
        assert_eq!(gpu.read(shorts), records.iter().flat_map(four).collect::<Vec<_>>());
    });
}

#[test]
fn generic_pointers_reach_every_space() {
    on(&ALL, "zoo_memory", |gpu| {
        let (n, threads) = (128, 64);
        let x: Vec<u32> = Random(3).words(n + 3).iter().map(|x| x % 1000).collect();
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(n));
        let launch = over(n, threads).shared(4 * (threads as usize + 3));
        gpu.launch("generic", launch, args![y, dx, n as u32]);
        let kinds = [(1, 0), (10, 1), (100, 1), (1000, 2)];
        let want: Vec<u32> = (0..n)
            .map(|i| {
                let (factor, space) = kinds[i % 4];
                factor * x[i..i + 4].iter().sum::<u32>() + space
            })
            .collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn special_registers_say_who_a_thread_is_in_three_dimensions() {
    on(&ALL, "zoo_memory", |gpu| {
        let (grid, block) = ([3, 2, 2], [5, 3, 4]);
        let (blocks, threads): (u32, u32) = (grid.iter().product(), block.iter().product());
        let total = (blocks * threads) as usize;
        let y = gpu.output::<u32>(13 * total);
        gpu.launch("registers_special", Shape { grid, block, ..shape(1, 1) }, args![y]);
        let split = |i: u32, [x, y, _]: [u32; 3]| [i % x, i / x % y, i / x / y];
        let y = gpu.read(y);
        for i in 0..total {
            let (b, t) = (i as u32 / threads, i as u32 % threads);
            let want = [&split(t, block)[..], &split(b, grid), &block, &grid, &[t % 32]].concat();
            let got: Vec<u32> = (0..13).map(|r| y[r * total + i]).collect();
            assert_eq!(got, want, "thread {t} of block {b}");
        }
    });
}

#[test]
fn clocks_do_not_go_back() {
    on(&ALL, "zoo_memory", |gpu| {
        let y = gpu.output::<u32>(40);
        gpu.launch("clocks", shape(1, 40), args![y]);
        assert_eq!(gpu.read(y), [1; 40]);
    });
}

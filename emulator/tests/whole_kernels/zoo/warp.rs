//! What the lanes of a warp, and the threads of a block, do together.

use crate::{
    harness::{ALL, FROM_80, args, on, over, shape},
    numbers::Random,
};

#[test]
fn shuffles_take_from_the_lane_they_name_or_keep_their_own() {
    on(&ALL, "zoo_warp", |gpu| {
        let n = 64;
        let x = Random(1).words(n);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(8 * n));
        gpu.launch("shuffles", over(n, 32), args![y, dx, n as u32]);
        let sources: [fn(usize) -> usize; 8] = [
            |l| if l >= 3 { l - 3 } else { l },
            |l| if l + 5 < 32 { l + 5 } else { l },
            |l| l ^ 9,
            |_| 17,
            |l| if l % 8 >= 1 { l - 1 } else { l },
            |l| if l % 8 + 2 < 8 { l + 2 } else { l },
            |l| l ^ 3,
            |l| l / 8 * 8 + 6,
        ];
        let want: Vec<u32> =
            sources.iter().flat_map(|s| (0..n).map(|i| x[i / 32 * 32 + s(i % 32)])).collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn votes_and_matches_count_the_lanes_of_their_mask() {
    on(&ALL, "zoo_warp", |gpu| {
        // Four warps: mixed, all large and alike above the low byte, all small, all the same.
        let mut random = Random(2);
        let numbers = [
            |r: &mut Random| 60 + r.u32() % 80,
            |r: &mut Random| 512 + r.u32() % 3,
            |r: &mut Random| r.u32() % 9,
        ];
        let mut x: Vec<u32> =
            numbers.iter().flat_map(|f| (0..32).map(|_| f(&mut random)).collect::<Vec<_>>()).collect();
        x.extend([777; 32]);
        let n = x.len();
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(9 * n));
        gpu.launch("votes", over(n, 64), args![y, dx, n as u32]);
        let y = gpu.read(y);
        for i in 0..n {
            let warp = &x[i / 32 * 32..][..32];
            let lanes = |f: &dyn Fn(usize, u32) -> bool| {
                warp.iter().enumerate().fold(0u32, |m, (l, &v)| m | u32::from(f(l, v)) << l)
            };
            let (ballot, lane) = (lanes(&|_, v| v > 100), i % 32);
            let all_same = lanes(&|_, v| v / 256 == x[i] / 256) == u32::MAX;
            let odd = |m: u32| if lane % 2 == 1 { m & 0xaaaa_aaaa } else { 0 };
            let want = [
                u32::from(ballot != 0),
                u32::from(ballot == u32::MAX),
                u32::from(ballot == 0 || ballot == u32::MAX),
                ballot,
                lanes(&|_, v| v == x[i]),
                if all_same { u32::MAX - 1 } else { 0 },
                lane as u32,
                odd(ballot),
                odd(lanes(&|_, v| v == x[i])),
            ];
            let got: Vec<u32> = (0..9).map(|r| y[r * n + i]).collect();
            assert_eq!(got, want, "thread {i}");
        }
    });
}

#[test]
fn halves_of_a_warp_exchange_on_their_own() {
    on(&ALL, "zoo_warp", |gpu| {
        let x = Random(3).words(128);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(128));
        gpu.launch("exchange", over(128, 64), args![y, dx, 128u32]);
        let want: Vec<u32> = (0..128).map(|i| x[i ^ 15].wrapping_add((i as u32 / 16) % 2)).collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn aggregated_atomics_give_each_its_own_slot() {
    on(&ALL, "zoo_warp", |gpu| {
        let n = 150;
        let x = Random(4).words(n);
        let (dx, slots, count) = (gpu.upload(&x), gpu.output::<u32>(n), gpu.upload(&[0u32]));
        gpu.launch("aggregate", over(n, 64), args![slots, count, dx, n as u32]);
        let wanted = x.iter().filter(|x| **x % 2 == 1).count() as u32;
        assert_eq!(gpu.read(count), [wanted]);
        let slots = gpu.read(slots);
        for i in 0..n {
            assert_eq!(slots[i] == u32::MAX, x[i].is_multiple_of(2), "whether {i} has a slot");
        }
        let mut taken: Vec<u32> = slots.into_iter().filter(|&s| s != u32::MAX).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..wanted).collect::<Vec<_>>());
    });
}

#[test]
fn barriers_count_the_threads_for_which_a_condition_holds() {
    on(&ALL, "zoo_warp", |gpu| {
        let n = 200;
        let mut x = Random(5).words(n);
        x[..64].fill(1);
        x[64..128].fill(2);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(3 * n));
        gpu.launch("block_votes", over(n, 64), args![y, dx, n as u32]);
        let blocks = |f: &dyn Fn(usize, usize) -> u32| -> Vec<u32> {
            let odd = |c: &[u32]| c.iter().filter(|x| **x % 2 == 1).count();
            x.chunks(64).flat_map(|c| vec![f(odd(c), c.len()); c.len()]).collect()
        };
        let mut want = blocks(&|odd, _| odd as u32);
        want.extend(blocks(&|odd, len| u32::from(odd == len)));
        want.extend(blocks(&|odd, _| u32::from(odd > 0)));
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn named_barriers_hand_a_buffer_over() {
    on(&ALL, "zoo_warp", |gpu| {
        for n in [64, 320] {
            let x = Random(6).words(n);
            let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(n));
            gpu.launch("hand_over", shape(1, 128), args![y, dx, n as u32]);
            assert_eq!(gpu.read(y), x.iter().map(|x| x.wrapping_mul(3)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn reductions_take_all_lanes_of_their_mask() {
    on(&FROM_80, "zoo_reduce", |gpu| {
        let n = 96;
        let x = Random(7).words(n);
        let (dx, y, z) = (gpu.upload(&x), gpu.output::<u32>(7 * n), gpu.output::<u32>(n));
        gpu.launch("reductions", over(n, 64), args![y, z, dx, n as u32]);
        let signed_min = |a: u32, b: u32| (a as i32).min(b as i32) as u32;
        let operations: [fn(u32, u32) -> u32; 7] =
            [u32::wrapping_add, u32::min, u32::max, signed_min, |a, b| a & b, |a, b| a | b, |a, b| a ^ b];
        let warp = |i: usize| x[i / 32 * 32..][..32].iter().copied();
        let want: Vec<u32> = operations
            .iter()
            .flat_map(|&f| (0..n).map(move |i| warp(i).reduce(f).expect("32 lanes")))
            .collect();
        assert_eq!(gpu.read(y), want);
        let sums: Vec<u32> =
            (0..n).map(|i| warp(i).skip(i % 4).step_by(4).fold(0, u32::wrapping_add)).collect();
        assert_eq!(gpu.read(z), sums);
    });
}

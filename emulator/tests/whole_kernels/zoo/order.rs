//! Messages between blocks, locks, and atomics of every order.

use crate::harness::{ALL, args, on, shape};

#[test]
fn a_message_goes_round_the_blocks() {
    on(&ALL, "zoo_order", |gpu| {
        for blocks in [1, 2, 5] {
            let start: Vec<u32> = (0..64).collect();
            let (message, turn) = (gpu.upload(&start), gpu.upload(&[0u32]));
            gpu.launch("pass_on", shape(blocks, 64).cooperative(), args![message, turn]);
            let pass = |i: u32| (0..blocks).fold(i, |m, b| m.wrapping_mul(3) + b + i);
            assert_eq!(gpu.read(message), (0..64).map(pass).collect::<Vec<_>>(), "{blocks} blocks");
            assert_eq!(gpu.read(turn), [blocks]);
        }
    });
}

#[test]
fn a_lock_keeps_threads_of_all_blocks_apart() {
    on(&ALL, "zoo_order", |gpu| {
        let (count, taken) = (gpu.upload(&[0u32]), gpu.upload(&[0u32]));
        gpu.launch("lock", shape(3, 64).cooperative(), args![count, taken]);
        assert_eq!((gpu.read(count), gpu.read(taken)), (vec![192], vec![0]));
    });
}

#[test]
fn atomics_of_every_order_and_scope_count() {
    on(&ALL, "zoo_order", |gpu| {
        let y = gpu.upload(&[0u32; 8]);
        gpu.launch("orders", shape(3, 40), args![y]);
        assert_eq!(gpu.read(y), [120, 120, 120, 120, 120, 120, 120, u32::MAX]);
    });
}

//! Weak stores may reach other blocks late; what is released does not.

mod check;

use check::{WORDS, module};
use cuda_emulator::{
    device::Device,
    machine::{Argument, Machine, Order, Settings},
    memory::Kind,
};

/// Block 0 stores 42 to a and sets a flag in b; block 1 waits for the flag and copies a to the second word of b. What that is.
fn passed(store: &str, load: &str, between: &str, seed: u64) -> u32 {
    let text = module(&format!(
        "setp.ge.u32 %p1, %r2, 1;
@%p1 bra done;
setp.ge.u32 %p2, %r3, 1;
@%p2 bra reader;
mov.u32 %r9, 1;
st.global.u32 [%rd1], 42;
{between}
{store} [%rd2], %r9;
mov.u32 %r11, 0;
linger:
add.s32 %r11, %r11, 1;
setp.ge.u32 %p4, %r11, 2000;
@!%p4 bra linger;
bra done;
reader:
{load} %r8, [%rd2];
setp.ge.u32 %p3, %r8, 1;
@!%p3 bra reader;
{between}
ld.global.u32 %r8, [%rd1];
st.global.u32 [%rd2+4], %r8;
done:"
    ));
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let settings = Settings { order: Order::Random(seed), weak: Some(seed), ..Settings::new(device) };
    let mut m = Machine::new(settings);
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let [a, b] = std::array::from_fn(|_| m.memory.allocate(4 * WORDS, Kind::Device).expect("there is room"));
    let arguments = [Argument::U64(a.base), Argument::U64(b.base), Argument::U32(0)];
    m.run(&program, "k", [2, 1, 1], [32, 1, 1], 0, &arguments).expect("the launch succeeds");
    let mut word = [0; 4];
    b.read(b.base + 4, &mut word);
    u32::from_le_bytes(word)
}

#[test]
fn a_message_without_release_may_arrive_before_its_contents() {
    let relaxed = ("st.relaxed.gpu.global.u32", "ld.relaxed.gpu.global.u32");
    let found: Vec<u32> = (1..=20).map(|seed| passed(relaxed.0, relaxed.1, "", seed)).collect();
    assert!(found.contains(&0), "some reader sees the old value: {found:?}");
    assert!(found.iter().all(|&v| v == 0 || v == 42), "{found:?}");
}

#[test]
fn a_message_with_release_and_acquire_or_fences_arrives_whole() {
    for seed in 1..=20 {
        assert_eq!(passed("st.release.gpu.global.u32", "ld.acquire.gpu.global.u32", "", seed), 42);
        assert_eq!(
            passed("st.relaxed.gpu.global.u32", "ld.relaxed.gpu.global.u32", "fence.acq_rel.gpu;", seed),
            42
        );
    }
}

#[test]
fn a_block_sees_its_own_stores_at_once_and_the_host_sees_all() {
    let text = module("st.global.u16 [%rd3+2], 7;\nld.global.u32 %r8, [%rd3];\nst.global.u32 [%rd4], %r8;");
    for seed in 1..=5 {
        let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
        let mut m = Machine::new(Settings { weak: Some(seed), ..Settings::new(device) });
        let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        let [a, b] = std::array::from_fn(|_| m.memory.allocate(256, Kind::Device).expect("there is room"));
        a.write(a.base, &[1; 256]);
        let arguments = [Argument::U64(a.base), Argument::U64(b.base), Argument::U32(0)];
        m.run(&program, "k", [1, 1, 1], [64, 1, 1], 0, &arguments).expect("the launch succeeds");
        let mut bytes = vec![0; 256];
        b.read(b.base, &mut bytes);
        assert!(bytes.chunks(4).all(|w| w == [1, 1, 7, 0]), "{bytes:?}");
    }
}

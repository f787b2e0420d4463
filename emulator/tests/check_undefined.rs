//! Values that nobody defined are found where they matter, and nowhere else.

mod check;

use check::{caught, clean, module, orders, run_module};
use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, FaultKind, Machine, Settings},
    memory::Kind,
};

#[test]
fn reading_what_nobody_wrote_is_no_finding_until_it_matters() {
    for read in ["ld.shared.u32 %r8, [%r5];", "ld.local.u32 %r8, [l];", "add.s32 %r8, %r20, 1;"] {
        clean(1, 32, read);
        clean(
            1,
            32,
            &format!(
                "{read}\nadd.s32 %r9, %r8, 1;\nst.shared.u32 [%r5+2048], %r9;\nmov.u32 %r8, 1;\nst.global.u32 [%rd3], %r8;"
            ),
        );
    }
}

#[test]
fn an_undefined_value_may_not_reach_memory_an_address_or_a_branch() {
    let sources = [
        ("ld.shared.u32 %r8, [%r5];", "shared memory at offset 0x"),
        ("ld.local.u32 %r8, [l+8];", "local memory at offset 0x8"),
        ("add.s32 %r8, %r20, 0;", "a register that was not written"),
    ];
    let sinks = [
        ("st.global.u32 [%rd3], %r9;", "the value stored to global memory was never defined"),
        ("ld.shared.u32 %r10, [%r9];", "an address, a lane or a count"),
        ("setp.ge.u32 %p1, %r9, 1;\n@%p1 bra done;\ndone:", "the predicate that decides whether this runs"),
        ("setp.ge.u32 %p1, %r9, 1;\n@%p1 mov.u32 %r10, 1;", "the predicate that decides whether this runs"),
        ("bar.sync %r9;", "an address, a lane or a count"),
    ];
    for (source, origin) in sources {
        for (sink, what) in sinks {
            let fault = caught(1, 32, &format!("{source}\nadd.s32 %r9, %r8, 0;\n{sink}"), what);
            let text = fault.to_string();
            assert_eq!(fault.kind, FaultKind::Finding);
            assert!(text.contains(origin) && text.contains("PTX line"), "{text}");
        }
    }
}

#[test]
fn what_is_written_is_defined_lane_by_lane_and_byte_by_byte() {
    // Every lane but the last writes its word; the last reads its own.
    let words = |last: &str| {
        format!(
            "setp.ge.u32 %p1, %r2, {last};\n@!%p1 st.shared.u32 [%r5], %r2;\nld.shared.u32 %r8, [%r5];\nst.global.u32 [%rd3], %r8;"
        )
    };
    clean(1, 32, &words("32"));
    assert_eq!(caught(1, 32, &words("31"), "never defined").place.thread, [31, 0, 0]);
    // Two of the three bytes that the half words cover.
    let bytes = |second: &str| {
        format!(
            "mov.b32 {{%h1, %h2}}, %r2;\nst.shared.u8 [%r5], %h1;\n{second}\nld.shared.u16 %h3, [%r5];\nmov.b32 %r8, {{%h3, %h1}};\nst.global.u32 [%rd3], %r8;"
        )
    };
    clean(1, 32, &bytes("st.shared.u8 [%r5+1], %h1;"));
    caught(1, 32, &bytes("st.shared.u8 [%r5+2], %h1;"), "never defined");
    // The same in local memory, where each lane has its own.
    let local = |last: &str| {
        format!(
            "setp.ge.u32 %p1, %r2, {last};\n@!%p1 st.local.u32 [l], %r2;\nld.local.u32 %r8, [l];\nst.global.u32 [%rd3], %r8;"
        )
    };
    clean(1, 32, &local("32"));
    caught(1, 32, &local("31"), "never defined");
}

#[test]
fn marks_follow_values_through_shared_and_local_memory_and_vectors() {
    for element in 0..4 {
        for (space, at) in [("shared", "%r6"), ("local", "l")] {
            let mut values = ["%r2"; 4];
            values[element] = "%r20";
            let text = |used: usize| {
                format!(
                    "mul.lo.s32 %r6, %r2, 16;
mov.u32 %r7, s;
add.s32 %r6, %r6, %r7;
st.{space}.v4.u32 [{at}], {{{}}};
ld.{space}.v4.u32 {{%r10, %r11, %r12, %r13}}, [{at}];
st.global.u32 [%rd3], %r1{used};",
                    values.join(", ")
                )
            };
            for used in 0..4 {
                if used == element {
                    caught(1, 32, &text(used), "the value stored to global memory was never defined");
                } else {
                    clean(1, 32, &text(used));
                }
            }
        }
    }
}

#[test]
fn a_register_written_on_one_path_only_is_undefined_on_the_other() {
    let body = |bound: u32| {
        format!(
            "setp.ge.u32 %p1, %r2, {bound};\n@%p1 bra done;\nmov.u32 %r8, 5;\ndone:\nst.global.u32 [%rd3], %r8;"
        )
    };
    clean(1, 32, &body(32));
    assert_eq!(caught(1, 32, &body(31), "not written on this path").place.thread, [31, 0, 0]);
    // Both paths write it, by guards that are each other's opposite.
    clean(
        1,
        32,
        "setp.ge.u32 %p1, %r2, 7;\n@%p1 mov.u32 %r8, 5;\n@!%p1 mov.u32 %r8, 6;\nst.global.u32 [%rd3], %r8;",
    );
}

#[test]
fn device_memory_is_undefined_until_host_or_kernel_writes_it() {
    let text = module("ld.global.u32 %r8, [%rd3];\nst.global.u32 [%rd4], %r8;");
    for order in orders() {
        let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
        let mut m = Machine::new(Settings { order, ..Settings::new(device) });
        Checker::new(Options::default()).watch(&mut m);
        let program = m.load(text.as_bytes()).expect("the module loads");
        let [a, b, c] = std::array::from_fn(|_| m.memory.allocate(256, Kind::Device).expect("there is room"));
        let mut run = |from: u64, to: u64| {
            let arguments = [Argument::U64(from), Argument::U64(to), Argument::U32(0)];
            m.run(&program, "k", [1, 1, 1], [64, 1, 1], 0, &arguments)
        };
        let fault = run(a.base, b.base).expect_err("nobody wrote a");
        assert!(fault.to_string().contains("global memory at 0x"), "{fault}");
        // All but the last byte.
        a.write(a.base, &[7; 255]);
        assert_eq!(run(a.base, b.base).expect_err("nobody wrote the last byte").place.thread, [63, 0, 0]);
        a.write(a.base + 255, &[7]);
        run(a.base, b.base).expect("a is written by the host");
        run(b.base, c.base).expect("b is written by a kernel");
        run(c.base, a.base).expect("c is written by a kernel");
    }
}

#[test]
fn shared_memory_is_undefined_again_in_the_next_block() {
    // Block 0 writes it, block 1 reads it without writing.
    let body = "setp.ge.u32 %p1, %r3, 1;\n@!%p1 st.shared.u32 [%r5], %r2;\n@!%p1 bra done;\nld.shared.u32 %r8, [%r5];\nst.global.u32 [%rd3], %r8;\ndone:";
    caught(2, 32, body, "never defined");
    clean(1, 32, body);
}

#[test]
fn without_the_check_undefined_values_pass() {
    let options = Options { undefined: false, ..Options::default() };
    let text = module("ld.shared.u32 %r8, [%r5];\nst.global.u32 [%rd3], %r8;");
    run_module(&text, 1, 32, orders()[0], options).expect("nobody looks");
}

/// The kernel, with the first `written` bytes of a buffer of 256 written, and the rest as allocated.
fn half_written(body: &str, written: usize, arch: u32) -> Result<(), cuda_emulator::machine::Fault> {
    let device = Device::for_arch(arch).expect("the emulator has the device");
    let mut m = Machine::new(Settings::new(device));
    let text = module(body).replace("sm_80", &format!("sm_{arch}"));
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    Checker::new(Options::default()).watch(&mut m);
    let buffers = [256, 256].map(|n| m.memory.allocate(n, Kind::Device).expect("there is room"));
    buffers[0].write(buffers[0].base, &vec![0; written]);
    let arguments = [Argument::U64(buffers[0].base), Argument::U64(buffers[1].base), Argument::U32(1)];
    m.run(&program, "k", [1, 1, 1], [4, 1, 1], 0, &arguments)
}

#[test]
fn what_an_asynchronous_copy_brings_is_as_defined_as_what_it_read() {
    // Four threads bring 16 bytes each; each then stores word WORD of its bytes.
    let body = |word: u32| {
        format!(
            "shl.b32 %r6, %r2, 4;\nmov.u32 %r7, s;\nadd.u32 %r7, %r7, %r6;\ncvt.u64.u32 %rd5, %r6;\nadd.u64 %rd5, %rd1, %rd5;\n\
             cp.async.ca.shared.global [%r7], [%rd5], 16;\ncp.async.wait_all;\n\
             ld.shared.u32 %r8, [%r7+{}];\nst.global.u32 [%rd4], %r8;",
            4 * word
        )
    };
    assert_eq!(half_written(&body(0), 64, 80), Ok(()));
    // Of the last thread's bytes the last word was never written, and it matters if it is used only.
    assert_eq!(half_written(&body(2), 60, 80), Ok(()));
    let fault = half_written(&body(3), 60, 80).expect_err("the word was never written");
    assert!(fault.to_string().contains("shared memory at offset 0x3c"), "{fault}");
    assert_eq!(fault.place.thread, [3, 0, 0], "{fault}");
    // Zeros fill what a shorter source leaves.
    let zeros = body(3).replace("[%rd5], 16;", "[%rd5], 16, 12;");
    assert_eq!(half_written(&zeros, 60, 80), Ok(()));
}

#[test]
fn a_bulk_copy_brings_nothing_undefined_to_global_memory() {
    let body = |threads: u32| {
        format!(
            "setp.lt.u32 %p1, %r2, {threads};\n@%p1 st.shared.u32 [%r5], %r2;\nfence.proxy.async;\nbar.sync 0;\n\
             setp.eq.u32 %p2, %r2, 0;\n@%p2 cp.async.bulk.global.shared::cta.bulk_group [%rd2], [s], 16;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
        )
    };
    assert_eq!(half_written(&body(4), 0, 90), Ok(()));
    let fault = half_written(&body(3), 0, 90).expect_err("a word was never written");
    assert!(
        fault.to_string().contains("what a bulk copy brings to global memory was never defined"),
        "{fault}"
    );
}

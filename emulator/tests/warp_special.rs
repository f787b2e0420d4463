//! Special registers, fences, and hints.

mod lab;

use cuda_emulator::{
    device::Device,
    machine::{Access, Event, Fault, Launch, Machine, Observer, Order, Scene, Scope, Settings},
    memory::Kind,
};
use lab::Lab;
use std::sync::{Arc, Mutex};

/// The value of a 32-bit special register in every thread.
fn read(lab: Lab, name: &str) -> Vec<u32> {
    let threads = (lab.grid * lab.block) as usize;
    Lab { lines: format!("mov.u32 %r3, %{name};\nst.global.u32 [%rd2], %r3;"), ..lab }.run(&[], threads)
}

#[test]
fn lanes_know_their_place_in_the_warp() {
    let lab = || Lab::new("").block(70).grid(2);
    let each = |f: fn(u32) -> u32| (0..140).map(|i| f(i % 70)).collect::<Vec<_>>();
    assert_eq!(read(lab(), "laneid"), each(|t| t % 32));
    assert_eq!(read(lab(), "warpid"), each(|t| t / 32));
    assert_eq!(read(lab(), "lanemask_eq"), each(|t| 1 << (t % 32)));
    assert_eq!(read(lab(), "lanemask_lt"), each(|t| (0..t % 32).map(|l| 1 << l).sum()));
    assert_eq!(read(lab(), "lanemask_le"), each(|t| (0..=t % 32).map(|l| 1u32 << l).fold(0, |a, b| a | b)));
    assert_eq!(
        read(lab(), "lanemask_gt"),
        each(|t| (t % 32 + 1..32).map(|l| 1u32 << l).fold(0, |a, b| a | b))
    );
    assert_eq!(read(lab(), "lanemask_ge"), each(|t| (t % 32..32).map(|l| 1u32 << l).fold(0, |a, b| a | b)));
    assert_eq!(read(lab(), "nwarpid"), [64; 140]);
    assert_eq!(read(lab(), "nsmid"), [132; 140]);
    let sm = read(lab(), "smid");
    assert!(
        sm[..70].iter().all(|&s| s == sm[0] && s < 132) && sm[70..].iter().all(|&s| s == sm[70] && s < 132)
    );
}

#[test]
fn threads_and_blocks_are_numbered_in_three_dimensions() {
    let names = ["tid", "ctaid", "ntid", "nctaid", "clusterid", "nclusterid"];
    let axes = ["x", "y", "z"];
    let mut lines = String::from(
        "mov.u32 %r20, %tid.x;\nmov.u32 %r21, %tid.y;\nmov.u32 %r22, %tid.z;\nmov.u32 %r23, %ctaid.x;\nmov.u32 %r24, %ctaid.y;\nmov.u32 %r25, %ctaid.z;\n\
        mad.lo.u32 %r26, %r22, 3, %r21;\nmad.lo.u32 %r26, %r26, 5, %r20;\nmad.lo.u32 %r27, %r25, 2, %r24;\nmad.lo.u32 %r27, %r27, 3, %r23;\nmad.lo.u32 %r28, %r27, 60, %r26;\nmul.wide.u32 %rd5, %r28, 72;\nadd.s64 %rd5, %rd5, %rd0;\n",
    );
    for (i, name) in names.iter().enumerate() {
        for (j, axis) in axes.iter().enumerate() {
            lines +=
                &format!("mov.u32 %r30, %{name}.{axis};\nst.global.u32 [%rd5+{}], %r30;\n", 4 * (3 * i + j));
        }
    }
    let lab = Lab::new(lines);
    let (mut machine, program) = lab.load().expect("the module loads");
    let (block, grid) = ([5, 3, 4], [3, 2, 2]);
    let y = machine.memory.allocate(72 * 60 * 12, Kind::Device).expect("there is room");
    let x = machine.memory.allocate(4 * 60 * 12, Kind::Device).expect("there is room");
    let params = [y.base.to_le_bytes(), x.base.to_le_bytes()].concat();
    let kernel = program.kernel("k").expect("the kernel is there");
    machine
        .launch(&program, &Launch { kernel, grid, block, params, ..lab::empty_launch() })
        .expect("the launch succeeds");
    let mut raw = vec![0; 72 * 60 * 12];
    y.read(y.base, &mut raw);
    let words: Vec<u32> = raw.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut at = words.chunks_exact(18);
    for b in 0..12 {
        let ctaid = [b % 3, b / 3 % 2, b / 6];
        for t in 0..60 {
            let tid = [t % 5, t / 5 % 3, t / 15];
            let expected = [tid, ctaid, block, grid, ctaid, grid].concat();
            assert_eq!(at.next().expect("there is a row for each thread"), expected, "block {b}, thread {t}");
        }
    }
}

#[test]
fn sizes_of_shared_memory_are_those_of_the_launch() {
    let lab = |arch| Lab {
        dynamic_shared: 1000,
        ..Lab::new("").arch(arch).module(".shared .align 4 .b8 fixed[100];")
    };
    for (arch, total, all) in [(75, 1280, 1280), (80, 1152, 2176), (90, 1152, 2176)] {
        assert_eq!(read(lab(arch), "dynamic_smem_size")[0], 1000);
        assert_eq!(read(lab(arch), "total_smem_size")[0], total, "sm_{arch}");
        assert_eq!(read(lab(arch), "aggr_smem_size")[0], all, "sm_{arch}");
    }
}

#[test]
fn clocks_go_on() {
    for clock in ["clock64", "globaltimer"] {
        let lines = format!(
            "mov.u64 %rd5, %{clock};\nadd.u32 %r3, %r3, 1;\nmov.u64 %rd6, %{clock};\nsetp.gt.u64 %p1, %rd6, %rd5;\n@%p1 st.global.u32 [%rd2], 1;"
        );
        assert_eq!(Lab::new(lines).run(&[], 32), [1; 32], "{clock}");
    }
    let lines = "mov.u32 %r3, %clock;\nadd.u32 %r5, %r5, 1;\nmov.u32 %r4, %clock;\nsub.u32 %r4, %r4, %r3;\nst.global.u32 [%rd2], %r4;\nmov.u32 %r5, %clock_hi;\nst.global.u32 [%rd2+128], %r5;";
    let y = Lab::new(lines).run(&[], 64);
    assert!((0..32).all(|l| y[l] > 0 && y[32 + l] == 0), "{y:?}");
}

#[test]
fn a_cluster_is_one_block_where_none_was_asked_for() {
    for (name, value) in
        [("cluster_ctaid.x", 0), ("cluster_nctaid.y", 1), ("cluster_ctarank", 0), ("cluster_nctarank", 1)]
    {
        assert_eq!(read(Lab::new("").block(2), name), [value; 2], "{name}");
    }
    let lines = "mov.pred %p1, %is_explicit_cluster;\n@!%p1 st.global.u32 [%rd2], 1;";
    assert_eq!(Lab::new(lines).run(&[], 32), [1; 32]);
}

#[test]
fn registers_are_read_in_their_size() {
    let old = "mov.u16 %h1, %tid.x;\nmov.b32 %r3, {%h1, %h1};\nst.global.u32 [%rd2], %r3;";
    let y = Lab::new(old).run(&[], 32);
    assert!((0..32).all(|l| y[l] == l as u32 * 0x1_0001), "{y:?}");
    for line in [
        "mov.u64 %rd3, %tid.x;",
        "mov.u32 %r3, %clock64;",
        "mov.u16 %h1, %laneid;",
        "mov.u32 %r3, %is_explicit_cluster;",
        "mov.u32 %r3, %pm0;",
        "mov.u32 %r3, %envreg3;",
        "mov.u32 %r3, %tid.w;",
        "brkpt;",
        "discard.global.L2 [%rd0], 128;",
        "nanosleep.s32 5;",
        "pmevent 16;",
        "prefetch.shared.L1 [%r0];",
        "isspacep.const %p1, %rd0;",
        "fence.acq_rel.warp;",
        "fence.sc;",
        "membar.warp;",
        "createpolicy.fractional.L2::evict_first.b64 %rd9, 0.0;",
        "createpolicy.fractional.L2::evict_first.b64 %rd9, 1.5;",
        "createpolicy.fractional.L2::evict_never.b64 %rd9, 1.0;",
        "createpolicy.fractional.L2::evict_first.L2::evict_last.b64 %rd9, 1.0;",
        "ld.global.L2::cache_hint.u32 %r1, [%rd1];",
        "ld.global.L2::cache_hunt.u32 %r1, [%rd1];",
        "ld.global.L1::evict_never.u32 %r1, [%rd1];",
        "mov.u32 _, %laneid;",
        "mov.u64 _, spot;",
        "bar.red.popc.u32 _, 0, %p1;",
        "bar.red.and.pred _, 0, %p1;",
    ] {
        let error = Lab::new(format!(".local .align 4 .b8 spot[4];\n{line}")).refused();
        assert!(error.contains(line.split([' ', ';']).next().expect("not empty")), "{line}: {error}");
    }
}

#[test]
fn windows_are_told_apart() {
    let lines = ".local .align 4 .b8 spot[4];\nmov.u64 %rd5, spot;\ncvta.local.u64 %rd5, %rd5;\nmov.u64 %rd6, room;\ncvta.shared.u64 %rd6, %rd6;\n\
        isspacep.local %p1, %rd5;\nisspacep.shared %p2, %rd6;\nisspacep.global %p3, %rd0;\n@%p1 st.global.u32 [%rd0], 1;\n@%p2 st.global.u32 [%rd0+4], 1;\n@%p3 st.global.u32 [%rd0+8], 1;\n\
        isspacep.shared %p1, %rd5;\nisspacep.global %p2, %rd6;\nisspacep.local %p3, %rd0;\n@%p1 st.global.u32 [%rd0+12], 1;\n@%p2 st.global.u32 [%rd0+16], 1;\n@%p3 st.global.u32 [%rd0+20], 1;";
    assert_eq!(Lab::new(lines).module(".shared .align 4 .b8 room[4];").run(&[], 6), [1, 1, 1, 0, 0, 0]);
}

#[test]
fn hints_change_nothing() {
    let lines = "nanosleep.u32 100;\nnanosleep.u32 %r0;\npmevent 3;\nprefetch.global.L1 [%rd0];\nprefetch.L2 [%rd0+64];\nprefetch.global.L2::evict_last [%rd0];\nprefetchu.L1 [%rd0];\nst.global.u32 [%rd2], %r0;";
    assert_eq!(Lab::new(lines).run(&[], 32), (0..32).collect::<Vec<_>>());
}

#[test]
fn a_block_that_sleeps_lets_the_one_go_on_that_it_waits_for() {
    let lines = "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra SET;\nWAIT:\nnanosleep.u32 20;\natom.global.add.u32 %r3, [%rd0], 0;\nsetp.eq.u32 %p2, %r3, 0;\n@%p2 bra WAIT;\nret;\nSET:\nst.volatile.global.u32 [%rd0], 1;";
    for order in [Order::InOrder, Order::Random(3)] {
        let lab = Lab { patience: 20_000, ..Lab::new(lines).grid(2).order(order) };
        assert_eq!(lab.run(&[], 1), [1], "{order:?}");
    }
}

/// Notes the fences and atomics that it is told of.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Observer for Notes {
    fn access(&mut self, _: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        let Access { kind, ordering, scope, bytes, element, mask, .. } = access;
        if format!("{kind:?}").starts_with("Atomic") {
            let note = format!("{kind:?} {ordering:?} {scope:?} {bytes}/{element} {mask:#x}");
            self.0.lock().expect("nobody panicked").push(note);
        }
        Ok(())
    }

    fn event(&mut self, _: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        if let Event::Fence { mask, scope, sequential } = event {
            self.0.lock().expect("nobody panicked").push(format!("{scope:?} {sequential} {mask:#x}"));
        }
        Ok(())
    }
}

#[test]
fn watchers_hear_of_fences_and_atomics_with_their_order_and_scope() {
    let lines = "membar.cta;\nmembar.gl;\nmembar.sys;\nfence.sc.cluster;\nfence.acq_rel.gpu;\nfence.cta;\nsetp.ge.u32 %p1, %r0, 31;\n@%p1 fence.sc.sys;\nfence.proxy.alias;\n\
        atom.global.add.u32 %r3, [%rd0], 1;\nred.release.sys.global.add.u64 [%rd0], 1;\n@%p1 atom.acq_rel.cta.global.cas.b32 %r3, [%rd0], 1, 2;\nred.global.add.v2.f32 [%rd0], {%f1, %f1};";
    let lab = Lab::new(lines);
    let device = Device::for_arch(90).expect("the emulator has the device");
    let mut machine = Machine::new(Settings::new(device));
    let program = machine.load(lab.text().as_bytes()).expect("the module loads");
    let y = machine.memory.allocate(256, Kind::Device).expect("there is room");
    let notes = Arc::new(Mutex::new(Vec::new()));
    machine.watch.observers.push(Box::new(Notes(notes.clone())));
    let params = [y.base.to_le_bytes(), y.base.to_le_bytes()].concat();
    let kernel = program.kernel("k").expect("the kernel is there");
    machine
        .launch(&program, &Launch { kernel, block: [32, 1, 1], params, ..lab::empty_launch() })
        .expect("the launch succeeds");
    let expected = [
        format!("{:?} true 0xffffffff", Scope::Block),
        format!("{:?} true 0xffffffff", Scope::Device),
        format!("{:?} true 0xffffffff", Scope::System),
        format!("{:?} true 0xffffffff", Scope::Cluster),
        format!("{:?} false 0xffffffff", Scope::Device),
        format!("{:?} false 0xffffffff", Scope::Block),
        format!("{:?} true 0x80000000", Scope::System),
        "Atomic(true) Relaxed Device 4/4 0xffffffff".into(),
        "Atomic(false) Release System 8/8 0xffffffff".into(),
        "Atomic(true) AcquireRelease Block 4/4 0x80000000".into(),
        "Atomic(false) Relaxed Device 8/4 0xffffffff".into(),
    ];
    assert_eq!(*notes.lock().expect("nobody panicked"), expected);
}

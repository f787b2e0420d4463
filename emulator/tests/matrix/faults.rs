//! What is refused, and what stops a launch.

use crate::lab::Lab;
use cuda_emulator::machine::FaultKind;

const MMA: &str = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r2,%r2}, {%r2}, {%f5,%f6,%f7,%f8};";
const SHARED: &str = ".shared .align 16 .b8 s[1024];";

#[test]
fn a_warp_without_all_its_lanes_cannot_multiply() {
    let partial = Lab::new(MMA).block(16).fault(&[0; 32], 32);
    assert_eq!(partial.kind, FaultKind::IllegalInstruction, "{partial}");
    assert!(partial.message.contains("lanes 0x0000ffff run it, expected all 32"), "{partial}");

    let left = Lab::new(format!("setp.ge.u32 %p1, %r0, 31;\n@%p1 ret;\n{MMA}")).fault(&[0; 32], 32);
    assert_eq!(left.kind, FaultKind::IllegalInstruction, "{left}");

    let guarded = Lab::new(format!("setp.ge.u32 %p1, %r0, 8;\n@%p1 {MMA}")).fault(&[0; 32], 32);
    assert!(guarded.message.contains("lanes 0xffffff00 run it, expected all 32"), "{guarded}");
}

/// Lanes that come later are waited for.
#[test]
fn lanes_that_took_another_way_meet_at_the_product() {
    let lines = format!(
        "setp.ge.u32 %p1, %r0, 24;\n@%p1 bra FAR;\nNEAR:\n{MMA}\nst.global.f32 [%rd2], %f1;\nret;\nFAR:\nadd.u32 %r3, %r0, 1;\nbra NEAR;"
    );
    let zeros = "mov.f32 %f5, 0f00000000;\nmov.f32 %f6, 0f00000000;\nmov.f32 %f7, 0f00000000;\nmov.f32 %f8, 0f00000000;\n";
    let y = Lab::new(format!("{zeros}{lines}")).run(&[0x3c00_3c00; 32], 32);
    assert_eq!(y, vec![8f32.to_bits(); 32]);
}

#[test]
fn ldmatrix_faults_on_rows_that_are_no_rows_of_shared_memory() {
    let load = |address: &str| {
        let lines = format!(
            "mov.u32 %r5, s;\nmul.lo.u32 %r6, %r0, 16;\nadd.u32 %r6, %r5, %r6;\n{address}\nldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r10,%r11,%r12,%r13}}, [%r6];"
        );
        Lab::new(lines).module(SHARED).fault(&[0; 32], 32)
    };
    let misaligned = load("add.u32 %r6, %r6, 8;");
    assert_eq!(misaligned.kind, FaultKind::MisalignedAddress, "{misaligned}");
    let outside = load("setp.ge.u32 %p1, %r0, 5;\n@%p1 add.u32 %r6, %r5, 1024;");
    assert_eq!((outside.kind, outside.place.thread[0]), (FaultKind::IllegalAddress, 5), "{outside}");
    let global = Lab::new("ldmatrix.sync.aligned.m8n8.x1.b16 {%r10}, [%rd1];").fault(&[0; 32], 32);
    assert_eq!(global.kind, FaultKind::InvalidAddressSpace, "{global}");
}

/// `.x1` takes the addresses of eight lanes; on sm_75 the others must be valid all the same.
#[test]
fn addresses_of_lanes_that_name_no_row_matter_on_sm_75_alone() {
    let lines = "mov.u32 %r5, s;\nmul.lo.u32 %r6, %r0, 16;\nadd.u32 %r6, %r5, %r6;\nsetp.ge.u32 %p1, %r0, 9;\n\
                 @%p1 add.u32 %r6, %r5, 4096;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r10}, [%r6];\nst.global.u32 [%rd2], %r10;";
    Lab::new(lines).arch(80).module(SHARED).run(&[0; 32], 32);
    let fault = Lab::new(lines).arch(75).module(SHARED).fault(&[0; 32], 32);
    assert_eq!((fault.kind, fault.place.thread[0]), (FaultKind::IllegalAddress, 9), "{fault}");
}

#[test]
fn wmma_faults_on_places_that_lanes_disagree_on_or_that_are_misaligned() {
    let load = |lines: &str, at: &str| {
        let load = format!(
            "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {{%r10,%r11,%r12,%r13,%r14,%r15,%r16,%r17}}, [{at}];"
        );
        Lab::new(format!("{lines}\n{load}")).fault(&[0; 1024], 32)
    };
    let apart = load("", "%rd63");
    assert_eq!((apart.kind, apart.place.thread[0]), (FaultKind::IllegalInstruction, 1), "{apart}");
    assert!(apart.message.contains("are not those of lane 0"), "{apart}");
    // Half of the 32 bytes that a lane's fragment has; of an fp16 sum it has 16.
    for at in ["%rd1+8", "%rd1+16"] {
        let misaligned = load("", at);
        assert_eq!(misaligned.kind, FaultKind::MisalignedAddress, "{misaligned}");
    }
    let sums = "wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r10,%r11,%r12,%r13}, [%rd1+16], 24;";
    Lab::new(sums).run(&[0; 1024], 32);
    let outside = load("", "%rd1+4096");
    assert_eq!(outside.kind, FaultKind::IllegalAddress, "{outside}");
}

#[test]
fn what_is_not_implemented_exactly_is_refused() {
    let f4 = "{%f1,%f2,%f3,%f4}";
    let cases = [
        ("mma.sync.aligned.m16n8k8.row.row.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}", "row and col"),
        ("mma.sync.aligned.m16n8k4.row.col.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}", "does not exist"),
        ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}", "does not exist"),
        (
            "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f32 {%r2,%r2}, {%r2,%r2}, {%r2}, {}",
            "does not exist",
        ),
        (
            "mma.sync.aligned.m16n8k8.row.col.satfinite.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}",
            "does not exist",
        ),
        ("mma.sync.aligned.m16n8k8.row.col.kind::f8f6f4.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}", "types"),
        (
            "mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2,%r2}, {}, %r2, 0",
            "unknown form",
        ),
        ("mma.sync.m16n8k8.row.col.f32.f16.f16.f32 {}, {%r2,%r2}, {%r2}, {}", "unknown form"),
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {}, {%r2}, {%r2}, {}",
            "A has 1 registers, expected 2",
        ),
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {}, {%r2,%r2}, %r2, {}",
            "expected 1 registers in braces",
        ),
        ("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {}, {%f1,%f2}, {%r2}, {}", "type F32"),
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {}, {%rd1,%r2}, {%r2}, {}",
            "expected one of the size",
        ),
        (
            "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%r2,%r2,%r2,%r2}, {%r2,%r2,%r2,%r2}, {%r2,%r2}, {%r2,%r2,%r2,%r2}",
            "types",
        ),
        ("ldmatrix.sync.aligned.m8n8.x3.shared.b16 {%r2,%r2,%r2}, [%r2]", "x3 matrices"),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r2}, [%r2]", "has 1 registers, expected 2"),
        ("ldmatrix.sync.aligned.m8n8.x1.shared.b8 {%r2}, [%r2]", "unknown form"),
        ("ldmatrix.sync.aligned.m8n16.x1.shared.b8x16.b4x16_p64 {%r2}, [%r2]", "unknown form"),
        ("movmatrix.sync.aligned.m8n8.b16 %r2, %r2", "unknown form"),
        ("wmma.load.a.sync.aligned.row.m8n8k32.global.s4 {%r2}, [%rd1]", "does not exist"),
        ("wmma.load.a.sync.aligned.row.m16n16k8.global.f16 {%r2}, [%rd1]", "does not exist"),
        ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f16 {%r2}, {%r2}, {%r2}, {%r2}", "does not exist"),
        ("wmma.store.d.sync.aligned.row.m16n16k16.global.bf16 [%rd1], {%r2}", "does not exist"),
    ];
    for (line, want) in cases {
        let found = Lab::new(line.replace("{}", f4) + ";").refused();
        assert!(found.contains(want), "{line}: {found}, expected {want}");
    }
}

#[test]
fn instructions_need_the_target_that_first_had_them() {
    let mma = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r2,%r2,%r2,%r2}, {%r2,%r2}, {%f1,%f2,%f3,%f4};";
    let found = Lab::new(mma).arch(75).refused();
    assert!(found.contains("needs .target sm_80 or higher, found sm_75"), "{found}");
    let store = "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r2], {%r2};";
    let found = Lab::new(store).arch(80).refused();
    assert!(found.contains("needs .target sm_90 or higher, found sm_80"), "{found}");
}

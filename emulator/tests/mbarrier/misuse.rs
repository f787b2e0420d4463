//! What is a fault, and what does not load.

use super::{
    barrier,
    transfers::{Run, refusal},
};
use cuda_emulator::machine::FaultKind;

#[test]
fn misuse_is_a_fault_that_says_what_is_wrong() {
    use FaultKind::*;
    let arrive = "mbarrier.arrive.shared.b64 %d1, [bars];";
    let inited = |rest: &str| barrier("2") + rest;
    let cases = [
        (arrive.into(), IllegalInstruction, "no mbarrier object at shared offset 0x2000"),
        (
            inited("st.shared.u32 [bars], 5;") + arrive,
            IllegalInstruction,
            "not initialised, or written over since",
        ),
        (inited("mbarrier.inval.shared.b64 [bars];") + arrive, IllegalInstruction, "no mbarrier object"),
        (inited("mbarrier.inval.shared.b64 [bars + 8];"), IllegalInstruction, "no mbarrier object"),
        (inited("mbarrier.arrive.shared.b64 _, [bars + 4];"), MisalignedAddress, "is not a multiple of 8"),
        (inited("mbarrier.arrive.shared.b64 _, [bars + 64];"), IllegalAddress, "out of bounds"),
        (inited("mbarrier.arrive.b64 _, [%in];"), InvalidAddressSpace, "which is not in shared memory"),
        (
            inited("mbarrier.arrive.shared.b64 _, [bars], 3;"),
            IllegalInstruction,
            "arrival of 3, while the phase waits for 2 more of 2",
        ),
        (
            inited("mbarrier.arrive.shared.b64 _, [bars], 0;"),
            IllegalInstruction,
            "arrival count 0, expected 1 to 1048575",
        ),
        (
            inited("mbarrier.arrive.noComplete.shared.b64 _, [bars], 2;"),
            IllegalInstruction,
            ".noComplete rules out",
        ),
        (
            inited("mbarrier.init.shared.b64 [bars + 8], 0;"),
            IllegalInstruction,
            "count 0, expected 1 to 1048575",
        ),
        (inited("mbarrier.init.shared.b64 [bars + 8], 0x100000;"), IllegalInstruction, "count 1048576"),
        (inited("mbarrier.init.shared.b64 [bars], 2;"), Finding, "initialised again without mbarrier.inval"),
        (
            inited("mbarrier.expect_tx.shared.b64 [bars], 0x100000;"),
            IllegalInstruction,
            "1048576 bytes expected",
        ),
        (
            inited("mbarrier.complete_tx.shared.b64 [bars], 0x100000;"),
            IllegalInstruction,
            "-1048576 bytes expected",
        ),
        (
            inited("mbarrier.test_wait.parity.shared.b64 %p1, [bars], 2;"),
            IllegalInstruction,
            "phase parity 2, expected 0 or 1",
        ),
        (
            inited(arrive)
                + "mbarrier.arrive.shared.b64 _, [bars]; mbarrier.arrive.shared.b64 _, [bars], 2;
            mbarrier.test_wait.shared.b64 %p1, [bars], %d1;",
            IllegalInstruction,
            "the state is not of its phase nor of the one before",
        ),
    ];
    for (body, kind, message) in cases {
        let fault = Run::of(90, 1).fault(&body);
        assert_eq!(fault.kind, kind, "{body}: {fault}");
        assert!(fault.message.contains(message), "{body}: {fault}");
        assert!(fault.place.text.contains("mbarrier"), "{fault}");
    }
    let again = inited("mbarrier.inval.shared.b64 [bars]; mbarrier.init.shared.b64 [bars], 1;")
        + &inited("mbarrier.init.shared.b64 [bars + 8], 7;");
    assert!(Run::of(90, 1).lenient().run(&again, &[0], 1).is_ok());
}

#[test]
fn what_is_not_exact_does_not_load() {
    let cases = [
        (75, "mbarrier.inval.shared.b64 [bars];", "needs .target sm_80"),
        (80, "mbarrier.try_wait.parity.shared.b64 %p1, [bars], 0;", "needs .target sm_90"),
        (80, "mbarrier.arrive.shared.b64 _, [bars], 2;", "needs .target sm_90"),
        (80, "mbarrier.arrive.expect_tx.shared.b64 _, [bars], 2;", "needs .target sm_90"),
        (80, "mbarrier.arrive.release.cluster.shared.b64 _, [bars];", "needs .target sm_90"),
        (90, "mbarrier.arrive.release.shared.b64 _, [bars];", "ordering and scope go together"),
        (90, "mbarrier.arrive.acquire.cta.shared.b64 _, [bars];", "unknown modifier acquire"),
        (90, "mbarrier.arrive.release.relaxed.cta.shared.b64 _, [bars];", "contradicts"),
        (90, "mbarrier.arrive.shared::cluster.b64 %d1, [bars];", "gives no state"),
        (
            90,
            "mbarrier.arrive.expect_tx.noComplete.shared.b64 %d1, [bars], 1;",
            "operands with these modifiers",
        ),
        (90, "mbarrier.arrive.noComplete.shared.b64 %d1, [bars];", "operands with these modifiers"),
        (90, "mbarrier.test_wait.parity.shared.b64 %p1, [bars], 0, 100;", "has 4 operands"),
        (90, "mbarrier.test_wait.parity.shared.b64 %p1, [bars], %d1;", "expected one of the size"),
        (90, "mbarrier.test_wait.shared::cluster.b64 %p1, [bars], %d1;", "unknown modifier shared::cluster"),
        (90, "mbarrier.init.global.b64 [%in], 1;", "unknown modifier global"),
        (90, "mbarrier.init.shared.b32 [bars], 1;", "unknown form"),
        (90, "mbarrier.arrive.b64 _, [bars];", "not a generic address"),
        (90, "cp.async.mbarrier.arrive.noinc.global.b64 [%in];", "unknown form"),
    ];
    for (arch, body, message) in cases {
        let refusal = refusal(arch, body);
        assert!(refusal.contains(message), "{body}: {refusal}");
    }
}

//! Checks, counters and reports of programs that run on the driver.

mod driver;

use cudarc::driver::sys;
use driver::{
    DEFAULT, KERNELS, context, device, findings, fresh, get, gives, host, kernel, launch, load, ok,
};
use std::process::{Command, Output};

/// A kernel in which all threads of a block store their number to one word.
const RACE: &str = "
.version 8.0
.target sm_75
.address_size 64
.visible .entry race(.param .u64 x)
{
	.reg .b32 %r;
	.reg .b64 %d;
	ld.param.u64 %d, [x];
	mov.u32 %r, %tid.x;
	st.global.u32 [%d], %r;
	ret;
}
";

#[test]
fn a_race_is_a_finding_when_checks_are_on_and_not_otherwise() {
    for (options, code) in [("{}", 0), ("{\"check\": 1, \"quiet\": 1}", 719)] {
        let _turn = fresh(options);
        context();
        let x = device(&[0]);
        ok(launch(kernel(load(RACE), "race"), 1, 64, DEFAULT, &[x]));
        // SAFETY: there is a context.
        gives(unsafe { sys::cuCtxSynchronize() }, code);
        let text = findings();
        assert_eq!(text.contains("race"), code != 0, "{text}");
    }
}

#[test]
fn memory_that_nobody_wrote_is_a_finding_and_a_copy_of_it_stays_one() {
    for filled in [true, false] {
        let _turn = fresh("{\"check\": 1, \"quiet\": 1}");
        context();
        let add = kernel(load(KERNELS), "add");
        // SAFETY: the pointers are to locals, and the ranges lie in the allocations.
        unsafe {
            let (x, y): (u64, u64) =
                (get(|p| sys::cuMemAlloc_v2(p, 128)), get(|p| sys::cuMemAlloc_v2(p, 128)));
            if filled {
                ok(sys::cuMemsetD32_v2(x, 1, 32));
            }
            ok(sys::cuMemcpyDtoD_v2(y, x, 128));
            ok(launch(add, 1, 32, DEFAULT, &[y, 1, 32]));
            match filled {
                true => assert_eq!(host(y, 32), [2; 32]),
                false => gives(sys::cuCtxSynchronize(), 719),
            }
        }
    }
}

/// Runs this test's program again, as the process that the next test looks at.
fn child(counters: &str, kernel: &str) -> Output {
    Command::new(std::env::current_exe().expect("the test has a path"))
        .args(["--ignored", "--exact", "program", "--nocapture"])
        .envs([
            ("CUDA_EMULATOR_REPORT", "1"),
            ("CUDA_EMULATOR_COUNTERS", counters),
            ("PROGRAM_KERNEL", kernel),
        ])
        .env("CUDA_EMULATOR_CHECK", "1")
        .output()
        .expect("the test runs")
}

#[test]
#[ignore = "a program for the tests below, which start it as a process of its own"]
fn program() {
    driver::library();
    // SAFETY: there are no pointers; the context goes as programs let it go.
    unsafe {
        ok(sys::cuInit(0));
        context();
        let (x, module) = (
            device(&[0; 64]),
            load(&(KERNELS.to_string() + RACE.split_once("64\n").expect("it has a head").1)),
        );
        let name = std::env::var("PROGRAM_KERNEL").expect("the test says which kernel");
        let values: &[u64] = if name == "race" { &[x] } else { &[x, 1, 64] };
        ok(launch(kernel(module, &name), 2, 32, DEFAULT, values));
        let _ = sys::cuCtxSynchronize();
        ok(sys::cuDevicePrimaryCtxReset_v2(0));
    }
}

#[test]
fn a_process_with_findings_reports_them_and_exits_with_99() {
    let output = child("-", "race");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(99), "{err}");
    assert!(err.contains("race") && err.contains("finding"), "{err}");
}

#[test]
fn the_counters_of_a_process_are_written_as_json() {
    let file = std::env::temp_dir().join(format!("counters-{}.json", std::process::id()));
    let output = child(&file.to_string_lossy(), "add");
    let json = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    let json: serde_json::Value = serde_json::from_str(&json).expect("the file is JSON");
    assert_eq!(json["launches"][0]["kernel"], "add", "{json}");
    let calls =
        ["cuLaunchKernel", "cuCtxSynchronize", "cuMemFree_v2"].map(|name| json["calls"][name].as_u64());
    assert_eq!(calls, [Some(1), Some(1), None], "{json}");
    let err = String::from_utf8_lossy(&output.stderr);
    // The memory was not freed.
    assert!(err.contains("leak"), "{err}");
}

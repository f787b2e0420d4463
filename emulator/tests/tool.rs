//! The tool, run on this test program itself: it becomes the child that uses the driver.

#![cfg(feature = "tool")]

use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg};
use std::process::{Command, Output};

/// Runs the tool with these options on the test `child` of this program.
fn tool(options: &[&str], child: &str) -> Output {
    let own = std::env::current_exe().expect("this program has a path");
    Command::new(env!("CARGO_BIN_EXE_cuda-emulator"))
        .args(options)
        .arg(own)
        .args(["--exact", child, "--ignored", "--nocapture"])
        .output()
        .expect("the tool runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Adds 1 and 2 in `allocated` elements, with `n` threads at work.
fn add(allocated: usize, n: u32) -> Result<Vec<f32>, cudarc::driver::DriverError> {
    let stream = CudaContext::new(0)?.default_stream();
    let module =
        stream.context().load_module(cudarc::nvrtc::Ptx::from_src(include_str!("ptx/vector_add.ptx")))?;
    let kernel = module.load_function("vector_add")?;
    let a = stream.clone_htod(&vec![1.0f32; allocated])?;
    let b = stream.clone_htod(&vec![2.0f32; allocated])?;
    let mut c = stream.alloc_zeros::<f32>(allocated)?;
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut c).arg(&a).arg(&b).arg(&n);
    // SAFETY: the arguments are those of vector_add; it is on the emulator, which finds accesses out of bounds.
    unsafe { launch.launch(LaunchConfig::for_num_elems(n))? };
    stream.clone_dtoh(&c)
}

#[test]
#[ignore = "runs under the tool only"]
fn child_adds() {
    assert_eq!(add(1000, 1000).expect("the launch succeeds"), vec![3.0; 1000]);
}

#[test]
#[ignore = "runs under the tool only"]
fn child_adds_too_much() {
    // What the program makes of the error is its own affair: this one ignores it.
    let _ = add(1000, 1001);
}

#[test]
fn the_tool_runs_a_program_and_passes_its_exit_code_on() {
    for options in
        [&["--arch", "80"][..], &["--check", "--seed", "3"], &["--schedules", "4"], &["--threads", "2"]]
    {
        let output = tool(options, "child_adds");
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", text(&output));
        assert!(text(&output).contains("no findings"), "{}", text(&output));
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_cuda-emulator"))
        .arg("/no/such/program")
        .output()
        .expect("the tool runs");
    assert_eq!(missing.status.code(), Some(127), "{}", text(&missing));
    for wrong in [&["--chekc", "true"][..], &["--arch", "77", "true"], &["--schedules", "0", "true"], &[]] {
        let refused =
            Command::new(env!("CARGO_BIN_EXE_cuda-emulator")).args(wrong).output().expect("the tool runs");
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {}", text(&refused));
    }
}

#[test]
fn findings_are_reported_and_change_the_exit_code() {
    let output = tool(&["--check"], "child_adds_too_much");
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    let report = text(&output);
    assert!(report.contains("kernel vector_add, block (0,0,0), thread (1000,0,0)"), "{report}");
}

/// Aborts, as a failed assertion in C++ does.
#[test]
#[ignore = "runs under the tool only"]
fn child_aborts() {
    let _ = add(1000, 1001);
    std::process::abort();
}

#[test]
fn findings_are_told_at_once_for_the_program_may_not_end_well() {
    let output = tool(&[], "child_aborts");
    assert_eq!(output.status.code(), None, "killed by a signal: {}", text(&output));
    assert!(text(&output).contains("out of bounds"), "{}", text(&output));
}

#[test]
#[ignore = "runs under the tool only"]
fn child_asks_for_what_is_not_there() {
    let stream = CudaContext::new(0).expect("there is a device").default_stream();
    let text = include_str!("ptx/vector_add.ptx").replace("add.f32", "sad.f32");
    assert!(stream.context().load_module(cudarc::nvrtc::Ptx::from_src(text)).is_err());
}

#[test]
fn the_user_is_told_why_a_module_does_not_load_and_why_there_is_no_device() {
    let output = tool(&[], "child_asks_for_what_is_not_there");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let line =
        include_str!("ptx/vector_add.ptx").lines().position(|l| l.contains("add.f32")).expect("it adds");
    for part in ["cuModuleLoadData", "sad.f32", &format!("line {}", line + 1)] {
        assert!(text(&output).contains(part), "{part}: {}", text(&output));
    }
    let own = std::env::current_exe().expect("this program has a path");
    let output = Command::new(env!("CARGO_BIN_EXE_cuda-emulator"))
        .env("CUDA_EMULATOR_SEED", "seven")
        .arg(own)
        .args(["--exact", "child_adds", "--ignored", "--nocapture"])
        .output()
        .expect("the tool runs");
    assert!(text(&output).contains("option seed is \"seven\", expected a number"), "{}", text(&output));
}

#[test]
fn counters_come_as_a_table_and_as_json() {
    let table = text(&tool(&["--counters"], "child_adds"));
    assert!(table.lines().any(|l| l.starts_with("vector_add")), "{table}");
    let file = std::env::temp_dir().join(format!("cuda-emulator-counters-{}.json", std::process::id()));
    let output = tool(&["--counters-file", &file.to_string_lossy()], "child_adds");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("the file is written")).expect("it is JSON");
    std::fs::remove_file(&file).expect("the file can be removed");
    assert_eq!(json["launches"][0]["kernel"], "vector_add");
    assert_eq!(json["totals"]["read"]["bytes"], 8000);
}

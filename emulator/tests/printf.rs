//! What kernels print: `vprintf` and `__assertfail`.

mod lab;

use cuda_emulator::{
    device::Device,
    machine::{Argument, FaultKind, Machine, Settings},
    memory::Kind,
    ops::print::{Arguments, format},
};
use lab::Lab;
use std::ffi::CString;

/// Arguments from a list; addresses are numbers of texts, from 1.
struct List<'a> {
    values: std::iter::Copied<std::slice::Iter<'a, u64>>,
    texts: &'a [&'a str],
}

impl Arguments for List<'_> {
    type Error = String;

    fn next(&mut self, bytes: u64) -> Result<u64, String> {
        let value = self.values.next().ok_or("too few arguments")?;
        Ok(if bytes == 4 { value & 0xFFFF_FFFF } else { value })
    }

    fn text(&mut self, address: u64, limit: usize) -> Result<Option<Vec<u8>>, String> {
        let text = (address as usize).checked_sub(1).map(|i| self.texts[i].as_bytes());
        Ok(text.map(|t| t[..t.len().min(limit)].to_vec()))
    }

    fn wrong(&self, message: String) -> String {
        message
    }
}

fn print<'a>(text: &str, values: &'a [u64], texts: &'a [&'a str]) -> Result<(String, u32), String> {
    let mut list = List { values: values.iter().copied(), texts };
    let (bytes, taken) = format(text.as_bytes(), &mut list)?;
    Ok((String::from_utf8(bytes).map_err(|e| e.to_string())?, taken))
}

/// What the host's C library makes of a format with one argument.
macro_rules! host {
    ($format:expr, $value:expr) => {{
        let text = CString::new($format).expect("no zero inside");
        let mut buffer = vec![0u8; 8192];
        // SAFETY: the buffer has the length that is passed, the format ends with a zero and takes one argument of the type of the value.
        let n = unsafe { libc::snprintf(buffer.as_mut_ptr().cast(), buffer.len(), text.as_ptr(), $value) };
        buffer.truncate(usize::try_from(n).expect("the host can print it"));
        String::from_utf8(buffer).expect("it is ASCII")
    }};
}

const FLAGS: [&str; 12] = ["", "-", "+", " ", "0", "#", "+0", "-#", "#0", " 0", "+-", "-0"];
const WIDTHS: [&str; 2] = ["", "14"];

/// All flags and widths with these precisions.
fn specs<'a>(precisions: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    FLAGS.iter().flat_map(move |f| {
        WIDTHS.iter().flat_map(move |w| precisions.iter().map(move |p| format!("%{f}{w}{p}")))
    })
}

#[test]
fn integers_look_as_the_c_library_prints_them() {
    let values = [
        0,
        1,
        -1,
        8,
        42,
        -42,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
        0x1234_5678_9ABC_DEF0,
        255,
        128,
    ];
    for spec in specs(&["", ".", ".0", ".1", ".5", ".20"]) {
        for size in ["", "l", "ll", "h", "hh", "z", "j", "t"] {
            for conversion in ["d", "i", "u", "x", "X", "o"] {
                // These mean nothing together.
                if "uxXo".contains(conversion) && (spec.contains('+') || spec.contains(' ')) {
                    continue;
                }
                let f = format!("<{spec}{size}{conversion}>");
                for v in values {
                    let expected = if size.is_empty() || size.starts_with('h') {
                        host!(&*f, v as i32)
                    } else {
                        host!(&*f, v)
                    };
                    let (text, taken) = print(&f, &[v as u64], &[]).expect("the format is right");
                    assert_eq!((text, taken), (expected, 1), "{f} of {v}");
                }
            }
        }
    }
}

#[test]
fn floats_look_as_the_c_library_prints_them() {
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        0.125,
        0.375,
        1e-5,
        1e-4,
        9.9999995,
        999_999.5,
        1e6,
        123_456_789.0,
        1e15,
        1e17,
        1e22,
        1e300,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        3e-310,
        0.1,
        0.05,
        0.95,
        9.5,
        99.5,
        3.0e-320,
        1.0 / 3.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::from_bits(0x3FFF_FFFF_FFFF_FFFF),
        1.03125,
        1.96875,
    ];
    values.extend(
        lab::random(11, 40).chunks_exact(2).map(|w| f64::from_bits(u64::from(w[0]) << 32 | u64::from(w[1]))),
    );
    for spec in specs(&["", ".", ".0", ".1", ".3", ".10", ".17", ".40"]) {
        for conversion in ["f", "F", "e", "E", "g", "G", "a", "A"] {
            let f = format!("<{spec}{conversion}>");
            for &v in &values {
                let (text, _) = print(&f, &[v.to_bits()], &[]).expect("the format is right");
                // glibc (2.36) loses the zeros of `%#g` where rounding reaches the next power of ten.
                let reaches = text.to_lowercase().contains("e+") && v.abs() < 10f64.powi(significant(&f));
                if !(f.contains('#') && conversion.eq_ignore_ascii_case("g") && reaches) {
                    assert_eq!(text, host!(&*f, v), "{f} of {v:e} ({:#x})", v.to_bits());
                }
            }
        }
    }
}

/// The precision of a `%g`.
fn significant(format: &str) -> i32 {
    match format.split_once('.') {
        None => 6,
        Some((_, after)) => after.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0).max(1),
    }
}

#[test]
fn zeros_at_the_end_stay_where_the_flag_asks_for_them() {
    for (f, v, expected) in [
        ("%#g", 999_999.5f64, "1.00000e+06"),
        ("%#.3g", 999.5, "1.00e+03"),
        ("%#.1g", 9.5, "1.e+01"),
        ("%#g", 1.0, "1.00000"),
        ("%g", 999_999.5, "1e+06"),
    ] {
        assert_eq!(print(f, &[v.to_bits()], &[]).expect("the format is right").0, expected, "{f} of {v}");
    }
}

#[test]
fn texts_characters_and_pointers_look_as_the_c_library_prints_them() {
    let c_text = CString::new("kernel").expect("no zero inside");
    for spec in ["%", "%10", "%-10", "%.3", "%10.3", "%-10.0", "%.20"] {
        let f = format!("<{spec}s>");
        assert_eq!(
            print(&f, &[1], &["kernel"]).expect("the format is right").0,
            host!(&*f, c_text.as_ptr()),
            "{f}"
        );
    }
    for spec in ["%", "%5", "%-5"] {
        let f = format!("<{spec}c>");
        assert_eq!(
            print(&f, &[u64::from(b'z')], &[]).expect("the format is right").0,
            host!(&*f, i32::from(b'z')),
            "{f}"
        );
        let f = format!("<{spec}p>");
        for address in [0usize, 0x7f12_3456_7890] {
            let expected = host!(&*f, std::ptr::without_provenance::<u8>(address));
            assert_eq!(print(&f, &[address as u64], &[]).expect("the format is right").0, expected, "{f}");
        }
    }
    assert_eq!(print("%s", &[0], &[]).expect("the format is right").0, "(null)");
}

#[test]
fn widths_and_precisions_may_be_arguments() {
    let (text, taken) = print(
        "%*d|%-*d|%.*f|%*.*f|%*d",
        &[5, 42, 4, 7, 2, 1.5f64.to_bits(), 9, 3, 2.25f64.to_bits(), u64::from((-4i32) as u32), 1],
        &[],
    )
    .expect("the format is right");
    assert_eq!((text.as_str(), taken), ("   42|7   |1.50|    2.250|1   ", 11));
    assert_eq!(
        print("%.*f", &[u64::from((-1i32) as u32), 1.5f64.to_bits()], &[]).expect("the format is right").0,
        "1.500000"
    );
}

#[test]
fn formats_without_meaning_are_refused() {
    for text in ["%", "%5", "%q", "%n", "%l", "%99999d", "%.99999f", "%5$d"] {
        assert!(print(text, &[0, 0], &[]).is_err(), "{text}");
    }
    assert_eq!(print("100%% of %d%%", &[3], &[]).expect("the format is right"), ("100% of 3%".into(), 1));
}

const CONTROL: &[(u32, &[u8])] = &[
    (75, include_bytes!("kernels/ptx/zoo_control.sm_75.ptx")),
    (80, include_bytes!("kernels/ptx/zoo_control.sm_80.ptx")),
    (90, include_bytes!("kernels/ptx/zoo_control.sm_90.ptx")),
    (120, include_bytes!("kernels/ptx/zoo_control.sm_120.ptx")),
];

fn machine(arch: u32) -> Machine {
    Machine::new(Settings::new(Device::for_arch(arch).expect("the emulator has the device")))
}

#[test]
fn a_compiled_kernel_prints_a_line_for_each_thread() {
    for &(arch, text) in CONTROL {
        let mut m = machine(arch);
        let program = m.load(text).expect("the module loads");
        let say = program.kernel("say").expect("the kernel is there");
        let mut params = 100i32.to_le_bytes().to_vec();
        params.extend([0; 4]);
        params.extend(0.5f64.to_le_bytes());
        let launch = cuda_emulator::machine::Launch {
            kernel: say,
            grid: [2, 1, 1],
            block: [3, 1, 1],
            dynamic_shared: 0,
            params,
            ..lab::empty_launch()
        };
        m.launch(&program, &launch).expect("the launch succeeds");
        let expected: String = (0..2)
            .flat_map(|b| {
                (0..3).map(move |t| {
                    format!(
                        "thread {} of block {b}:  {}.{}0 text z {} %\n",
                        100 + t,
                        t / 2,
                        t % 2 * 5,
                        -5_000_000_000i64 - t
                    )
                })
            })
            .collect();
        assert_eq!(String::from_utf8_lossy(&m.watch.output), expected, "sm_{arch}");
    }
}

#[test]
fn a_failed_assertion_names_what_where_and_who() {
    for &(arch, text) in CONTROL {
        let mut m = machine(arch);
        let program = m.load(text).expect("the module loads");
        let x = m.memory.allocate(4 * 64, Kind::Device).expect("there is room");
        for i in 0..64u32 {
            x.write(x.base + 4 * u64::from(i), &i.to_le_bytes());
        }
        let arguments = |limit| [Argument::U64(x.base), Argument::U32(64), Argument::U32(limit)];
        m.run(&program, "check_below", [2, 1, 1], [32, 1, 1], 0, &arguments(64)).expect("all are below");
        let fault = m
            .run(&program, "check_below", [2, 1, 1], [32, 1, 1], 0, &arguments(62))
            .expect_err("two are not");
        assert_eq!(
            (fault.kind, fault.place.block, fault.place.thread),
            (FaultKind::Assert, [1, 0, 0], [30, 0, 0]),
            "{fault}"
        );
        let errors = String::from_utf8_lossy(&m.watch.errors).into_owned();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 2, "{errors}");
        for (i, line) in lines.iter().enumerate() {
            assert!(line.starts_with("zoo_control.cu:") && line.contains("check_below"), "{line}");
            let end = format!(": block: [1,0,0], thread: [{},0,0] Assertion `x[i] < limit` failed.", 30 + i);
            assert!(line.ends_with(&end), "{line}");
        }
    }
}

const DECLARE: &str = ".extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 a);\n.global .align 1 .b8 text[8] = {37, 100, 32, 37, 108, 100, 10, 0};";
const CALL: &str = "{\n.param .b64 p0;\nst.param.b64 [p0], %rd5;\n.param .b64 p1;\nst.param.b64 [p1], %rd6;\n.param .b32 q;\ncall.uni (q), vprintf, (p0, p1);\nld.param.b32 %r9, [q];\n}";

#[test]
fn printf_gives_the_number_of_arguments_and_reads_any_memory() {
    // "%d %ld\n", with the arguments in local and in global memory; odd lanes only.
    let lines = format!(
        ".local .align 8 .b8 spot[16];\nmov.u64 %rd5, text;\nmov.u64 %rd6, spot;\nst.local.u32 [spot], %r0;\nmov.u64 %rd7, 77;\nst.local.u64 [spot+8], %rd7;\n\
         cvta.local.u64 %rd6, %rd6;\nsetp.ge.u32 %p1, %r0, 30;\n@!%p1 bra OUT;\n{CALL}\nst.global.u32 [%rd2], %r9;\nOUT:\n"
    );
    let mut y = vec![0; 32];
    let (machine, result) = Lab::new(lines).module(DECLARE).launch(&[], &mut y);
    result.expect("the launch succeeds");
    assert_eq!(String::from_utf8_lossy(&machine.watch.output), "30 77\n31 77\n");
    assert_eq!(y[29..], [0, 2, 2]);
    let lines =
        format!("mov.u64 %rd5, text;\nadd.u64 %rd6, %rd1, 0;\nsetp.ge.u32 %p1, %r0, 1;\n@%p1 ret;\n{CALL}");
    let (machine, result) = Lab::new(lines).module(DECLARE).launch(&[5, 0, 9, 1], &mut y);
    result.expect("the launch succeeds");
    assert_eq!(String::from_utf8_lossy(&machine.watch.output), "5 4294967305\n");
}

#[test]
fn printf_of_what_is_not_memory_is_a_fault() {
    for lines in [
        "mov.u64 %rd5, 5;\nmov.u64 %rd6, 0;",
        "mov.u64 %rd5, text;\nmov.u64 %rd6, 0;",
        "mov.u64 %rd5, text;\nmov.u64 %rd6, -1;",
    ] {
        let fault = Lab::new(format!("{lines}\n{CALL}")).module(DECLARE).fault(&[], 1);
        assert_eq!(fault.kind, FaultKind::IllegalAddress, "{fault}");
    }
    let wrong = DECLARE.replace("37, 100", "37, 113");
    assert!(
        Lab::new(format!("mov.u64 %rd5, text;\nmov.u64 %rd6, %rd1;\n{CALL}"))
            .module(wrong)
            .fault(&[], 1)
            .message
            .contains("%q")
    );
}

#[test]
fn calls_of_the_runtime_with_other_parameters_are_refused() {
    let call = CALL.replace(".param .b64 p1;", ".param .b32 p1;").replace("st.param.b64 [p1], %rd6;", "");
    assert!(
        Lab::new(call)
            .module(DECLARE.replace(".param .b64 a", ".param .b32 a"))
            .refused()
            .contains("vprintf")
    );
    let unknown = CALL.replace("vprintf", "malloc");
    assert!(Lab::new(unknown).module(DECLARE.replace("vprintf", "malloc")).refused().contains("malloc"));
}

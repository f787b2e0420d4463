//! Matrix instructions in kernels: that they take and give the registers and bytes that PTX says, and when they fault.
//!
//! What they compute is held to references in `tests/tensor`.

#[path = "../lab/mod.rs"]
mod lab;

mod faults;
mod fragments;
mod products;
mod tiles;

/// `{%r4,%r5,%r6}` for a kind of register, the first number and how many.
fn list(kind: &str, first: usize, n: usize) -> String {
    let names: Vec<_> = (first..first + n).map(|i| format!("%{kind}{i}")).collect();
    format!("{{{}}}", names.join(","))
}

/// Loads word `first + i` of each lane (of 32 words a register) into registers, or stores them at `y`.
fn each(op: &str, kind: &str, first_register: usize, first: usize, n: usize) -> String {
    let ty = if kind == "f" { "f32" } else { "u32" };
    let line = |i: usize| {
        let (register, offset) = (first_register + i, 128 * (first + i));
        match op {
            "ld" => format!("ld.global.{ty} %{kind}{register}, [%rd63+{offset}];\n"),
            _ => format!("st.global.{ty} [%rd2+{offset}], %{kind}{register};\n"),
        }
    };
    (0..n).map(line).collect()
}

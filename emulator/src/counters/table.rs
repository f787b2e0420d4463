//! The counts as a table for people.

use super::{Record, Totals};
use std::fmt::Write;

/// One line for each kernel and launch shape (launches of the same are added up), and a line of totals.
pub fn table(records: &[Record]) -> String {
    let mut groups: Vec<(&Record, Totals)> = Vec::new();
    for r in records {
        let one = Totals::of(std::slice::from_ref(r));
        match groups.iter_mut().find(|(g, _)| (&g.kernel, g.grid, g.block) == (&r.kernel, r.grid, r.block)) {
            Some((_, sum)) => sum.add(&one),
            None => groups.push((r, one)),
        }
    }
    let mut text = format!("{HEADER}\n");
    for (r, t) in &groups {
        let shape =
            format!("{}x{}x{} x {}", r.grid[0], r.grid[1], r.grid[2], r.block.iter().product::<u32>());
        line(&mut text, &r.kernel, &shape, t);
    }
    line(&mut text, "total", "", &Totals::of(records));
    text
}

const HEADER: &str = "kernel                           grid x threads     launches  warp instr     read MB  distinct  sec/req  written MB  sec/req  waves/ideal  atomics  barriers  grid bar.   tensor MMA";

fn line(text: &mut String, name: &str, shape: &str, t: &Totals) {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let short: String = name.chars().take(32).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{short:<32} {shape:<18} {:>8} {:>11} {:>11.3} {:>9.3} {:>8.2} {:>11.3} {:>8.2} {:>12.2} {:>8} {:>9} {:>10} {:>12}",
        t.launches,
        t.warp_instructions,
        mb(t.read.bytes),
        mb(t.read.distinct_bytes),
        t.read.sectors_per_request(),
        mb(t.written.bytes),
        t.written.sectors_per_request(),
        t.shared.wavefronts_over_ideal(),
        t.atomic.requests + t.shared.atomics,
        t.barriers,
        t.grid_barriers,
        t.tensor_multiply_adds,
    );
}

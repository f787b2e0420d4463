//! Where the registers of a lane lie in the register file.

use cuda_emulator::{
    device::Device,
    machine::{Machine, Settings},
    program::Width,
};
use std::collections::HashSet;

#[test]
fn pairs_are_never_the_places_of_single_registers() {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let program = Machine::new(Settings::new(device))
        .load(include_bytes!("ptx/vector_add.ptx"))
        .unwrap_or_else(|e| panic!("{e}"));
    // A lane that runs ahead writes its 64-bit values while others still need their 32-bit ones.
    let places = |width| -> HashSet<u32> {
        let uses = program.uses.iter().flatten().filter(|u| u.width == width);
        let registers = if width == Width::Double { 2 } else { 1 };
        uses.flat_map(|u| u.register..u.register + registers).collect()
    };
    let (singles, doubles) = (places(Width::Single), places(Width::Double));
    assert!(!singles.is_empty() && !doubles.is_empty());
    assert!(singles.is_disjoint(&doubles), "{singles:?} and {doubles:?}");
}

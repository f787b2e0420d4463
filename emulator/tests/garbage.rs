//! Modules that are almost right: whatever their bytes are, the emulator gives errors and faults, and never panics.

#[path = "../../fuzz/bodies/module.rs"]
mod body;

use proptest::prelude::*;

/// Modules to change: kernels of every kind, and a fat binary made here of one of them.
fn modules() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 7] = [
        include_bytes!("ptx/vector_add.ptx"),
        include_bytes!("kernels/ptx/layernorm.sm_80.ptx"),
        include_bytes!("kernels/ptx/zoo_warp.sm_80.ptx"),
        include_bytes!("kernels/ptx/zoo_copy.sm_80.ptx"),
        include_bytes!("kernels/ptx/zoo_control.sm_90.ptx"),
        include_bytes!("kernels/ptx/bulk_copy.sm_90.ptx"),
        include_bytes!("kernels/ptx/grid_sync.sm_90.ptx"),
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|t| t.to_vec()).collect();
    all.push(container(texts[0]));
    all
}

/// A fat binary with one uncompressed PTX entry.
fn container(text: &[u8]) -> Vec<u8> {
    let mut entry = vec![0; 64];
    entry[0..2].copy_from_slice(&1u16.to_le_bytes());
    entry[2..4].copy_from_slice(&0x0101u16.to_le_bytes());
    entry[4..8].copy_from_slice(&64u32.to_le_bytes());
    entry[8..16].copy_from_slice(&(text.len() as u64).to_le_bytes());
    entry[28..32].copy_from_slice(&80u32.to_le_bytes());
    entry.extend(text);
    let mut all = cuda_emulator::fatbin::MAGIC.to_le_bytes().to_vec();
    all.extend([1, 0, 16, 0]);
    all.extend((entry.len() as u64).to_le_bytes());
    all.extend(entry);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(
        which in 0..8usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut module = modules().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(module.len());
            module[at] = byte;
        }
        body::run(&module);
    }

    #[test]
    fn exchanged_words_never_panic(which in 0..7usize, pairs in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 1..8)) {
        let module = modules().swap_remove(which);
        let mut words: Vec<&[u8]> = module.split_inclusive(|b| b" ,;\t".contains(b)).collect();
        for [a, b] in pairs {
            let (a, b) = (a.index(words.len()), b.index(words.len()));
            words.swap(a, b);
        }
        body::run(&words.concat());
    }

    #[test]
    fn any_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..600), fat in any::<bool>()) {
        let mut data = data;
        if let (true, Some(magic)) = (fat, data.first_chunk_mut::<4>()) {
            *magic = cuda_emulator::fatbin::MAGIC.to_le_bytes();
        }
        body::run(&data);
    }
}

//! Corpora as plain tests.

use std::path::Path;

/// Runs `body` on every file of a corpus, and on `n_changed` copies of each in which bytes are changed, cut
/// off or doubled. Fails if there are fewer than `n_least` files.
pub fn run_corpus(folder: &Path, n_least: usize, n_changed: usize, body: fn(&[u8])) {
    let entries = std::fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(paths.len() >= n_least, "{} files", paths.len());
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n.max(1)
    };
    for path in paths {
        let data = std::fs::read(&path).expect("its files can be read");
        body(&data);
        for _ in 0..n_changed {
            let mut changed = data.clone();
            for _ in 0..=below(3) {
                let at = below(changed.len());
                match below(4) {
                    0 => changed.truncate(at),
                    1 => changed.extend_from_within(at..),
                    _ if at < changed.len() => changed[at] = below(256) as u8,
                    _ => {}
                }
            }
            body(&changed);
        }
    }
}

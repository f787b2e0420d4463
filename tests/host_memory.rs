//! Memory that the system does not give is an error that says for what it was, and how much. The only test of its file, because it
//! limits its process.
#![cfg(target_os = "linux")]

use halfwarp::{
    Weights,
    backend::{Backend, BackendError, cpu::CpuBackend},
    batch::{Batch, Rows},
    family::parse_config,
};
use std::sync::Arc;

/// Bytes of address space.
fn address_space() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let n_pages: u64 = text.split(' ').next().expect("a number").parse().expect("a number");
    // SAFETY: a plain query.
    n_pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// Lets the process have `more` bytes beside what it has; none lifts the limit.
fn limit(more: Option<u64>) {
    let most = more.map_or(libc::RLIM_INFINITY, |more| address_space() + more);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a whole rlimit, and lives until the call is over.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

#[test]
fn what_the_system_does_not_give_is_an_error_that_names_it() {
    const MIB: u64 = 1 << 20;
    let backend = |n_inner: usize, n_vocab: usize| {
        let json = format!(
            r#"{{"model_type": "gpt2", "vocab_size": {n_vocab}, "n_positions": 64, "n_embd": 8, "n_head": 2, "n_layer": 1,
                "n_inner": {n_inner}}}"#
        );
        CpuBackend::new(Arc::new(Weights::random(parse_config(json.as_bytes()).unwrap(), 1)), Some(1))
    };
    let mut small = backend(32, 1 << 20);
    let mut wide = backend(1 << 20, 61);
    let error = |result: Result<_, BackendError>| {
        limit(None);
        let error = result.map(|_| ()).unwrap_err();
        assert!(error.is_out_of_memory());
        error.to_string()
    };

    limit(Some(512 * MIB));
    let of_wide = wide.new_cache(64).map(|_| ());
    assert_eq!(error(of_wide), "not enough memory for 512 tokens at once: 2147483648 bytes are needed");
    let of_much = small.new_cache(1 << 50).map(|_| ());
    assert!(error(of_much).starts_with("not enough memory for a KV cache of 1125899906842624 tokens: "));
    let of_all = small.new_cache(usize::MAX).map(|_| ());
    assert!(error(of_all).starts_with("not enough memory for a KV cache of "));

    // What failed can be done again, where there is room.
    wide.new_cache(64).unwrap();
    let mut cache = small.new_cache(64).unwrap();
    let seq = cache.open();
    let ids: Vec<u32> = (0..48).collect();
    limit(Some(64 * MIB));
    let of_logits = small.forward(&Batch::one(seq, &ids, Rows::All), &mut cache).map(|_| ());
    assert_eq!(error(of_logits), "not enough memory for the logits of 48 tokens: 201326592 bytes are needed");
    let logits = small.forward(&Batch::one(seq, &ids[..2], Rows::All), &mut cache).unwrap();
    assert!(logits.row(1).unwrap().iter().all(|logit| logit.is_finite()));
}

//! F03 with threads: one session in many hands, and freeing what is in use.

use super::*;
use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

#[test]
fn f03_of_eight_threads_on_one_session_each_gets_it_alone_or_is_told_that_it_is_busy() {
    let session = session();
    let (n_ok, n_busy, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(8));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..20 {
                    let mut n_inside = 0;
                    match generate(session, PROMPT, at_most(3), &mut |_| {
                        n_inside += 1;
                        0
                    }) {
                        (HW_OK, stats) => {
                            assert_eq!((stats.n_generated, n_inside), (3, 3));
                            n_ok.fetch_add(1, Ordering::Relaxed);
                        }
                        (HW_E_BUSY, _) => {
                            assert_eq!(n_inside, 0);
                            n_busy.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{:?}: {}", other.0, last_error()),
                    }
                }
            });
        }
    });
    assert_eq!(n_ok.load(Ordering::Relaxed) + n_busy.load(Ordering::Relaxed), 160);
    assert!(n_ok.load(Ordering::Relaxed) > 0);
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn f03_a_session_is_not_freed_while_it_generates_and_once_after() {
    const N: usize = 4;
    let (session, started, tried) = (session(), Barrier::new(N + 1), Barrier::new(N + 1));
    let n_freed = AtomicUsize::new(0);
    let generating = || {
        let mut n_steps = 0;
        let params = hw_generate_params { ignore_eos: 1, ..at_most(400) };
        let (status, stats) = generate(session, PROMPT, params, &mut |_| {
            n_steps += 1;
            if n_steps == 2 {
                started.wait();
                tried.wait();
            }
            0
        });
        assert_eq!((status, stats.finish), (HW_OK, hw_finish::HW_FINISH_CANCEL as i32));
        assert_eq!(stats.n_generated, 2, "cancelled before the callback returned");
    };
    let freeing = || {
        started.wait();
        assert_eq!(hw_session_free(session), HW_E_BUSY);
        assert_eq!(hw_session_cancel(session), HW_OK);
        tried.wait();
        let mut status = HW_E_BUSY;
        while status == HW_E_BUSY {
            status = hw_session_free(session);
            thread::yield_now();
        }
        // Another one of these threads may have been faster.
        assert!([HW_OK, HW_E_BAD_HANDLE].contains(&status), "{}", last_error());
        n_freed.fetch_add(usize::from(status == HW_OK), Ordering::Relaxed);
    };
    thread::scope(|scope| {
        scope.spawn(generating);
        (0..N).for_each(|_| drop(scope.spawn(freeing)));
    });
    assert_eq!(n_freed.load(Ordering::Relaxed), 1);
}

#[test]
fn f03_an_engine_that_is_freed_while_its_sessions_generate_ends_with_them() {
    let engine = open(8 * 64);
    let sessions = [(); 4].map(|()| session_of(engine));
    let started = Barrier::new(5);
    thread::scope(|scope| {
        for session in sessions {
            let started = &started;
            scope.spawn(move || {
                started.wait();
                let (status, stats) = generate(session, PROMPT, at_most(20), &mut |_| 0);
                assert_eq!((status, stats.n_generated), (HW_OK, 20), "{}", last_error());
                assert_eq!(hw_session_free(session), HW_OK);
            });
        }
        started.wait();
        assert_eq!((hw_engine_free(engine), hw_engine_free(engine)), (HW_OK, HW_E_BAD_HANDLE));
        let mut session = 0;
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { hw_session_open(engine, &mut session) }, HW_E_BAD_HANDLE);
    });
}

#[test]
fn last_error_is_each_threads_own() {
    // SAFETY: NULL is refused.
    assert_eq!(unsafe { hw_session_open(engine(), ptr::null_mut()) }, HW_E_BAD_ARG);
    let elsewhere = thread::spawn(last_error).join().unwrap();
    assert_eq!(elsewhere, "");
    assert_eq!(last_error(), "hw_session_open: session is NULL");
    assert_eq!(hw_session_free(0), HW_OK);
    assert_eq!(last_error(), "hw_session_open: session is NULL", "calls that succeed leave it");
}

//! F02 and F04: panics in the middle of a call, callbacks that panic, re-enter or ask to stop, and texts that are not text.

use super::*;

#[test]
fn f02_a_panic_halfway_leaves_the_session_to_be_freed_and_the_engine_in_order() {
    let (session, other) = (session(), super::session());
    let slot = crate::handle::session(session).expect("it was opened");
    let status = crate::guard::guard("hw_test", || {
        let _held = slot.hold(session)?;
        panic!("halfway");
    });
    assert_eq!(status, HW_E_INTERNAL);
    assert!(last_error().starts_with("hw_test: a bug in this library: halfway"), "{}", last_error());
    assert_eq!(decode(&[(session, &[1], hw_rows::HW_ROWS_LAST)]), HW_E_INTERNAL);
    assert!(last_error().contains("free it"), "{}", last_error());
    assert_eq!(decode(&[(other, &[1], hw_rows::HW_ROWS_LAST)]), HW_OK);
    assert_eq!((hw_session_free(session), hw_session_free(session)), (HW_OK, HW_E_BAD_HANDLE));
    assert_eq!(hw_session_free(other), HW_OK);
}

#[test]
fn f04_a_callback_that_panics_ends_the_call_and_not_the_session() {
    let session = session();
    let mut n_steps = 0;
    let (status, _) = generate(session, PROMPT, at_most(8), &mut |_| {
        n_steps += 1;
        if n_steps == 3 {
            panic!("of the callback's own");
        }
        0
    });
    assert_eq!((status, n_steps), (HW_E_CALLBACK, 3));
    assert!(last_error().contains("of the callback's own"), "{}", last_error());
    let (status, stats) = generate(session, PROMPT, at_most(8), &mut |_| 0);
    assert_eq!((status, stats.n_generated), (HW_OK, 8), "the session goes on");
    assert_eq!(hw_session_free(session), HW_OK);

    unsafe extern "C-unwind" fn progress(_: f32, _: *mut c_void) -> i32 {
        std::panic::panic_any(5_u8)
    }
    let params = hw_engine_params { progress: Some(progress), ..default(hw_engine_params_default) };
    // SAFETY: the pointers are to locals.
    let status = unsafe { hw_engine_open(MODEL.as_ptr(), HW_NTS, &params, &mut 0) };
    assert_eq!(status, HW_E_CALLBACK, "{}", last_error());
    assert!(last_error().contains("without text"), "{}", last_error());
}

#[test]
fn f04_a_callback_that_uses_its_own_session_is_told_that_it_is_busy() {
    let (session, other) = (session(), super::session());
    let (status, stats) = generate(session, PROMPT, at_most(4), &mut |_| {
        assert_eq!(hw_session_free(session), HW_E_BUSY);
        assert_eq!(decode(&[(session, &[1], hw_rows::HW_ROWS_LAST)]), HW_E_BUSY);
        // SAFETY: the pointers may be NULL.
        let nested =
            unsafe { hw_generate(session, PROMPT.as_ptr(), HW_NTS, ptr::null(), ptr::null_mut(), 0) };
        assert_eq!(nested, HW_E_BUSY);
        assert_eq!(decode(&[(other, &[1], hw_rows::HW_ROWS_LAST)]), HW_OK, "others are free");
        0
    });
    assert_eq!((status, stats.n_generated), (HW_OK, 4), "{}", last_error());
    assert_eq!((hw_session_free(session), hw_session_free(other)), (HW_OK, HW_OK));
}

#[test]
fn f04_a_callback_stops_within_one_token() {
    let session = session();
    for n in [1, 5] {
        let mut n_steps = 0;
        let (status, stats) = generate(session, PROMPT, at_most(50), &mut |_| {
            n_steps += 1;
            i32::from(n_steps == n)
        });
        assert_eq!((status, stats.n_generated, n_steps), (HW_OK, n, n));
        assert_eq!(stats.finish, hw_finish::HW_FINISH_CALLBACK as i32);
    }
    let mut n_steps = 0;
    let (status, stats) = generate(session, PROMPT, at_most(50), &mut |_| {
        n_steps += 1;
        assert_eq!(hw_session_cancel(session), HW_OK, "cancelling is always possible");
        0
    });
    assert_eq!((status, stats.finish), (HW_OK, hw_finish::HW_FINISH_CANCEL as i32));
    assert!(n_steps <= 2 && stats.n_generated == 1, "{n_steps} steps");
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn f04_a_progress_that_asks_to_stop_ends_the_loading() {
    unsafe extern "C-unwind" fn progress(fraction: f32, seen: *mut c_void) -> i32 {
        // SAFETY: the test passes this.
        let (seen, stop_at) = unsafe { &mut *seen.cast::<(Vec<f32>, usize)>() };
        seen.push(fraction);
        i32::from(seen.len() == *stop_at)
    }
    for (stop_at, expected) in [(1, HW_E_CANCELLED), (2, HW_E_CANCELLED), (99, HW_OK)] {
        let mut seen = (Vec::<f32>::new(), stop_at);
        let params = hw_engine_params {
            progress: Some(progress),
            progress_user_data: ptr::from_mut(&mut seen).cast(),
            device: CPU,
            ..default(hw_engine_params_default)
        };
        let mut engine = 0;
        // SAFETY: the pointers are to locals.
        let status = unsafe { hw_engine_open(MODEL.as_ptr(), HW_NTS, &params, &mut engine) };
        assert_eq!((status, engine != 0), (expected, expected == HW_OK));
        assert_eq!((seen.0[0], *seen.0.last().unwrap()), (0.0, if stop_at == 1 { 0.0 } else { 1.0 }));
        assert_eq!(hw_engine_free(engine), HW_OK);
    }
}

#[test]
fn f04_what_is_not_text_or_not_a_path_is_bad_arg() {
    let open = |model: &[u8]| {
        // SAFETY: the pointers are to locals.
        unsafe { hw_engine_open(model.as_ptr().cast(), model.len(), ptr::null(), &mut 0) }
    };
    for model in [&b"ta\0les"[..], b"\0", b"", b"ta\xffles", b"\xc3"] {
        assert_eq!(open(model), HW_E_BAD_ARG, "{model:?}");
    }
    assert_eq!(open(b"/no/such/model"), HW_E_NOT_FOUND, "{}", last_error());
    assert!(last_error().contains("/no/such/model"), "{}", last_error());
    let mut n = 0;
    let mut tokenize = |text: &[u8]| {
        let text_len = text.len();
        // SAFETY: as above.
        unsafe { hw_tokenize(engine(), text.as_ptr().cast(), text_len, 0, ptr::null_mut(), 0, &mut n) }
    };
    assert_eq!(tokenize(b"a\xff"), HW_E_BAD_ARG);
    assert_eq!(tokenize(b"a\0b"), HW_E_TOO_SMALL, "a text may hold a NUL");
    let too_long = isize::MAX as usize + 1;
    // SAFETY: a length that no memory has is refused before the pointer is followed.
    let status = unsafe { hw_tokenize(engine(), PROMPT.as_ptr(), too_long, 0, ptr::null_mut(), 0, &mut n) };
    assert_eq!(status, HW_E_BAD_ARG);
}

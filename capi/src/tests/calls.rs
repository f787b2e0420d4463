//! F01 and F03 over every function of the header: one table of valid calls, spoiled in one place at a time.

use super::*;
use crate::args::Growing;

/// Makes one pointer of a call NULL.
struct Nulls {
    at: usize,
    n: Cell<usize>,
}

impl Nulls {
    fn new(at: usize) -> Self {
        Self { at, n: Cell::new(0) }
    }

    fn p<T>(&self, pointer: *mut T) -> *mut T {
        let i = self.n.replace(self.n.get() + 1);
        if i == self.at { ptr::null_mut() } else { pointer }
    }

    /// The same for what is only read.
    fn c<T>(&self, pointer: *const T) -> *const T {
        self.p(pointer.cast_mut())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Engine,
    Session,
}
use Takes::*;

/// A valid call of a function, with handles of an engine and a session.
struct Case {
    name: &'static str,
    takes: Takes,
    call: fn(&Nulls, hw_engine, hw_session) -> hw_status,
}

const IDS: [u32; 3] = [1, 2, 3];

/// Every function that returns a status. Pointers that may not be NULL go through `Nulls`.
fn cases() -> Vec<Case> {
    let case = |name, takes, call| Case { name, takes, call };
    // SAFETY: pointers are to locals and statics of the length that is said, or NULL.
    let mut cases = unsafe {
        vec![
            case("hw_log_set", Nothing, |_, _, _| hw_log_set(None, ptr::null_mut())),
            case("hw_engine_params_default", Nothing, |n, _, _| {
                let mut params = hw_engine_params::DEFAULT;
                hw_engine_params_default(n.p(&mut params), size_of_val(&params))
            }),
            case("hw_sampling_params_default", Nothing, |n, _, _| {
                let mut params = hw_sampling_params::DEFAULT;
                hw_sampling_params_default(n.p(&mut params), size_of_val(&params))
            }),
            case("hw_generate_params_default", Nothing, |n, _, _| {
                let mut params = hw_generate_params::DEFAULT;
                hw_generate_params_default(n.p(&mut params), size_of_val(&params))
            }),
            case("hw_engine_open", Nothing, |n, _, _| {
                let mut engine = 0;
                let status = hw_engine_open(n.c(MODEL.as_ptr()), HW_NTS, ptr::null(), n.p(&mut engine));
                hw_engine_free(engine);
                status
            }),
            case("hw_engine_info", Engine, |n, engine, _| {
                let mut info = hw_info::DEFAULT;
                hw_engine_info(engine, n.p(&mut info), size_of_val(&info))
            }),
            case("hw_engine_device", Engine, |n, engine, _| {
                let (mut text, mut len) = ([0u8; 200], 0);
                hw_engine_device(engine, n.p(text.as_mut_ptr()).cast(), 200, n.p(&mut len))
            }),
            case("hw_tokenize", Engine, |n, engine, _| {
                let (mut ids, mut len) = ([0; 99], 0);
                let text = n.c(PROMPT.as_ptr());
                hw_tokenize(engine, text, HW_NTS, 0, n.p(ids.as_mut_ptr()), 99, n.p(&mut len))
            }),
            case("hw_chat_tokenize", Engine, |n, engine, _| {
                let (mut ids, mut len) = ([0; 99], 0);
                let text = |text: &CStr| hw_text { text: n.c(text.as_ptr()), len: HW_NTS };
                let messages = [hw_message { role: text(c"user"), content: text(c"Hello") }];
                let (template, ids) = (c"{{ messages[0].content }}", n.p(ids.as_mut_ptr()));
                let messages = n.c(messages.as_ptr());
                hw_chat_tokenize(engine, template.as_ptr(), HW_NTS, messages, 1, 1, ids, 99, n.p(&mut len))
            }),
            case("hw_detokenize", Engine, |n, engine, _| {
                let (mut text, mut len) = ([0u8; 99], 0);
                let (ids, text) = (n.c(IDS.as_ptr()), n.p(text.as_mut_ptr()).cast());
                hw_detokenize(engine, ids, 3, text, 99, n.p(&mut len))
            }),
            case("hw_token_bytes", Engine, |n, engine, _| {
                let (mut bytes, mut len) = ([0u8; 99], 0);
                hw_token_bytes(engine, 300, n.p(bytes.as_mut_ptr()), 99, n.p(&mut len))
            }),
            case("hw_engine_free", Engine, |_, engine, _| match engine == super::engine() {
                true => hw_engine_free(open(512)),
                false => hw_engine_free(engine),
            }),
        ]
    };
    cases.extend(session_cases());
    cases
}

fn session_cases() -> Vec<Case> {
    let case = |name, takes, call| Case { name, takes, call };
    // SAFETY: as above.
    unsafe {
        vec![
            case("hw_session_open", Engine, |n, engine, _| {
                let mut session = 0;
                let status = hw_session_open(engine, n.p(&mut session));
                hw_session_free(session);
                status
            }),
            case("hw_session_fork", Session, |n, _, session| {
                let mut fork = 0;
                let status = hw_session_fork(session, n.p(&mut fork));
                hw_session_free(fork);
                status
            }),
            case("hw_session_cancel", Session, |_, _, session| hw_session_cancel(session)),
            case("hw_session_tokens", Session, |n, _, session| {
                let (mut ids, mut len) = ([0; 512], 0);
                hw_session_tokens(session, n.p(ids.as_mut_ptr()), 512, n.p(&mut len))
            }),
            case("hw_generate", Session, |n, _, session| {
                let params = at_most(1);
                hw_generate(session, n.c(PROMPT.as_ptr()), HW_NTS, &params, ptr::null_mut(), 0)
            }),
            case("hw_generate_tokens", Session, |n, _, session| {
                let params = at_most(1);
                hw_generate_tokens(session, n.c(IDS.as_ptr()), 3, &params, ptr::null_mut(), 0)
            }),
            case("hw_session_truncate", Session, |_, _, session| {
                hw_session_truncate(session, 2, ptr::null_mut())
            }),
            case("hw_decode", Session, |n, _, session| {
                let tokens = n.c(IDS.as_ptr());
                let rows = hw_rows::HW_ROWS_ALL as i32;
                let turn = hw_turn { session, tokens, n_tokens: 3, rows, phase: 0 };
                hw_decode(n.c(&turn), 1, size_of_val(&turn))
            }),
            case("hw_session_logits", Session, |n, _, session| {
                let (mut logits, mut len) = ([0.0; 4096], 0);
                hw_session_logits(session, 0, n.p(logits.as_mut_ptr()), 4096, n.p(&mut len))
            }),
            case("hw_session_sample", Session, |n, _, session| {
                hw_session_sample(session, ptr::null(), 0, n.p(&mut 0))
            }),
            case("hw_session_free", Session, |_, _, session| match tokens_before_free(session) {
                true => hw_session_free(super::session()),
                false => hw_session_free(session),
            }),
        ]
    }
}

/// Whether `session` can be used, which a valid call of hw_session_free must not end.
fn tokens_before_free(session: hw_session) -> bool {
    let mut n = 0;
    // SAFETY: the pointer is to a local.
    let status = unsafe { hw_session_tokens(session, ptr::null_mut(), 0, &mut n) };
    matches!(status, HW_OK | HW_E_TOO_SMALL)
}

/// The functions that the header declares.
fn declared() -> Vec<&'static str> {
    let header = include_str!("../../include/halfwarp.h");
    let lines = header.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    let mut names: Vec<_> = lines
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("hw_"))
        .collect();
    names.sort();
    names
}

#[test]
fn f01_null_for_each_pointer_is_bad_arg() {
    let _turn = log_turn();
    let (engine, session) = (engine(), session());
    for case in cases() {
        for at in 0.. {
            let nulls = Nulls::new(at);
            let status = (case.call)(&nulls, engine, session);
            if at >= nulls.n.get() {
                assert_eq!(status, HW_OK, "{}: {}", case.name, last_error());
                break;
            }
            assert_eq!(status, HW_E_BAD_ARG, "{} with pointer {at} NULL", case.name);
            assert!(last_error().starts_with(&format!("{}: ", case.name)), "{}", last_error());
            assert!(last_error().contains("NULL"), "{}", last_error());
        }
    }
    assert_eq!(hw_session_free(session), HW_OK);
    assert_eq!((hw_engine_free(0), hw_session_free(0)), (HW_OK, HW_OK), "freeing nothing does nothing");
}

#[test]
fn f02_a_panic_in_any_function_is_an_error_with_its_text() {
    let _turn = log_turn();
    let (engine, session) = (engine(), session());
    let mut names = Vec::new();
    for case in cases() {
        ARMED.set(Some(case.name));
        let status = (case.call)(&Nulls::new(usize::MAX), engine, session);
        ARMED.set(None);
        assert_eq!(status, HW_E_INTERNAL, "{}", case.name);
        let text = last_error();
        assert!(text.contains(&format!("armed in {}", case.name)) && text.contains("tests/mod.rs"), "{text}");
        names.push(case.name);
    }
    // These return what they have.
    names.extend(["hw_version", "hw_abi_version", "hw_status_name", "hw_last_error"]);
    names.sort();
    assert_eq!(names, declared(), "the table and the header have the same functions");
    assert!(tokens_of(session).is_empty(), "the session can still be used");
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn f03_a_handle_that_was_freed_never_was_or_is_of_the_other_kind_is_refused() {
    let (engine, session) = (engine(), session());
    let (old_engine, old_session) = (open(64), super::session());
    assert_eq!((hw_session_free(old_session), hw_engine_free(old_engine)), (HW_OK, HW_OK));
    for case in cases() {
        let spoiled = match case.takes {
            Nothing => continue,
            Engine => [old_engine, session, 0x1234, u64::MAX],
            Session => [old_session, engine, 0x1234, u64::MAX],
        };
        for handle in spoiled {
            let status = (case.call)(&Nulls::new(usize::MAX), handle, handle);
            assert_eq!(status, HW_E_BAD_HANDLE, "{} with {handle:#x}: {}", case.name, last_error());
        }
        let frees = case.name == "hw_engine_free" || case.name == "hw_session_free";
        if !frees {
            assert_eq!((case.call)(&Nulls::new(usize::MAX), 0, 0), HW_E_BAD_HANDLE, "{}", case.name);
        }
    }
    assert_eq!(hw_session_free(session), HW_OK);
}

#[test]
fn f01_a_buffer_that_is_too_small_gets_the_size_and_nothing_else() {
    let engine = engine();
    let text = PROMPT.as_ptr();
    for capacity in [0, 1, 3] {
        let (mut ids, mut n) = ([u32::MAX; 8], 0);
        // SAFETY: the pointers are to locals of at least that size.
        let status = unsafe { hw_tokenize(engine, text, HW_NTS, 0, ids.as_mut_ptr(), capacity, &mut n) };
        assert_eq!((status, n, ids), (HW_E_TOO_SMALL, 4, [u32::MAX; 8]), "capacity {capacity}");
    }
    let (mut bytes, mut n) = ([0xaau8; 3], 0);
    // SAFETY: as above.
    let status = unsafe { hw_detokenize(engine, IDS.as_ptr(), 3, bytes.as_mut_ptr().cast(), 2, &mut n) };
    assert_eq!((status, bytes), (HW_E_TOO_SMALL, [0xaa; 3]));
    // SAFETY: as above.
    let status = unsafe { hw_engine_device(engine, ptr::null_mut(), 0, &mut n) };
    assert_eq!((status, n > 3), (HW_E_TOO_SMALL, true));
    // SAFETY: as above.
    let status = unsafe { hw_tokenize(engine, ptr::null(), 0, 0, ptr::null_mut(), 0, &mut n) };
    assert_eq!((status, n), (HW_OK, 0), "an empty text needs no room");
}

#[test]
fn a_conversation_is_read_as_the_template_says() {
    let text = |text: &'static CStr| hw_text { text: text.as_ptr(), len: HW_NTS };
    let messages = [
        hw_message { role: text(c"user"), content: text(c"a<|endoftext|>") },
        hw_message { role: text(c"assistant"), content: text(c"b") },
    ];
    let tokens = |template: Option<&CStr>, prompt: i32| {
        let (mut ids, mut n) = ([0; 99], 0);
        let template = template.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: the pointers are to locals of at least that size.
        let status = unsafe {
            hw_chat_tokenize(
                engine(),
                template,
                HW_NTS,
                messages.as_ptr(),
                2,
                prompt,
                ids.as_mut_ptr(),
                99,
                &mut n,
            )
        };
        (status, ids[..n].to_vec())
    };
    let template = c"{% for m in messages %}{{ m.role }}:{{ m.content }}<|endoftext|>{% endfor %}{% if add_generation_prompt %}!{% endif %}";
    let special = |text: &CStr| {
        let (mut ids, mut n) = ([0; 99], 0);
        // SAFETY: as above.
        let status = unsafe { hw_tokenize(engine(), text.as_ptr(), HW_NTS, 1, ids.as_mut_ptr(), 99, &mut n) };
        assert_eq!(status, HW_OK);
        ids[..n].to_vec()
    };
    let end = special(c"<|endoftext|>")[0];
    for (prompt, last) in [(0, end), (1, special(c"!")[0])] {
        let (status, ids) = tokens(Some(template), prompt);
        assert_eq!((status, ids.last()), (HW_OK, Some(&last)));
        assert_eq!(ids.iter().filter(|&&id| id == end).count(), 2, "a message's own stays text");
    }
    assert_eq!(tokens(None, 1).0, HW_E_NO_TEMPLATE);
    assert_eq!(tokens(Some(c"no/such/file"), 1).0, HW_E_BAD_ARG);
    assert_eq!(tokens(Some(c"{{ raise_exception('so not') }}"), 1).0, HW_E_BAD_ARG);
    assert!(last_error().contains("so not"), "{}", last_error());
}

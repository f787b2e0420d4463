//! Any sequence of calls of the C ABI, with handles that are open, freed or never were: each ends with a status of the header, writes
//! nothing beyond what it was given, and is never a bug of the library.
//!
//! Input: a byte for each call, and one for each thing that it takes.

use crate::{decode::*, engine::*, generate::*, session::*, text::*, types::hw_status::*, types::*};
use std::{ptr, sync::LazyLock};

/// One engine for all sequences; its cache is small enough to be full now and then.
static ENGINE: LazyLock<hw_engine> = LazyLock::new(|| {
    let params = hw_engine_params {
        n_cache: 512,
        device: hw_device::HW_DEVICE_CPU as i32,
        n_threads: 1,
        ..<hw_engine_params as crate::args::Growing>::DEFAULT
    };
    let mut engine = 0;
    // SAFETY: the pointers are to locals, and the text ends with a NUL.
    let status = unsafe { hw_engine_open(c"tales".as_ptr(), HW_NTS, &params, &mut engine) };
    assert_eq!(status, HW_OK);
    engine
});

/// What no call is allowed to write over.
const UNTOUCHED: u32 = 0xdead_beef;

/// Room for what a call writes; it is told of a part alone.
struct Room {
    values: [u32; 80],
    capacity: usize,
    n: usize,
}

impl Room {
    fn new(capacity: u8) -> Self {
        Self { values: [UNTOUCHED; 80], capacity: usize::from(capacity % 64), n: 0 }
    }

    fn pointer<T>(&mut self) -> *mut T {
        self.values.as_mut_ptr().cast()
    }

    /// `width` bytes of each value count.
    fn check(&self, width: usize) {
        let n_written = (self.capacity * width).div_ceil(4);
        assert!(self.values[n_written..].iter().all(|&value| value == UNTOUCHED), "beyond {}", self.capacity);
    }
}

struct Calls<'a> {
    input: &'a [u8],
    /// The engine, what is none, and sessions, some of them freed.
    handles: Vec<u64>,
}

impl Calls<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        byte
    }

    fn handle(&mut self) -> u64 {
        let at = usize::from(self.byte());
        self.handles[at % self.handles.len()]
    }

    /// Some token ids; one in eight is out of range.
    fn ids(&mut self) -> Vec<u32> {
        let n = self.byte() % 24;
        (0..n).map(|_| (u32::from(self.byte()) * 577) % 4681).collect()
    }

    fn sampling(&mut self) -> hw_sampling_params {
        let number = |byte: u8| f32::from(byte as i8) / 64.0;
        hw_sampling_params {
            temperature: number(self.byte()),
            top_p: number(self.byte()),
            repetition_penalty: number(self.byte()),
            top_k: self.byte().into(),
            seed: self.byte().into(),
            ..<hw_sampling_params as crate::args::Growing>::DEFAULT
        }
    }

    fn open(&mut self, status: hw_status, session: hw_session) -> hw_status {
        match status {
            HW_OK => self.handles.push(session),
            _ => assert_eq!(session, 0, "a call that failed made a session"),
        }
        status
    }

    fn call(&mut self) -> hw_status {
        let (mut session, mut room) = (0, Room::new(0));
        // SAFETY: all pointers below are to locals, which live until the call is over, with the sizes that they have.
        unsafe {
            match self.byte() % 14 {
                0 => {
                    let status = hw_session_open(self.handle(), &mut session);
                    self.open(status, session)
                }
                1 => {
                    let status = hw_session_fork(self.handle(), &mut session);
                    self.open(status, session)
                }
                2 => match self.handle() {
                    engine if engine == *ENGINE => hw_session_free(engine),
                    handle if self.byte().is_multiple_of(8) => hw_engine_free(handle),
                    handle => hw_session_free(handle),
                },
                3 => hw_session_cancel(self.handle()),
                4 => {
                    room = Room::new(self.byte());
                    let status = hw_session_tokens(self.handle(), room.pointer(), room.capacity, &mut room.n);
                    room.check(4);
                    status
                }
                5 => hw_session_truncate(self.handle(), self.byte().into(), &mut room.n),
                6 => {
                    let turns: Vec<_> = (0..self.byte() % 4)
                        .map(|_| (self.handle(), self.ids(), self.byte() as i8, self.byte() as i8))
                        .collect();
                    let turns: Vec<_> = turns
                        .iter()
                        .map(|(session, ids, rows, phase)| hw_turn {
                            session: *session,
                            tokens: ids.as_ptr(),
                            n_tokens: ids.len(),
                            rows: (*rows % 4).into(),
                            phase: (*phase % 3).into(),
                        })
                        .collect();
                    hw_decode(turns.as_ptr(), turns.len(), size_of::<hw_turn>())
                }
                7 => {
                    room = Room::new(self.byte());
                    let (session, row) = (self.handle(), self.byte().into());
                    let status = hw_session_logits(session, row, room.pointer(), room.capacity, &mut room.n);
                    room.check(4);
                    status
                }
                8 => {
                    let (session, params, n_prompt) = (self.handle(), self.sampling(), self.byte());
                    hw_session_sample(session, &params, n_prompt.into(), room.pointer())
                }
                9 | 10 => self.generate(),
                which => self.convert(which - 11),
            }
        }
    }

    /// A text to tokens, tokens to a text, or the bytes of a token.
    fn convert(&mut self, which: u8) -> hw_status {
        let mut room = Room::new(self.byte());
        let engine = self.handle();
        // SAFETY: as in `call`.
        let (status, len) = unsafe {
            match which {
                0 => {
                    let text: Vec<u8> = self.ids().iter().map(|&id| id as u8).collect();
                    let (bytes, len, special) = (text.as_ptr().cast(), text.len(), self.byte().into());
                    let (to, capacity) = (room.pointer(), room.capacity);
                    (hw_tokenize(engine, bytes, len, special, to, capacity, &mut room.n), 4)
                }
                1 => {
                    let (ids, to, capacity) = (self.ids(), room.pointer(), room.capacity);
                    (hw_detokenize(engine, ids.as_ptr(), ids.len(), to, capacity, &mut room.n), 1)
                }
                _ => {
                    let (id, to, capacity) = (u32::from(self.byte()) * 17, room.pointer(), room.capacity);
                    (hw_token_bytes(engine, id, to, capacity, &mut room.n), 1)
                }
            }
        };
        room.check(len);
        status
    }

    fn generate(&mut self) -> hw_status {
        let (session, ids, sampling) = (self.handle(), self.ids(), self.sampling());
        let flags = self.byte();
        let params = hw_generate_params {
            sampling: if flags & 1 == 0 { ptr::null() } else { &sampling },
            max_tokens: usize::from(self.byte() % 4),
            min_tokens: usize::from(self.byte() % 4),
            stop_tokens: ids.as_ptr(),
            n_stop_tokens: if flags & 2 == 0 { 0 } else { ids.len() },
            ignore_eos: (flags >> 2 & 1).into(),
            echo: (flags >> 3 & 1).into(),
            logprobs: (flags >> 4 & 1).into(),
            n_top: self.byte().into(),
            ..<hw_generate_params as crate::args::Growing>::DEFAULT
        };
        // SAFETY: the pointers are to locals, with the sizes that they have; no statistics are asked for.
        unsafe { hw_generate_tokens(session, ids.as_ptr(), ids.len(), &params, ptr::null_mut(), 0) }
    }
}

/// Returns how many calls succeeded.
pub fn run(data: &[u8]) -> usize {
    let mut calls = Calls { input: data, handles: vec![*ENGINE, 0, u64::MAX] };
    let mut n_done = 0;
    while !calls.input.is_empty() && calls.handles.len() < 12 {
        let status = calls.call();
        assert!(!matches!(status, HW_E_INTERNAL | HW_E_DEVICE | HW_E_MODEL | HW_E_CALLBACK), "{status:?}");
        n_done += usize::from(status == HW_OK);
    }
    for &handle in &calls.handles[3..] {
        // Freed by the sequence itself, or now.
        assert!(matches!(hw_session_free(handle), HW_OK | HW_E_BAD_HANDLE));
    }
    n_done
}

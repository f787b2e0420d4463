//! Who runs when: the queue, cancellation, chunks beside running texts, and the end.

use crate::{
    rig::{params, request, scheduler, together},
    tales,
    watched::watched,
};
use halfwarp::{
    Error, Scheduler,
    batch::Phase,
    scheduler::{Event, SchedulerOptions},
};
use std::time::{Duration, Instant};

const PROMPT: [u32; 5] = [11, 12, 13, 14, 15];

/// Waits until `is_so`, for at most ten seconds.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(10), "waited for ever until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_full_queue_refuses_all_of_a_request_and_takes_it_later() {
    let (engine, _calls, permit) = watched(4 * 512);
    let options = SchedulerOptions { n_running: 1, n_waiting: 2, n_chunk: 64 };
    let scheduler = Scheduler::new(engine, options).unwrap();
    let first = scheduler.generate(request(&PROMPT, &params(3))).unwrap();
    let two = vec![request(&PROMPT, &params(1)); 2];
    let ticket = scheduler.submit(two.clone(), |_, _| {}).unwrap();
    for n in [1, 2, 10_000] {
        let error = scheduler.submit(vec![two[0].clone(); n], |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::QueueFull { n_open: 3, limit: 3, .. }), "{error}");
    }
    drop(permit);
    assert!(matches!(first.last(), Some(Event::Done(_))));
    wait_until("the queue is empty", || scheduler.n_open() == 0);
    drop(ticket);
    assert!(together(&scheduler, two).iter().all(Result::is_ok));
}

#[test]
fn a_text_that_is_not_acceptable_is_refused_before_it_waits() {
    let scheduler = scheduler(&tales(512), 2, 64);
    let bad = [
        (request(&[4096], &params(1)), "token id 4096 out of range 0..=4095"),
        (request(&[], &params(1)), "the prompt has no tokens"),
        (request(&[1; 513], &params(0)), "maximum context length is 512 tokens; the prompt has 513"),
        (request(&[1; 500], &params(13)), "the prompt has 500 and 13 more were asked for"),
    ];
    for (request, expected) in bad {
        let error = scheduler.generate(request).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(scheduler.n_open(), 0);
}

#[test]
fn a_cache_smaller_than_the_context_is_refused() {
    let error = Scheduler::new(tales(256), SchedulerOptions::default()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the KV cache holds 256 tokens, expected at least the model's context of 512"
    );
}

/// S04: dropped while it waits, in its prompt and in its answer; its pages are free after the forward call that is under way.
#[test]
fn a_cancelled_text_frees_its_pages_within_a_step() {
    for (n_calls_before, what) in [(1, "in the prompt"), (4, "in the answer")] {
        let (engine, calls, permit) = watched(4 * 512);
        let scheduler = scheduler(&engine, 1, 64);
        let events = scheduler.generate(request(&[9; 300], &params(100))).unwrap();
        let waiting = scheduler.generate(request(&PROMPT, &params(100))).unwrap();
        for _ in 0..n_calls_before {
            permit.send(()).unwrap();
            calls.recv().unwrap();
        }
        calls.recv().unwrap();
        // One call more is under way: it ends, and no other begins for either of the two.
        drop((events, waiting));
        permit.send(()).unwrap();
        wait_until("both texts ended", || scheduler.n_open() == 0);
        assert_eq!(scheduler.load().n_pages_used, 0, "{what}");
        assert!(calls.try_recv().is_err(), "{what}: nothing was computed for those who left");
    }
}

#[test]
fn a_cancelled_text_ends_as_such_with_what_it_has() {
    let scheduler = scheduler(&tales(512), 1, 64);
    let params = params(400);
    let mut events = scheduler.generate(request(&PROMPT, &params)).unwrap();
    assert!(matches!(events.next(), Some(Event::Step(_))));
    params.cancel.cancel();
    let last = events.last();
    let Some(Event::Done(completion)) = last else { panic!("{last:?}") };
    assert_eq!(completion.finish_reason.as_str(), "cancel");
    assert!(completion.token_ids.len() < 400);
}

/// A prompt of 400 tokens comes in chunks while another text goes on, one token each call.
#[test]
fn a_long_prompt_does_not_stall_a_running_text() {
    let (engine, calls, permit) = watched(4 * 512);
    drop(permit);
    let scheduler = scheduler(&engine, 4, 64);
    let mut first = scheduler.generate(request(&PROMPT, &params(300))).unwrap();
    assert!(matches!(first.next(), Some(Event::Step(_))));
    together(&scheduler, vec![request(&[9; 400], &params(1))]);
    drop(first);
    wait_until("all ended", || scheduler.n_open() == 0);
    let calls: Vec<_> = calls.try_iter().skip(1).collect();
    let chunks: Vec<usize> = calls
        .iter()
        .filter(|call| call.contains(&(Phase::Generated, 1)))
        .flatten()
        .filter(|(phase, _)| *phase == Phase::Prompt)
        .map(|&(_, n_tokens)| n_tokens)
        .collect();
    assert_eq!(chunks, [64, 64, 64, 64, 64, 64, 16], "each beside a token of the other text");
}

#[test]
fn a_closed_scheduler_ends_what_it_has_and_takes_no_more() {
    let (engine, _calls, permit) = watched(4 * 512);
    let scheduler = scheduler(&engine, 1, 64);
    let events = [3, 4].map(|n| scheduler.generate(request(&PROMPT, &params(n))).unwrap());
    scheduler.close();
    assert!(matches!(scheduler.generate(request(&PROMPT, &params(1))), Err(Error::Closed)));
    drop(permit);
    for (events, n_tokens) in events.into_iter().zip([3, 4]) {
        assert_eq!(events.filter(|event| matches!(event, Event::Step(_))).count(), n_tokens);
    }
}

#[test]
fn dropping_the_scheduler_cancels_its_texts() {
    let (engine, _calls, permit) = watched(4 * 512);
    let scheduler = scheduler(&engine, 1, 64);
    let events = [(); 3].map(|()| scheduler.generate(request(&PROMPT, &params(400))).unwrap());
    drop(permit);
    let engine = scheduler.engine().clone();
    drop(scheduler);
    assert_eq!(engine.n_cache_free(), 4 * 512, "all pages are back");
    for events in events {
        let last = events.last();
        let Some(Event::Done(completion)) = last else { panic!("{last:?}") };
        assert_eq!(completion.finish_reason.as_str(), "cancel");
    }
}

/// The queue is first come, first served: nobody waits for ever behind those who came later.
#[test]
fn texts_begin_in_the_order_in_which_they_came() {
    let engine = tales(512);
    let scheduler = scheduler(&engine, 3, 64);
    let (sender, receiver) = std::sync::mpsc::channel();
    let requests = (0..12).map(|i| request(&[i + 3; 40], &params(20))).collect();
    let on_event = move |index, event| {
        if let Event::Step(_) = event {
            let _ = sender.send(index);
        }
    };
    let ticket = scheduler.submit(requests, on_event).unwrap();
    let mut order: Vec<usize> = Vec::new();
    for index in receiver {
        if !order.contains(&index) {
            order.push(index);
        }
    }
    drop(ticket);
    assert_eq!(order, (0..12).collect::<Vec<_>>());
}

//! Who gets how much: places and queue between tenants, and a batch's tokens between prompts.

use crate::{
    order::wait_until,
    rig::{alone, bits, params, request, scheduler, together},
    tales,
    watched::watched,
};
use halfwarp::{
    Error, Scheduler,
    batch::Phase,
    scheduler::{Event, Request, SchedulerOptions},
};
use std::{sync::mpsc::channel, time::Duration};

fn of(tenant: u64, ids: &[u32], max_tokens: usize) -> Request {
    Request { tenant, ..request(ids, &params(max_tokens)) }
}

/// Two calls after it came: the one that was under way, and one with its prompt.
#[test]
fn a_tenant_who_has_all_places_gives_one_up_and_loses_no_bit() {
    let (engine, calls, permit) = watched(8 * 512);
    let scheduler = scheduler(&engine, 4, 64);
    let prompt = |i: u32| vec![i + 3; 40];
    let many: Vec<_> = (0..8).map(|i| scheduler.generate(of(1, &prompt(i), 30)).unwrap()).collect();
    // Four run, in their answers.
    for _ in 0..8 {
        permit.send(()).unwrap();
        calls.recv().unwrap();
    }
    calls.recv().unwrap();
    wait_until("four run", || scheduler.load().n_running == 4);
    let (sender, events) = channel();
    let _ticket =
        scheduler.submit(vec![of(2, &[9, 8, 7], 3)], move |_, event| drop(sender.send(event))).unwrap();
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    let first = events.recv_timeout(Duration::from_secs(10)).expect("a token after two calls");
    assert!(matches!(first, Event::Step(_)), "{first:?}");
    wait_until("it is counted", || scheduler.load().n_preempted == 1);
    drop(permit);
    assert!(matches!(events.iter().last(), Some(Event::Done(_))));
    for (i, events) in many.into_iter().enumerate() {
        let Some(Event::Done(completion)) = events.last() else { panic!("text {i} failed") };
        assert_eq!(bits(&completion), bits(&alone(&tales(512), &prompt(i as u32), &params(30))), "text {i}");
    }
}

#[test]
fn a_queue_that_others_have_filled_has_a_share_for_everybody() {
    let (engine, _calls, permit) = watched(4 * 512);
    let options = SchedulerOptions { n_running: 1, n_waiting: 15, n_chunk: 64 };
    let scheduler = Scheduler::new(engine, options).unwrap();
    let submit = |tenant, n| scheduler.submit(vec![of(tenant, &[5, 6], 1); n], |_, _| {});
    let mut tickets = vec![submit(1, 16).unwrap()];
    for (tenant, n_accepted) in [(1, 0), (2, 2), (3, 2)] {
        tickets.extend((0..n_accepted).map(|_| submit(tenant, 1).unwrap()));
        let error = submit(tenant, 1).unwrap_err();
        assert!(matches!(error, Error::QueueFull { limit: 16, .. }), "tenant {tenant}: {error}");
    }
    assert_eq!((scheduler.n_open(), scheduler.n_open_of(1), scheduler.n_open_of(2)), (20, 16, 2));
    drop(permit);
    wait_until("all have ended", || scheduler.n_open() == 0);
    assert_eq!([1, 2, 3].map(|tenant| scheduler.n_open_of(tenant)), [0; 3]);
    assert!(submit(2, 16).is_ok(), "who is alone has all of it");
}

/// The phases and lengths of a text's calls beside one that is being generated.
#[test]
fn a_prompts_share_of_a_call_grows_while_it_waits_long() {
    let (engine, calls, permit) = watched(4 * 512);
    drop(permit);
    let scheduler = scheduler(&engine, 4, 16);
    let mut first = scheduler.generate(of(0, &[11, 12, 13], 300)).unwrap();
    assert!(matches!(first.next(), Some(Event::Step(_))));
    together(&scheduler, vec![of(0, &[9; 400], 1)]);
    together(&scheduler, vec![of(0, &[8; 40], 1)]);
    drop(first);
    wait_until("all ended", || scheduler.n_open() == 0);
    let beside = calls.try_iter().filter(|call| call.contains(&(Phase::Generated, 1)));
    let prompts = beside.flatten().filter(|(phase, _)| *phase == Phase::Prompt);
    let chunks: Vec<usize> = prompts.map(|(_, n_tokens)| n_tokens).collect();
    let long = [16, 16, 16, 16, 16, 16, 16, 16, 32, 64, 64, 64, 48];
    assert_eq!(chunks, [&long[..], &[16, 16, 8]].concat(), "and is small again for the next one");
}

#[test]
fn a_short_prompt_does_not_wait_behind_a_long_one() {
    let (engine, calls, permit) = watched(4 * 512);
    let scheduler = scheduler(&engine, 4, 64);
    let _first = scheduler.generate(of(0, &[11, 12, 13], 300)).unwrap();
    permit.send(()).unwrap();
    let _long = scheduler.generate(of(0, &[9; 400], 1)).unwrap();
    let prompts = |call: &[(Phase, usize)]| -> Vec<usize> {
        call.iter().filter(|(phase, _)| *phase == Phase::Prompt).map(|&(_, n)| n).collect()
    };
    // Until the long prompt is under way.
    while prompts(&calls.recv_timeout(Duration::from_secs(10)).unwrap()) != [64] {
        permit.send(()).unwrap();
    }
    let _short = scheduler.generate(of(0, &[7; 20], 1)).unwrap();
    permit.send(()).unwrap();
    let call = calls.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(prompts(&call), [20, 44], "all of the short one, then of the long one what fits");
    drop(permit);
}

#[test]
fn a_long_prompt_does_not_wait_for_ever_behind_short_ones() {
    let (engine, _calls, permit) = watched(8 * 512);
    let scheduler = scheduler(&engine, 4, 16);
    // One that is generated, the long one, and short ones that would take all there is.
    let mut requests = vec![of(0, &[11, 12, 13], 400), of(0, &[9; 300], 1)];
    requests.extend((0..62).map(|i| of(0, &[100 + i; 16], 1)));
    let (sender, events) = channel();
    let on_event = move |index, event| {
        if let Event::Done(_) = event {
            let _ = sender.send(index);
        }
    };
    let ticket = scheduler.submit(requests, on_event).unwrap();
    drop(permit);
    let order: Vec<usize> = (0..63).map(|_| events.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
    drop(ticket);
    let n_before = order.iter().position(|&index| index == 1).expect("the long one ended");
    assert!((5..50).contains(&n_before), "{n_before} short ones ended before it");
}

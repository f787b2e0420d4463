//! What fails takes nobody along, unless the device is lost: then everybody is told.

use crate::{
    rig::{alone, bits, params, request, scheduler, together},
    tales,
    watched::{FATAL, PANIC, POISON, TOO_BIG, watched},
};
use halfwarp::{Error, backend::BackendError, sampler::SamplingError};

const PROMPT: [u32; 5] = [11, 12, 13, 14, 15];

/// N02: one text of eight gets logits that are no numbers.
#[test]
fn logits_that_are_no_numbers_fail_their_text_alone() {
    let (engine, ..) = watched(8 * 512);
    let scheduler = scheduler(&engine, 8, 64);
    let mut prompts = [PROMPT; 8];
    for (i, prompt) in prompts.iter_mut().enumerate() {
        prompt[0] = 20 + i as u32;
    }
    prompts[3][4] = POISON;
    let results = together(&scheduler, prompts.iter().map(|ids| request(ids, &params(6))).collect());
    let sound = tales(512);
    for (i, result) in results.into_iter().enumerate() {
        match i == 3 {
            true => {
                assert!(matches!(result, Err(Error::Sampling(SamplingError::NonFinite { .. }))), "{result:?}")
            }
            false => assert_eq!(bits(&result.unwrap()), bits(&alone(&sound, &prompts[i], &params(6)))),
        }
    }
    assert!(together(&scheduler, vec![request(&PROMPT, &params(2))]).remove(0).is_ok(), "it goes on");
}

/// G02: memory that runs out in the middle fails the text that needed it.
#[test]
fn a_call_that_fails_and_passes_fails_its_text_alone() {
    let (engine, ..) = watched(8 * 512);
    let scheduler = scheduler(&engine, 8, 64);
    let prompts = [PROMPT, [TOO_BIG, 1, 2, 3, 4], [21, 22, 23, 24, 25]];
    let mut results = together(&scheduler, prompts.iter().map(|ids| request(ids, &params(6))).collect());
    let error = results.remove(1).unwrap_err();
    assert!(matches!(error, Error::Backend(BackendError::DeviceMemory { .. })), "{error}");
    let sound = tales(512);
    for (result, ids) in results.into_iter().zip([prompts[0], prompts[2]]) {
        assert_eq!(bits(&result.unwrap()), bits(&alone(&sound, &ids, &params(6))));
    }
    assert_eq!(scheduler.load().failed, None);
}

/// G03: everybody gets an error, and nothing is accepted any more.
#[test]
fn a_lost_device_fails_every_text_and_refuses_those_to_come() {
    for (token, reason) in [(FATAL, "a token that is fatal"), (PANIC, "a token that panics")] {
        let (engine, _calls, permit) = watched(8 * 512);
        let scheduler = scheduler(&engine, 2, 64);
        let mut prompts = [PROMPT; 4];
        prompts[1][4] = token;
        let holder = std::thread::spawn(move || drop(permit));
        let results = together(&scheduler, prompts.iter().map(|ids| request(ids, &params(6))).collect());
        holder.join().unwrap();
        for result in results {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = scheduler.generate(request(&PROMPT, &params(1))).unwrap_err();
        assert!(matches!(error, Error::Backend(BackendError::DeviceLost { .. })), "{error}");
        assert!(scheduler.load().failed.is_some_and(|text| text.contains(reason)));
    }
}

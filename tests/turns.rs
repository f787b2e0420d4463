//! One forward call over several sessions: `Engine::forward`.
#![cfg(feature = "bundled")]

use halfwarp::{
    Engine, EngineOptions, Error, Session, Source,
    batch::{Phase, Rows},
    cache::{CacheError, PAGE_LEN},
    engine::Turn,
};

fn tales(n_cache: usize) -> Engine {
    Engine::open(&Source::Bundled, &EngineOptions { n_cache: Some(n_cache), ..EngineOptions::default() })
        .unwrap()
}

fn turn<'a>(session: &'a mut Session, tokens: &'a [u32], rows: Rows) -> Turn<'a> {
    Turn { session, tokens, phase: Phase::Prompt, rows }
}

/// The bits of all rows of one call.
fn bits(engine: &Engine, turns: &[Turn]) -> halfwarp::Result<Vec<Vec<u32>>> {
    engine.forward(turns, |logits| {
        (0..logits.n_rows()).map(|i| Ok(logits.row(i)?.iter().map(|x| x.to_bits()).collect())).collect()
    })
}

#[test]
fn sessions_in_one_call_get_the_bits_that_each_gets_alone() {
    let engine = tales(1024);
    let texts: [(&[u32], Rows); 3] =
        [(&[1, 2, 3], Rows::Last), (&[9; 40], Rows::None), (&[5, 6, 7, 8], Rows::All)];
    let mut sessions = [(); 3].map(|()| engine.session());
    let turns: Vec<_> = sessions.iter_mut().zip(texts).map(|(s, (ids, rows))| turn(s, ids, rows)).collect();
    let together = bits(&engine, &turns).unwrap();
    let mut alone = Vec::new();
    for (ids, rows) in texts {
        alone.extend(bits(&engine, &[turn(&mut engine.session(), ids, rows)]).unwrap());
    }
    assert_eq!(together.len(), 5);
    assert!(together == alone);
    for (session, (ids, _)) in sessions.iter().zip(texts) {
        assert_eq!(session.tokens().unwrap(), ids);
    }
}

#[test]
fn a_call_that_fails_leaves_every_session_as_it_was() {
    let engine = tales(3 * PAGE_LEN);
    let (mut a, mut b, mut foreign) = (engine.session(), engine.session(), tales(64).session());
    bits(&engine, &[turn(&mut a, &[1; 8], Rows::None)]).unwrap();
    let full = bits(&engine, &[turn(&mut a, &[2; 40], Rows::Last), turn(&mut b, &[3; 40], Rows::Last)]);
    assert!(matches!(full, Err(Error::Cache(CacheError::Full { needed: 3, free: 2 }))), "{full:?}");
    let other = bits(&engine, &[turn(&mut a, &[1], Rows::Last), turn(&mut foreign, &[1], Rows::Last)]);
    assert!(matches!(other, Err(Error::OtherEngine { turn: 1 })), "{other:?}");
    let nothing = bits(&engine, &[turn(&mut a, &[], Rows::Last)]);
    assert!(matches!(nothing, Err(Error::NoTokens { turn: 0 })), "{nothing:?}");
    assert_eq!((a.tokens().unwrap(), b.tokens().unwrap()), (vec![1; 8], vec![]));
}

#[test]
fn a_text_that_was_cut_goes_on_like_a_fresh_one() {
    let engine = tales(512);
    let (mut cut, mut fresh) = (engine.session(), engine.session());
    bits(&engine, &[turn(&mut cut, &[7; 50], Rows::None)]).unwrap();
    assert_eq!(cut.truncate(33).unwrap(), 33);
    let after_cut = bits(&engine, &[turn(&mut cut, &[4, 5], Rows::Last)]).unwrap();
    let ids = [vec![7; 33], vec![4, 5]].concat();
    assert!(after_cut == bits(&engine, &[turn(&mut fresh, &ids, Rows::Last)]).unwrap());
}

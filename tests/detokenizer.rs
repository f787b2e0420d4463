//! The streaming detokenizer against the whole decode, and against bytes known from elsewhere.

use halfwarp::{
    Tokenizer,
    tokenizer::{Detokenizer, TokenizerError},
};
use proptest::prelude::*;
use std::{path::Path, sync::LazyLock};

static GPT2: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::open(Path::new("tests/gpt2-tokenizer")).unwrap());
static WORDS: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::open(Path::new("tests/wordpiece")).unwrap());

/// What each push returns, and what finish returns.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new();
    let mut deltas: Vec<String> = ids.iter().map(|&id| detokenizer.push(tokenizer, id).unwrap()).collect();
    deltas.push(detokenizer.finish(tokenizer).unwrap());
    deltas
}

/// S01: GPT-2's tokens for the single bytes f0 9f 98 80.
const EMOJI: [u32; 4] = [172, 253, 246, 222];

#[test]
fn a_character_split_over_four_tokens_comes_in_one_delta() {
    let bytes: Vec<u8> = EMOJI.iter().flat_map(|&id| GPT2.token_bytes(id).unwrap().to_vec()).collect();
    assert_eq!(bytes, "😀".as_bytes());
    assert_eq!(stream(&GPT2, &EMOJI), ["", "", "", "😀", ""]);
}

#[test]
fn a_lone_byte_becomes_one_replacement_character() {
    // A continuation byte can become nothing: it comes at once. A first byte may: it comes at the end.
    assert_eq!(stream(&GPT2, &EMOJI[3..]), ["\u{fffd}", ""]);
    assert_eq!(stream(&GPT2, &EMOJI[..1]), ["", "\u{fffd}"]);
    assert_eq!(stream(&GPT2, &EMOJI[..3]), ["", "", "", "\u{fffd}"]);
}

#[test]
fn bad_bytes_do_not_block_the_stream() {
    // f0 9f, then " the": the two bytes are one bad sequence, and the word comes with it.
    assert_eq!(stream(&GPT2, &[172, 253, 262]), ["", "", "\u{fffd} the", ""]);
    // f0 f0: the first is bad, the second may become a character.
    assert_eq!(stream(&GPT2, &[172, 172, 253, 246, 222]), ["", "\u{fffd}", "", "", "😀", ""]);
}

#[test]
fn emoji_and_chinese_come_as_soon_as_they_are_whole() {
    for text in ["请编写一篇关于人工智能的文章。", "a😀b", "日本語とemoji👩\u{200d}👧."]
    {
        let ids = GPT2.encode(text).unwrap();
        let (mut bytes, mut streamed) = (Vec::new(), String::new());
        for (id, delta) in ids.iter().zip(stream(&GPT2, &ids)) {
            bytes.extend_from_slice(GPT2.token_bytes(*id).unwrap());
            streamed += &delta;
            let whole = match str::from_utf8(&bytes) {
                Ok(whole) => whole,
                Err(e) => str::from_utf8(&bytes[..e.valid_up_to()]).unwrap(),
            };
            assert_eq!(streamed, whole);
        }
        assert_eq!(streamed, text);
    }
}

#[test]
fn special_tokens_leave_no_text() {
    assert_eq!(stream(&GPT2, &[262, 50256, 262]), [" the", "", " the", ""]);
    // Not even between the bytes of a character.
    assert_eq!(stream(&GPT2, &[172, 253, 50256, 246, 222]).concat(), "😀");
}

#[test]
fn word_piece_comes_with_the_spaces_a_reader_expects() {
    let deltas = |text: &str| stream(&WORDS, &WORDS.encode(text).unwrap());
    assert_eq!(deltas("playing the world."), ["play", "ing", " the", " world", ".", ""]);
    assert_eq!(deltas("你好 the 世界，hello"), ["你", "好", "the", "世", "界", "，", "hello", ""]);
}

#[test]
fn a_text_that_goes_on_gets_its_space() {
    let prompt = WORDS.encode("hello").unwrap();
    let world = WORDS.id_of("world").unwrap();
    let mut detokenizer = Detokenizer::after(&WORDS, &prompt).unwrap();
    assert_eq!(detokenizer.push(&WORDS, world).unwrap(), " world");
}

#[test]
fn push_refuses_ids_out_of_range_and_goes_on() {
    let mut detokenizer = Detokenizer::new();
    detokenizer.push(&GPT2, 172).unwrap();
    let error = detokenizer.push(&GPT2, 50257).unwrap_err();
    assert!(matches!(error, TokenizerError::OutOfRange { id: 50257, n_vocab: 50257 }));
    let rest: String = EMOJI[1..].iter().map(|&id| detokenizer.push(&GPT2, id).unwrap()).collect();
    assert_eq!(rest, "😀");
}

/// Hugging Face's WordPiece decoder, with the spaces beside Chinese characters and punctuation taken out.
fn word_piece_oracle(ids: &[u32]) -> String {
    let decoder = tokenizers::decoders::wordpiece::WordPiece::new("##".into(), true);
    // The crate leaves the mark on a first piece that continues a word.
    let mut pieces: Vec<String> = ids
        .iter()
        .filter(|&&id| !WORDS.is_special(id))
        .map(|&id| WORDS.piece(id).unwrap().to_string())
        .collect();
    if let Some(first) = pieces.first_mut() {
        *first = first.trim_start_matches("##").to_string();
    }
    let text: Vec<char> = tokenizers::Decoder::decode(&decoder, pieces).unwrap().chars().collect();
    let is_wide = |i: Option<usize>| {
        i.and_then(|i| text.get(i)).is_some_and(|c| {
            let is_letter = c.is_alphabetic() && !c.is_ascii();
            is_letter || "，。！？：；（）《》、".contains(*c)
        })
    };
    let kept = text
        .iter()
        .enumerate()
        .filter(|&(i, &c)| !(c == ' ' && (is_wide(i.checked_sub(1)) || is_wide(Some(i + 1)))));
    kept.map(|(_, c)| c).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streamed_text_is_the_whole_text(ids in prop::collection::vec(prop_oneof![0..260u32, 0..50257u32], 0..40)) {
        let bytes: Vec<u8> = ids
            .iter()
            .filter(|&&id| id != 50256)
            .flat_map(|&id| GPT2.token_bytes(id).unwrap().to_vec())
            .collect();
        let whole = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(stream(&GPT2, &ids).concat(), &*whole);
        prop_assert_eq!(GPT2.decode(&ids).unwrap(), &*whole);
    }

    #[test]
    fn streamed_words_are_the_whole_text(ids in prop::collection::vec(0..150u32, 0..40)) {
        let whole = word_piece_oracle(&ids);
        prop_assert_eq!(stream(&WORDS, &ids).concat(), &*whole);
        prop_assert_eq!(WORDS.decode(&ids).unwrap(), whole);
    }
}

/// A token costs the same at the end of a long text as at its start.
#[test]
fn a_long_stream_takes_linear_time() {
    let ids = GPT2.encode(&"once upon a time 从前 ".repeat(20_000)).unwrap();
    let start = std::time::Instant::now();
    let text = stream(&GPT2, &ids).concat();
    let seconds = start.elapsed().as_secs_f64();
    println!("{} tokens, {:.0} ns each", ids.len(), 1e9 * seconds / ids.len() as f64);
    assert_eq!(text.len(), 20_000 * "once upon a time 从前 ".len());
    // Quadratic time would be minutes.
    assert!(seconds < 1.0, "{seconds} s");
}

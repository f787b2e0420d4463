//! Streamed text against the text of the whole, for any tokens of a byte-level and of a WordPiece vocabulary.
//!
//! Input: token ids of two bytes each, low first, taken modulo the vocabulary and one more, which is out of range.

use halfwarp::{Tokenizer, tokenizer::Detokenizer};
use std::sync::LazyLock;

pub static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::bundled);

static WORD_PIECE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let json = r###"{
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "[UNK]", "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "。": 3, "文": 4, ".": 5, "'s": 6, "##": 7, "##文": 8, "é": 9}}
    }"###;
    Tokenizer::from_json(json.as_bytes()).expect("the vocabulary above is valid")
});

pub fn run(data: &[u8]) {
    let (pairs, _) = data.as_chunks::<2>();
    for tokenizer in [&*BYTE_LEVEL, &*WORD_PIECE] {
        let n_ids = tokenizer.n_vocab() as u32 + 1;
        let ids: Vec<u32> = pairs.iter().map(|&pair| u32::from(u16::from_le_bytes(pair)) % n_ids).collect();
        let valid: Vec<u32> = ids.iter().copied().filter(|&id| id < n_ids - 1).collect();
        let streamed = stream(tokenizer, &ids);
        assert_eq!(streamed, tokenizer.decode(&valid).expect("every id is in range"));
        if std::ptr::eq(tokenizer, &*BYTE_LEVEL) {
            assert_eq!(streamed, lossy(tokenizer, &valid));
        }
        assert_eq!(tokenizer.decode(&ids).is_err(), valid.len() < ids.len());
    }
}

/// What all calls return, one after the other. An id out of range is refused and changes nothing.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = Detokenizer::new();
    let mut text = String::new();
    for &id in ids {
        match detokenizer.push(tokenizer, id) {
            Ok(delta) => text += &delta,
            Err(e) => assert_eq!(e.to_string(), format!("token id {id} out of range 0..={}", id - 1)),
        }
    }
    text + &detokenizer.finish(tokenizer).expect("a text can end anywhere")
}

/// The tokens' bytes as text.
fn lossy(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let plain = ids.iter().filter(|&&id| !tokenizer.is_special(id));
    let bytes: Vec<u8> =
        plain.flat_map(|&id| tokenizer.token_bytes(id).expect("in range").to_vec()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

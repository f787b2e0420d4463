//! A tokenizer.json of any content, and a text: an error in words, or ids that have a text.
//!
//! Input: the text's length (one byte), the text, the file.

use halfwarp::Tokenizer;

/// Returns whether the file loads, or why not.
pub fn run(data: &[u8]) -> Result<(), String> {
    let Some((&len, rest)) = data.split_first() else { return Err("no length".into()) };
    let Some((text, file)) = rest.split_at_checked(len.into()) else { return Err("no text".into()) };
    let text = String::from_utf8_lossy(text);
    let tokenizer = match Tokenizer::from_json(file) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            assert!(error.to_string().starts_with("tokenizer.json: "), "{error}");
            return Err(error.to_string());
        }
    };
    let n_vocab = tokenizer.n_vocab() as u32;
    let all: Vec<u32> = (0..n_vocab).collect();
    tokenizer.decode(&all).expect("every id has a text, or none");
    assert_eq!(tokenizer.pieces(&all).expect("and a spelling").len(), all.len());
    // A text may be refused, in words.
    for ids in [tokenizer.encode(&text), tokenizer.encode_with_special(&text)] {
        match ids {
            Ok(ids) => {
                assert!(ids.iter().all(|&id| id < n_vocab), "{ids:?} of {n_vocab}");
                tokenizer.decode(&ids).expect("ids of the vocabulary");
            }
            Err(error) => assert!(error.to_string().starts_with("cannot encode the text: "), "{error}"),
        }
    }
    Ok(())
}

//! The stop matcher on any text in any pieces, against a search of the whole text.
//!
//! Input, as UTF-8: the stop strings, a byte 1, the pieces of text; each ends with a byte 2.

use halfwarp::stop::StopMatcher;

/// The search is quadratic.
const LEN_MAX: usize = 2048;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(LEN_MAX)]);
    let (stops, pieces) = text.split_once('\u{1}').unwrap_or(("", &text));
    let list = |text: &str| text.split('\u{2}').map(str::to_string).collect::<Vec<_>>();
    let stops: Vec<String> = list(stops).into_iter().filter(|s| !s.is_empty()).collect();
    let pieces = list(pieces);
    assert_eq!(feed(&pieces, &stops), oracle(&pieces.concat(), &stops));
}

/// What a stop matcher must do, on the whole text: the text before the stop string that is complete first, the longest
/// of those complete at that character, the first listed of equal ones.
pub fn oracle(text: &str, stops: &[String]) -> (String, Option<usize>) {
    for end in (0..=text.len()).filter(|&i| text.is_char_boundary(i)) {
        let complete = (0..stops.len()).filter(|&i| text[..end].ends_with(stops[i].as_str()));
        if let Some(which) = complete.max_by_key(|&i| (stops[i].len(), std::cmp::Reverse(i))) {
            return (text[..end - stops[which].len()].to_string(), Some(which));
        }
    }
    (text.to_string(), None)
}

/// Feeds `pieces` and checks after each that no more than necessary is held back.
pub fn feed(pieces: &[String], stops: &[String]) -> (String, Option<usize>) {
    let mut matcher = StopMatcher::new(stops);
    let (mut fed, mut out) = (String::new(), String::new());
    for piece in pieces {
        let (text, which) = matcher.push(piece);
        out += &text;
        fed += piece;
        if which.is_some() {
            return (out, which);
        }
        assert_eq!(fed.len() - out.len(), undecided(&fed, stops), "after {fed:?}");
    }
    (out + &matcher.finish(), None)
}

/// Length of the longest suffix of `text` that begins a stop string.
fn undecided(text: &str, stops: &[String]) -> usize {
    let longest = stops.iter().map(String::len).max().unwrap_or(0);
    let starts = (text.len().saturating_sub(longest)..text.len()).filter(|&i| text.is_char_boundary(i));
    let mut suffixes = starts.map(|i| &text[i..]);
    suffixes.find(|suffix| stops.iter().any(|s| s.starts_with(suffix))).map_or(0, str::len)
}

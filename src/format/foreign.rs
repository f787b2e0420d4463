//! What a file is that people take for weights, by its first bytes, so that a refusal says what to do.

/// What a file that starts so is, where it is known and neither format that is read.
pub fn other_format(start: &[u8]) -> Option<&'static str> {
    let text = start.trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer (run `git lfs pull`, or download the file itself)")
    } else if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        Some("a web page (the download got an error page)")
    } else if start.starts_with(b"GGUF") {
        Some("a GGUF file")
    } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        Some("a TensorFlow file (load it with `from_tf=True` and save it with `save_pretrained`)")
    } else if start.starts_with(b"PK\x03\x04") {
        Some("a zip archive, as PyTorch's checkpoints are (call it pytorch_model.bin)")
    } else if is_pickle(start) || start.get(257..262) == Some(b"ustar") {
        Some(
            "a PyTorch file of before 1.6, which is no zip archive (`torch.save(torch.load(FILE), FILE)` with any newer \
             PyTorch makes it one)",
        )
    } else {
        None
    }
}

/// Whether a pickle starts here: PROTO with a version that exists. The length of a safetensors header may begin with the same two
/// bytes; its upper ones are zero.
fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 1..=5, ..]) && start.get(3..8) != Some(&[0; 5])
}

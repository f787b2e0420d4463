//! The files of the small model that is compiled into the crate: `models/tales`. The crate's package leaves the weights out, which
//! are more than a registry takes: build.rs says where they are, or where an empty file is.

/// Its config.json.
pub const CONFIG: &[u8] = include_bytes!("../../models/tales/config.json");

/// Its tokenizer.json.
pub const TOKENIZER: &[u8] = include_bytes!("../../models/tales/tokenizer.json");

/// Its model.safetensors, aligned as a mapped file would be; nothing where it was not there.
pub fn weights() -> &'static [u8] {
    #[repr(align(64))]
    struct Aligned<T: ?Sized>(T);
    static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("TALES_WEIGHTS")));
    &MODEL.0
}

//! Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as
//! 1, 2, 3", 2011): ten rounds that mix a counter with a key, and no state.

/// The four words that counter and key give.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let a = u64::from(c0) * 0xd251_1f53;
        let b = u64::from(c2) * 0xcd9e_8d57;
        (c0, c1, c2, c3) = ((b >> 32) as u32 ^ c1 ^ k0, b as u32, (a >> 32) as u32 ^ c3 ^ k1, a as u32);
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [c0, c1, c2, c3]
}

/// The random number of a token: 64 bits, of which `x / 2^64` is uniform in [0, 1).
///
/// The key is the seed, low word first. The counter is the token's position (low word, high word), the choice, and 0.
/// The result is the first word plus 2^32 times the second.
pub fn token_bits(seed: u64, choice: u32, position: u64) -> u64 {
    let counter = [position as u32, (position >> 32) as u32, choice, 0];
    let [low, high, ..] = philox4x32(counter, [seed as u32, (seed >> 32) as u32]);
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers: `philox4x32 10` in Random123's kat_vectors.
    #[test]
    fn philox_gives_random123s_known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn token_bits_are_the_first_two_words() {
        assert_eq!(token_bits(0, 0, 0), 0xe169_c58d_6627_e8d5);
        let (seed, position) = (0x299f_31d0_a409_3822, 0x85a3_08d3_243f_6a88);
        let words = philox4x32([0x243f_6a88, 0x85a3_08d3, 7, 0], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(token_bits(seed, 7, position), u64::from(words[1]) << 32 | u64::from(words[0]));
    }
}

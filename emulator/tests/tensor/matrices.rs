//! `ldmatrix`, `stmatrix`, `movmatrix` against written-out lanes.

use cuda_emulator::tensor::matrix8x8::{Row, address_lane, load, store, transposed};

/// What each lane holds of the matrix whose element in row `r`, column `c` is the hexadecimal number `rc`: high half, low half.
#[rustfmt::skip]
const STRAIGHT: [u32; 32] = [
    0x0001_0000, 0x0003_0002, 0x0005_0004, 0x0007_0006, 0x0011_0010, 0x0013_0012, 0x0015_0014, 0x0017_0016,
    0x0021_0020, 0x0023_0022, 0x0025_0024, 0x0027_0026, 0x0031_0030, 0x0033_0032, 0x0035_0034, 0x0037_0036,
    0x0041_0040, 0x0043_0042, 0x0045_0044, 0x0047_0046, 0x0051_0050, 0x0053_0052, 0x0055_0054, 0x0057_0056,
    0x0061_0060, 0x0063_0062, 0x0065_0064, 0x0067_0066, 0x0071_0070, 0x0073_0072, 0x0075_0074, 0x0077_0076,
];

/// The same with `.trans`.
#[rustfmt::skip]
const TRANSPOSED: [u32; 32] = [
    0x0010_0000, 0x0030_0020, 0x0050_0040, 0x0070_0060, 0x0011_0001, 0x0031_0021, 0x0051_0041, 0x0071_0061,
    0x0012_0002, 0x0032_0022, 0x0052_0042, 0x0072_0062, 0x0013_0003, 0x0033_0023, 0x0053_0043, 0x0073_0063,
    0x0014_0004, 0x0034_0024, 0x0054_0044, 0x0074_0064, 0x0015_0005, 0x0035_0025, 0x0055_0045, 0x0075_0065,
    0x0016_0006, 0x0036_0026, 0x0056_0046, 0x0076_0066, 0x0017_0007, 0x0037_0027, 0x0057_0047, 0x0077_0067,
];

/// Rows of eight elements, the first in the low half of the first word.
fn rows() -> [Row; 8] {
    std::array::from_fn(|r| {
        std::array::from_fn(|w| (16 * r + 2 * w) as u32 | ((16 * r + 2 * w + 1) as u32) << 16)
    })
}

#[test]
fn ldmatrix_gives_each_lane_two_elements_of_a_row_or_column() {
    assert_eq!(load(&rows(), false), STRAIGHT);
    assert_eq!(load(&rows(), true), TRANSPOSED);
}

#[test]
fn stmatrix_is_the_inverse_of_ldmatrix() {
    assert_eq!(store(&STRAIGHT, false), rows());
    assert_eq!(store(&TRANSPOSED, true), rows());
}

#[test]
fn movmatrix_transposes() {
    assert_eq!(transposed(&STRAIGHT), TRANSPOSED);
    assert_eq!(transposed(&TRANSPOSED), STRAIGHT);
}

#[test]
fn lanes_give_row_addresses_in_groups_of_eight() {
    assert_eq!(
        [address_lane(0, 0), address_lane(0, 7), address_lane(1, 0), address_lane(3, 7)],
        [0, 7, 8, 31]
    );
}

//! Runs a program with the emulator as its CUDA driver.

fn main() {}

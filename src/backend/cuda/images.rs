//! The kernels' code, embedded by `build.rs`, and which of it a device runs.

include!(concat!(env!("OUT_DIR"), "/kernel_images.rs"));

/// The code of one file of `kernels/` for one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// The file, without `.cu`.
    pub file: &'static str,
    /// The architecture, as 10 * major + minor.
    pub arch: u32,
    /// PTX, which the driver compiles, or machine code.
    pub is_ptx: bool,
    /// PTX ends in a NUL.
    pub bytes: &'static [u8],
}

/// The code of `file` among `images` that a device of architecture `arch` can run, best first: machine code of its own major
/// architecture, the newest first, then PTX, the newest first.
pub fn candidates(images: &'static [Image], file: &str, arch: u32) -> Vec<&'static Image> {
    let runs = |i: &&Image| i.file == file && i.arch <= arch && (i.is_ptx || i.arch / 10 == arch / 10);
    let mut images: Vec<&Image> = images.iter().filter(runs).collect();
    images.sort_by_key(|i| (i.is_ptx, std::cmp::Reverse(i.arch)));
    images
}

/// The architectures with machine code, and those with PTX, for messages.
pub fn built_for() -> String {
    let list = |is_ptx: bool| {
        let mut archs: Vec<u32> = IMAGES.iter().filter(|i| i.is_ptx == is_ptx).map(|i| i.arch).collect();
        archs.sort_unstable();
        archs.dedup();
        archs.iter().map(|a| format!("sm_{a}")).collect::<Vec<_>>().join(", ")
    };
    match (list(false), list(true)) {
        (code, ptx) if code.is_empty() => format!("PTX for {ptx}"),
        (code, ptx) => format!("machine code for {code} and PTX for {ptx}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_code_for_every_supported_architecture() {
        let mut files: Vec<&str> = IMAGES.iter().map(|i| i.file).collect();
        files.dedup();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            for arch in [75, 80, 86, 87, 89, 90, 100, 103, 120, 121] {
                let images = candidates(IMAGES, file, arch);
                assert!(images.iter().all(|i| i.arch <= arch), "{file}, {arch}");
                assert!(
                    images.last().is_some_and(|i| i.is_ptx && i.arch == 75),
                    "{file}, {arch}: PTX for all is last"
                );
            }
            assert!(candidates(IMAGES, file, 70).is_empty(), "nothing runs before sm_75");
        }
    }
}

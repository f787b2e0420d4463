//! Fat binaries: the containers in which `nvcc` puts a kernel's PTX and machine code for several architectures.
//!
//! Layout, from files that `fatbinary` of CUDA 13 writes, all numbers little-endian. The container: u32 magic, u16 version, u16 bytes
//! of this header, u64 bytes of what follows. Each entry: u16 kind (1 PTX, 2 machine code), u16 version, u32 bytes of this header, u64 bytes
//! of the payload with padding, u32 bytes of the payload if compressed, u32 (at 28) architecture, u64 (at 40) flags, u64 (at 56) bytes
//! of the payload once unpacked. Called by `driver`. Tests: here and `tests/driver_module.rs`.

use std::io::Read;

/// The first word of a container.
pub const MAGIC: u32 = 0xBA55_ED50;
/// The first word of the structure through which programs refer to a container: u32 magic, u32 version, u64 address.
pub const WRAPPER_MAGIC: u32 = 0x4662_43B1;
/// Bytes of a container's header.
pub const HEADER: usize = 16;
/// Bytes of an entry's header at least.
const ENTRY_HEADER: usize = 64;
/// PTX may unpack to this many bytes at most: more than any compiler writes.
const LIMIT: usize = 1 << 28;

const KIND_PTX: u16 = 1;
const FLAG_LZ4: u64 = 0x2000;
const FLAG_ZSTD: u64 = 0x8000;

/// Why a container is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends too early.
    #[error("{what} at byte {at} needs {need} bytes, {have} are left")]
    Truncated {
        /// What does not fit.
        what: &'static str,
        /// Where it begins.
        at: usize,
        /// Its length.
        need: u64,
        /// The bytes that are left.
        have: usize,
    },
    /// It does not begin as containers do.
    #[error("a container begins with {found:#010x}, expected {MAGIC:#010x}")]
    Magic {
        /// What it begins with.
        found: u32,
    },
    /// An entry does not unpack.
    #[error("the entry at byte {at} does not unpack: {why}")]
    Unpack {
        /// Where it begins.
        at: usize,
        /// What the decoder says.
        why: String,
    },
    /// Nothing in it can run.
    #[error("no PTX for compute capability {arch} or older; it has {found}")]
    NoPtx {
        /// The device's.
        arch: u32,
        /// What is there.
        found: String,
    },
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N], Error> {
    let found = at.checked_add(N).and_then(|end| from.get(at..end)).and_then(|b| b.try_into().ok());
    let have = from.len().saturating_sub(at);
    found.ok_or(Error::Truncated { what: "a header", at, need: N as u64, have })
}

fn u16_at(from: &[u8], at: usize) -> Result<u16, Error> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn u32_at(from: &[u8], at: usize) -> Result<u32, Error> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn u64_at(from: &[u8], at: usize) -> Result<u64, Error> {
    bytes(from, at).map(u64::from_le_bytes)
}

/// Bytes of the container that begins with these [`HEADER`] bytes, as it says.
pub fn container_len(header: &[u8]) -> Result<u64, Error> {
    let found = u32_at(header, 0)?;
    if found != MAGIC {
        return Err(Error::Magic { found });
    }
    Ok(u64::from(u16_at(header, 6)?).max(HEADER as u64).saturating_add(u64_at(header, 8)?))
}

/// An entry.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    at: usize,
    kind: u16,
    arch: u32,
    flags: u64,
    compressed: u32,
    unpacked: u64,
    payload: &'a [u8],
}

fn entry(container: &[u8], at: usize) -> Result<(Entry<'_>, usize), Error> {
    let have = container.len().saturating_sub(at);
    if have < ENTRY_HEADER {
        return Err(Error::Truncated { what: "an entry", at, need: ENTRY_HEADER as u64, have });
    }
    let header = u64::from(u32_at(container, at + 4)?).max(ENTRY_HEADER as u64);
    let payload = u64_at(container, at + 8)?;
    let need = header.saturating_add(payload);
    if need > have as u64 {
        return Err(Error::Truncated { what: "an entry", at, need, have });
    }
    let end = at + need as usize;
    let entry = Entry {
        at,
        kind: u16_at(container, at)?,
        arch: u32_at(container, at + 28)?,
        flags: u64_at(container, at + 40)?,
        compressed: u32_at(container, at + 16)?,
        unpacked: u64_at(container, at + 56)?,
        payload: &container[at + header as usize..end],
    };
    Ok((entry, end))
}

impl Entry<'_> {
    fn unpack(&self) -> Result<Vec<u8>, Error> {
        let failed = |why: String| Error::Unpack { at: self.at, why };
        let packed = self.flags & (FLAG_LZ4 | FLAG_ZSTD) != 0;
        if !packed {
            return Ok(self.payload.to_vec());
        }
        let unpacked = usize::try_from(self.unpacked).ok().filter(|&n| n <= LIMIT);
        let unpacked = unpacked.ok_or_else(|| failed(format!("{} bytes are too many", self.unpacked)))?;
        let len = match self.compressed as usize {
            0 => self.payload.len(),
            n => n.min(self.payload.len()),
        };
        let from = &self.payload[..len];
        if self.flags & FLAG_LZ4 != 0 {
            // Each byte of an LZ4 block makes 255 bytes at most.
            if unpacked > 255 * len {
                return Err(failed(format!("{len} bytes cannot make {unpacked}")));
            }
            return lz4_flex::block::decompress(from, unpacked).map_err(|e| failed(e.to_string()));
        }
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(from).map_err(|e| failed(e.to_string()))?;
        let mut text = Vec::new();
        let read = Read::by_ref(&mut decoder).take(LIMIT as u64).read_to_end(&mut text);
        read.map_err(|e| failed(e.to_string()))?;
        match text.len() == unpacked {
            true => Ok(text),
            false => Err(failed(format!("{} bytes, expected {unpacked}", text.len()))),
        }
    }
}

/// The target of PTX text: 90 and "a" for `.target sm_90a`.
pub fn target(text: &[u8]) -> Option<(u32, String)> {
    let text = String::from_utf8_lossy(text.get(..text.len().min(1 << 16)).unwrap_or_default()).into_owned();
    let rest = text
        .lines()
        .find_map(|l| l.trim_start().strip_prefix(".target"))?
        .trim_start()
        .strip_prefix("sm_")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let suffix = rest[digits..].chars().take_while(char::is_ascii_lowercase).collect();
    Some((rest[..digits].parse().ok()?, suffix))
}

/// Whether PTX for a target runs on a device: a suffix `a` asks for exactly that one, `f` for its family.
pub fn runs_on(target: &(u32, String), arch: u32) -> bool {
    let (of, suffix) = target;
    match suffix.as_str() {
        "" => *of <= arch,
        "a" => *of == arch,
        "f" => *of <= arch && of / 10 == arch / 10,
        _ => false,
    }
}

/// The text of the newest PTX in a container that runs on a device, without what follows its terminating zero.
pub fn ptx(container: &[u8], arch: u32) -> Result<Vec<u8>, Error> {
    let (len, have) = (container_len(container)?, container.len());
    if len > have as u64 {
        return Err(Error::Truncated { what: "a container", at: 0, need: len, have });
    }
    let mut at = usize::from(u16_at(container, 6)?).max(HEADER);
    let mut best = None;
    let mut best_rank = (0, false);
    let mut found = Vec::new();
    while at < len as usize {
        let (entry, end) = entry(&container[..len as usize], at)?;
        at = end;
        if entry.kind != KIND_PTX {
            found.push(format!("machine code for {}", entry.arch));
            continue;
        }
        let mut text = entry.unpack()?;
        text.truncate(text.iter().position(|&b| b == 0).unwrap_or(text.len()));
        let target = target(&text).unwrap_or((entry.arch, String::new()));
        found.push(format!("PTX for {}{}", target.0, target.1));
        let rank = (target.0, !target.1.is_empty());
        if runs_on(&target, arch) && (best.is_none() || best_rank < rank) {
            (best, best_rank) = (Some(text), rank);
        }
    }
    let found = if found.is_empty() { "nothing".to_string() } else { found.join(", ") };
    best.ok_or(Error::NoPtx { arch, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container with one entry of PTX.
    fn container(payload: &[u8], flags: u64, unpacked: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend([1, 0, 16, 0]);
        bytes.extend((64 + payload.len() as u64).to_le_bytes());
        bytes.extend([1, 0, 1, 1]);
        bytes.extend(64_u32.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        let compressed = if flags & (FLAG_LZ4 | FLAG_ZSTD) != 0 { payload.len() as u32 } else { 0 };
        bytes.extend(compressed.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(80_u32.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(flags.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend((unpacked as u64).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    const TEXT: &[u8] = b".version 8.0\n.target sm_80\n.address_size 64\n";

    #[test]
    fn plain_and_lz4_entries_give_their_text() {
        assert_eq!(ptx(&container(TEXT, 0x11, 0), 80).as_deref(), Ok(TEXT));
        let packed = lz4_flex::block::compress(TEXT);
        assert_eq!(ptx(&container(&packed, 0x2011, TEXT.len()), 120).as_deref(), Ok(TEXT));
    }

    #[test]
    fn every_prefix_is_refused_and_none_is_read_past_its_end() {
        let packed = lz4_flex::block::compress(TEXT);
        let whole = container(&packed, 0x2011, TEXT.len());
        for n in 0..whole.len() {
            assert!(ptx(&whole[..n], 80).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn no_byte_turned_over_makes_it_panic() {
        let packed = lz4_flex::block::compress(TEXT);
        let whole = container(&packed, 0x2011, TEXT.len());
        for i in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[i] ^= 1 << bit;
                let _ = ptx(&broken, 80);
            }
        }
    }

    #[test]
    fn a_suffix_binds_to_its_architecture_or_family() {
        let runs = |text: &str, arch| runs_on(&target(text.as_bytes()).expect("it has a target"), arch);
        assert!(runs(".target sm_80", 80) && runs(".target sm_80", 120) && !runs(".target sm_90", 80));
        assert!(runs(".target sm_90a, debug", 90) && !runs(".target sm_90a", 100));
        assert!(
            runs(".target sm_100f", 103) && !runs(".target sm_100f", 120) && !runs(".target sm_100f", 90)
        );
    }

    #[test]
    fn what_is_too_new_is_listed() {
        let message = ptx(&container(TEXT, 0x11, 0), 75).map_err(|e| e.to_string());
        assert_eq!(message, Err("no PTX for compute capability 75 or older; it has PTX for 80".to_string()));
    }
}

//! The weights file: a header, then every tensor in fp16, one in memory at a time.
//!
//! Called by [`convert`](super::convert). Tested in `tests/convert.rs`, and below for a disk that fills up.

use super::{ConvertError, Progress, Report};
use crate::{
    config::Config,
    family::{Family, Layout, Slot},
    weights::{
        Elements, Matrix,
        checkpoint::{Checkpoint, index},
    },
};
use half::{f16, slice::HalfFloatSliceExt};
use serde_json::{Map, json};
use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
    path::Path,
};

/// The data starts at a multiple of this: with widths that are multiples of 32, every row is then aligned to a cache line.
const ALIGNMENT: usize = 64;

/// Numbers that are rounded at a time.
const BLOCK: usize = 1 << 14;

/// Writes the tensors of `checkpoint`, which has passed its checks, to `path`: sorted by name, all of them with biases.
/// Breaks off where `each`, called after every tensor, says so.
pub fn weights(
    checkpoint: &Checkpoint,
    path: &Path,
    each: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, ConvertError> {
    let file = File::create(path).map_err(|source| ConvertError::Io { path: path.into(), source })?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let report = write_all(checkpoint, &mut file, path, each)?;
    let io = |source| ConvertError::Io { path: path.into(), source };
    file.into_inner().map_err(|e| io(e.into_error()))?.sync_all().map_err(io)?;
    Ok(report)
}

fn write_all(
    checkpoint: &Checkpoint,
    out: &mut impl Write,
    path: &Path,
    mut each: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, ConvertError> {
    let io = |source| ConvertError::Io { path: path.into(), source };
    let family = checkpoint.description.family;
    let config = Config { has_bias: true, ..checkpoint.description.config.clone() };
    let mut slots = (family.slots)(&config, Layout::InOut);
    slots.sort_by_cached_key(family.full_name);
    let header = header(family, &slots);
    let n_params = slots.iter().map(|slot| slot.len() as u64).sum();
    out.write_all(&header).map_err(io)?;
    let mut report = Report {
        n_tensors: slots.len(),
        bytes_before: checkpoint.files().iter().map(|(_, bytes)| bytes).sum(),
        bytes_after: header.len() as u64,
        ..Report::default()
    };
    for slot in &slots {
        let written = match checkpoint.matrix(slot) {
            Some(stored) => relaid(stored, slot),
            // A bias that the model does without.
            None => Matrix::from_f32(Layout::OutIn, 1, slot.len(), vec![0.0; slot.len()]),
        };
        match written.elements() {
            Elements::F16(values) => out.write_all(bytemuck::cast_slice(values)).map_err(io)?,
            Elements::F32(values) => round(values, slot, out, path, &mut report)?,
            Elements::Bf16(values) => {
                let values: Vec<f32> = values.iter().map(|v| v.to_f32()).collect();
                round(&values, slot, out, path, &mut report)?;
            }
        }
        report.n_params += slot.len() as u64;
        report.bytes_after += 2 * slot.len() as u64;
        if each(Progress { n_done: report.n_params, n_params }).is_break() {
            return Err(ConvertError::Cancelled);
        }
    }
    out.flush().map_err(io)?;
    Ok(report)
}

/// `stored` in the layout of `slot`.
fn relaid(stored: Matrix, slot: &Slot) -> Matrix {
    let (n_out, n_in) = (stored.n_out(), stored.n_in());
    if slot.n_in.is_none() || stored.layout() == slot.layout {
        return stored;
    }
    let order = (0..n_in).flat_map(|i| (0..n_out).map(move |o| o * n_in + i));
    match stored.elements() {
        Elements::F16(values) => {
            Matrix::from_f16(slot.layout, n_out, n_in, order.map(|i| values[i]).collect())
        }
        values => Matrix::from_f32(slot.layout, n_out, n_in, order.map(|i| values.get(i)).collect()),
    }
}

/// Writes fp32 values as fp16, rounded to the nearest.
fn round(
    values: &[f32],
    slot: &Slot,
    out: &mut impl Write,
    path: &Path,
    report: &mut Report,
) -> Result<(), ConvertError> {
    let mut halves = vec![f16::ZERO; BLOCK.min(values.len())];
    for (i, block) in values.chunks(BLOCK).enumerate() {
        let halves = &mut halves[..block.len()];
        halves.convert_from_f32_slice(block);
        for (j, (&value, &half)) in block.iter().zip(&*halves).enumerate() {
            if half.is_infinite() {
                let index = index(i * BLOCK + j, &slot.shape());
                return Err(ConvertError::Overflow { name: slot.name.clone(), value, index });
            }
            let rounded = half.to_f32();
            report.n_rounded += u64::from(rounded != value);
            report.n_to_zero += u64::from(rounded == 0.0 && value != 0.0);
        }
        out.write_all(bytemuck::cast_slice(halves))
            .map_err(|source| ConvertError::Io { path: path.into(), source })?;
    }
    Ok(())
}

/// Length and JSON, padded with spaces so that the data is aligned.
fn header(family: &Family, slots: &[Slot]) -> Vec<u8> {
    let mut entries = Map::new();
    // Hugging Face's loader insists on this.
    entries.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut start = 0;
    for slot in slots {
        let end = start + 2 * slot.len();
        let entry = json!({"dtype": "F16", "shape": slot.shape(), "data_offsets": [start, end]});
        entries.insert((family.full_name)(slot), entry);
        start = end;
    }
    let json = serde_json::Value::Object(entries).to_string();
    let len = (8 + json.len()).next_multiple_of(ALIGNMENT) - 8;
    let mut header = (len as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    header.resize(8 + len, b' ');
    header
}

#[cfg(all(test, feature = "bundled"))]
mod tests {
    use super::*;
    use std::io;

    /// Takes so many bytes, then is full.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = bytes.len().min(self.0);
            self.0 -= n;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn go_on(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let checkpoint = Checkpoint::bundled().expect("the bundled model opens");
        let size = checkpoint.files()[0].1 as usize;
        for room in [0, 7, 5000, size / 2] {
            let error = write_all(&checkpoint, &mut Disk(room), Path::new("out/model.safetensors"), go_on)
                .unwrap_err();
            assert_eq!(error.to_string(), "out/model.safetensors: no storage space", "room for {room} bytes");
        }
        write_all(&checkpoint, &mut Disk(size + ALIGNMENT), Path::new("out"), go_on).expect("there is room");
    }
}

//! The records of a checkpoint: the files of its zip archive, where they are.
//!
//! `rawzip` reads the directory; what it leaves to its callers is refused here: records that are compressed or encrypted, that
//! overlap, or that are there twice. Checksums are not looked at, because PyTorch can be told not to write them.

use crate::format::{FormatError, MAX_TENSORS};
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};
use std::{collections::HashMap, ops::Range, path::Path};

/// Bytes of what stands before a record's name.
const LOCAL_HEADER: usize = 30;

/// The records of an archive, by their names without the folder that all of them are in.
pub struct Archive<'a> {
    data: &'a [u8],
    path: &'a Path,
    records: HashMap<&'a str, Range<usize>>,
}

impl<'a> Archive<'a> {
    /// Reads the directory of `data`, the bytes of the file at `path`.
    pub fn read(data: &'a [u8], path: &'a Path) -> Result<Self, FormatError> {
        let fail = |message| FormatError::Archive { path: path.into(), message };
        let zip = ZipArchive::from_slice(data).map_err(|e| fail(format!("{e} (truncated download?)")))?;
        let mut archive = Self { data, path, records: HashMap::new() };
        let (mut folder, mut n_entries) = (None, 0);
        let mut entries = zip.entries();
        while let Some(entry) = entries.next_entry().map_err(|e| fail(e.to_string()))? {
            n_entries += 1;
            // Beside the storages there are a handful of others.
            if n_entries > MAX_TENSORS as u64 + 100 {
                return Err(fail(format!("more than {n_entries} records")));
            }
            let (in_folder, name, range) = archive.record(&zip, &entry)?;
            if *folder.get_or_insert(in_folder) != in_folder {
                return Err(archive.wrong(name, format!("is in folder {in_folder:?}, others are not")));
            }
            if archive.records.insert(name, range).is_some() {
                return Err(archive.wrong(name, "is there twice"));
            }
        }
        if n_entries != zip.entries_hint() {
            let message =
                format!("its directory has {n_entries} records, its end says {}", zip.entries_hint());
            return Err(fail(message));
        }
        archive.check_overlaps()?;
        Ok(archive)
    }

    /// Folder, name and place of an entry.
    fn record(
        &self,
        zip: &ZipSliceArchive<&'a [u8]>,
        entry: &ZipFileHeaderRecord,
    ) -> Result<(&'a str, &'a str, Range<usize>), FormatError> {
        let shown = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let method = entry.compression_method();
        let (stored, size) = (entry.compressed_size_hint(), entry.uncompressed_size_hint());
        if entry.flags().is_encrypted() {
            return Err(self.wrong(&shown, "is encrypted, expected plain"));
        } else if method != CompressionMethod::STORE {
            return Err(self.wrong(&shown, format!("is compressed ({method}), expected stored as it is")));
        } else if stored != size {
            return Err(self.wrong(&shown, format!("has {size} bytes, of which {stored} are stored")));
        }
        let local = zip.get_entry(entry.wayfinder()).map_err(|e| {
            let (at, len) = (entry.local_header_offset(), self.data.len());
            self.wrong(&shown, format!("is said to be {size} bytes from {at} on, in a file of {len}: {e}"))
        })?;
        let (start, end) = local.compressed_data_range();
        let name = entry.file_path();
        // The same name as the directory's, but from `data`, in which it lives as long as the archive does.
        let name_start = entry.local_header_offset() as usize + LOCAL_HEADER;
        let stored = self.data.get(name_start..name_start + name.as_bytes().len());
        let is_same = local.local_header().file_path().as_bytes() == name.as_bytes();
        let Some(name) = stored.filter(|_| is_same).and_then(|name| str::from_utf8(name).ok()) else {
            return Err(self.wrong(&shown, "has another name where it is stored"));
        };
        let Some((folder, name)) = name.split_once('/') else {
            return Err(
                self.wrong(&shown, "is in no folder, expected the one that PyTorch puts all records in")
            );
        };
        Ok((folder, name, start as usize..end as usize))
    }

    fn check_overlaps(&self) -> Result<(), FormatError> {
        let mut ranges: Vec<_> =
            self.records.iter().map(|(name, range)| (range.start, range.end, *name)).collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if let [(_, end, first), (start, _, second)] = *pair
                && start < end
            {
                let message = format!("begins at byte {start}, before record {first} ends at {end}");
                return Err(self.wrong(second, message));
            }
        }
        Ok(())
    }

    /// Where a record is.
    pub fn find(&self, name: &str) -> Option<Range<usize>> {
        self.records.get(name).cloned()
    }

    /// The bytes of a record.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.data.get(self.find(name)?)
    }

    /// The error that a record is not what it should be.
    pub fn wrong(&self, name: &str, message: impl Into<String>) -> FormatError {
        FormatError::Record { path: self.path.into(), name: name.into(), message: message.into() }
    }
}

//! Does copies and fills, when their turn in a stream has come.

use super::Driver;
use crate::driver::objects::{
    code::{Code, Result},
    work::{CopyWork, Place, SetWork},
};

impl Driver {
    /// Does a copy, row by row.
    pub fn copy_now(&mut self, copy: &CopyWork) -> Result<()> {
        let mut row = vec![0; copy.width as usize];
        for slice in 0..copy.slices {
            for r in 0..copy.rows {
                let from = slice * copy.from.slice + r * copy.from.pitch;
                let to = slice * copy.to.slice + r * copy.to.pitch;
                self.read_row(&copy.from.place, from, &mut row)?;
                self.write_row(&copy.to.place, to, &row)?;
                if let (Place::Device(t), Place::Device(f)) = (&copy.to.place, &copy.from.place) {
                    self.machine.memory.copied(t + to, f + from, copy.width);
                }
            }
        }
        Ok(())
    }

    /// Does a fill.
    pub fn set_now(&mut self, set: &SetWork) -> Result<()> {
        let element = &set.value.to_le_bytes()[..set.size as usize];
        let row = element.repeat(set.width as usize);
        for r in 0..set.rows {
            self.write_row(&Place::Device(set.to), r * set.pitch, &row)?;
        }
        Ok(())
    }

    fn read_row(&self, from: &Place, offset: u64, row: &mut [u8]) -> Result<()> {
        match from {
            Place::Host(host) => host.offset(offset).read(row),
            Place::Staged(bytes) => row.copy_from_slice(&bytes[offset as usize..][..row.len()]),
            Place::Device(base) => self.allocation(base + offset, row.len())?.read(base + offset, row),
        }
        Ok(())
    }

    fn write_row(&self, to: &Place, offset: u64, row: &[u8]) -> Result<()> {
        match to {
            Place::Host(host) => host.offset(offset).write(row),
            Place::Staged(_) => unreachable!("nothing is copied to bytes that were taken from the host"),
            Place::Device(base) => self.allocation(base + offset, row.len())?.write(base + offset, row),
        }
        Ok(())
    }

    /// The allocation that a range lies in, which may have been freed since the work was submitted.
    fn allocation(&self, address: u64, len: usize) -> Result<&crate::memory::Allocation> {
        let found = self.machine.memory.range(address, len as u64);
        found.map(|a| &**a).ok_or_else(|| {
            let near = self.machine.memory.explain(address);
            Code::ILLEGAL_ADDRESS.because(format!("a copy or fill of {len} bytes at {address:#x}: {near:?}"))
        })
    }
}

//! [`StepMirror`]: a decode step as it is staged, as the device has it, and what the last launch draws.
//!
//! The words of a step stand on the device, where a kernel that draws moves them on: the next step of a generation is there before
//! the host asks for it. The mirror tells what the device has, so that a step is sent only where it differs. Both forwards stage
//! their columns in it. Tested in `tests/cuda/sampling.rs` and `tests/cuda/generations.rs`.

use super::{
    Counts,
    driver::{Buffer, Gpu},
    images::constants::{MAX_COLUMNS, NO_COLUMN, STEP_PAGES, STEP_POSITIONS, STEP_ROWS, STEP_TOKENS},
    kernels::{
        sample::{Kind, Record},
        step_len,
    },
    sample::{Drawn, Draws},
};
use crate::{backend::Result, cache::PAGE_LEN};
use bytemuck::Zeroable;
use std::mem;

/// A step on both sides.
#[derive(Debug)]
pub struct StepMirror {
    staged: Staged,
    sent: Sent,
    /// The columns that the last launch draws for.
    launched: Vec<Column>,
    /// The words on the device: see `kernels/layout.h`.
    pub words: Buffer<u32>,
    /// How each column draws, on the device.
    pub records: Buffer<Record>,
}

/// The step that is being made.
#[derive(Debug)]
struct Staged {
    words: Vec<u32>,
    records: Vec<Record>,
    /// The columns that draw.
    drawing: Vec<Column>,
    n_columns: usize,
    /// Positions of the longest column's sequence, up to and with the column.
    n_positions: usize,
    has_rows: bool,
    /// Entries of a page table.
    n_pages: usize,
}

/// What the device has.
#[derive(Debug)]
struct Sent {
    words: Vec<u32>,
    records: Vec<Record>,
}

/// A column that draws.
#[derive(Clone, Copy, Debug)]
struct Column {
    column: usize,
    row: usize,
    /// Tokens that the text has.
    len: usize,
    /// Its table of biases and counts, if it has one.
    table: Option<usize>,
}

impl StepMirror {
    /// An empty step, for page tables of `n_pages`.
    pub fn new(gpu: &Gpu, n_pages: usize) -> Result<Self> {
        let (len, n_columns) = (step_len(n_pages), MAX_COLUMNS as usize);
        let records = vec![Record::zeroed(); n_columns];
        let mut staged = Staged {
            words: vec![0; len],
            records: records.clone(),
            drawing: Vec::with_capacity(n_columns),
            n_columns: 0,
            n_positions: 0,
            has_rows: false,
            n_pages,
        };
        staged.clear();
        Ok(Self {
            staged,
            sent: Sent { words: vec![0; len], records },
            launched: Vec::with_capacity(n_columns),
            words: gpu.zeros(len, "the step")?,
            records: gpu.zeros(n_columns, "the step")?,
        })
    }

    /// Bytes on the device.
    pub fn n_bytes(n_pages: usize) -> usize {
        4 * step_len(n_pages) + MAX_COLUMNS as usize * size_of::<Record>()
    }

    /// Forgets what is staged.
    pub fn clear(&mut self) {
        self.staged.clear();
    }

    /// Stages a column: `token` at `position` of the sequence with page table `pages`, whose logits go to `row`, if that is one.
    pub fn push(&mut self, token: u32, position: usize, row: u32, pages: &[u32]) {
        let staged = &mut self.staged;
        let column = staged.n_columns;
        staged.words[STEP_TOKENS as usize + column] = token;
        staged.words[STEP_POSITIONS as usize + column] = position as u32;
        staged.words[STEP_ROWS as usize + column] = row;
        let n_pages = pages.len().min(position / PAGE_LEN + 1);
        staged.words[STEP_PAGES as usize + column * staged.n_pages..][..n_pages]
            .copy_from_slice(&pages[..n_pages]);
        staged.n_columns += 1;
        staged.n_positions = staged.n_positions.max(position + 1);
        staged.has_rows |= row != NO_COLUMN;
    }

    /// Lets the column staged last draw from its row as `record` says, for a text of `len` tokens with table number `table`.
    pub fn draw(&mut self, record: Record, len: usize, table: Option<usize>) {
        let column = self.staged.n_columns - 1;
        let row = self.staged.words[STEP_ROWS as usize + column] as usize;
        self.staged.records[column] = record;
        self.staged.drawing.push(Column { column, row, len, table });
    }

    /// Columns staged.
    pub fn n_columns(&self) -> usize {
        self.staged.n_columns
    }

    /// Positions of the longest staged column's sequence, up to and with the column.
    pub fn n_positions(&self) -> usize {
        self.staged.n_positions
    }

    /// Whether a staged column leaves logits.
    pub fn has_rows(&self) -> bool {
        self.staged.has_rows
    }

    /// Sends what is staged and the device does not have, and begins the next step. Returns the kernel that draws in the launch,
    /// which must follow.
    pub fn send(
        &mut self,
        gpu: &Gpu,
        counts: &mut Counts,
        draws: &mut Draws,
        drawn: &mut Drawn,
    ) -> Result<Kind> {
        self.settle(draws, drawn);
        let Self { staged, sent, launched, words, records } = self;
        if staged.words != sent.words {
            gpu.write(words, 0, &staged.words)?;
            counts.uploads += 1;
            sent.words.copy_from_slice(&staged.words);
        }
        let kind = staged.kind();
        if kind != Kind::None && staged.records != sent.records {
            gpu.write(records, 0, &staged.records)?;
            counts.uploads += 1;
            sent.records.copy_from_slice(&staged.records);
        }
        for column in &staged.drawing {
            drawn.expect(column.row, column.len);
        }
        mem::swap(launched, &mut staged.drawing);
        staged.clear();
        Ok(kind)
    }

    /// Brings `sent` up to date with the last launch's tokens. They are lost, and all words with them, if nobody has asked for
    /// them.
    pub fn settle(&mut self, draws: &mut Draws, drawn: &Drawn) {
        for Column { column, row, len, table } in self.launched.drain(..) {
            let Some(result) = drawn.known(row) else {
                self.sent.words.fill(LOST);
                continue;
            };
            let Ok(token) = result else { continue };
            self.sent.words[STEP_TOKENS as usize + column] = token;
            self.sent.words[STEP_POSITIONS as usize + column] = len as u32;
            if let Some(table) = table {
                draws.counted(table, len + 1, token);
            }
        }
    }

    /// Takes nothing for granted of what the device has.
    pub fn lose(&mut self) {
        self.launched.clear();
        self.sent.words.fill(LOST);
    }

    /// The words as the device has them, where they are not lost.
    pub fn sent(&self) -> &[u32] {
        &self.sent.words
    }
}

/// A word of a step that the device may have otherwise. Tokens are less: a staged step never has it in all of them.
const LOST: u32 = u32::MAX;

impl Staged {
    fn clear(&mut self) {
        self.words.fill(0);
        self.words[STEP_POSITIONS as usize..STEP_PAGES as usize].fill(NO_COLUMN);
        self.records.fill(Record::zeroed());
        self.drawing.clear();
        (self.n_columns, self.n_positions, self.has_rows) = (0, 0, false);
    }

    fn kind(&self) -> Kind {
        match self.drawing.as_slice() {
            [] => Kind::None,
            columns if columns.iter().all(|c| self.records[c.column].is_greedy()) => Kind::Greedy,
            _ => Kind::Draw,
        }
    }
}

//! Drawing tokens on the device: which tables its kernels are given, and what they leave.
//!
//! A kernel writes the token to the host's memory, and makes the step on the device the next one, which [`StepMirror::settle`]
//! follows. Tested in `tests/cuda/sampling.rs`.

use super::{
    Counts,
    driver::{Gpu, Mapped},
    images::constants as c,
    kernels::sample::{ROWS, Record, Sample, TABLES},
    step::StepMirror,
};
use crate::{
    backend::Result,
    batch::SeqId,
    sampler::{Draw, SamplingError},
};
use std::{cell::Cell, sync::Arc};

/// A table of biases and counts, for one text.
#[derive(Debug, Default)]
struct Table {
    owner: Option<(Arc<Draw>, SeqId)>,
    /// Length and last token of the text whose counts it has; none if that is not known.
    holds: Option<(usize, u32)>,
    last_used: u64,
}

/// The kernels that draw, and the tables of the texts that need one.
#[derive(Debug)]
pub struct Draws {
    /// The kernels.
    pub kernels: Sample,
    tables: [Table; TABLES],
    /// One table, on its way to the device.
    words: Vec<u32>,
    n_uses: u64,
}

impl Draws {
    /// For a vocabulary of `n_vocab`.
    pub fn new(gpu: &Gpu, n_vocab: usize) -> Result<Self> {
        let kernels = Sample::load(gpu, n_vocab)?;
        Ok(Self { kernels, tables: Default::default(), words: Vec::new(), n_uses: 0 })
    }

    /// Forgets all texts.
    pub fn forget(&mut self) {
        self.tables.fill_with(Table::default);
    }

    /// Lets the column that `step` has staged last draw from `row` what follows `tokens`, the text of `seq`. Nothing, if it
    /// cannot.
    pub fn add(
        &mut self,
        gpu: &Gpu,
        counts: &mut Counts,
        step: &mut StepMirror,
        (row, draw): (usize, &Arc<Draw>),
        (seq, tokens): (SeqId, &[u32]),
    ) -> Result<()> {
        if row >= ROWS || !draw.is_simple() || draw.n_choices() > self.kernels.n_vocab() {
            return Ok(());
        }
        let needs_table = !draw.params().leaves_logits_alone() || draw.suppresses(tokens.len());
        let table = match needs_table {
            true => Some(self.table(gpu, counts, draw, seq, tokens)?),
            false => None,
        };
        step.draw(Record::new(draw, table), tokens.len(), table);
        Ok(())
    }

    /// The table of a text: the one that has its counts, or the one that was not used for the longest time. A step has no more
    /// columns than there are tables, so none of the same step's is taken.
    fn table(
        &mut self,
        gpu: &Gpu,
        counts: &mut Counts,
        draw: &Arc<Draw>,
        seq: SeqId,
        tokens: &[u32],
    ) -> Result<usize> {
        let is_owned = |t: &Table| t.owner.as_ref().is_some_and(|(d, s)| Arc::ptr_eq(d, draw) && *s == seq);
        let oldest = || (0..TABLES).min_by_key(|&i| self.tables[i].last_used).unwrap_or(0);
        let i = self.tables.iter().position(is_owned).unwrap_or_else(oldest);
        let table = &mut self.tables[i];
        let is_current = is_owned(table) && table.holds == tokens.last().map(|&t| (tokens.len(), t));
        self.n_uses += 1;
        // What it holds once the kernel has added a token is known when that token is.
        *table = Table { owner: Some((draw.clone(), seq)), holds: None, last_used: self.n_uses };
        if !is_current {
            fill_table(&mut self.words, draw, tokens);
            self.kernels.write_table(gpu, i, &self.words)?;
            counts.tables += 1;
        }
        Ok(i)
    }

    /// Notes that the kernel has counted `token` in table number `table`, the last of `len`.
    pub(super) fn counted(&mut self, table: usize, len: usize, token: u32) {
        self.tables[table].holds = Some((len, token));
    }
}

/// Pairs of bias and marks, as `Scores` of kernels/sample.cu reads them, for what follows `tokens`.
fn fill_table(words: &mut Vec<u32>, draw: &Draw, tokens: &[u32]) {
    words.clear();
    words.resize(2 * draw.n_choices(), 0);
    for &(id, bias) in &draw.params().logit_bias {
        words[2 * id as usize] = bias.to_bits();
    }
    let mut mark = |id: u32, change: &dyn Fn(u32) -> u32| {
        if let Some(marks) = words.get_mut(2 * id as usize + 1) {
            *marks = change(*marks);
        }
    };
    for (i, &id) in tokens.iter().enumerate() {
        mark(id, &|marks| (marks | c::MARK_SEEN) + u32::from(i >= draw.n_prompt()));
    }
    for &id in draw.suppressed() {
        mark(id, &|marks| marks | c::MARK_SUPPRESSED);
    }
}

/// The tokens that were drawn, in the host's memory.
#[derive(Debug)]
pub struct Drawn {
    /// A word for each row, which the kernels write.
    pub words: Mapped,
    /// For each row that a token is drawn from, the token's position.
    positions: [Option<usize>; ROWS],
    waited: Cell<bool>,
}

impl Drawn {
    /// None yet.
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { words: Mapped::new(gpu, ROWS)?, positions: [None; ROWS], waited: Cell::new(false) })
    }

    /// Forgets the tokens of an earlier call.
    pub fn clear(&mut self) {
        self.positions.fill(None);
        self.waited.set(false);
    }

    /// Notes that the launch draws from `row`, for `position`.
    pub(super) fn expect(&mut self, row: usize, position: usize) {
        self.positions[row] = Some(position);
    }

    /// The token drawn from `row`; none if the host shall draw.
    pub fn token(&self, gpu: &Gpu, row: usize) -> Result<Option<u32>> {
        if self.positions.get(row).copied().flatten().is_none() {
            return Ok(None);
        }
        if !self.waited.get() {
            gpu.synchronize()?;
            self.waited.set(true);
        }
        Ok(self.known(row).transpose()?)
    }

    /// What was drawn from `row`, if that was asked for and waited for.
    pub(super) fn known(&self, row: usize) -> Option<Result<u32, SamplingError>> {
        let position = self.positions[row].filter(|_| self.waited.get())?;
        Some(match self.words.read(row) {
            c::DRAWN_NON_FINITE => Err(SamplingError::NonFinite { position }),
            c::DRAWN_ALL_BANNED => Err(SamplingError::AllBanned { position }),
            token => Ok(token),
        })
    }
}

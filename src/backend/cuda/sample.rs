//! Drawing tokens on the device: what the kernels of `kernels/sample.cu` are given, and what they leave.
//!
//! A kernel writes the token to the host's memory, and makes the step on the device the next one. [`Draws::settle`] tells what
//! the host knows of that, so that a step is sent only where it differs from what the device has. Tested in
//! `tests/cuda/sampling.rs`.

use super::{
    Counts,
    driver::{Buffer, Gpu, Kernel, Module, Shape},
    images::constants as c,
    mapped::Mapped,
};
use crate::{
    backend::Result,
    batch::SeqId,
    sampler::{Draw, SamplingError},
};
use std::{cell::Cell, sync::Arc};

/// How a column draws: `Draw` of kernels/sample.cu. All zero, it draws nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
struct Record {
    temperature: f64,
    top_p: f64,
    min_p: f64,
    repetition: f64,
    presence: f64,
    frequency: f64,
    floor: f64,
    bins: f64,
    seed: u64,
    choice: u32,
    mode: u32,
    n_choices: u32,
    top_k: u32,
    table: u32,
    suppressed_until: u32,
}

impl Record {
    fn new(draw: &Draw, table: Option<usize>) -> Self {
        /// A weight of e^-31.75 is less than half a unit of mass.
        const DEPTH: f64 = 31.75;
        let p = draw.params();
        let temperature = f64::from(p.temperature);
        let mode = match () {
            () if p.temperature == 0.0 => c::DRAW_GREEDY,
            () if p.top_k > 0 && p.top_k < draw.n_choices() => c::DRAW_TOP_K,
            () if p.top_p < 1.0 => c::DRAW_TOP_P,
            () => c::DRAW_ALL,
        };
        Self {
            temperature,
            top_p: p.top_p.into(),
            min_p: p.min_p.into(),
            repetition: p.repetition_penalty.into(),
            presence: p.presence_penalty.into(),
            frequency: p.frequency_penalty.into(),
            floor: -DEPTH * temperature,
            bins: f64::from(c::SAMPLE_BINS) / (DEPTH * temperature),
            seed: p.seed,
            choice: p.choice,
            mode,
            n_choices: draw.n_choices() as u32,
            top_k: p.top_k.min(draw.n_choices()) as u32,
            table: table.map_or(c::NO_COLUMN, |t| t as u32),
            suppressed_until: draw.suppressed_until().min(u32::MAX as usize) as u32,
        }
    }
}

/// A table of biases and counts, for one text.
#[derive(Debug, Default)]
struct Table {
    owner: Option<(Arc<Draw>, SeqId)>,
    /// Length and last token of the text whose counts it has; none if that is not known.
    holds: Option<(usize, u32)>,
    last_used: u64,
}

/// A column that draws.
#[derive(Clone, Copy, Debug)]
struct Column {
    column: usize,
    row: usize,
    /// Tokens that the text has.
    len: usize,
    table: Option<usize>,
}

/// Columns that draw, and all memory of the device that they need.
#[derive(Debug)]
pub struct Draws {
    greedy: Kernel,
    draw: Kernel,
    records: Buffer<Record>,
    /// The records as the device has them.
    sent: Vec<Record>,
    /// Those of the step that is being made.
    next: Vec<Record>,
    /// The columns of the step that is being made, and those of the one that was launched last.
    drawing: Vec<Column>,
    launched: Vec<Column>,
    tables: [Table; TABLES],
    /// `[TABLES, V]` pairs of bias and marks.
    on_device: Buffer<u32>,
    /// One table, on its way to the device.
    words: Vec<u32>,
    meetings: Buffer<u64>,
    bests: Buffer<u64>,
    listed: Buffer<u64>,
    n_vocab: usize,
    clock: u64,
    _module: Module,
}

/// A table for each column that a step can have.
const TABLES: usize = c::MAX_COLUMNS as usize;

/// Words of 8 bytes of `Meeting`, `Best` and `Listed` of kernels/sample.cu.
const MEETING_LEN: usize = 2 + c::SAMPLE_BINS as usize;
const BEST_LEN: usize = 2;
const LISTED_LEN: usize = 3;

/// Bytes on the device, for a vocabulary of `n_vocab`.
pub fn n_bytes(n_vocab: usize) -> usize {
    TABLES * (8 * n_vocab + 8 * LISTED_LEN * n_vocab + 8 * MEETING_LEN)
}

/// Which of the kernels a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No column draws.
    None,
    /// All that do take the likeliest token.
    Greedy,
    /// Any.
    Draw,
}

impl Draws {
    /// For a vocabulary of `n_vocab`.
    pub fn new(gpu: &Gpu, n_vocab: usize) -> Result<Self> {
        let module = gpu.load("sample")?;
        let columns = c::MAX_COLUMNS as usize;
        Ok(Self {
            greedy: module.kernel("sample_greedy_f32", 0)?,
            draw: module.kernel("sample_draw_f32", 0)?,
            records: gpu.alloc(columns, "sampling")?,
            sent: vec![bytemuck::Zeroable::zeroed(); columns],
            next: vec![bytemuck::Zeroable::zeroed(); columns],
            drawing: Vec::with_capacity(columns),
            launched: Vec::with_capacity(columns),
            tables: Default::default(),
            on_device: gpu.alloc(TABLES * 2 * n_vocab, "sampling")?,
            words: Vec::new(),
            meetings: gpu.zeros(columns * MEETING_LEN, "sampling")?,
            bests: gpu.alloc(columns * gpu.n_sms as usize * BEST_LEN, "sampling")?,
            listed: gpu.alloc(columns * n_vocab * LISTED_LEN, "sampling")?,
            n_vocab,
            clock: 0,
            _module: module,
        })
    }

    /// Forgets all texts.
    pub fn forget(&mut self) {
        self.tables.fill_with(Table::default);
    }

    /// Begins a step.
    pub fn clear(&mut self) {
        self.next.fill(bytemuck::Zeroable::zeroed());
        self.drawing.clear();
        self.clock += 1;
    }

    /// Lets `column` of the step that is being made draw from `row` what follows `tokens`, the text of `seq`. Nothing, if it
    /// cannot.
    pub fn add(
        &mut self,
        gpu: &Gpu,
        counts: &mut Counts,
        (column, row): (usize, usize),
        draw: &Arc<Draw>,
        (seq, tokens): (SeqId, &[u32]),
    ) -> Result<()> {
        if row >= ROWS || !draw.is_simple() || draw.n_choices() > self.n_vocab {
            return Ok(());
        }
        let needs_table = !draw.params().leaves_logits_alone() || draw.suppresses(tokens.len());
        let table = match needs_table {
            true => Some(self.table(gpu, counts, draw, seq, tokens)?),
            false => None,
        };
        self.next[column] = Record::new(draw, table);
        self.drawing.push(Column { column, row, len: tokens.len(), table });
        Ok(())
    }

    /// The table of a text: the one that has its counts, or the one that was not used for the longest time.
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
        // What it holds once the kernel has added a token is known when that token is.
        *table = Table { owner: Some((draw.clone(), seq)), holds: None, last_used: self.clock };
        if !is_current {
            fill_table(&mut self.words, draw, tokens);
            gpu.write(&mut self.on_device, i * 2 * self.n_vocab, &self.words)?;
            counts.tables += 1;
        }
        Ok(i)
    }

    /// Which kernel the step that is being made needs.
    pub fn kind(&self) -> Kind {
        let is_greedy = |column: &Column| self.next[column.column].mode == c::DRAW_GREEDY;
        match self.drawing.as_slice() {
            [] => Kind::None,
            columns if columns.iter().all(is_greedy) => Kind::Greedy,
            _ => Kind::Draw,
        }
    }

    /// Sends what the device does not have yet, and notes what the launch that comes will leave.
    pub fn send(&mut self, gpu: &Gpu, counts: &mut Counts, drawn: &mut Drawn) -> Result<()> {
        if self.drawing.is_empty() {
            return Ok(());
        }
        if self.next != self.sent {
            gpu.write(&mut self.records, 0, &self.next)?;
            counts.uploads += 1;
            self.sent.copy_from_slice(&self.next);
        }
        for column in &self.drawing {
            drawn.expect(column.row, column.len);
        }
        std::mem::swap(&mut self.launched, &mut self.drawing);
        Ok(())
    }

    /// Applies to `sent_step` what the kernel that was launched last did to the step. If the host does not know, because nobody
    /// has asked for the tokens, the step counts as lost.
    pub fn settle(&mut self, sent_step: &mut [u32], drawn: &Drawn) {
        for column in self.launched.drain(..) {
            let Some(result) = drawn.known(column.row) else {
                sent_step.fill(u32::MAX);
                continue;
            };
            let Ok(token) = result else { continue };
            sent_step[c::STEP_TOKENS as usize + column.column] = token;
            sent_step[c::STEP_POSITIONS as usize + column.column] = column.len as u32;
            if let Some(table) = column.table {
                self.tables[table].holds = Some((column.len + 1, token));
            }
        }
    }

    /// Puts the kernel of `kind` into the stream, for steps of `n_columns`.
    pub fn launch(
        &mut self,
        gpu: &Gpu,
        kind: Kind,
        n_columns: u32,
        step: &mut Buffer<u32>,
        (logits, drawn): (&Buffer<f32>, &Drawn),
    ) -> Result<()> {
        let n_vocab = self.n_vocab as u32;
        // All blocks of a column have a multiprocessor each: they meet.
        let n_blocks = n_vocab.div_ceil(c::SAMPLE_THREADS).min((gpu.n_sms / n_columns).max(1));
        let grid = [n_blocks, n_columns, 1];
        let overlaps = kind == Kind::Greedy;
        let shape = Shape { grid, block: c::SAMPLE_THREADS, shared: 0, overlaps };
        let (records, tables) = ((&self.records).into(), (&mut self.on_device).into());
        let (meetings, bests) = ((&mut self.meetings).into(), (&mut self.bests).into());
        let (logits, step, drawn) = (logits.into(), step.into(), drawn.words.arg());
        // SAFETY (all): order and types follow kernels/sample.cu. A column that draws has a row of logits and, below ROWS, a word
        // of `drawn`; its tokens are below n_choices <= n_vocab, its table below TABLES, and each array has a part for
        // MAX_COLUMNS columns.
        match kind {
            Kind::None => Ok(()),
            Kind::Greedy => {
                let args = [logits, step, records, tables, meetings, bests, drawn, n_vocab.into()];
                // SAFETY: above.
                unsafe { gpu.launch(&self.greedy, shape, &args) }
            }
            Kind::Draw => {
                let listed = (&mut self.listed).into();
                let args = [logits, step, records, tables, meetings, bests, listed, drawn, n_vocab.into()];
                match n_blocks {
                    // SAFETY: above; a block alone waits for nobody.
                    1 => unsafe { gpu.launch(&self.draw, shape, &args) },
                    // SAFETY: above.
                    _ => unsafe { gpu.launch_together(&self.draw, shape, &args) },
                }
            }
        }
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

/// Rows of logits that tokens can be drawn from in one call; those of further rows are for the host.
const ROWS: usize = 64;

/// The tokens that were drawn, in the host's memory.
#[derive(Debug)]
pub struct Drawn {
    words: Mapped,
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

    fn expect(&mut self, row: usize, position: usize) {
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
    fn known(&self, row: usize) -> Option<Result<u32, SamplingError>> {
        let position = self.positions[row].filter(|_| self.waited.get())?;
        Some(match self.words.read(row) {
            c::DRAWN_NON_FINITE => Err(SamplingError::NonFinite { position }),
            c::DRAWN_ALL_BANNED => Err(SamplingError::AllBanned { position }),
            token => Ok(token),
        })
    }
}

//! Launchers of `kernels/sample.cu`: a token from each column's row of logits, which also moves the step on.

use super::{
    super::{
        driver::{Buffer, Gpu, Kernel, Mapped, Module, Shape},
        images::constants::{
            DRAW_ALL, DRAW_GREEDY, DRAW_TOP_K, DRAW_TOP_P, MAX_COLUMNS, NO_COLUMN, SAMPLE_BINS,
            SAMPLE_ID_BITS, SAMPLE_THREADS,
        },
    },
    Traffic,
};
use crate::{
    backend::Result,
    sampler::{Draw, N_VOCAB_MAX},
};

const _: () = assert!(N_VOCAB_MAX <= 1 << SAMPLE_ID_BITS, "the kernels tell any two ids apart");

/// How a column draws: `Draw` of kernels/sample.cu. All zero, it draws nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Record {
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
    /// Of `draw`, with table number `table` where it needs one.
    pub fn new(draw: &Draw, table: Option<usize>) -> Self {
        /// A weight of e^-31.75 is less than half a unit of mass.
        const DEPTH: f64 = 31.75;
        let p = draw.params();
        let temperature = f64::from(p.temperature);
        let mode = match () {
            () if p.temperature == 0.0 => DRAW_GREEDY,
            () if p.top_k > 0 && p.top_k < draw.n_choices() => DRAW_TOP_K,
            () if p.top_p < 1.0 => DRAW_TOP_P,
            () => DRAW_ALL,
        };
        Self {
            temperature,
            top_p: p.top_p.into(),
            min_p: p.min_p.into(),
            repetition: p.repetition_penalty.into(),
            presence: p.presence_penalty.into(),
            frequency: p.frequency_penalty.into(),
            floor: -DEPTH * temperature,
            bins: f64::from(SAMPLE_BINS) / (DEPTH * temperature),
            seed: p.seed,
            choice: p.choice,
            mode,
            n_choices: draw.n_choices() as u32,
            top_k: p.top_k.min(draw.n_choices()) as u32,
            table: table.map_or(NO_COLUMN, |t| t as u32),
            suppressed_until: draw.suppressed_until().min(u32::MAX as usize) as u32,
        }
    }

    /// Whether it takes the likeliest token.
    pub fn is_greedy(&self) -> bool {
        self.mode == DRAW_GREEDY
    }
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

/// The kernels, with the memory in which blocks of a column work together.
#[derive(Debug)]
pub struct Sample {
    greedy: Kernel,
    draw: Kernel,
    /// `[TABLES, V]` pairs of bias and marks.
    tables: Buffer<u32>,
    meetings: Buffer<u64>,
    bests: Buffer<u64>,
    listed: Buffer<u64>,
    n_vocab: usize,
    _module: Module,
}

const COLUMNS: usize = MAX_COLUMNS as usize;

/// Tables of biases and counts: one for each column that a step can have.
pub const TABLES: usize = COLUMNS;

/// Rows of logits that tokens can be drawn from in one call; those of further rows are for the host.
pub const ROWS: usize = 64;

/// Words of 8 bytes of `Meeting`, `Best` and `Listed` of kernels/sample.cu.
const MEETING_LEN: usize = 2 + SAMPLE_BINS as usize;
const BEST_LEN: usize = 2;
const LISTED_LEN: usize = 3;

impl Sample {
    /// For a vocabulary of `n_vocab`.
    pub fn load(gpu: &Gpu, n_vocab: usize) -> Result<Self> {
        let module = gpu.load("sample")?;
        Ok(Self {
            greedy: module.kernel("sample_greedy_f32", 0)?,
            draw: module.kernel("sample_draw_f32", 0)?,
            tables: gpu.alloc(TABLES * 2 * n_vocab, "sampling")?,
            meetings: gpu.zeros(COLUMNS * MEETING_LEN, "sampling")?,
            bests: gpu.alloc(COLUMNS * gpu.n_sms as usize * BEST_LEN, "sampling")?,
            listed: gpu.alloc(COLUMNS * n_vocab * LISTED_LEN, "sampling")?,
            n_vocab,
            _module: module,
        })
    }

    /// Bytes on the device, for a vocabulary of `n_vocab`.
    pub fn n_bytes(n_vocab: usize) -> usize {
        COLUMNS * (8 * n_vocab + 8 * LISTED_LEN * n_vocab + 8 * MEETING_LEN)
    }

    /// Tokens of a row of logits.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Copies `words`, pairs of bias and marks, to table number `i`.
    pub fn write_table(&mut self, gpu: &Gpu, i: usize, words: &[u32]) -> Result<()> {
        assert!(i < TABLES && words.len() <= 2 * self.n_vocab, "table {i} of {} words", words.len());
        gpu.write(&mut self.tables, i * 2 * self.n_vocab, words)
    }

    /// Lets the first `n_columns` columns draw: by `kind`, from `logits`, as `records` say, the tokens into `drawn` and `step`.
    pub fn launch(
        &mut self,
        gpu: &Gpu,
        kind: Kind,
        n_columns: u32,
        (step, records): (&mut Buffer<u32>, &Buffer<Record>),
        (logits, drawn): (&Buffer<f32>, &Mapped),
    ) -> Result<()> {
        let n_vocab = self.n_vocab as u32;
        let n_blocks = n_blocks(n_vocab, n_columns, gpu.n_sms);
        let shape = Shape {
            grid: [n_blocks, n_columns, 1],
            block: SAMPLE_THREADS,
            shared: 0,
            overlaps: kind == Kind::Greedy,
        };
        let (records, tables) = (records.into(), (&mut self.tables).into());
        let (meetings, bests) = ((&mut self.meetings).into(), (&mut self.bests).into());
        let (logits, step, drawn) = (logits.into(), step.into(), drawn.arg());
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

/// Blocks of a column: all of a launch have a multiprocessor each, since a column's blocks meet.
pub const fn n_blocks(n_vocab: u32, n_columns: u32, n_sms: u32) -> u32 {
    let (wanted, room) = (n_vocab.div_ceil(SAMPLE_THREADS), n_sms / n_columns);
    if room == 0 {
        1
    } else if wanted < room {
        wanted
    } else {
        room
    }
}

/// Most distinct bytes that the greedy kernel touches for columns without tables, each of `n_blocks` blocks. Of a [`Record`] it
/// reads what it needs.
pub const fn greedy_traffic(n_choices: usize, n_columns: usize, n_blocks: usize) -> Traffic {
    let bests = 8 * BEST_LEN * n_blocks;
    // The step's row and position; then its token and position, the row's token, and what the next run starts from.
    let read = 4 * n_choices + bests + 2 * 4 + size_of::<Record>();
    Traffic { read: n_columns * read, written: n_columns * (bests + 2 * 4 + 4 + 16) }
}

/// As [`greedy_traffic`], of the other kernel: columns that list `n_listed` tokens each beside.
pub const fn draw_traffic(n_choices: usize, n_columns: usize, n_blocks: usize, n_listed: usize) -> Traffic {
    let greedy = greedy_traffic(n_choices, n_columns, n_blocks);
    let (listed, bins) = (8 * LISTED_LEN * n_listed, 8 * SAMPLE_BINS as usize);
    // Blocks read how many have come to each of two meetings, and the last one how many tokens are listed.
    let read = greedy.read + n_columns * (listed + bins + 2 * 4 + 4);
    Traffic { read, written: greedy.written + n_columns * (listed + bins) }
}

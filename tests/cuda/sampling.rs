//! Drawing on the device: the token is the one that the sampler draws from the same logits, always.

use crate::emulator::Emulator;
use halfwarp::{
    backend::cuda::{
        Counts,
        driver::Gpu,
        images::{Image, constants::MAX_COLUMNS},
        kernels::{
            Step,
            sample::{Record, draw_traffic, greedy_traffic, n_blocks},
        },
        sample::{Drawn, Draws},
        step::StepMirror,
    },
    batch::SeqId,
    cache::KvCache,
    sampler::{Draw, History, Sampler, SamplingParams},
};
use std::sync::Arc;

const COLUMNS: usize = MAX_COLUMNS as usize;
const INF: f32 = f32::INFINITY;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn tokens(&mut self, n: usize, n_vocab: usize) -> Vec<u32> {
        (0..n).map(|_| self.below(n_vocab) as u32).collect()
    }

    /// Logits of one of several kinds.
    fn logits(&mut self, n_vocab: usize) -> Vec<f32> {
        let kind = self.below(12);
        let base = self.unit() * 200.0 - 100.0;
        let mut logits: Vec<f32> = (0..n_vocab)
            .map(|_| {
                let bell = (0..4).map(|_| self.unit()).sum::<f32>() - 2.0;
                match kind {
                    0 => base,
                    1 => [0.0, -0.0][self.below(2)],
                    2 => (bell * 6.0).round(),
                    3 => bell * 1e30,
                    4 => bell * 1e-42,
                    5 => [bell, -INF][self.below(2)],
                    6 => base + bell * 200.0,
                    _ => base + bell * 8.0,
                }
            })
            .collect();
        let at = self.below(n_vocab);
        match self.below(40) {
            0 => logits[at] = f32::NAN,
            1 => logits[at] = INF,
            2 => logits.fill(-INF),
            3 => logits[at] = f32::MAX,
            _ => {}
        }
        logits
    }

    fn params(&mut self, n_vocab: usize) -> SamplingParams {
        let n_biased = self.below(5);
        let mut ids = self.tokens(n_biased, n_vocab);
        ids.sort_unstable();
        ids.dedup();
        let plain = SamplingParams {
            temperature: self.one_of(&[0.0, 0.7, 1.0, 1.0, 1.3, 1e-45, 3e38, 0.01]),
            top_k: self.one_of(&[0, 0, 1, 2, 40, n_vocab / 2, n_vocab, usize::MAX]),
            top_p: self.one_of(&[1.0, 1.0, 0.9, 0.5, 1e-9, 0.999_999_94]),
            min_p: self.one_of(&[0.0, 0.0, 0.05, 1.0, 1e-20]),
            seed: self.next(),
            choice: self.below(3) as u32,
            ..SamplingParams::default()
        };
        if self.below(2) == 0 {
            return plain;
        }
        SamplingParams {
            repetition_penalty: self.one_of(&[1.0, 1.0, 1.3, 0.7, 1e-30]),
            presence_penalty: self.one_of(&[0.0, 0.0, 0.5, -2.0]),
            frequency_penalty: self.one_of(&[0.0, 0.0, 0.1, -1.3]),
            logit_bias: ids
                .into_iter()
                .map(|id| (id, self.one_of(&[0.0, 100.0, -100.0, 1.1, -3e38])))
                .collect(),
            ..plain
        }
    }
}

/// A text that is drawn on the device and, beside it, on the host.
struct Text {
    seq: SeqId,
    tokens: Vec<u32>,
    n_prompt: usize,
    n_choices: usize,
    draw: Arc<Draw>,
    sampler: Sampler,
    suppressed: Vec<u32>,
    n_suppressed: usize,
}

impl Text {
    fn new(random: &mut Random, cache: &mut KvCache, n_vocab: usize) -> Self {
        let n_choices = n_vocab - random.one_of(&[0, 0, n_vocab / 3]);
        let params = random.params(n_choices);
        // Tokens beyond those that can be chosen too.
        let n_prompt = 1 + random.below(20);
        let tokens = random.tokens(n_prompt, n_vocab);
        let n_suppressed = random.one_of(&[0, 2, 1000]);
        let suppressed = random.tokens(n_suppressed.min(3), n_vocab);
        Self::of(cache.open(), tokens, params, n_choices, (suppressed, n_suppressed))
    }

    fn of(
        seq: SeqId,
        tokens: Vec<u32>,
        params: SamplingParams,
        n_choices: usize,
        (suppressed, n_suppressed): (Vec<u32>, usize),
    ) -> Self {
        let n_prompt = tokens.len();
        let draw = Draw::new(params.clone(), n_choices, n_prompt).unwrap();
        let draw = Arc::new(draw.suppress(suppressed.clone(), n_suppressed));
        let sampler = Sampler::new(params, n_choices).unwrap();
        Self { seq, tokens, n_prompt, n_choices, draw, sampler, suppressed, n_suppressed }
    }

    fn expected(&mut self, logits: &[f32]) -> Result<u32, String> {
        let is_early = self.tokens.len() - self.n_prompt < self.n_suppressed;
        let suppressed = if is_early { &self.suppressed[..] } else { &[] };
        let history = History { tokens: &self.tokens, n_prompt: self.n_prompt };
        self.sampler.sample(&logits[..self.n_choices], history, suppressed).map_err(|e| e.to_string())
    }
}

/// A step without a model.
struct Rig {
    gpu: Gpu,
    draws: Draws,
    drawn: Drawn,
    step: StepMirror,
    counts: Counts,
}

impl Rig {
    fn new(n_vocab: usize) -> Self {
        Self::on(Gpu::open(0).unwrap(), n_vocab)
    }

    fn on(gpu: Gpu, n_vocab: usize) -> Self {
        Self {
            draws: Draws::new(&gpu, n_vocab).unwrap(),
            drawn: Drawn::new(&gpu).unwrap(),
            step: StepMirror::new(&gpu, 0).unwrap(),
            counts: Counts::default(),
            gpu,
        }
    }

    /// Draws what follows each of `texts` from its row of `logits`; rows are those of the columns, backwards.
    fn draw(&mut self, texts: &[Text], logits: &[f32]) -> Vec<Result<u32, String>> {
        self.step.settle(&mut self.draws, &self.drawn);
        self.drawn.clear();
        self.step.clear();
        let Self { gpu, draws, drawn, step, counts } = self;
        for (i, text) in texts.iter().enumerate() {
            let row = texts.len() - 1 - i;
            step.push(*text.tokens.last().unwrap(), text.tokens.len() - 1, row as u32, &[]);
            draws.add(gpu, counts, step, (row, &text.draw), (text.seq, &text.tokens)).unwrap();
        }
        let n_columns = Step::column_count(step.n_columns());
        let kind = step.send(gpu, counts, draws, drawn).unwrap();
        let logits = gpu.upload(logits, "logits").unwrap();
        let step = (&mut step.words, &step.records);
        draws.kernels.launch(gpu, kind, n_columns, step, (&logits, &drawn.words)).unwrap();
        let token = |i: usize| self.drawn.token(&self.gpu, texts.len() - 1 - i);
        (0..texts.len()).map(|i| token(i).map(|t| t.unwrap()).map_err(|e| e.to_string())).collect()
    }

    /// What the host thinks of the step is what the device has.
    fn check_step(&mut self) {
        self.step.settle(&mut self.draws, &self.drawn);
        let mut words = vec![0; self.step.sent().len()];
        self.gpu.read(&self.step.words, 0, &mut words).unwrap();
        assert_eq!(words, self.step.sent());
    }
}

/// Texts with random parameters, a few tokens each.
fn compare(n_vocab: usize, n_rounds: usize, seed: u64) {
    let mut random = Random(seed);
    let mut rig = Rig::new(n_vocab);
    for round in 0..n_rounds {
        let mut cache = KvCache::new(COLUMNS, 64, n_vocab);
        let n_texts = random.one_of(&[1, 1, 3, COLUMNS]);
        let mut texts: Vec<Text> =
            (0..n_texts).map(|_| Text::new(&mut random, &mut cache, n_vocab)).collect();
        rig.draws.forget();
        for _ in 0..3 {
            let rows: Vec<Vec<f32>> = texts.iter().map(|_| random.logits(n_vocab)).collect();
            let found = rig.draw(&texts, &rows.iter().rev().flatten().copied().collect::<Vec<_>>());
            for ((text, row), found) in texts.iter_mut().zip(&rows).zip(found) {
                let expected = text.expected(row);
                assert_eq!(
                    found,
                    expected,
                    "V = {n_vocab}, seed {seed}, round {round}: {:?}, {} tokens",
                    text.draw,
                    text.tokens.len()
                );
                text.tokens.push(found.unwrap_or(0));
            }
            rig.check_step();
        }
    }
    assert!(rig.counts.tables > 0);
}

#[test]
fn tokens_are_those_of_the_sampler() {
    for (arch, seed) in [(75, 1), (90, 2)] {
        let emulator = Emulator::checked(arch);
        for (n_vocab, n_rounds) in [(1, 4), (31, 30), (257, 30), (517, 20)] {
            compare(n_vocab, n_rounds, 1000 * seed + n_vocab as u64);
            emulator.assert_clean();
        }
    }
}

#[test]
fn tokens_of_gpt2s_vocabulary_are_those_of_the_sampler() {
    for (arch, seed) in [(75, 1), (90, 2)] {
        let emulator = Emulator::checked(arch);
        compare(50257, 2, seed);
        emulator.assert_clean();
    }
}

#[test]
fn no_schedule_changes_a_token() {
    for seed in 0..6 {
        let arch = [75, 80, 90][seed as usize % 3];
        let emulator = Emulator::new(&format!(
            r#"{{"arch": {arch}, "check": true, "quiet": true, "seed": {seed}, "weak": {seed}}}"#
        ));
        compare(2000, 3, 77);
        emulator.assert_clean();
    }
}

/// Weights that are min-p to the last bit as the sampler computes them, and less where a product and a sum fuse. Found by search.
#[test]
fn weights_have_the_samplers_bits() {
    let cases = [
        (0xbe2d60c1, 0x3ee9374c, 0x3f308693),
        (0xbe2b45b9, 0x3ea32c80, 0x3f177752),
        (0xc00c03f6, 0x3fb05880, 0x3e513ebb),
        (0xbe8ea455, 0x3f022100, 0x3f13fbad),
        (0xbf8c932b, 0x3f2d3500, 0x3e4a002f),
        (0xbf2b45b9, 0x3fa32c80, 0x3f177752),
    ];
    for arch in [75, 90] {
        let emulator = Emulator::checked(arch);
        let mut rig = Rig::new(2);
        for (logit, temperature, min_p) in cases {
            let mut cache = KvCache::new(COLUMNS, 64, 2);
            let mut texts: Vec<Text> = (0..COLUMNS as u64)
                .map(|seed| {
                    let (temperature, min_p) = (f32::from_bits(temperature), f32::from_bits(min_p));
                    let params = SamplingParams { temperature, min_p, seed, ..SamplingParams::default() };
                    Text::of(cache.open(), vec![0], params, 2, (Vec::new(), 0))
                })
                .collect();
            let row = [0.0, f32::from_bits(logit)];
            let found = rig.draw(&texts, &row.repeat(COLUMNS));
            let expected: Vec<_> = texts.iter_mut().map(|text| text.expected(&row)).collect();
            assert_eq!(found, expected);
            assert!(expected.contains(&Ok(1)), "min-p keeps both tokens");
        }
        drop(rig);
        emulator.assert_clean();
    }
}

/// Of its column's record a kernel reads what it needs; all else is as promised, to the byte.
#[test]
fn drawing_touches_what_its_launchers_promise() {
    if crate::emulator::is_real() {
        println!("skipped: only the emulator counts");
        return;
    }
    let emulator = Emulator::counting();
    let n_vocab = 2000;
    for n_texts in [1, 4, 8] {
        for temperature in [0.0, 1.0] {
            let mut rig = Rig::new(n_vocab);
            let n_blocks = n_blocks(n_vocab as u32, n_texts as u32, rig.gpu.n_sms) as usize;
            let mut cache = KvCache::new(COLUMNS, 64, n_vocab);
            let params = SamplingParams { temperature, ..SamplingParams::default() };
            let text = |_| Text::of(cache.open(), vec![0], params.clone(), n_vocab, (Vec::new(), 0));
            let texts: Vec<Text> = (0..n_texts).map(text).collect();
            emulator.counters();
            // Where all tokens are as likely, those of the bin that is drawn are listed: 32.
            rig.draw(&texts, &vec![0.0; n_texts * n_vocab]);
            let promised = match temperature {
                0.0 => greedy_traffic(n_vocab, n_texts, n_blocks),
                _ => draw_traffic(n_vocab, n_texts, n_blocks, 32),
            };
            let counters = emulator.counters();
            let launch = &counters["launches"][0];
            let [read, written] = ["/read/distinct_bytes", "/written/distinct_bytes"]
                .map(|of| launch.pointer(of).unwrap().as_u64().unwrap() as usize);
            let least = promised.read - n_texts * size_of::<Record>();
            let what = format!("{}, {n_texts} columns of {n_blocks} blocks", launch["kernel"]);
            assert!(
                (least..=promised.read).contains(&read),
                "{what}: {read} read, of {least} to {}",
                promised.read
            );
            assert_eq!(written, promised.written, "{what}");
        }
    }
}

/// Tokens of a few texts, or what went wrong or was found on the way: for `mutations`.
pub fn outcome(emulator: &Emulator, images: &'static [Image], arch: u32) -> Result<Vec<f32>, String> {
    let options = r#""seed": 3, "check": true, "quiet": true, "patience": 2000000"#;
    emulator.reset(&format!(r#"{{"arch": {arch}, {options}}}"#));
    let tokens = drawn(Gpu::open(0).unwrap().with_images(images));
    match emulator.findings() {
        findings if findings.is_empty() => tokens,
        findings => Err(findings.lines().next().unwrap_or_default().to_owned()),
    }
}

/// Columns that take the likeliest token, then columns of every other kind; by blocks that meet, and by one.
fn drawn(gpu: Gpu) -> Result<Vec<f32>, String> {
    let greedy = SamplingParams::default();
    let plain = SamplingParams { temperature: 1.0, seed: 1, ..greedy.clone() };
    let top_k = SamplingParams { top_k: 20, ..plain.clone() };
    let both = SamplingParams { top_p: 0.9, ..top_k.clone() };
    let top_p = SamplingParams { top_p: 0.8, min_p: 0.01, ..plain.clone() };
    let penalized = SamplingParams { repetition_penalty: 1.5, ..top_p.clone() };
    let (mut random, mut all) = (Random(8), Vec::new());
    let others = vec![plain.clone(), top_k, both, top_p, penalized];
    for n_vocab in [2000, 31] {
        let mut rig = Rig::on(gpu.clone(), n_vocab);
        for columns in [vec![greedy.clone(); 2], others.clone()] {
            let mut cache = KvCache::new(COLUMNS, 64, n_vocab);
            let text = |params| Text::of(cache.open(), vec![0], params, n_vocab, (Vec::new(), 0));
            let mut texts: Vec<Text> = columns.into_iter().map(text).collect();
            for _ in 0..3 {
                let n_logits = texts.len() * n_vocab;
                let logits: Vec<f32> = (0..n_logits).map(|_| (random.unit() * 40.0).round() / 4.0).collect();
                let found = rig.draw(&texts, &logits);
                for (text, found) in texts.iter_mut().zip(found) {
                    text.tokens.push(found?);
                }
            }
            all.extend(texts.iter().flat_map(|text| &text.tokens).map(|&token| token as f32));
        }
    }
    Ok(all)
}

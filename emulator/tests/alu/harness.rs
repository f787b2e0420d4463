//! Runs one instruction over arrays of inputs: whole warps, under every instruction set of the host, and with some lanes off.

use cuda_emulator::{
    device::Device,
    isa::Isa,
    machine::{Argument, Machine, Settings},
    memory::Kind,
};

/// What the destination holds before the instruction.
pub const BEFORE: u64 = 0xa5a5_5a5a_c3c3_3c3c;

/// How many bits of a value of this type count.
fn bits(ty: &str) -> u32 {
    match ty {
        "pred" => 1,
        "b8" | "u8" | "s8" => 8,
        _ if ty.ends_with("x2") => 32,
        _ => ty
            .trim_start_matches(|c: char| c.is_ascii_alphabetic())
            .parse()
            .expect("the type ends with its size"),
    }
}

/// `x` cut to the bits of the type.
pub fn cut(x: u64, ty: &str) -> u64 {
    if bits(ty) == 64 { x } else { x & ((1 << bits(ty)) - 1) }
}

/// An instruction to be run: destinations are `%d0`, `%d1`, sources `%s0`, `%s1`, ...
pub struct Instruction {
    /// The text, without guard and semicolon.
    pub text: String,
    /// Types of the registers that are written.
    pub destinations: Vec<&'static str>,
    /// Types of the registers that are read.
    pub sources: Vec<&'static str>,
    /// Compute capability that the module is for.
    pub target: u32,
    /// Seed of the errors of approximations.
    pub jitter: Option<u64>,
}

/// `opcode d, a, b, ...` with one destination and registers of these types.
pub fn instruction(opcode: &str, d: &'static str, sources: &[&'static str]) -> Instruction {
    let names: Vec<String> = (0..sources.len()).map(|i| format!("%s{i}")).collect();
    form(&format!("{opcode} %d0, {}", names.join(", ")), &[d], sources)
}

/// An instruction with this text.
pub fn form(text: &str, destinations: &[&'static str], sources: &[&'static str]) -> Instruction {
    Instruction {
        text: text.into(),
        destinations: destinations.to_vec(),
        sources: sources.to_vec(),
        target: 90,
        jitter: None,
    }
}

/// The instruction sets that this host has.
pub fn isas() -> Vec<Isa> {
    let best = Isa::detect();
    [Isa::Baseline, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= best).collect()
}

fn machine(isa: Isa, jitter: Option<u64>) -> Machine {
    let device = Device::for_arch(90).expect("the emulator knows compute capability 9.0");
    Machine::new(Settings { isa, jitter, ..Settings::new(device) })
}

impl Instruction {
    /// For a module of another compute capability.
    pub fn target(mut self, target: u32) -> Instruction {
        self.target = target;
        self
    }

    /// With errors of approximations from this seed.
    pub fn jitter(mut self, seed: u64) -> Instruction {
        self.jitter = Some(seed);
        self
    }

    /// Loads sources and destinations from arrays of 64-bit slots, runs the text, stores the destinations.
    fn module(&self, guarded: bool) -> String {
        let mut body = String::new();
        let parameters = self.sources.len() + self.destinations.len() + 1;
        for i in 0..parameters {
            body += &format!("ld.param.u64 %p{i}, [p{i}];\nadd.s64 %p{i}, %p{i}, %at;\n");
        }
        let load = |name: &str, ty: &str, i: usize| match bits(ty) {
            1 => format!("ld.global.u32 %t, [%p{i}];\nsetp.ne.u32 {name}, %t, 0;\n"),
            bits => format!("ld.global.b{bits} {name}, [%p{i}];\n"),
        };
        for (i, ty) in self.sources.iter().enumerate() {
            body += &load(&format!("%s{i}"), ty, i);
        }
        for (i, ty) in self.destinations.iter().enumerate() {
            body += &load(&format!("%d{i}"), ty, self.sources.len() + i);
        }
        body += &load("%on", "pred", parameters - 1);
        let end = if self.text.starts_with('{') { "" } else { ";" };
        body += &format!("{} {}{end}\n", if guarded { "@%on" } else { "" }, self.text);
        for (i, ty) in self.destinations.iter().enumerate() {
            let at = self.sources.len() + i;
            body += &match bits(ty) {
                1 => format!("selp.b32 %t, 1, 0, %d{i};\nst.global.u32 [%p{at}], %t;\n"),
                bits => format!("st.global.b{bits} [%p{at}], %d{i};\n"),
            };
        }
        let declare = |prefix: &str, types: &[&str]| -> String {
            let one = |(i, ty): (usize, &&str)| format!(".reg .{} %{prefix}{i};\n", register_type(ty));
            types.iter().enumerate().map(one).collect()
        };
        let list: Vec<String> = (0..parameters).map(|i| format!(".param .u64 p{i}")).collect();
        format!(
            ".version 8.0\n.target sm_{}\n.address_size 64\n.visible .entry k({})\n{{\n.reg .b64 %p<{parameters}>;\n\
             .reg .b64 %at;\n.reg .b32 %t;\n.reg .b32 %block;\n.reg .pred %on;\n{}{}\
             mov.u32 %t, %tid.x;\nmov.u32 %block, %ctaid.x;\nmad.lo.s32 %t, %block, 32, %t;\nmul.wide.u32 %at, %t, 8;\n\
             {body}ret;\n}}\n",
            self.target,
            list.join(", "),
            declare("d", &self.destinations),
            declare("s", &self.sources),
        )
    }

    /// What each destination holds after the instruction, for each row of sources: `rows[i][k]` is source `k`.
    ///
    /// Runs under every instruction set with all lanes on, and with some off, whose destinations must keep what they held.
    pub fn run_all(&self, rows: &[Vec<u64>]) -> Vec<Vec<u64>> {
        let mut first: Option<Vec<Vec<u64>>> = None;
        for isa in isas() {
            let results = self.run_on(isa, rows, |_| true);
            let partial = self.run_on(isa, rows, |i| i % 3 == 1 || i % 32 == 31);
            for (i, row) in rows.iter().enumerate() {
                for (k, ty) in self.destinations.iter().enumerate() {
                    let expected = if i % 3 == 1 || i % 32 == 31 { results[i][k] } else { cut(BEFORE, ty) };
                    assert_eq!(
                        partial[i][k], expected,
                        "{} {isa:?} {row:x?}, partial mask, lane {i}",
                        self.text
                    );
                }
            }
            let first = first.get_or_insert_with(|| results.clone());
            assert_eq!(*first, results, "{}: {isa:?} gives other bits", self.text);
        }
        first.expect("every host has an instruction set")
    }

    /// As [`Instruction::run_all`] for an instruction with one destination.
    pub fn run(&self, rows: &[Vec<u64>]) -> Vec<u64> {
        self.run_all(rows).into_iter().map(|row| row[0]).collect()
    }

    /// Runs over all rows and compares the first destination with `expected`.
    pub fn check(&self, rows: &[Vec<u64>], expected: impl Fn(&[u64]) -> u64) {
        for (row, found) in rows.iter().zip(self.run(rows)) {
            let expected = cut(expected(row), self.destinations[0]);
            assert_eq!(found, expected, "{}: {row:x?} gives {found:x}, expected {expected:x}", self.text);
        }
    }

    fn run_on(&self, isa: Isa, rows: &[Vec<u64>], on: impl Fn(usize) -> bool) -> Vec<Vec<u64>> {
        let guarded = !(0..rows.len()).all(&on);
        let mut machine = machine(isa, self.jitter);
        let text = self.module(guarded);
        let program = machine.load(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", self.text));
        let blocks = rows.len().div_ceil(32);
        let row = |i: usize| i.min(rows.len() - 1);
        let mut columns: Vec<Vec<u64>> =
            (0..self.sources.len()).map(|k| (0..32 * blocks).map(|i| rows[row(i)][k]).collect()).collect();
        columns.extend(self.destinations.iter().map(|ty| vec![cut(BEFORE, ty); 32 * blocks]));
        columns.push((0..32 * blocks).map(|i| u64::from(on(i))).collect());
        let buffers: Vec<_> = columns
            .iter()
            .map(|column| {
                let buffer =
                    machine.memory.allocate(256 * blocks as u64, Kind::Device).expect("there is room");
                for (i, value) in column.iter().enumerate() {
                    buffer.write(buffer.base + 8 * i as u64, &value.to_le_bytes());
                }
                buffer
            })
            .collect();
        let arguments: Vec<_> = buffers.iter().map(|b| Argument::U64(b.base)).collect();
        machine
            .run(&program, "k", [blocks as u32, 1, 1], [32, 1, 1], 0, &arguments)
            .unwrap_or_else(|e| panic!("{}: {e}", self.text));
        let read = |i: usize, k: usize| {
            let buffer = &buffers[self.sources.len() + k];
            let mut bytes = [0; 8];
            buffer.read(buffer.base + 8 * i as u64, &mut bytes);
            cut(u64::from_le_bytes(bytes), self.destinations[k])
        };
        (0..rows.len()).map(|i| (0..self.destinations.len()).map(|k| read(i, k)).collect()).collect()
    }

    /// The message with which the module is refused; it must name the instruction's line and text.
    pub fn refusal(&self) -> String {
        let text = self.module(false);
        let error = match machine(Isa::Baseline, None).load(text.as_bytes()) {
            Ok(_) => panic!("{} is not refused", self.text),
            Err(error) => error,
        };
        let line =
            1 + text.lines().position(|l| l.contains(&self.text)).expect("the text has the instruction");
        assert_eq!(error.line as usize, line, "{}: {error}", self.text);
        assert!(error.text.contains(&self.text), "{}: {error}", self.text);
        error.message
    }
}

/// Registers are declared with types of bits, except where PTX has none of the size.
fn register_type(ty: &str) -> String {
    match bits(ty) {
        1 => "pred".into(),
        bits => format!("b{bits}"),
    }
}

/// A generator of numbers that depend on a seed alone (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
}

/// Every row of `columns` values, one from each, then `extra` random rows.
pub fn rows(columns: &[&[u64]], extra: usize) -> Vec<Vec<u64>> {
    let mut rows: Vec<Vec<u64>> = vec![Vec::new()];
    for column in columns {
        rows = rows.iter().flat_map(|row| column.iter().map(|&x| [&row[..], &[x]].concat())).collect();
    }
    let mut random = Random(0x5eed);
    rows.extend((0..extra).map(|_| columns.iter().map(|_| random.next()).collect()));
    rows
}

/// Integers at the edges of every width.
pub const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// `x` as a signed number of this many bits.
pub fn signed(x: u64, bits: u32) -> i128 {
    i128::from((x << (64 - bits)).cast_signed() >> (64 - bits))
}

/// `x` as an unsigned number of this many bits.
pub fn unsigned(x: u64, bits: u32) -> i128 {
    i128::from(x << (64 - bits) >> (64 - bits))
}

impl Instruction {
    /// For a `{ block }` of instructions, which cannot be guarded: all lanes on, under every instruction set.
    pub fn run_on_every_isa(&self, rows: &[Vec<u64>]) -> Vec<Vec<u64>> {
        let mut results: Vec<_> = isas().into_iter().map(|isa| self.run_on(isa, rows, |_| true)).collect();
        results.windows(2).for_each(|pair| assert_eq!(pair[0], pair[1], "{}", self.text));
        results.pop().expect("every host has an instruction set")
    }
}

//! PyTorch checkpoints for tests, written by hand so that every byte of them can be made wrong.

#![allow(dead_code)]

use super::checkpoint::{Dtype, Model};

/// What a pickle is made of.
#[derive(Clone, Debug)]
pub enum P {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Global(&'static str, &'static str),
    Tuple(Vec<P>),
    List(Vec<P>),
    Dict(Vec<(P, P)>),
    Call(Box<P>, Box<P>),
    Persistent(Box<P>),
    /// Opcodes as they are.
    Raw(Vec<u8>),
}

pub fn text(text: &str) -> P {
    P::Text(text.into())
}

pub fn ints(numbers: &[i64]) -> P {
    P::Tuple(numbers.iter().map(|&n| P::Int(n)).collect())
}

pub fn call(module: &'static str, name: &'static str, args: Vec<P>) -> P {
    P::Call(Box::new(P::Global(module, name)), Box::new(P::Tuple(args)))
}

/// An `OrderedDict` of these entries.
pub fn ordered(entries: Vec<(P, P)>) -> P {
    let mut bytes = call("collections", "OrderedDict", vec![]).bytes(2);
    bytes.push(b'(');
    entries.iter().for_each(|(key, value)| bytes.extend([key.bytes(2), value.bytes(2)].concat()));
    bytes.push(b'u');
    P::Raw(bytes)
}

/// Storage `key` of `numel` elements.
pub fn storage(class: &'static str, key: &str, numel: i64) -> P {
    let described = vec![text("storage"), P::Global("torch", class), text(key), text("cpu"), P::Int(numel)];
    P::Persistent(Box::new(P::Tuple(described)))
}

/// A view of a storage.
pub fn tensor(storage: P, offset: i64, size: &[i64], strides: &[i64]) -> P {
    let args = vec![storage, P::Int(offset), ints(size), ints(strides), P::Bool(false), ordered(vec![])];
    call("torch._utils", "_rebuild_tensor_v2", args)
}

impl P {
    /// The opcodes that push it, as protocol 2 or 4 has them.
    pub fn bytes(&self, protocol: u8) -> Vec<u8> {
        let all = |parts: &[P]| parts.iter().flat_map(|part| part.bytes(protocol)).collect::<Vec<u8>>();
        match self {
            Self::None => vec![b'N'],
            Self::Bool(true) => vec![0x88],
            Self::Bool(false) => vec![0x89],
            Self::Int(n @ 0..256) => vec![b'K', *n as u8],
            Self::Int(n @ 256..65536) => [b"M", &n.to_le_bytes()[..2]].concat(),
            Self::Int(n) if i32::try_from(*n).is_ok() => [b"J", &n.to_le_bytes()[..4]].concat(),
            Self::Int(n) => [&[0x8a, 8], &n.to_le_bytes()[..]].concat(),
            Self::Float(f) => [b"G", &f.to_be_bytes()[..]].concat(),
            Self::Text(text) if protocol == 4 && text.len() < 256 => {
                [&[0x8c, text.len() as u8], text.as_bytes(), &[0x94]].concat()
            }
            Self::Text(text) => [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat(),
            Self::Global(module, name) if protocol == 4 => {
                [text(module).bytes(4), text(name).bytes(4), vec![0x93, 0x94]].concat()
            }
            Self::Global(module, name) => format!("c{module}\n{name}\n").into_bytes(),
            Self::Tuple(parts) => match parts.len() {
                0 => vec![b')'],
                n @ 1..4 => [all(parts), vec![0x84 + n as u8]].concat(),
                _ => [vec![b'('], all(parts), vec![b't']].concat(),
            },
            Self::List(parts) => [b"](".to_vec(), all(parts), vec![b'e']].concat(),
            Self::Dict(entries) => {
                let pairs =
                    entries.iter().flat_map(|(key, value)| [key.bytes(protocol), value.bytes(protocol)]);
                [b"}(".to_vec(), pairs.flatten().collect(), vec![b'u']].concat()
            }
            Self::Call(callable, args) => {
                [callable.bytes(protocol), args.bytes(protocol), vec![b'R']].concat()
            }
            Self::Persistent(described) => [described.bytes(protocol), vec![b'Q']].concat(),
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    /// The whole pickle.
    pub fn pickle(&self, protocol: u8) -> Vec<u8> {
        let frame = if protocol == 4 { [&[0x95][..], &[0; 8]].concat() } else { vec![] };
        [vec![0x80, protocol], frame, self.bytes(protocol), vec![b'.']].concat()
    }
}

/// A record of an archive, as its headers tell it.
#[derive(Clone, Debug)]
pub struct Record {
    pub name: String,
    /// The name that stands where it is stored.
    pub local_name: Option<String>,
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// The size that the directory states.
    pub size: Option<u32>,
    /// The size before compression that the directory states.
    pub full_size: Option<u32>,
    /// Where the directory says it is.
    pub offset: Option<u32>,
    /// Sizes and offset in the extra field of zip64.
    pub zip64: bool,
}

impl Record {
    pub fn new(name: &str, data: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            local_name: None,
            data: data.into(),
            method: 0,
            flags: 0,
            size: None,
            full_size: None,
            offset: None,
            zip64: false,
        }
    }
}

/// A zip archive of `records`, whose data starts at multiples of 64, as PyTorch writes it.
pub fn archive(records: &[Record]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::<u8>::new(), Vec::<u8>::new());
    let u16s = |out: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    let u32s = |out: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    for record in records {
        let (offset, len) = (file.len() as u32, record.data.len() as u32);
        let (size, full_size) = (record.size.unwrap_or(len), record.full_size.unwrap_or(len));
        let offset = record.offset.unwrap_or(offset);
        let local_name = record.local_name.as_ref().unwrap_or(&record.name);
        let padding = 64 - (file.len() + 30 + local_name.len() + 4) % 64;
        u32s(&mut file, &[0x04034b50]);
        u16s(&mut file, &[20, record.flags, record.method, 0, 0]);
        u32s(&mut file, &[0, len, len]);
        u16s(&mut file, &[local_name.len() as u16, padding as u16 + 4]);
        file.extend(local_name.as_bytes());
        u16s(&mut file, &[0x4246, padding as u16]);
        file.extend(vec![b'Z'; padding]);
        file.extend(&record.data);

        let mut extra = Vec::new();
        if record.zip64 {
            u16s(&mut extra, &[1, 24]);
            u32s(&mut extra, &[full_size, 0, size, 0, offset, 0]);
        }
        let told = |value: u32| if record.zip64 { u32::MAX } else { value };
        u32s(&mut directory, &[0x02014b50]);
        u16s(&mut directory, &[20, 20, record.flags, record.method, 0, 0]);
        u32s(&mut directory, &[0, told(size), told(full_size)]);
        u16s(&mut directory, &[record.name.len() as u16, extra.len() as u16, 0, 0, 0]);
        u32s(&mut directory, &[0, told(offset)]);
        directory.extend(record.name.as_bytes());
        directory.extend(extra);
    }
    let (start, n) = (file.len() as u32, records.len() as u16);
    file.extend(&directory);
    u32s(&mut file, &[0x06054b50]);
    u16s(&mut file, &[0, 0, n, n]);
    u32s(&mut file, &[directory.len() as u32, start]);
    u16s(&mut file, &[0]);
    file
}

/// A checkpoint: its pickle and its storages, with the records that newer versions add.
pub fn records(pickle: Vec<u8>, storages: &[Vec<u8>]) -> Vec<Record> {
    let mut records =
        vec![Record::new("archive/data.pkl", pickle), Record::new("archive/byteorder", "little")];
    let storage = |(i, data): (usize, &Vec<u8>)| Record::new(&format!("archive/data/{i}"), data.clone());
    records.extend(storages.iter().enumerate().map(storage));
    records.push(Record::new("archive/version", "3\n"));
    records.push(Record::new("archive/.data/serialization_id", "1234"));
    records
}

/// The tensors of `model`, each in a storage of its own, as a dict.
pub fn state_dict(model: &Model) -> (P, Vec<Vec<u8>>) {
    let class = |dtype| match dtype {
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::F32 => "FloatStorage",
    };
    let entry = |(i, t): (usize, &super::checkpoint::Tensor)| {
        let size: Vec<i64> = t.shape.iter().map(|&dim| dim as i64).collect();
        let mut strides = vec![1; size.len()];
        (1..size.len()).rev().for_each(|d| strides[d - 1] = strides[d] * size[d]);
        let storage = storage(class(t.dtype), &i.to_string(), t.values.len() as i64);
        (text(&t.name), tensor(storage, 0, &size, &strides))
    };
    let entries = model.tensors.iter().enumerate().map(entry).collect();
    (P::Dict(entries), model.tensors.iter().map(|t| t.bytes()).collect())
}

/// `model` as a checkpoint.
pub fn checkpoint(model: &Model, protocol: u8) -> Vec<u8> {
    let (dict, storages) = state_dict(model);
    archive(&records(dict.pickle(protocol), &storages))
}

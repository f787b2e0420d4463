//! A pickle -> values, without running anything.
//!
//! Python's unpickler is a stack machine that imports what the pickle names and calls it. This one knows the opcodes that a state
//! dict needs and nothing to call: a call is kept as what would be called with which arguments. There are no jumps, so a pickle
//! ends with its bytes; what it may build is counted. Containers live in one list and refer to each other by index, so no
//! nesting is too deep and no cycle is followed. Format: `pickletools.py`. Called by `state_dict`; tested in `tests/pytorch/`.

use std::{collections::HashMap, str};

/// Most values that a pickle may push or remember: a hundred times what GPT-2 XL needs.
const MAX_VALUES: usize = 1 << 21;

/// A value: small, and never a copy of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(&'a str),
    /// Something of a module.
    Global(&'a str, &'a str),
    /// An index of [`Pickle::objects`].
    Object(usize),
}

/// What is made of other values.
#[derive(Debug)]
pub enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// What would be called, and the arguments.
    Call(Value<'a>, Value<'a>),
    /// What the pickle keeps outside of itself, by its description.
    Persistent(Value<'a>),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub objects: Vec<Object<'a>>,
    pub root: Value<'a>,
}

/// Why a pickle was refused.
#[derive(Debug)]
pub struct Fault {
    pub message: String,
    /// Where, in bytes from its start.
    pub at: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `text` is, in which only those globals may be named that `check` accepts.
    pub fn read(
        text: &'a [u8],
        check: impl Fn(&'a str, &'a str) -> Result<(), String>,
    ) -> Result<Self, Fault> {
        let mut machine = Machine {
            text,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            n_values: 0,
        };
        loop {
            let at = machine.at;
            let step =
                machine.step(&check).map_err(|message| Fault { message: machine.in_entry(message), at })?;
            if let Some(root) = step {
                return Ok(Self { objects: machine.objects, root });
            }
        }
    }

    /// The object that `value` is.
    pub fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(i) => self.objects.get(i),
            _ => None,
        }
    }

    /// The members of the tuple that `value` is.
    pub fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Tuple(members) => Some(members),
            _ => None,
        }
    }

    /// What `value` is, for people.
    pub fn kind(&self, value: Value<'a>) -> &'static str {
        match (value, self.object(value)) {
            (Value::None, _) => "None",
            (Value::Bool(_), _) => "a boolean",
            (Value::Int(_), _) => "an integer",
            (Value::Float, _) => "a float",
            (Value::Text(_), _) => "a string",
            (Value::Global(..), _) => "a class or function",
            (_, Some(Object::Tuple(_))) => "a tuple",
            (_, Some(Object::List(_))) => "a list",
            (_, Some(Object::Dict(_))) => "a dict",
            (_, Some(Object::Persistent(_))) => "a storage",
            (_, Some(Object::Call(..)) | None) => "an object",
        }
    }
}

struct Machine<'a> {
    text: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack that opcodes for several values go back to.
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    objects: Vec<Object<'a>>,
    n_values: usize,
}

type Result<T, E = String> = std::result::Result<T, E>;

impl<'a> Machine<'a> {
    /// Executes one opcode; the value of the pickle, where it was the last one.
    fn step(&mut self, check: &impl Fn(&'a str, &'a str) -> Result<()>) -> Result<Option<Value<'a>>> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return self.stop().map(Some),
            0x80 => self.protocol()?,
            // FRAME: how many bytes follow that are read at once.
            0x95 => _ = self.array::<8>()?,
            b'(' => self.mark()?,
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => self.int::<1>(false)?,
            b'M' => self.int::<2>(false)?,
            b'J' => self.int::<4>(true)?,
            0x8a => self.long()?,
            b'G' => self.array::<8>().map(|_| Value::Float).and_then(|float| self.push(float))?,
            0x8c | b'U' => self.string::<1>()?,
            b'X' | b'T' => self.string::<4>()?,
            0x8d => self.string::<8>()?,
            b'c' => self.global(check)?,
            0x93 => self.stack_global(check)?,
            b')' => self.make(Object::Tuple(Vec::new()))?,
            b']' => self.make(Object::List(Vec::new()))?,
            b'}' => self.make(Object::Dict(Vec::new()))?,
            b't' => self.pop_to_mark().map(Object::Tuple).and_then(|tuple| self.make(tuple))?,
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
            b'a' => self.pop().map(|item| vec![item]).and_then(|items| self.append(items))?,
            b'e' => self.pop_to_mark().and_then(|items| self.append(items))?,
            b's' => self.pop_n(2).and_then(|items| self.set(&items))?,
            b'u' => self.pop_to_mark().and_then(|items| self.set(&items))?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            b'Q' => self.pop().map(Object::Persistent).and_then(|kept| self.make(kept))?,
            b'q' => self.index::<1>().and_then(|at| self.remember(at))?,
            b'r' => self.index::<4>().and_then(|at| self.remember(at))?,
            0x94 => self.remember(self.memo.len())?,
            b'h' => self.index::<1>().and_then(|at| self.recall(at))?,
            b'j' => self.index::<4>().and_then(|at| self.recall(at))?,
            _ => return Err(format!("found opcode 0x{opcode:02x}, which no state dict needs")),
        }
        Ok(None)
    }

    fn stop(&mut self) -> Result<Value<'a>> {
        let root = self.pop()?;
        match (self.stack.len() + self.marks.len(), self.text.len() - self.at) {
            (0, 0) => Ok(root),
            (0, n) => Err(format!("{n} bytes follow the end")),
            (n, _) => Err(format!("{n} values are left over at the end")),
        }
    }

    fn protocol(&mut self) -> Result<()> {
        match self.array()? {
            [2..=5] => Ok(()),
            [found] => Err(format!("the protocol is {found}, expected 2 to 5")),
        }
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.text.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        self.at += N;
        bytes.copied().ok_or_else(|| "ends before its STOP".into())
    }

    /// A number without sign of `N` bytes.
    fn index<const N: usize>(&mut self) -> Result<usize> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| "found a length that no memory has".into())
    }

    fn int<const N: usize>(&mut self, signed: bool) -> Result<()> {
        self.array::<N>().and_then(|bytes| self.push(Value::Int(int(&bytes, signed))))
    }

    fn long(&mut self) -> Result<()> {
        let len = self.index::<1>()?;
        if len > 8 {
            return Err(format!("found an integer of {len} bytes, expected 8 at most"));
        }
        let bytes = self.take(len)?;
        self.push(Value::Int(int(bytes, true)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let bytes = self.text.get(self.at..).and_then(|rest| rest.get(..len));
        self.at = self.at.saturating_add(len);
        bytes.ok_or_else(|| format!("ends inside a string of {len} bytes"))
    }

    fn string<const N: usize>(&mut self) -> Result<()> {
        let len = self.index::<N>()?;
        let bytes = self.take(len)?;
        let text = str::from_utf8(bytes).map_err(|_| "found a string that is not UTF-8")?;
        self.push(Value::Text(text))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or("ends inside a name")?;
        self.at += len + 1;
        str::from_utf8(&rest[..len]).map_err(|_| "found a name that is not UTF-8".into())
    }

    fn global(&mut self, check: &impl Fn(&'a str, &'a str) -> Result<()>) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        check(module, name)?;
        self.push(Value::Global(module, name))
    }

    fn stack_global(&mut self, check: &impl Fn(&'a str, &'a str) -> Result<()>) -> Result<()> {
        match self.pop_n(2)?[..] {
            [Value::Text(module), Value::Text(name)] => {
                check(module, name)?;
                self.push(Value::Global(module, name))
            }
            _ => Err("found a name that is no string".into()),
        }
    }

    fn count(&mut self) -> Result<()> {
        self.n_values += 1;
        if self.n_values > MAX_VALUES { Err(format!("holds more than {MAX_VALUES} values")) } else { Ok(()) }
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    fn make(&mut self, object: Object<'a>) -> Result<()> {
        self.push(Value::Object(self.objects.len()))?;
        self.objects.push(object);
        Ok(())
    }

    fn mark(&mut self) -> Result<()> {
        self.count()?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The topmost `n` values, the topmost last; never beyond a mark.
    fn pop_n(&mut self, n: usize) -> Result<Vec<Value<'a>>> {
        let above_mark = self.stack.len() - self.marks.last().unwrap_or(&0);
        if above_mark < n {
            return Err(format!("takes {n} values from a stack that has {above_mark}"));
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        Ok(self.pop_n(1)?[0])
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or("goes back to a mark, and there is none")?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let members = self.pop_n(n)?;
        self.make(Object::Tuple(members))
    }

    /// The object on top of the stack, which stays there.
    fn top(&mut self) -> Result<&mut Object<'a>> {
        let above_mark = self.stack.get(*self.marks.last().unwrap_or(&0)..).unwrap_or_default();
        match above_mark.last() {
            Some(&Value::Object(i)) => self.objects.get_mut(i).ok_or_else(|| "found no object".into()),
            _ => Err("fills a container, and there is none".into()),
        }
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        match self.top()? {
            Object::List(list) => list.extend(items),
            _ => return Err("appends to what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Value<'a>]) -> Result<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top()? {
            Object::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            Object::Dict(_) => return Err("sets a key without a value".into()),
            _ => return Err("sets a key of what is no dict".into()),
        }
        Ok(())
    }

    /// An `OrderedDict()` is a dict; other calls are kept as they are.
    fn call(&mut self) -> Result<()> {
        let args = self.pop()?;
        let callable = self.pop()?;
        let no_args = match args {
            Value::Object(i) => matches!(self.objects.get(i), Some(Object::Tuple(args)) if args.is_empty()),
            _ => false,
        };
        match callable {
            Value::Global("collections", "OrderedDict") if no_args => self.make(Object::Dict(Vec::new())),
            Value::Global(..) => self.make(Object::Call(callable, args)),
            _ => Err("calls what is no function".into()),
        }
    }

    /// Attributes of a dict, of which `_metadata`, the versions of a model's modules, is the only one in use: they are left out.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Object::Dict(_) => Ok(()),
            _ => Err("sets attributes of what is no dict".into()),
        }
    }

    fn remember(&mut self, at: usize) -> Result<()> {
        self.count()?;
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(at, value);
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<()> {
        let value =
            self.memo.get(&at).ok_or_else(|| format!("recalls value {at}, which was not remembered"))?;
        self.push(*value)
    }

    /// `message`, and in which entry of the outermost dict it happened, where one is being built.
    fn in_entry(&self, message: String) -> String {
        let end = self.marks.get(1).copied().unwrap_or(self.stack.len());
        let key = self.stack.get(..end).unwrap_or_default().iter().rev().find_map(|value| match value {
            Value::Text(key) => Some(super::Shown(key)),
            _ => None,
        });
        key.map_or_else(|| message.clone(), |key| format!("tensor {key}: {message}"))
    }
}

/// A number of `bytes`, the lowest first.
fn int(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(all)
}

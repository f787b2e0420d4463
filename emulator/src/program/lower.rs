//! From the syntax tree to executable instructions, one function at a time.

use super::{
    Access, Builder, Control, Exec, Flow, Instr, Use, Width, allocate, fuse,
    fuse::Idiom,
    layout::{CallSite, Function, Line, Parameter, Program, align_up},
    place::{Place, checked, directives, place_parameters, place_shared},
};
use crate::{
    counters::Part,
    isa::Isa,
    memory::{FUNCTION_BASE, GlobalMemory},
    ops,
    ptx::{
        Error,
        ast::{self, Operand, RegId, Space, Type},
    },
};
use std::{collections::HashMap, sync::Arc};

/// What lowering needs to know of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Versions of handlers to pick.
    pub isa: Isa,
    /// Errors within the documented bounds for approximate instructions, from this seed; without it they round to nearest.
    pub jitter: Option<u64>,
    /// Compute capability of the device, 90 for 9.0.
    pub arch: u32,
}

/// A function being lowered, and what the module knows.
pub struct FunctionScope {
    /// Symbols of the module and of the function.
    pub places: HashMap<String, Place>,
    /// Numbers of the module's functions.
    pub functions: HashMap<String, usize>,
    /// Compute capability that the module was compiled for.
    pub target: u32,
    /// Compute capability of the device.
    pub arch: u32,
    /// Errors within the documented bounds for approximate instructions, from this seed; without it they round to nearest.
    pub jitter: Option<u64>,
    /// Labels, `.branchtargets` and prototypes of the function.
    pub labels: HashMap<String, usize>,
    /// Lists of branch targets by label.
    pub targets: HashMap<String, Vec<String>>,
    /// Prototypes of indirect calls.
    pub prototypes: HashMap<String, (Vec<ast::Variable>, Vec<ast::Variable>)>,
    /// Sizes of the function's `.param` variables.
    pub param_sizes: HashMap<String, u32>,
    /// Whether the function is a kernel.
    pub entry: bool,
    /// Whether the function asks where the workspace of cooperative launches lies.
    pub reads_workspace: bool,
    /// Tables of `brx.idx`, as indices into the function's syntax tree.
    pub tables: Vec<Vec<u32>>,
    /// Calls.
    pub calls: Vec<CallSite>,
    /// Register lists of large instructions, as virtual registers.
    pub lists: Vec<Vec<u16>>,
    carry: Option<RegId>,
    pub(super) registers: Vec<ast::Register>,
    pub(super) constants: HashMap<(u64, Width), u32>,
    pub(super) drafts: Vec<Draft>,
}

/// An instruction whose registers are not allocated yet.
#[derive(Clone)]
pub(super) struct Draft {
    pub instr: Instr,
    pub uses: Vec<Use>,
    pub parts: Vec<Part>,
    pub idiom: Idiom,
    pub flow: Flow,
    pub line: Line,
}

impl FunctionScope {
    /// The type of a register.
    pub fn register_type(&self, id: RegId) -> Type {
        self.registers[id.0 as usize].ty
    }

    /// The name of a register.
    pub fn register_name(&self, id: RegId) -> &str {
        &self.registers[id.0 as usize].name
    }

    /// A new register for a value between two instructions of one lowering.
    pub fn temporary(&mut self, ty: Type) -> Operand {
        let id = RegId(self.registers.len() as u32);
        self.registers.push(ast::Register { name: format!("temporary {}", id.0), ty });
        Operand::Register(id)
    }

    /// The carry flag of the function.
    pub fn carry(&mut self) -> Operand {
        let id = self.carry.unwrap_or(RegId(self.registers.len() as u32));
        if self.carry.replace(id).is_none() {
            self.registers.push(ast::Register { name: "the carry flag".into(), ty: Type::Pred });
        }
        Operand::Register(id)
    }

    /// The bits of a constant operand as a value of type `ty`.
    pub fn constant(&self, operand: &Operand, ty: Type) -> Result<u64, String> {
        let mask = |bits: u64| if ty.size() >= 8 { bits } else { bits & ((1 << (8 * ty.size())) - 1) };
        match operand {
            Operand::Integer(_) if matches!(ty, Type::F32 | Type::F64) => {
                Err(format!("operand {operand:?} is an integer, expected {ty:?}"))
            }
            Operand::Integer(v) => Ok(mask(*v as u64)),
            Operand::F32(bits) if ty == Type::F64 => Ok(f64::from(f32::from_bits(*bits)).to_bits()),
            Operand::F32(bits) => Ok(mask(u64::from(*bits))),
            Operand::F64(bits) if ty == Type::F32 => Ok(u64::from((f64::from_bits(*bits) as f32).to_bits())),
            Operand::F64(bits) if ty.size() == 8 => Ok(*bits),
            Operand::Symbol(name, offset) => self.symbol(name, *offset),
            other => Err(format!("operand {other:?} is not a register or a constant of type {ty:?}")),
        }
    }

    fn symbol(&self, name: &str, offset: i64) -> Result<u64, String> {
        if let Some(&f) = self.functions.get(name) {
            return Ok(FUNCTION_BASE + f as u64);
        }
        match self.places.get(name) {
            Some(Place::Address(a)) => Ok(a.wrapping_add_signed(offset)),
            Some(Place::Shared(a) | Place::Kernel(a)) => Ok(u64::from(*a).wrapping_add_signed(offset)),
            Some(Place::Frame(_)) => {
                Err(format!("the address of {name} in local memory can be taken by mov only"))
            }
            None => Err(format!("unknown name {name}")),
        }
    }

    /// The virtual register that holds a constant.
    pub fn constant_register(&mut self, bits: u64, width: Width) -> u32 {
        let next = self.registers.len() as u32;
        let id = *self.constants.entry((bits, width)).or_insert(next);
        if id == next {
            let ty = match width {
                Width::Predicate => Type::Pred,
                Width::Single => Type::B32,
                Width::Double => Type::B64,
            };
            self.registers.push(ast::Register { name: format!("constant {bits}"), ty });
        }
        id
    }

    /// The index of a label in the syntax tree.
    pub fn label(&self, name: &str) -> Result<usize, String> {
        self.labels.get(name).copied().ok_or_else(|| format!("unknown label {name}"))
    }

    pub(super) fn push(&mut self, instr: Instr, uses: Vec<Use>, source: &ast::Instruction) {
        let line = Line { ptx: source.line, source: source.location };
        let flow = Flow::of(&source.opcode, &source.modifiers);
        self.drafts.push(Draft { instr, uses, parts: Vec::new(), idiom: Idiom::None, flow, line });
    }
}

impl Program {
    /// Lowers a module, with its variables allocated in `memory`.
    pub fn load(module: &ast::Module, memory: &mut GlobalMemory, options: Options) -> Result<Program, Error> {
        let mut program = Program::empty(module);
        let mut places = program.place_variables(module, memory)?;
        for (i, f) in module.functions.iter().filter(|f| !f.code.is_empty()).enumerate() {
            program.names.insert(f.name.clone(), i);
        }
        let shared = place_shared(module, &mut places);
        program.initialise(module, memory)?;
        for f in module.functions.iter().filter(|f| !f.code.is_empty()) {
            program.lower_function(module, f, &places, shared, options)?;
        }
        program.place_workspace(module, memory)?;
        program.check_calls(module).map(|()| program)
    }

    /// Demands that direct calls pass what the functions take, which may stand after their callers.
    fn check_calls(&self, module: &ast::Module) -> Result<(), Error> {
        let sizes = |list: &[(u32, u32)]| list.iter().map(|&(_, size)| size).collect::<Vec<_>>();
        let declared = |list: &[Parameter]| list.iter().map(|p| p.size).collect::<Vec<_>>();
        for (instr, line) in self.code.iter().zip(&self.lines) {
            let Exec::Control(Control::Call) = instr.exec else { continue };
            let site = &self.calls[instr.imm as usize];
            let Some(f) = site.function.map(|f| &self.functions[f]) else { continue };
            let (passed, wanted) = (sizes(&site.arguments), declared(&f.params));
            let (results, returns) = (sizes(&site.results), declared(&f.returns));
            // A caller may leave results aside.
            if f.entry || passed != wanted || (!results.is_empty() && results != returns) {
                let what = if f.entry { "is a kernel" } else { "does not match the call" };
                let message = format!(
                    "call: {} {what}: arguments of {passed:?} bytes and results of {results:?}, \
                     the function takes {wanted:?} and returns {returns:?}",
                    f.name
                );
                return Err(error_at(module, line.ptx, message));
            }
        }
        Ok(())
    }

    fn lower_function(
        &mut self,
        module: &ast::Module,
        f: &ast::Function,
        places: &HashMap<String, Place>,
        shared: (u32, u32),
        options: Options,
    ) -> Result<(), Error> {
        let mut layout = Function {
            name: f.name.clone(),
            entry: f.entry,
            start: self.code.len() as u32,
            ..Function::default()
        };
        (layout.shared, layout.shared_align) = shared;
        let mut scope = self.scope(module, f, places, &mut layout, options)?;
        let mut starts = Vec::with_capacity(f.code.len() + 1);
        for source in &f.code {
            starts.push(scope.drafts.len() as u32);
            let mut builder = Builder::new(source, &mut scope, options.isa);
            ops::lower(&mut builder).map_err(|message| {
                let spelling =
                    [std::slice::from_ref(&source.opcode), &source.modifiers[..]].concat().join(".");
                error_at(module, source.line, format!("{spelling}: {message}"))
            })?;
            let alone = scope.drafts.len() as u32 == starts.last().copied().unwrap_or(0) + 1;
            // The last stands for the PTX instruction in the counts, those before it prepare.
            if let Some(last) = scope.drafts.last_mut().filter(|d| d.parts.is_empty()) {
                last.parts.push(Part::of(&source.opcode, &source.modifiers));
                last.idiom = if alone { Idiom::of(source) } else { Idiom::None };
            }
        }
        starts.push(scope.drafts.len() as u32);
        // Falling off the end leaves the function.
        scope.drafts.push(Draft {
            instr: Instr::new(Exec::Control(Control::Return)),
            uses: Vec::new(),
            parts: Vec::new(),
            idiom: Idiom::None,
            flow: Flow::Lanes,
            line: Line { ptx: f.code.last().map_or(f.line, |i| i.line), source: None },
        });
        fuse_idioms(&mut scope, &mut starts, options.isa);
        resolve_branches(&mut scope, &starts, self.tables.len());
        allocate::registers(&mut scope, self.tables.len(), &mut layout)
            .map_err(|message| error_at(module, f.line, format!("function {}: {message}", f.name)))?;
        layout.reads_workspace = scope.reads_workspace;
        self.append(scope, layout);
        Ok(())
    }

    /// Adds a lowered function to the code of the module.
    fn append(&mut self, scope: FunctionScope, mut layout: Function) {
        let (start, calls, lists) = (layout.start, self.calls.len() as i64, self.lists.len() as i64);
        for mut draft in scope.drafts {
            match draft.instr.exec {
                Exec::Control(Control::Branch) => draft.instr.imm += i64::from(start),
                Exec::Control(Control::Call | Control::CallIndirect) => draft.instr.imm += calls,
                _ if draft.uses.iter().any(|u| u.at >= Use::LIST) => draft.instr.imm += lists,
                _ if draft.instr.flags == ops::BUILTIN_CALL => draft.instr.imm += calls,
                _ => {}
            }
            self.code.push(draft.instr);
            self.uses.push(draft.uses);
            self.flows.push(draft.flow);
            self.parts.push(draft.parts);
            self.lines.push(draft.line);
        }
        layout.end = self.code.len() as u32;
        self.tables.extend(scope.tables.into_iter().map(|t| t.into_iter().map(|pc| pc + start).collect()));
        self.calls.extend(scope.calls);
        self.lists.extend(scope.lists);
        self.functions.push(layout);
    }

    fn scope(
        &self,
        module: &ast::Module,
        f: &ast::Function,
        places: &HashMap<String, Place>,
        layout: &mut Function,
        options: Options,
    ) -> Result<FunctionScope, Error> {
        let mut places = places.clone();
        place_parameters(f, layout, &mut places);
        let mut param_sizes = HashMap::new();
        for v in &f.variables {
            let end = |offset: u32| u64::from(offset) + v.size as u64;
            match v.space {
                Space::Shared => {
                    let offset = align_up(layout.shared, v.align);
                    layout.shared = checked(module, v, end(offset))?;
                    layout.shared_align = layout.shared_align.max(v.align as u32);
                    places.insert(v.name.clone(), Place::Shared(offset));
                }
                Space::Local | Space::Param => {
                    let offset = align_up(layout.local, v.align.max(4));
                    layout.local = checked(module, v, end(offset))?;
                    places.insert(v.name.clone(), Place::Frame(offset));
                    param_sizes.insert(v.name.clone(), v.size as u32);
                }
                other => {
                    return Err(error_at(
                        module,
                        v.line,
                        format!("variable {} in {other:?} inside a function", v.name),
                    ));
                }
            }
        }
        layout.local = align_up(layout.local, 16);
        // Dynamic shared memory begins after the static, at the largest alignment of either.
        let dynamic = || module.variables.iter().filter(|v| v.space == Space::Shared && v.size == 0);
        layout.shared_align = dynamic().map(|v| v.align as u32).fold(layout.shared_align, u32::max);
        for v in dynamic() {
            places.insert(v.name.clone(), Place::Shared(layout.dynamic_shared()));
        }
        directives(f, layout);
        Ok(FunctionScope {
            places,
            functions: self.names.clone(),
            target: module.target.0,
            arch: options.arch,
            jitter: options.jitter,
            labels: f.labels.clone(),
            targets: f.targets.clone(),
            prototypes: f.prototypes.clone(),
            param_sizes,
            entry: f.entry,
            reads_workspace: false,
            tables: Vec::new(),
            calls: Vec::new(),
            lists: Vec::new(),
            carry: None,
            registers: f.registers.clone(),
            constants: HashMap::new(),
            drafts: Vec::new(),
        })
    }

    fn empty(module: &ast::Module) -> Program {
        Program {
            code: Vec::new(),
            uses: Vec::new(),
            parts: Vec::new(),
            flows: Vec::new(),
            lines: Vec::new(),
            functions: Vec::new(),
            names: HashMap::new(),
            workspace: 0,
            variables: HashMap::new(),
            tables: Vec::new(),
            calls: Vec::new(),
            lists: Vec::new(),
            text: Arc::new(module.lines.clone()),
            files: module.files.clone(),
            target: module.target.0,
            version: module.version.0 * 10 + module.version.1,
        }
    }
}

fn fuse_idioms(scope: &mut FunctionScope, starts: &mut [u32], isa: Isa) {
    let mut targets = vec![false; scope.drafts.len()];
    for &label in scope.labels.values() {
        if let Some(target) = starts.get(label).and_then(|&s| targets.get_mut(s as usize)) {
            *target = true;
        }
    }
    fuse::fuse(&mut scope.drafts, starts, &targets, scope.registers.len(), isa);
}

/// Turns targets that are indices into the syntax tree into indices into the drafts.
fn resolve_branches(scope: &mut FunctionScope, starts: &[u32], tables_before: usize) {
    for draft in &mut scope.drafts {
        match draft.instr.exec {
            Exec::Control(Control::Branch) => draft.instr.imm = i64::from(starts[draft.instr.imm as usize]),
            Exec::Control(Control::BranchTable) => draft.instr.imm += tables_before as i64,
            _ => {}
        }
    }
    for target in scope.tables.iter_mut().flatten() {
        *target = starts[*target as usize];
    }
}

/// Whether an access reads.
pub(super) fn reads(access: Access) -> bool {
    access != Access::Write
}

pub(super) fn error_at(module: &ast::Module, line: u32, message: String) -> Error {
    let text = module.lines.get((line as usize).wrapping_sub(1)).cloned().unwrap_or_default();
    Error { line, text, message }
}

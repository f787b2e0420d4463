//! From the syntax tree to executable instructions, one function at a time.

use super::{
    Builder, Control, Exec, Flow, Instr, Use, allocate,
    draft::{Draft, Idiom},
    fuse,
    layout::{Function, Line, Parameter, Program, align_up},
    place::{Place, checked, directives, place_parameters, place_shared},
    scope::FunctionScope,
};
use crate::{
    counters::Part,
    isa::Isa,
    memory::GlobalMemory,
    ops,
    ptx::{
        Error,
        ast::{self, Space},
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
                return Err(module.error_at(line.ptx, message));
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
                module.error_at(source.line, format!("{spelling}: {message}"))
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
            .map_err(|message| module.error_at(f.line, format!("function {}: {message}", f.name)))?;
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
                    return Err(module
                        .error_at(v.line, format!("variable {} in {other:?} inside a function", v.name)));
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

//! Contexts: what a program's objects belong to. Each thread has a stack of current ones.

use super::{
    code::{Code, Error, Result},
    entries,
    handle::Id,
    memory::Allocated,
    raw::Out,
    run,
    state::{Driver, Locked},
    stream::Stream,
};
use std::{cell::RefCell, collections::HashMap, thread::ThreadId};

/// A context.
pub struct Context {
    /// `CU_CTX_...` flags.
    pub flags: u32,
    /// The stream 0.
    pub legacy: Id<Stream>,
    /// The streams 2, one of each thread that used it.
    pub per_thread: HashMap<ThreadId, Id<Stream>>,
    /// The error that every call gives since a kernel failed.
    pub failed: Option<Error>,
    /// `cuCtxSetLimit`.
    pub limits: HashMap<u32, usize>,
    /// `cuCtxSetCacheConfig`.
    pub cache: u32,
}

/// The device's primary context.
#[derive(Default)]
pub struct Primary {
    pub context: Option<Id<Context>>,
    /// How often it is retained.
    pub count: u32,
    pub flags: u32,
}

thread_local! {
    static STACK: RefCell<Vec<Id<Context>>> = const { RefCell::new(Vec::new()) };
}

/// The context on top of this thread's stack.
fn top() -> Option<Id<Context>> {
    STACK.with_borrow(|stack| stack.last().copied())
}

impl Driver {
    /// The current context, which must be alive and not have failed.
    pub(super) fn current(&self) -> Result<Id<Context>> {
        let context = self.current_even_if_failed()?;
        match &self.contexts.get(context)?.failed {
            Some(error) => Err(error.clone()),
            None => Ok(context),
        }
    }

    pub(super) fn current_even_if_failed(&self) -> Result<Id<Context>> {
        let context =
            top().ok_or_else(|| Code::INVALID_CONTEXT.because("this thread has no current context"))?;
        match self.contexts.contains(context) {
            true => Ok(context),
            false => Err(Code::CONTEXT_IS_DESTROYED.because("this thread's current context is destroyed")),
        }
    }

    fn context(&self, id: Id<Context>) -> Result<&Context> {
        self.contexts.get(id).map_err(|e| Code::INVALID_CONTEXT.because(e.message))
    }

    fn create_context(&mut self, flags: u32) -> Result<Id<Context>> {
        let legacy = Stream::new(Id::NULL, 0, 0);
        let legacy = self.streams.insert(legacy);
        let context = self.contexts.insert(Context {
            flags,
            legacy,
            per_thread: HashMap::new(),
            failed: None,
            limits: HashMap::new(),
            cache: 0,
        });
        let stream = self.streams.get_mut(legacy)?;
        (stream.context, stream.legacy) = (context, true);
        Ok(context)
    }

    /// Removes a context and all that belongs to it.
    fn destroy_context(&mut self, context: Id<Context>) -> Result<()> {
        self.abandon(context);
        self.contexts.remove(context)?;
        let lost: Vec<u64> =
            self.allocations.iter().filter(|(_, a)| a.context == context).map(|(&base, _)| base).collect();
        let leaks = lost.iter().filter_map(|b| self.allocations.get(b)).filter(|a| a.is_explicit());
        let leaks: Vec<String> = leaks.map(Allocated::describe).collect();
        if self.options.check.is_some() {
            for leak in leaks {
                let options = self.options.clone();
                self.hooks.finding(&options, format!("leak: {leak} is alive when its context is destroyed"));
            }
        }
        lost.into_iter().for_each(|base| self.release(base));
        self.streams.retain(|s| s.context != context);
        self.events.retain(|e| e.context != context);
        self.functions.retain(|f| f.context != context);
        self.modules.retain(|m| m.context != context);
        Ok(())
    }
}

fn retain_primary(d: &mut Locked, device: i32) -> Result<Id<Context>> {
    d.check_device(device)?;
    let context = match d.primary.context {
        Some(context) => context,
        None => {
            let flags = d.primary.flags;
            d.create_context(flags)?
        }
    };
    d.primary.context = Some(context);
    d.primary.count += 1;
    Ok(context)
}

fn release_primary(d: &mut Locked, device: i32) -> Result<()> {
    d.check_device(device)?;
    match d.primary.count {
        0 => Err(Code::INVALID_CONTEXT.because("the primary context is not retained")),
        1 => reset_primary(d),
        _ => {
            d.primary.count -= 1;
            Ok(())
        }
    }
}

/// Ends the primary context, however often it is retained.
fn reset_primary(d: &mut Locked) -> Result<()> {
    d.primary.count = 0;
    match d.primary.context.take() {
        Some(context) => {
            // What fails here fails with the context.
            let _ = run::drain(d, context);
            d.destroy_context(context)
        }
        None => Ok(()),
    }
}

fn set_current(d: &Driver, context: Id<Context>) -> Result<()> {
    if !context.is_null() {
        d.context(context)?;
    }
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        stack.extend((!context.is_null()).then_some(context));
    });
    Ok(())
}

entries! {
    fn cuDevicePrimaryCtxRetain(context: Out<Id<Context>>, device: i32) |d| context.fill(|| retain_primary(d, device));
    fn cuDevicePrimaryCtxRelease_v2(device: i32) |d| release_primary(d, device);
    fn cuCtxGetCurrent(context: Out<Id<Context>>) |_d| context.set(top().unwrap_or(Id::NULL));
    fn cuCtxSetCurrent(context: Id<Context>) |d| set_current(d, context);
    fn cuCtxSynchronize() |d| {
        let context = d.current()?;
        run::drain(d, context)
    };
}

//! Contexts: which one is current, how they come and go. Each thread has a stack of current ones.

use super::{Driver, Locked, run};
use crate::driver::objects::{
    allocation::Allocated,
    code::{Code, Result},
    context::Context,
    handle::Id,
    stream::Stream,
};
use std::{cell::RefCell, collections::HashMap};

thread_local! {
    static STACK: RefCell<Vec<Id<Context>>> = const { RefCell::new(Vec::new()) };
}

/// The context on top of this thread's stack.
pub fn top() -> Option<Id<Context>> {
    STACK.with_borrow(|stack| stack.last().copied())
}

/// Puts a context on top of this thread's stack.
pub fn push(context: Id<Context>) {
    STACK.with_borrow_mut(|stack| stack.push(context));
}

impl Driver {
    /// The current context, which must be alive and not have failed.
    pub fn current(&self) -> Result<Id<Context>> {
        let context = self.current_even_if_failed()?;
        match &self.contexts.get(context)?.failed {
            Some(error) => Err(error.clone()),
            None => Ok(context),
        }
    }

    pub fn current_even_if_failed(&self) -> Result<Id<Context>> {
        let context =
            top().ok_or_else(|| Code::INVALID_CONTEXT.because("this thread has no current context"))?;
        match self.contexts.contains(context) {
            true => Ok(context),
            false => Err(Code::CONTEXT_IS_DESTROYED.because("this thread's current context is destroyed")),
        }
    }

    pub fn context(&self, id: Id<Context>) -> Result<&Context> {
        self.contexts.get(id).map_err(|e| Code::INVALID_CONTEXT.because(e.message))
    }

    pub fn create_context(&mut self, flags: u32) -> Result<Id<Context>> {
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
        for leak in leaks {
            self.hooks.leak(&self.options, &leak);
        }
        lost.into_iter().for_each(|base| self.release(base));
        self.streams.retain(|s| s.context != context);
        self.captures.retain(|c| c.context != context);
        self.events.retain(|e| e.context != context);
        self.functions.retain(|f| f.context != context);
        self.modules.retain(|m| m.context != context);
        Ok(())
    }
}

pub fn retain_primary(d: &mut Locked, device: i32) -> Result<Id<Context>> {
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

pub fn release_primary(d: &mut Locked, device: i32) -> Result<()> {
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
pub fn reset_primary(d: &mut Locked) -> Result<()> {
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

pub fn set_current(d: &Driver, context: Id<Context>) -> Result<()> {
    if !context.is_null() {
        d.context(context)?;
    }
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        stack.extend((!context.is_null()).then_some(context));
    });
    Ok(())
}

pub fn destroy(d: &mut Locked, context: Id<Context>) -> Result<()> {
    d.context(context)?;
    if d.primary.context == Some(context) {
        return Err(Code::INVALID_CONTEXT.because("the primary context is released, not destroyed"));
    }
    // What fails here fails with the context.
    let _ = run::drain(d, context);
    STACK.with_borrow_mut(|stack| {
        if stack.last() == Some(&context) {
            stack.pop();
        }
    });
    d.destroy_context(context)
}

pub fn pop(d: &Driver) -> Result<Id<Context>> {
    d.current_even_if_failed()?;
    Ok(STACK.with_borrow_mut(Vec::pop).unwrap_or(Id::NULL))
}

pub fn synchronize(d: &mut Locked) -> Result<()> {
    let context = d.current()?;
    d.check_wait_for_all(context)?;
    run::drain(d, context)
}

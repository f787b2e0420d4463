//! Contexts: what a program's objects belong to. Each thread has a stack of current ones.

use super::{
    code::{Code, Error, Result},
    entries,
    handle::Id,
    memory::Allocated,
    raw::{Host, Out},
    run,
    state::{Driver, Locked},
    stream::{GREATEST_PRIORITY, Stream},
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

/// Flags of contexts: how to wait (one of 1, 2, 4), 8 (map host memory), 16, 32 and 128.
const FLAGS: u32 = 0xBF;

fn check_flags(flags: u32) -> Result<u32> {
    match flags & !FLAGS == 0 && (flags & 7).count_ones() <= 1 {
        true => Ok(flags),
        false => Err(Code::INVALID_VALUE.because(format!("context flags {flags:#x}"))),
    }
}

fn create(d: &mut Driver, flags: u32, device: i32) -> Result<Id<Context>> {
    d.check_device(device)?;
    let context = d.create_context(check_flags(flags)?)?;
    STACK.with_borrow_mut(|stack| stack.push(context));
    Ok(context)
}

fn destroy(d: &mut Locked, context: Id<Context>) -> Result<()> {
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

fn pop(d: &Driver) -> Result<Id<Context>> {
    d.current_even_if_failed()?;
    Ok(STACK.with_borrow_mut(Vec::pop).unwrap_or(Id::NULL))
}

fn synchronize(d: &mut Locked) -> Result<()> {
    let context = d.current()?;
    d.check_wait_for_all(context)?;
    run::drain(d, context)
}

/// `CU_LIMIT_...` and their usual values: stack, printf buffer, heap, depth and count of launches on the device, L2 fetch
/// granularity, persisting L2 cache.
const LIMITS: [usize; 7] = [1 << 10, 1 << 20, 8 << 20, 2, 2048, 64, 0];

fn limit(d: &Driver, limit: u32) -> Result<usize> {
    let context = d.contexts.get(d.current()?)?;
    let usual = LIMITS.get(limit as usize).copied();
    let usual =
        usual.ok_or_else(|| Code::UNSUPPORTED_LIMIT.because(format!("limit {limit} does not exist")))?;
    Ok(context.limits.get(&limit).copied().unwrap_or(usual))
}

fn set_limit(d: &mut Driver, which: u32, value: usize) -> Result<()> {
    limit(d, which)?;
    let context = d.current()?;
    d.contexts.get_mut(context)?.limits.insert(which, value);
    Ok(())
}

fn set_primary_flags(d: &mut Driver, device: i32, flags: u32) -> Result<()> {
    d.check_device(device)?;
    d.primary.flags = check_flags(flags)?;
    match d.primary.context {
        Some(context) => {
            d.contexts.get_mut(context)?.flags = flags;
            Ok(())
        }
        None => Ok(()),
    }
}

/// A number for each context, never used twice.
fn number(d: &Driver, context: Id<Context>) -> Result<u64> {
    let context = if context.is_null() { d.current_even_if_failed()? } else { context };
    d.context(context)?;
    Ok(context.0)
}

entries! {
    fn cuDevicePrimaryCtxRetain(context: Out<Id<Context>>, device: i32) |d| context.fill(|| retain_primary(d, device));
    fn cuDevicePrimaryCtxRelease_v2(device: i32) |d| release_primary(d, device);
    fn cuDevicePrimaryCtxReset_v2(device: i32) |d| {
        d.check_device(device)?;
        reset_primary(d)
    };
    fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) |d| set_primary_flags(d, device, flags);
    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) |d| {
        d.check_device(device)?;
        flags.set(d.primary.flags)?;
        active.set(i32::from(d.primary.context.is_some()))
    };
    fn cuCtxCreate_v2(context: Out<Id<Context>>, flags: u32, device: i32) |d| context.fill(|| create(d, flags, device));
    fn cuCtxCreate_v3(context: Out<Id<Context>>, _affinity: Host, count: i32, flags: u32, device: i32) |d| match count {
        0 => context.fill(|| create(d, flags, device)),
        _ => Err(Code::UNSUPPORTED_EXEC_AFFINITY.because("contexts on a part of the device")),
    };
    fn cuCtxCreate_v4(context: Out<Id<Context>>, params: Host, flags: u32, device: i32) |d| match params.is_null() {
        true => context.fill(|| create(d, flags, device)),
        false => Err(Code::NOT_SUPPORTED.because("parameters of contexts")),
    };
    fn cuCtxDestroy_v2(context: Id<Context>) |d| destroy(d, context);
    fn cuCtxPushCurrent_v2(context: Id<Context>) |d| {
        d.context(context)?;
        STACK.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    };
    fn cuCtxPopCurrent_v2(context: Out<Id<Context>>) |d| {
        let popped = pop(d)?;
        context.set_if_wanted(popped);
        Ok(())
    };
    fn cuCtxGetCurrent(context: Out<Id<Context>>) |_d| context.set(top().unwrap_or(Id::NULL));
    fn cuCtxSetCurrent(context: Id<Context>) |d| set_current(d, context);
    fn cuCtxGetDevice(device: Out<i32>) |d| {
        d.current_even_if_failed()?;
        device.set(0)
    };
    fn cuCtxGetId(context: Id<Context>, id: Out<u64>) |d| id.fill(|| number(d, context));
    fn cuCtxGetFlags(flags: Out<u32>) |d| flags.fill(|| Ok(d.contexts.get(d.current()?)?.flags));
    fn cuCtxSetFlags(flags: u32) |d| {
        let context = d.current()?;
        d.contexts.get_mut(context)?.flags = check_flags(flags)?;
        Ok(())
    };
    fn cuCtxGetApiVersion(context: Id<Context>, version: Out<u32>) |d| {
        number(d, context)?;
        version.set(3020)
    };
    fn cuCtxSynchronize() |d| synchronize(d);
    fn cuCtxGetLimit(value: Out<usize>, which: u32) |d| value.fill(|| limit(d, which));
    fn cuCtxSetLimit(which: u32, value: usize) |d| set_limit(d, which, value);
    fn cuCtxGetCacheConfig(config: Out<u32>) |d| config.fill(|| Ok(d.contexts.get(d.current()?)?.cache));
    fn cuCtxSetCacheConfig(config: u32) |d| {
        let context = d.current()?;
        d.contexts.get_mut(context)?.cache = config;
        Ok(())
    };
    fn cuCtxResetPersistingL2Cache() |d| d.current().map(|_| ());
    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) |d| {
        d.current()?;
        least.set_if_wanted(0);
        greatest.set_if_wanted(GREATEST_PRIORITY);
        Ok(())
    };
}

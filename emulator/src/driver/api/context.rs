//! Contexts: how programs make them, choose among them and set what they can.

use super::{entries, raw::Out};
use crate::driver::{
    objects::{
        code::{Code, Result},
        context::Context,
        handle::Id,
        host::Host,
        stream::GREATEST_PRIORITY,
    },
    state::{
        Driver,
        context::{
            destroy, pop, push, release_primary, reset_primary, retain_primary, set_current, synchronize, top,
        },
    },
};

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
    push(context);
    Ok(context)
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
        push(context);
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

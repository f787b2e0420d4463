//! Memory pools: how programs make them, allocate from them and ask for what is in use.

use super::{
    entries,
    raw::{In, Out},
};
use crate::driver::{
    objects::{
        code::{Code, Result},
        handle::Id,
        host::Host,
        pool::Pool,
        stream::Stream,
    },
    state::Driver,
};
use bytemuck::{Pod, Zeroable};

/// `CUmemPoolProps`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Props {
    kind: u32,
    handles: u32,
    location: u32,
    device: i32,
    security: u64,
    most: u64,
    usage: u16,
    reserved: [u8; 54],
}

const THRESHOLD: u32 = 4;
const RESERVED: u32 = 5;
const RESERVED_HIGH: u32 = 6;
const USED: u32 = 7;
const USED_HIGH: u32 = 8;

impl Driver {
    fn pool_attribute(&self, pool: Id<Pool>, attribute: u32) -> Result<u64> {
        let p = self.pools.get(pool)?;
        Ok(match attribute {
            1..=3 => p.reuse[attribute as usize - 1].into(),
            THRESHOLD => p.threshold,
            RESERVED | USED => self.used_of_pool(pool),
            RESERVED_HIGH | USED_HIGH => p.high,
            _ => {
                return Err(Code::INVALID_VALUE.because(format!("pool attribute {attribute} does not exist")));
            }
        })
    }

    fn set_pool_attribute(&mut self, pool: Id<Pool>, attribute: u32, value: Host) -> Result<()> {
        let used = self.used_of_pool(pool);
        let p = self.pools.get_mut(pool)?;
        match attribute {
            1..=3 => p.reuse[attribute as usize - 1] = In::<u32>::from(value).get()?,
            THRESHOLD => p.threshold = In::<u64>::from(value).get()?,
            // The marks can be set back, to nothing else.
            RESERVED_HIGH | USED_HIGH if In::<u64>::from(value).get()? == 0 => p.high = used,
            _ => {
                return Err(
                    Code::INVALID_VALUE.because(format!("pool attribute {attribute} cannot be set so"))
                );
            }
        }
        Ok(())
    }
}

fn create(d: &mut Driver, props: &Props) -> Result<Id<Pool>> {
    // 1: pinned memory; of a device.
    if (props.kind, props.location) != (1, 1) {
        return Err(Code::INVALID_VALUE
            .because(format!("a pool of kind {} at location {}", props.kind, props.location)));
    }
    d.check_device(props.device)?;
    if props.handles != 0 {
        return Err(Code::NOT_SUPPORTED.because("pools that are shared with other processes"));
    }
    Ok(d.pools.insert(Pool { reuse: [1; 3], ..Pool::default() }))
}

entries! {
    fn cuMemAllocAsync(address: Out<u64>, len: usize, stream: Id<Stream>) |d| address.fill(|| {
        let pool = d.current_pool(0)?;
        d.allocate_from(pool, len, stream)
    });
    fn cuMemAllocFromPoolAsync(address: Out<u64>, len: usize, pool: Id<Pool>, stream: Id<Stream>) |d| {
        address.fill(|| d.allocate_from(pool, len, stream))
    };
    fn cuDeviceGetDefaultMemPool(pool: Out<Id<Pool>>, device: i32) |d| pool.fill(|| d.default_pool(device));
    fn cuDeviceGetMemPool(pool: Out<Id<Pool>>, device: i32) |d| pool.fill(|| d.current_pool(device));
    fn cuDeviceSetMemPool(device: i32, pool: Id<Pool>) |d| {
        d.check_device(device)?;
        d.pools.get(pool)?;
        d.current_pool = pool;
        Ok(())
    };
    fn cuMemPoolCreate(pool: Out<Id<Pool>>, props: In<Props>) |d| pool.fill(|| create(d, &props.get()?));
    fn cuMemPoolDestroy(pool: Id<Pool>) |d| d.destroy_pool(pool);
    fn cuMemPoolTrimTo(pool: Id<Pool>, _keep: usize) |d| d.pools.get(pool).map(|_| ());
    fn cuMemPoolGetAttribute(pool: Id<Pool>, attribute: u32, value: Host) |d| {
        let found = d.pool_attribute(pool, attribute)?;
        match attribute {
            1..=3 => Out::<u32>::from(value).set(found as u32),
            _ => Out::<u64>::from(value).set(found),
        }
    };
    fn cuMemPoolSetAttribute(pool: Id<Pool>, attribute: u32, value: Host) |d| d.set_pool_attribute(pool, attribute, value);
}

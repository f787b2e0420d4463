//! Memory pools: allocations in the order of a stream.
//!
//! A pool keeps nothing back: freed memory returns to the device, so that a stale pointer is found.

use super::{
    code::{Code, Result},
    entries,
    handle::Id,
    memory::Origin,
    raw::{Host, In, Out},
    state::Driver,
    stream::Stream,
};
use bytemuck::{Pod, Zeroable};

/// A memory pool.
#[derive(Debug, Default)]
pub struct Pool {
    /// Whether reuse follows events, happens opportunistically, or may add dependencies: `CU_MEMPOOL_ATTR_REUSE_...` 1 to 3.
    reuse: [u32; 3],
    /// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
    threshold: u64,
    /// The most that was in use at once.
    high: u64,
}

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
    /// The device's own pool, made when it is asked for.
    fn default_pool(&mut self, device: i32) -> Result<Id<Pool>> {
        self.check_device(device)?;
        if self.default_pool.is_null() {
            self.default_pool = self.pools.insert(Pool { reuse: [1; 3], ..Pool::default() });
        }
        Ok(self.default_pool)
    }

    fn current_pool(&mut self, device: i32) -> Result<Id<Pool>> {
        let default = self.default_pool(device)?;
        Ok(if self.current_pool.is_null() { default } else { self.current_pool })
    }

    fn allocate_from(&mut self, pool: Id<Pool>, len: usize, stream: Id<Stream>) -> Result<u64> {
        let stream = self.stream(stream)?;
        self.check_not_in_graph(stream)?;
        self.pools.get(pool)?;
        let address = self.allocate(len as u64, Origin::Pool(pool))?;
        let used = self.used(pool);
        let pool = self.pools.get_mut(pool)?;
        pool.high = pool.high.max(used);
        Ok(address)
    }

    /// Bytes of a pool in use.
    fn used(&self, pool: Id<Pool>) -> u64 {
        self.allocations.values().filter(|a| a.origin == Origin::Pool(pool)).map(|a| a.len).sum()
    }

    fn pool_attribute(&self, pool: Id<Pool>, attribute: u32) -> Result<u64> {
        let p = self.pools.get(pool)?;
        Ok(match attribute {
            1..=3 => p.reuse[attribute as usize - 1].into(),
            THRESHOLD => p.threshold,
            RESERVED | USED => self.used(pool),
            RESERVED_HIGH | USED_HIGH => p.high,
            _ => {
                return Err(Code::INVALID_VALUE.because(format!("pool attribute {attribute} does not exist")));
            }
        })
    }

    fn set_pool_attribute(&mut self, pool: Id<Pool>, attribute: u32, value: Host) -> Result<()> {
        let used = self.used(pool);
        let p = self.pools.get_mut(pool)?;
        match attribute {
            1..=3 => p.reuse[attribute as usize - 1] = value.array::<u32>().get()?,
            THRESHOLD => p.threshold = value.array::<u64>().get()?,
            // The marks can be set back, to nothing else.
            RESERVED_HIGH | USED_HIGH if value.array::<u64>().get()? == 0 => p.high = used,
            _ => {
                return Err(
                    Code::INVALID_VALUE.because(format!("pool attribute {attribute} cannot be set so"))
                );
            }
        }
        Ok(())
    }

    fn destroy_pool(&mut self, pool: Id<Pool>) -> Result<()> {
        if pool == self.default_pool {
            return Err(Code::INVALID_VALUE.because("the device's own pool cannot be destroyed"));
        }
        self.pools.remove(pool)?;
        if self.current_pool == pool {
            self.current_pool = Id::NULL;
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
            1..=3 => value.results::<u32>().set(found as u32),
            _ => value.results::<u64>().set(found),
        }
    };
    fn cuMemPoolSetAttribute(pool: Id<Pool>, attribute: u32, value: Host) |d| d.set_pool_attribute(pool, attribute, value);
}

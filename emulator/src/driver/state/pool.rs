//! Memory pools: the device's own one, the one that the program chose, and what is in use of each.

use super::Driver;
use crate::driver::objects::{
    allocation::Origin,
    code::{Code, Result},
    handle::Id,
    pool::Pool,
    stream::Stream,
};

impl Driver {
    /// The device's own pool, made when it is asked for.
    pub fn default_pool(&mut self, device: i32) -> Result<Id<Pool>> {
        self.check_device(device)?;
        if self.default_pool.is_null() {
            self.default_pool = self.pools.insert(Pool { reuse: [1; 3], ..Pool::default() });
        }
        Ok(self.default_pool)
    }

    pub fn current_pool(&mut self, device: i32) -> Result<Id<Pool>> {
        let default = self.default_pool(device)?;
        Ok(if self.current_pool.is_null() { default } else { self.current_pool })
    }

    pub fn allocate_from(&mut self, pool: Id<Pool>, len: usize, stream: Id<Stream>) -> Result<u64> {
        let stream = self.stream(stream)?;
        self.check_not_in_graph(stream)?;
        self.pools.get(pool)?;
        let address = self.allocate(len as u64, Origin::Pool(pool))?;
        let used = self.used_of_pool(pool);
        let pool = self.pools.get_mut(pool)?;
        pool.high = pool.high.max(used);
        Ok(address)
    }

    /// Bytes of a pool in use.
    pub fn used_of_pool(&self, pool: Id<Pool>) -> u64 {
        self.allocations.values().filter(|a| a.origin == Origin::Pool(pool)).map(|a| a.len).sum()
    }

    pub fn destroy_pool(&mut self, pool: Id<Pool>) -> Result<()> {
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

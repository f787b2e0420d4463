//! Streams by handle: the fixed handles of stream 0 and of a thread's own stream stand for different ones.

use super::Driver;
use crate::driver::objects::{code::Result, handle::Id, stream::Stream};

/// Handles that stand for stream 0 and for the thread's own stream.
const LEGACY: u64 = 1;
pub const PER_THREAD: u64 = 2;

impl Driver {
    /// The stream that a handle stands for, in the current context.
    pub fn stream(&mut self, handle: Id<Stream>) -> Result<Id<Stream>> {
        let context = self.current()?;
        match handle.0 {
            0 | LEGACY => Ok(self.contexts.get(context)?.legacy),
            PER_THREAD => {
                let thread = std::thread::current().id();
                if let Some(&stream) = self.contexts.get(context)?.per_thread.get(&thread) {
                    return Ok(stream);
                }
                let stream = self.streams.insert(Stream::new(context, 0, 0));
                self.contexts.get_mut(context)?.per_thread.insert(thread, stream);
                Ok(stream)
            }
            _ => {
                let owner = self.streams.get(handle)?.context;
                match &self.contexts.get(owner)?.failed {
                    Some(error) => Err(error.clone()),
                    None => Ok(handle),
                }
            }
        }
    }
}

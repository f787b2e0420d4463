//! Everything that the driver knows, its lock, and what calls do to it, in Rust's types.

pub mod capture;
pub mod context;
pub mod exec;
pub mod graph;
pub mod hooks;
pub mod memory;
pub mod module;
pub mod occupancy;
pub mod options;
pub mod pool;
pub mod run;
pub mod stream;
pub mod transfer;

use super::objects::{
    allocation::Allocated,
    capture::Capture,
    code::{Code, Result},
    context::{Context, Primary},
    event::Event,
    function::Function,
    graph::{Exec, Graph, Node},
    handle::{Id, Registry},
    module::Module,
    pool::Pool,
    stream::Stream,
};
use crate::{
    device::Device,
    machine::{Machine, Settings},
};
use hooks::Hooks;
use options::Options;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, Once, PoisonError},
};

/// Everything that the driver knows.
pub struct Driver {
    pub initialised: bool,
    /// The process ends.
    pub ended: bool,
    pub options: Options,
    /// The device with its memory.
    pub machine: Machine,
    pub hooks: Hooks,
    pub primary: Primary,
    pub contexts: Registry<Context>,
    pub streams: Registry<Stream>,
    pub events: Registry<Event>,
    pub modules: Registry<Module>,
    pub functions: Registry<Function>,
    /// By first address.
    pub allocations: BTreeMap<u64, Allocated>,
    /// Requests for device memory so far.
    pub requests: u64,
    /// Kernels that were to run so far.
    pub launches: u64,
    /// Operations submitted so far: the number of the next one.
    pub submitted: u64,
    /// Records of events that have not run yet, and the streams that they wait in.
    pub records: BTreeMap<u64, Id<Stream>>,
    /// State of the choices between streams.
    pub random: u64,
    /// A host function is being called, without the lock.
    pub in_host_function: bool,
    pub captures: Registry<Capture>,
    pub graphs: Registry<Graph>,
    pub nodes: Registry<Node>,
    pub execs: Registry<Exec>,
    pub pools: Registry<Pool>,
    /// The device's own pool, and the one that the program chose.
    pub default_pool: Id<Pool>,
    pub current_pool: Id<Pool>,
    /// Allocations that a stream will free.
    pub freeing: BTreeSet<u64>,
}

/// Wakes those who wait for a function of the host to return.
static RETURNED: Condvar = Condvar::new();

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new()));

impl Driver {
    /// A driver before `cuInit`, for the default device.
    fn new() -> Driver {
        let options = Options::default();
        let device = Device::all()[4].clone();
        Driver {
            initialised: false,
            ended: false,
            options,
            machine: Machine::new(Settings::new(device)),
            hooks: Hooks::default(),
            primary: Default::default(),
            contexts: Registry::new("context"),
            streams: Registry::new("stream"),
            events: Registry::new("event"),
            modules: Registry::new("module"),
            functions: Registry::new("function"),
            allocations: BTreeMap::new(),
            requests: 0,
            launches: 0,
            submitted: 0,
            records: BTreeMap::new(),
            random: 0,
            in_host_function: false,
            captures: Registry::new("capture"),
            graphs: Registry::new("graph"),
            nodes: Registry::new("node"),
            execs: Registry::new("executable graph"),
            pools: Registry::new("memory pool"),
            default_pool: Id::NULL,
            current_pool: Id::NULL,
            freeing: BTreeSet::new(),
        }
    }

    /// `cuInit`: the device that the environment asks for.
    pub fn initialise(&mut self) -> Result<()> {
        if !self.initialised {
            self.reset(Options::from_environment()?)?;
            at_exit();
        }
        Ok(())
    }

    /// Forgets everything and begins anew with these options, as after `cuInit`.
    pub fn reset(&mut self, options: Options) -> Result<()> {
        let settings = options.settings()?;
        *self = Driver::new();
        self.random = options.seed.unwrap_or(0);
        self.machine = Machine::new(settings);
        self.hooks.begin(&options, &mut self.machine);
        self.options = options;
        self.initialised = true;
        Ok(())
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.machine.settings.device
    }

    /// Checks a `CUdevice`: there is one, of number 0.
    pub fn check_device(&self, device: i32) -> Result<()> {
        match device {
            0 => Ok(()),
            _ => {
                Err(Code::INVALID_DEVICE.because(format!("device {device}, expected 0: there is one device")))
            }
        }
    }
}

/// Has [`end`] called when the process ends.
fn at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `end` is a function of C's calling convention without arguments; if this library is unloaded earlier, the C
        // library calls it then.
        let refused = unsafe { libc::atexit(end) };
        assert_eq!(refused, 0, "the C library has room for 32 exit handlers at least");
    });
}

/// The process ends: what is alive was leaked, and every call from now on is refused.
extern "C" fn end() {
    let report = || {
        // Another thread may be inside a kernel: then there is nothing to report.
        let mut driver = DRIVER.try_lock().ok()?;
        let driver = &mut *driver;
        let leaks = driver.allocations.values().filter(|a| a.is_explicit()).map(Allocated::describe);
        leaks.for_each(|leak| driver.hooks.leak(&driver.options, &leak));
        driver.ended = true;
        driver.hooks.at_exit(&driver.options, driver.machine.settings.device.name)
    };
    // There is nobody to tell of a panic.
    if let Ok(Some(code)) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(report)) {
        // SAFETY: null flushes all streams, as the exit that this one takes the place of would have done.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        // SAFETY: ends the process; nothing of this library runs after it.
        unsafe { libc::_exit(code) };
    }
}

/// The driver, locked.
pub struct Locked(Option<MutexGuard<'static, Driver>>);

impl Locked {
    pub fn take() -> Locked {
        // A panic is reported as 999 by the call that it happened in; what it left behind is still looked up with checks.
        Locked(Some(DRIVER.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Runs `f` without the lock: for functions of the host, which may wait for threads that call the driver.
    pub fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.0 = None;
        let result = f();
        *self = Locked::take();
        result
    }

    /// Waits until no function of the host is being called: the streams stand still meanwhile.
    pub fn wait_for_host_functions(&mut self) {
        while self.in_host_function {
            let guard = self.0.take().map(|g| RETURNED.wait(g).unwrap_or_else(PoisonError::into_inner));
            self.0 = guard;
        }
    }

    /// A function of the host has returned.
    pub fn wake(&self) {
        RETURNED.notify_all();
    }
}

impl Deref for Locked {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        self.0.as_deref().unwrap_or_else(|| unreachable!("it is unlocked inside `unlocked` only"))
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Driver {
        self.0.as_deref_mut().unwrap_or_else(|| unreachable!("it is unlocked inside `unlocked` only"))
    }
}

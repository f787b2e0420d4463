//! Everything that the driver knows, and its lock.

use super::{
    code::{Code, Result},
    context::Context,
    event::Event,
    handle::{Id, Registry},
    hooks::Hooks,
    memory::Allocated,
    module::{Function, Module},
    options::Options,
    stream::Stream,
};
use crate::{
    device::Device,
    machine::{Machine, Settings},
};
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread::ThreadId,
};

/// Everything that the driver knows.
pub struct Driver {
    pub(super) initialised: bool,
    pub(super) options: Options,
    /// The device with its memory.
    pub(super) machine: Machine,
    pub(super) hooks: Hooks,
    pub(super) primary: super::context::Primary,
    pub(super) contexts: Registry<Context>,
    pub(super) streams: Registry<Stream>,
    pub(super) events: Registry<Event>,
    pub(super) modules: Registry<Module>,
    pub(super) functions: Registry<Function>,
    /// By first address.
    pub(super) allocations: BTreeMap<u64, Allocated>,
    /// Operations submitted so far: the number of the next one.
    pub(super) submitted: u64,
    /// Records of events that have not run yet, and the streams that they wait in.
    pub(super) records: BTreeMap<u64, Id<Stream>>,
    /// State of the choices between streams.
    pub(super) random: u64,
    /// The thread that runs a host function at the moment.
    pub(super) host_function: Option<ThreadId>,
}

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new()));

impl Driver {
    /// A driver before `cuInit`, for the default device.
    fn new() -> Driver {
        let options = Options::default();
        let device = Device::all()[4].clone();
        Driver {
            initialised: false,
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
            submitted: 0,
            records: BTreeMap::new(),
            random: 0,
            host_function: None,
        }
    }

    /// `cuInit`: the device that the environment asks for.
    pub(super) fn initialise(&mut self) -> Result<()> {
        if !self.initialised {
            self.reset(Options::from_environment()?)?;
        }
        Ok(())
    }

    /// Forgets everything and begins anew with these options, as after `cuInit`.
    pub(super) fn reset(&mut self, options: Options) -> Result<()> {
        let settings = options.settings()?;
        *self = Driver::new();
        self.random = options.seed.unwrap_or(0);
        self.machine = Machine::new(settings);
        self.options = options;
        self.initialised = true;
        Ok(())
    }

    /// The device.
    pub(super) fn device(&self) -> &Device {
        &self.machine.settings.device
    }

    /// Checks a `CUdevice`: there is one, of number 0.
    pub(super) fn check_device(&self, device: i32) -> Result<()> {
        match device {
            0 => Ok(()),
            _ => {
                Err(Code::INVALID_DEVICE.because(format!("device {device}, expected 0: there is one device")))
            }
        }
    }
}

/// The driver, locked.
pub struct Locked(Option<MutexGuard<'static, Driver>>);

impl Locked {
    pub(super) fn take() -> Locked {
        // A panic is reported as 999 by the call that it happened in; what it left behind is still looked up with checks.
        Locked(Some(DRIVER.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Runs `f` without the lock: for functions of the host, which may wait for threads that call the driver.
    pub(super) fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.0 = None;
        let result = f();
        *self = Locked::take();
        result
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

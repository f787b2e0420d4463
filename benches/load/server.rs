//! `halfwarp serve` as a process of its own: started, watched, held up and killed.

use crate::client::Client;
use std::{
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub model: Option<PathBuf>,
    pub threads: usize,
    pub port: u16,
    pub args: Vec<String>,
    /// What a shell does before it becomes the server: limits, redirections.
    pub before: Option<String>,
}

/// A server that runs; killed when it is dropped.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    /// From the start to the first 200 of /health.
    pub start_time: Duration,
}

/// A free port.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Launch {
    /// The server, once it is healthy.
    pub fn start(&self) -> io::Result<Server> {
        let started = Instant::now();
        let mut args = vec!["serve".to_string(), "--port".into(), self.port.to_string()];
        args.extend(["--device".into(), "cpu".into(), "--threads".into(), self.threads.to_string()]);
        if let Some(model) = &self.model {
            args.extend(["--model".into(), model.display().to_string()]);
        }
        args.extend(self.args.iter().cloned());
        let mut command = match &self.before {
            None => Command::new(&self.program),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("{before}; exec \"$0\" \"$@\"")).arg(&self.program);
                shell
            }
        };
        let child = command.args(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut server = Server { child, addr, start_time: Duration::ZERO };
        server.forward_errors();
        let client = Client::new(addr);
        while !client.is_healthy() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "the server ended with {status} before it was healthy"
                )));
            }
            if started.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other("the server was not healthy within 60 s"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        server.start_time = started.elapsed();
        Ok(server)
    }
}

impl Server {
    /// Reads the log away, so that the server never waits for it, and shows panics.
    fn forward_errors(&mut self) {
        let Some(stderr) = self.child.stderr.take() else { return };
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("panicked") {
                    eprintln!("server: {line}");
                }
            }
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name}: {status}"))) }
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The status that it ended with; none while it runs or where a signal ended it.
    pub fn status(&mut self) -> Option<i32> {
        self.child.try_wait().ok()??.code()
    }

    /// Ends at once, as a crash would.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server's process takes, over time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Instant,
    /// Anonymous memory, in bytes, what was swapped out included; mapped weights are not.
    pub anonymous: u64,
    pub n_files: usize,
    pub n_threads: usize,
}

/// Watches a process until it is dropped.
pub struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn new(pid: u32) -> Self {
        let (samples, is_over) = (Arc::<Mutex<Vec<Sample>>>::default(), Arc::<AtomicBool>::default());
        let (seen, over) = (samples.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let (Some(sample), Ok(mut samples)) = (sample(pid), seen.lock()) {
                    samples.push(sample);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { samples, is_over, thread: Some(thread) }
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().map(|samples| samples.clone()).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What process `pid` takes now; none once it is gone.
pub fn sample(pid: u32) -> Option<Sample> {
    let folder = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let n_files = std::fs::read_dir(folder.join("fd")).ok()?.count();
    let anonymous = (field("RssAnon:")? + field("VmSwap:")?) * 1024;
    Some(Sample { at: Instant::now(), anonymous, n_files, n_threads: field("Threads:")? as usize })
}

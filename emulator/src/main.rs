//! Runs a program with the emulator as its CUDA driver.

use clap::Parser;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Runs COMMAND on an emulated CUDA device: a driver is put first on its library path, and its kernels run on the CPU. The exit
/// code is that of COMMAND, or 99 if there are findings.
#[derive(Parser)]
#[command(name = "cuda-emulator", version, about)]
struct Cli {
    /// Compute capability of the device: 75 (T4), 80 (A100), 86 (RTX 3090), 89 (RTX 4090), 90 (H100), 100 (B200), 120 (RTX 5090)
    #[arg(long, value_name = "CC", value_parser = arch, default_value = "90", env = "CUDA_EMULATOR_ARCH")]
    arch: u32,
    /// Look for races, reads of what was never written, missing waits, divergent barriers, leaks
    #[arg(long)]
    check: bool,
    /// Print counters of each kernel at the end: instructions, sectors, wavefronts, barriers
    #[arg(long)]
    counters: bool,
    /// Write the counters of each launch to this file as JSON
    #[arg(long, value_name = "FILE")]
    counters_file: Option<PathBuf>,
    /// Run warps, blocks and streams in a random order that this seed gives
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Repeat each launch under K random orders and report results that differ
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000))]
    schedules: Option<u32>,
    /// Let stores that are not ordered be seen late, as this seed says
    #[arg(long, value_name = "N")]
    weak: Option<u64>,
    /// Let approximate instructions be as wrong as PTX allows, as this seed says
    #[arg(long, value_name = "N")]
    jitter: Option<u64>,
    /// Refuse the request for device memory with this number, an allocation or an executable graph, counted from 1
    #[arg(long, value_name = "N")]
    out_of_memory: Option<u64>,
    /// Let the kernel with this number fail as on a device that is lost, counted from 1
    #[arg(long, value_name = "N")]
    launch_failure: Option<u64>,
    /// Cores that run blocks; with more than one, runs do not repeat exactly
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// The program, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn arch(text: &str) -> Result<u32, String> {
    let known =
        cuda_emulator::device::Device::all().iter().map(|d| d.compute_capability()).collect::<Vec<_>>();
    match text.parse() {
        Ok(arch) if known.contains(&arch) => Ok(arch),
        _ => Err(format!("expected one of {known:?}")),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cuda-emulator: {error}");
            ExitCode::from(127)
        }
    }
}

/// Becomes the command; comes back with an error only.
fn run(cli: &Cli) -> io::Result<ExitCode> {
    let folder = driver_folder()?;
    let mut command = Command::new(&cli.command[0]);
    command.args(&cli.command[1..]).env("CUDA_EMULATOR_ARCH", cli.arch.to_string());
    let path = std::env::var_os("LD_LIBRARY_PATH").filter(|p| !p.is_empty());
    let path = std::iter::once(folder.clone()).chain(path.iter().flat_map(std::env::split_paths));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(path).map_err(io::Error::other)?);
    command.env("CUDA_EMULATOR_REPORT", "1");
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.env(format!("CUDA_EMULATOR_{name}"), value);
        }
    };
    let number = |n: Option<u32>| n.map(|n| n.to_string());
    set("CHECK", cli.check.then(|| "1".to_string()));
    set(
        "COUNTERS",
        match (&cli.counters_file, cli.counters) {
            (Some(file), _) => Some(file.to_string_lossy().into_owned()),
            (None, true) => Some("-".to_string()),
            (None, false) => None,
        },
    );
    set("SEED", cli.seed.map(|n| n.to_string()));
    set("SCHEDULES", number(cli.schedules));
    set("WEAK", cli.weak.map(|n| n.to_string()));
    set("JITTER", cli.jitter.map(|n| n.to_string()));
    set("OUT_OF_MEMORY", cli.out_of_memory.map(|n| n.to_string()));
    set("LAUNCH_FAILURE", cli.launch_failure.map(|n| n.to_string()));
    set("THREADS", number(cli.threads));
    replace(command, &cli.command[0])
}

#[cfg(unix)]
fn replace(mut command: Command, name: &OsString) -> io::Result<ExitCode> {
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(io::Error::new(error.kind(), format!("cannot run {}: {error}", Path::new(name).display())))
}

#[cfg(not(unix))]
fn replace(mut command: Command, _: &OsString) -> io::Result<ExitCode> {
    Ok(ExitCode::from(command.status()?.code().unwrap_or(1) as u8))
}

/// A folder that holds the emulator under the names that programs look for: `libcuda.so.1` and `libcuda.so`. The library stands where
/// cargo puts it: beside this program, and in `deps` first.
fn driver_folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = program.parent().ok_or_else(|| io::Error::other("this program is in no folder"))?;
    let places = [beside.join("deps"), beside.to_path_buf()].map(|folder| folder.join("libcuda_emulator.so"));
    let library = places.iter().find(|p| p.is_file()).ok_or_else(|| {
        let message = format!("{} is missing: it is built together with this program", places[1].display());
        io::Error::new(io::ErrorKind::NotFound, message)
    })?;
    let folder = beside.join("cuda-emulator-driver");
    std::fs::create_dir_all(&folder)?;
    for name in ["libcuda.so.1", "libcuda.so"] {
        link(library, &folder.join(name))?;
    }
    Ok(folder)
}

/// Makes `to` a link to `library`, if it is not one already.
fn link(library: &Path, to: &Path) -> io::Result<()> {
    if std::fs::read_link(to).is_ok_and(|l| l == library) {
        return Ok(());
    }
    // Another run may be making the same link: a link of our own takes its place in one step.
    let own = to.with_extension(format!("{}", std::process::id()));
    let _ = std::fs::remove_file(&own);
    #[cfg(unix)]
    std::os::unix::fs::symlink(library, &own)?;
    #[cfg(not(unix))]
    std::fs::copy(library, &own)?;
    std::fs::rename(&own, to)
}

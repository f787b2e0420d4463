//! Says where the bundled model's weights are, and embeds the kernels: `kernels/*.cu`, as machine code and PTX where nvcc is found, else the committed `kernels/ptx/`.
//!
//! Writes `kernel_images.rs` (the images, and the constants of `kernels/layout.h`) to OUT_DIR. It links nothing, asks no GPU, and
//! never fails for want of a toolkit: what goes wrong with nvcc is a warning, and the committed PTX is used.

#[path = "build/constants.rs"]
mod constants;

use constants::Constants;
use std::{
    env,
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
};

/// Machine code for these; what is newer runs the PTX.
const ARCHS: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];

/// PTX is compiled for these: see `kernels/build.sh`.
const PTX_ARCHS: [u32; 3] = [75, 80, 90];

/// The constants that the kernels and Rust share.
const LAYOUT: &str = "kernels/layout.h";

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        match weights(&out) {
            Ok(path) => println!("cargo::rustc-env=TALES_WEIGHTS={}", path.display()),
            Err(error) => println!("cargo::error={}: {error}", out.display()),
        }
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(error) = embed(&out) {
        println!("cargo::error=the kernels cannot be embedded: {error}");
    }
}

/// The weights of the bundled model; where they are not, as in the crate's package, an empty file in `out`. The package may be built
/// in the folder of the repository's own build, so each of the two watches a file that the other does not have.
fn weights(out: &Path) -> io::Result<PathBuf> {
    const WEIGHTS: &str = "models/tales/model.safetensors";
    if Path::new(WEIGHTS).exists() {
        println!("cargo::rerun-if-changed={WEIGHTS}");
        return Ok(env::current_dir()?.join(WEIGHTS));
    }
    println!("cargo::rerun-if-changed=Cargo.toml.orig");
    let none = out.join("no-model.safetensors");
    fs::write(&none, "")?;
    Ok(none)
}

fn embed(out: &Path) -> Result<(), Box<dyn Error>> {
    let constants = constants::read(LAYOUT, &fs::read_to_string(LAYOUT)?)?;
    let names = sources()?;
    let archs = archs()?;
    let images = match find_nvcc().and_then(|nvcc| compile(&nvcc, &names, &archs, out)) {
        Some(images) => images,
        None => committed()?,
    };
    Ok(fs::write(out.join("kernel_images.rs"), generated(&images, &constants))?)
}

/// One file of code for one architecture.
struct Image {
    name: String,
    arch: u32,
    is_ptx: bool,
    path: PathBuf,
}

/// Names of the files in `kernels/`, without `.cu`.
fn sources() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("kernels")? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "cu") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// `kernels/ptx/NAME.sm_ARCH.ptx`, all of them.
fn committed() -> io::Result<Vec<Image>> {
    let mut images = Vec::new();
    for entry in fs::read_dir("kernels/ptx")? {
        let path = fs::canonicalize(entry?.path())?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((name, arch)) = file.strip_suffix(".ptx").and_then(|f| f.split_once(".sm_")) else {
            continue;
        };
        let Ok(arch) = arch.parse() else { continue };
        images.push(Image { name: name.into(), arch, is_ptx: true, path });
    }
    images.sort_by(|a, b| (&a.name, a.arch).cmp(&(&b.name, b.arch)));
    Ok(images)
}

/// nvcc from NVCC, CUDA_HOME, CUDA_PATH, PATH, the usual places, or the folder of the PyPI wheels.
fn find_nvcc() -> Option<PathBuf> {
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "VIRTUAL_ENV"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let name = format!("nvcc{}", env::consts::EXE_SUFFIX);
    let folder = |variable: &str| env::var_os(variable).map(PathBuf::from);
    if let Some(nvcc) = folder("NVCC") {
        return Some(nvcc);
    }
    let mut folders: Vec<PathBuf> =
        ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|v| folder(v)).map(|f| f.join("bin")).collect();
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    folders.extend(["/usr/local/cuda/bin", "/opt/cuda/bin"].map(PathBuf::from));
    folders.extend(wheel_folders());
    folders.into_iter().map(|f| f.join(&name)).find(|nvcc| nvcc.is_file())
}

/// `site-packages/nvidia/cu*/bin` of the active virtual environment, where `pip install nvidia-cuda-nvcc` puts it.
fn wheel_folders() -> Vec<PathBuf> {
    let list = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect()
    };
    let Some(environment) = env::var_os("VIRTUAL_ENV").map(PathBuf::from) else { return Vec::new() };
    let pythons = list(environment.join("lib"));
    pythons.into_iter().flat_map(|p| list(p.join("site-packages/nvidia"))).map(|f| f.join("bin")).collect()
}

/// The architectures to make machine code for.
fn archs() -> Result<Vec<u32>, String> {
    println!("cargo::rerun-if-env-changed=HALFWARP_CUDA_ARCHS");
    let Ok(list) = env::var("HALFWARP_CUDA_ARCHS") else { return Ok(ARCHS.to_vec()) };
    let archs = list.split([';', ',']).map(str::trim).filter(|arch| !arch.is_empty());
    archs
        .map(|arch| {
            arch.parse()
                .map_err(|_| format!("HALFWARP_CUDA_ARCHS has `{arch}`, expected numbers as in 80;90"))
        })
        .collect()
}

/// All images, made by `nvcc`; `None`, with a warning, if it fails.
fn compile(nvcc: &Path, names: &[String], archs: &[u32], out: &Path) -> Option<Vec<Image>> {
    let jobs: Vec<Image> = names
        .iter()
        .flat_map(|name| {
            let of = |&arch: &u32, is_ptx: bool| {
                let kind = if is_ptx { "ptx" } else { "cubin" };
                let path = out.join(format!("{name}.sm_{arch}.{kind}"));
                Image { name: name.clone(), arch, is_ptx, path }
            };
            let machine_code = archs.iter().map(move |a| of(a, false));
            machine_code.chain(PTX_ARCHS.iter().map(move |a| of(a, true))).collect::<Vec<_>>()
        })
        .collect();
    let n_threads = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize);
    let (queue, failure) = (Mutex::new(jobs.iter()), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                while let Some(job) = queue.lock().ok().and_then(|mut jobs| jobs.next()) {
                    if let Err(error) = run_nvcc(nvcc, job) {
                        failure.lock().ok().map(|mut f| f.replace(error));
                        return;
                    }
                }
            });
        }
    });
    match failure.into_inner().ok().flatten() {
        None => Some(jobs),
        Some(error) => {
            println!("cargo::warning={} failed, kernels/ptx is used instead: {error}", nvcc.display());
            None
        }
    }
}

fn run_nvcc(nvcc: &Path, job: &Image) -> Result<(), String> {
    let mut command = Command::new(nvcc);
    // Machine code comes from the very PTX that the emulator runs in tests.
    let level = PTX_ARCHS.into_iter().rfind(|&level| level <= job.arch).unwrap_or(PTX_ARCHS[0]);
    let (kind, target) = if job.is_ptx { ("-ptx", "compute") } else { ("-cubin", "sm") };
    let code = format!("-gencode=arch=compute_{level},code={target}_{}", job.arch);
    command.args([kind, &code, "-std=c++17", "-O3", "-lineinfo"]);
    command.arg(format!("kernels/{}.cu", job.name)).arg("-o").arg(&job.path);
    let output = command.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).replace('\n', " ")));
    }
    if job.is_ptx {
        lower_version(&job.path).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// nvcc states the newest PTX version it knows; the kernels use nothing that is not in 8.0, which older drivers load, but for a
/// hint of 8.3.
fn lower_version(path: &Path) -> io::Result<()> {
    let ptx = fs::read_to_string(path)?;
    let lines = ptx.lines().filter(|line| !line.contains(".pragma \"used_bytes_mask"));
    let lines = lines.map(|line| if line.starts_with(".version ") { ".version 8.0" } else { line });
    fs::write(path, lines.flat_map(|line| [line, "\n"]).collect::<String>())
}

/// The Rust source.
fn generated(images: &[Image], constants: &Constants) -> String {
    let mut text = String::from(
        "/// Every image, by file, the architectures ascending.\npub static IMAGES: &[Image] = &[\n",
    );
    for Image { name, arch, is_ptx, path } in images {
        let include = Include(path, *is_ptx);
        text +=
            &format!("    Image {{ file: {name:?}, arch: {arch}, is_ptx: {is_ptx}, bytes: {include} }},\n");
    }
    text += "];\n\n/// What `kernels/layout.h` defines.\n#[allow(dead_code, missing_docs)]\npub mod constants {\n";
    for (name, value) in constants {
        text += &format!("    pub const {name}: u32 = {value};\n");
    }
    text + "}\n"
}

struct Include<'a>(&'a Path, bool);

impl fmt::Display for Include<'_> {
    /// PTX is text and ends in a NUL.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.1 {
            true => write!(f, "concat!(include_str!({:?}), \"\\0\").as_bytes()", self.0),
            false => write!(f, "include_bytes!({:?})", self.0),
        }
    }
}

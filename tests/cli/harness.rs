//! Runs the built program and looks at what came out.

use std::{
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// What one run of the program left behind.
pub struct Run {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The standard output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        self.stdout
    }

    /// The JSON on the standard output of a run that must have succeeded.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("standard output is JSON")
    }

    /// The standard error of a run that must have failed with `code`, before any output, with an `error: ` that
    /// mentions all of `words`; with code 1 it is a single line.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        assert_eq!(self.stdout, "");
        let error = self.stderr.lines().find(|l| l.starts_with("error: ")).unwrap_or_else(|| {
            panic!("no error line in {:?}", self.stderr);
        });
        for word in words {
            assert!(error.contains(word), "{error:?} does not mention {word:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        if code == 1 {
            assert_eq!(self.stderr.lines().last(), Some(error), "an error is the last line");
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The program on the CPU with arguments, no input, no settings from the environment and no network.
pub fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALFWARP_") {
            command.env_remove(name);
        }
    }
    command.env("HALFWARP_DEVICE", "cpu").env("HF_HUB_OFFLINE", "1");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program with arguments that are separated by spaces.
pub fn run(args: &str) -> Run {
    run_args(args.split_whitespace())
}

/// Runs the program.
pub fn run_args(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
    command(args).output().expect("the program starts").into()
}

/// Runs the program with `input` piped in.
pub fn run_with_input(args: &str, input: &[u8]) -> Run {
    let mut child =
        command(args.split_whitespace()).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("input is piped");
    // The program may end without reading all of it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// A run that gets SIGINT once it has written something: it must end with 130, and its line with it.
#[cfg(unix)]
pub fn interrupt(mut child: std::process::Child) -> Run {
    use std::io::Read;
    let mut stdout = child.stdout.take().expect("output is piped");
    let mut text = vec![0; 16];
    stdout.read_exact(&mut text).expect("the program writes 16 bytes");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill starts");
    assert!(kill.success());
    stdout.read_to_end(&mut text).expect("the program ends");
    let output = child.wait_with_output().expect("the program ends");
    let run = Run::from(Output { stdout: text, ..output });
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stdout.ends_with('\n'), "the line is ended: {:?}", run.stdout);
    run
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A fresh folder that lasts as long as the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the target folder is writable");
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One integer tensor of the bundled model's golden file.
pub fn golden_ids(name: &str) -> Vec<u32> {
    let file =
        std::fs::read(repository("tests/goldens/tales/expected.safetensors")).expect("the golden file");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("the golden file is safetensors");
    let data = tensors.tensor(name).expect("the golden file has the tensor").data();
    data.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// `1,2,3`.
pub fn commas(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

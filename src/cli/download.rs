//! Finding a model, which is downloaded where it is not here (feature `hub`): standard error says what and how much before, and
//! shows a progress bar.

use super::{
    exit::Failure,
    output::{bytes, note},
};
use halfwarp::{Source, source::Progress};
use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// The model that `name` names.
pub fn source(name: &str) -> Result<Source, Failure> {
    let mut bar = Bar::default();
    Ok(Source::fetch(name, &mut |progress| bar.show(progress))?)
}

/// A bar for one file after the other.
#[derive(Default)]
pub struct Bar {
    file: String,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Shows how a download goes.
    pub fn show(&mut self, progress: &Progress) {
        match *progress {
            Progress::Begins { name, n_files, n_bytes, folder } => {
                let files = if n_files == 1 { "1 file".into() } else { format!("{n_files} files") };
                let (n_bytes, folder) = (bytes(n_bytes), folder.display());
                note(format_args!("downloading {name}: {files}, {n_bytes}, to {folder}"));
            }
            Progress::File { file, n_done, n_bytes } => self.of(file, n_bytes).set_position(n_done),
        }
    }

    fn of(&mut self, file: &str, n_bytes: u64) -> &ProgressBar {
        if self.file != file {
            self.file = file.into();
            self.bar = None;
        }
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(n_bytes).with_message(file.to_string());
            ProgressStyle::with_template(TEMPLATE).into_iter().fold(bar, ProgressBar::with_style)
        })
    }
}

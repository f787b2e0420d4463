//! Finding a model, with a progress bar on standard error for what is downloaded (feature `hub`).

use super::exit::Failure;
use halfwarp::{Source, source::Progress};
use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// The model that `name` names.
pub fn source(name: &str) -> Result<Source, Failure> {
    let mut bar: Option<(String, ProgressBar)> = None;
    let mut show = |progress: &Progress| {
        let is_new = bar.as_ref().is_none_or(|(file, _)| file != progress.file);
        if is_new {
            let next = ProgressBar::new(progress.n_bytes).with_message(progress.file.to_string());
            let style = ProgressStyle::with_template(TEMPLATE);
            bar = Some((progress.file.to_string(), style.into_iter().fold(next, ProgressBar::with_style)));
        }
        if let Some((_, bar)) = &bar {
            bar.set_position(progress.n_done);
        }
    };
    Ok(Source::fetch(name, &mut show)?)
}

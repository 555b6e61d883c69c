//! A progress bar on standard error for compilations that take long enough to wonder.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use precast_compiler::Progress;

/// How long a compilation runs before the bar appears.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar that appears after [`PATIENCE`] and is wiped when dropped.
pub(crate) struct Bar {
    started: Instant,
    label: String,
    bar: OnceLock<ProgressBar>,
}

impl Bar {
    /// A bar for `label`, if standard error is a terminal.
    pub(crate) fn on_terminal(label: &str) -> Option<Self> {
        // Without its folder, or the bar would not fit on a line.
        let label = label.rsplit('/').next().unwrap_or(label).to_owned();
        let bar = || Bar { started: Instant::now(), label, bar: OnceLock::new() };
        std::io::stderr().is_terminal().then(bar)
    }

    fn show(&self, total: usize) -> ProgressBar {
        // Both are fixed strings, so a mistake in the template would show in any use of the bar.
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} functions, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        ProgressBar::new(total as u64).with_message(self.label.clone()).with_style(style).with_elapsed(PATIENCE)
    }
}

impl Progress for Bar {
    fn functions(&self, done: usize, total: usize) {
        if self.started.elapsed() >= PATIENCE {
            // Threads may report out of order; the bar only moves forward.
            let bar = self.bar.get_or_init(|| self.show(total));
            if done as u64 > bar.position() {
                bar.set_position(done as u64);
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

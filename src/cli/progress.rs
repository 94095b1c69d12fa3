//! Progress bars, in one style; silent where stderr is not a terminal.

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// A bar over `total` of something, with rate and time left.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let template = "{msg:28} [{bar:32}] {human_pos}/{human_len} ({per_sec}, {eta} left)";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what.to_owned())
}

/// `1,234,567`.
pub fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

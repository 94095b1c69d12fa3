//! The process's own figures, from /proc, under the names that Prometheus's client libraries use.

use std::fmt::Write;

/// The unit of times in /proc/self/stat: `USER_HZ`, which Linux fixes at 100 towards user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// What /proc says; a file that cannot be read counts as empty, and its figures are left out.
#[derive(Default)]
struct Proc {
    /// /proc/self/status
    status: String,
    /// /proc/self/stat
    stat: String,
    /// /proc/self/limits
    limits: String,
    /// Entries of /proc/self/fd.
    open_fds: Option<usize>,
    /// /proc/stat, for the time of boot.
    system: String,
}

/// Lines in Prometheus's text format.
pub(super) fn text() -> String {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    render(&Proc {
        status: read("/proc/self/status"),
        stat: read("/proc/self/stat"),
        limits: read("/proc/self/limits"),
        // Listing the directory opens one itself.
        open_fds: fs_err::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1)),
        system: read("/proc/stat"),
    })
}

fn render(from: &Proc) -> String {
    // The command's name, in parentheses, may hold anything; the numbers follow its last parenthesis, from field 3 on.
    let fields: Vec<&str> =
        from.stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).and_then(|text| text.parse::<f64>().ok());
    let after = |text: &str, prefix: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(prefix))?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let boot = after(&from.system, "btime");

    let mut out = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    line(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        after(&from.status, "VmRSS:").map(|kib| kib * 1024.0),
    );
    line(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory.",
        after(&from.status, "VmSize:").map(|kib| kib * 1024.0),
    );
    line("process_threads", "gauge", "Threads.", after(&from.status, "Threads:"));
    line("process_open_fds", "gauge", "Open file descriptors.", from.open_fds.map(|n| n as f64));
    line(
        "process_max_fds",
        "gauge",
        "File descriptors that may be open.",
        after(&from.limits, "Max open files"),
    );
    line(
        "process_cpu_seconds_total",
        "counter",
        "Processor time, user and system.",
        field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS_PER_SECOND),
    );
    line(
        "process_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
        field(22).zip(boot).map(|(ticks, boot)| boot + ticks / TICKS_PER_SECOND),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_from_the_right_fields() {
        let text = render(&Proc {
            status: "Name:\tx\nVmSize:\t  2000 kB\nVmRSS:\t  1000 kB\nThreads:\t7\n".into(),
            stat: "42 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 7 0 500 0 0".into(),
            limits: "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n".into(),
            open_fds: Some(9),
            system: "cpu 1 2\nbtime 1000\n".into(),
        });
        for line in [
            "process_resident_memory_bytes 1024000\n",
            "process_virtual_memory_bytes 2048000\n",
            "process_threads 7\n",
            "process_open_fds 9\n",
            "process_max_fds 1024\n",
            "process_cpu_seconds_total 2\n",
            "process_start_time_seconds 1005\n",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(render(&Proc::default()), "");
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let text = text();
        assert!(
            text.contains("process_resident_memory_bytes ") && text.contains("process_open_fds "),
            "{text}"
        );
    }
}

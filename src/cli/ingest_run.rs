//! One run of `larder ingest`: its id, by which the node knows its batches, and the file that `--resume` finds it by.
//!
//! A repeated command is a run of its own, and writes again. Only what an interrupted run had stored is skipped, and only where
//! it is asked for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::{cli::CliError, clock::Clock, model::Timestamp};

/// A node remembers for so long which batches it has (`ingest.idempotency_window` as it is by default).
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

pub struct IngestRun {
    id: Uuid,
    /// Where it is noted until it is complete; none where there is no place for it.
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    run: String,
    began: Timestamp,
}

impl IngestRun {
    /// `what` says the same of the same command: the node, the table, the files.
    pub fn begin(what: &[String]) -> IngestRun {
        let file = state_dir().map(|dir| note_path(&dir, what));
        if let Some(note) = file.as_deref().and_then(read) {
            eprintln!(
                "an earlier run of this did not finish; this one writes all rows. To go on with the earlier one instead: \
                 --resume={}",
                note.run
            );
        }
        let run = IngestRun { id: Uuid::now_v7(), file };
        run.note();
        run
    }

    /// The run that was interrupted: the one given, or the last of the same command.
    pub fn resume(what: &[String], given: &str) -> Result<IngestRun, CliError> {
        let file = state_dir().map(|dir| note_path(&dir, what));
        if !given.is_empty() {
            let id = Uuid::parse_str(given)
                .map_err(|_| CliError::Usage(format!("--resume={given}: that is not the id of a run")))?;
            return Ok(IngestRun { id, file });
        }
        let note = file.as_deref().and_then(read);
        let Some((note, id)) = note.and_then(|note| Uuid::parse_str(&note.run).ok().map(|id| (note, id)))
        else {
            return Err(CliError::Usage(
                "there is nothing to resume: no run of these files into this table was interrupted here; give its id, \
                 --resume=ID, if it ran elsewhere"
                    .to_owned(),
            ));
        };
        let age = Clock::system().now().micros().saturating_sub(note.began.micros());
        match Duration::from_micros(age.max(0).unsigned_abs()) {
            age if age > REMEMBERED => Err(CliError::Usage(format!(
                "the interrupted run began {} hours ago, and a node remembers batches for {}: it may store rows twice. Run \
                 again without --resume, or insist: --resume={}",
                age.as_secs() / 3600,
                REMEMBERED.as_secs() / 3600,
                note.run
            ))),
            _ => Ok(IngestRun { id, file }),
        }
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    /// All is stored: there is nothing to resume.
    pub fn complete(&self) {
        if let Some(file) = &self.file {
            // What stays behind only makes the next run tell of it.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Says how to go on, on Ctrl-C and in errors.
    pub fn hint(&self) -> String {
        let id = if self.file.is_some() { String::new() } else { format!("={}", self.id) };
        format!("what the node accepted is stored; the same command with --resume{id} stores the rest")
    }

    /// Where it cannot be noted the hint gives the id.
    fn note(&self) {
        let note = Note { run: self.id.to_string(), began: Clock::system().now() };
        let text = serde_json::to_vec(&note).expect("an id and a time encode");
        if let Some(file) = &self.file {
            let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(error) = written.and_then(|()| std::fs::write(file, text)) {
                eprintln!(
                    "{}: {error}; --resume will need the run's id: --resume={}",
                    file.display(),
                    self.id
                );
            }
        }
    }
}

fn read(file: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn note_path(dir: &Path, what: &[String]) -> PathBuf {
    dir.join(format!("ingest-{:032x}.json", xxh3_128(what.join("\0").as_bytes())))
}

/// By the XDG base directories.
fn state_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|dir| dir.join("larder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, what: &str) -> IngestRun {
        let run = IngestRun { id: Uuid::now_v7(), file: Some(note_path(dir, &[what.to_owned()])) };
        run.note();
        run
    }

    #[test]
    fn a_note_is_there_until_the_run_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (run(dir.path(), "a"), run(dir.path(), "b"));
        assert_ne!(a.file, b.file);
        assert_eq!(read(a.file.as_deref().unwrap()).unwrap().run, a.id().to_string());
        a.complete();
        assert!(read(a.file.as_deref().unwrap()).is_none());
        assert_eq!(read(b.file.as_deref().unwrap()).unwrap().run, b.id().to_string());
    }
}

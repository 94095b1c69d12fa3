//! The ten codes to which every error of every layer comes down, and the details that a user is shown.

/// What kind of failure it is. `http` maps each to a status, the command line to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    Overloaded,
    Unavailable,
    StorageFull,
    Internal,
}

/// One of possibly many things that are wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Detail {
    /// Row of the body, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub reason: String,
}

/// Implemented by each layer's error enum; the only thing that `http` needs to know of it.
pub trait Coded: std::error::Error {
    fn code(&self) -> Code;

    /// What is wrong piece by piece, where there is more to say than the message.
    fn details(&self) -> Vec<Detail> {
        Vec::new()
    }
}

/// Whether the disk, or the user's share of it, has no room left.
pub fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Whether the process (EMFILE) or the whole system (ENFILE) has no file descriptor left: it passes, the request can be
/// sent again.
pub fn out_of_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

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
    // The one that the system gave may be inside of one that says which file it was.
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let code = error.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error);
        if matches!(code, Some(Errno::MFILE | Errno::NFILE)) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_shows_through_what_is_put_around_it() {
        let none_left = || std::io::Error::from(rustix::io::Errno::MFILE);
        assert!(out_of_descriptors(&none_left()));
        let wrapped = |error: std::io::Error| std::io::Error::other(Around(error));
        assert!(out_of_descriptors(&wrapped(none_left())));
        assert!(!out_of_descriptors(&wrapped(rustix::io::Errno::IO.into())));
    }

    /// As fs_err does it.
    #[derive(Debug, thiserror::Error)]
    #[error("failed to open file `x`")]
    struct Around(#[source] std::io::Error);
}

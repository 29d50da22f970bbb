//! Writing and reading files so that an interrupted run never leaves half of one.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Why results cannot be written or read back.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The system refused.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// `write`, `read`, ...
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds no results.
    #[error("`{}` is not a result folder: it has no summary.json\nhint: `tidegate run` writes one", .0.display())]
    NotResults(PathBuf),
    /// A file is not what its name says.
    #[error("`{}`: {problem}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file was written by another version of the format.
    #[error("`{}`: schema `{found}` is not {expected}\nhint: run the scenario again with this version", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Its schema number.
        found: u64,
        /// The one this version reads.
        expected: u32,
    },
}

impl ResultsError {
    /// Wraps what the system said about `path`.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ResultsError {
        move |source| ResultsError::Io { what, path: path.to_owned(), source }
    }

    /// A file that is not what its name says.
    pub fn malformed(path: &Path, problem: impl ToString) -> ResultsError {
        ResultsError::Malformed { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The name a file has while it is being written: hidden, beside the final one.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.partial"))
}

/// Writes `bytes` to `path`: to a file beside it first, then renamed, so that readers see the old file or the new
/// one and never half of either. Makes the folder.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ResultsError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ResultsError::io("make folder", folder))?;
    }
    let partial = partial(path);
    let written = std::fs::File::create(&partial)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|source| {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&partial);
        ResultsError::Io { what: "write", path: path.to_owned(), source }
    })
}

/// Reads a whole file as text.
pub(crate) fn read_text(path: &Path) -> Result<String, ResultsError> {
    std::fs::read_to_string(path).map_err(ResultsError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = std::env::temp_dir().join(format!("tidegate-files-{}", std::process::id()));
        let path = folder.join("deep/summary.json");
        write_atomic(&path, b"old and longer").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
        let error = write_atomic(Path::new("/dev/null/x/summary.json"), b"").unwrap_err().to_string();
        assert!(error.starts_with("cannot make folder `/dev/null/x`"), "{error}");
    }
}

//! The pid file: written at start, removed at the end.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Removes its file when dropped.
pub(crate) struct PidFile(Option<PathBuf>);

impl PidFile {
    /// Writes the process id to `path`, if there is one.
    pub(crate) fn write(path: Option<PathBuf>) -> Result<PidFile> {
        if let Some(path) = &path {
            std::fs::write(path, std::process::id().to_string())
                .with_context(|| format!("Could not write pid file {}", path.display()))?;
        }
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing can be done about it at the end of the process.
            let _ = std::fs::remove_file(path);
        }
    }
}

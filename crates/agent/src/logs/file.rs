//! The log file: named after the moment it was begun, followed by the next one when it is large or old.
//!
//! ```text
//! log_file = "/var/log/x/"       /var/log/x/consul-<unix ns>.log
//! log_file = "/var/log/a.txt"    /var/log/a-<unix ns>.txt
//! log_file = "/var/log/a"        /var/log/a-<unix ns>.log
//! ```
//!
//! Size and age are looked at before a line is written, so a file holds whole lines and may exceed the size by one. Older
//! files beyond the configured number are removed; only names of exactly this form are. Rules: config.md section 4.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tribune_types::time::Wall;

/// Where the log goes and when a new file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// File, or with a trailing slash a directory; it must exist.
    pub path: String,
    /// A file of so many bytes is followed by a new one; 0 never.
    pub rotate_bytes: u64,
    /// A file this old is followed by a new one; zero never.
    pub rotate_duration: Duration,
    /// Older files kept: 0 all, negative none.
    pub rotate_max_files: i64,
}

/// The file in use.
#[derive(Debug)]
pub(super) struct RotatingFile {
    options: FileOptions,
    dir: PathBuf,
    stem: String,
    extension: String,
    file: BufWriter<File>,
    path: PathBuf,
    created: Wall,
    bytes: u64,
}

impl RotatingFile {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be created; the path is the one that was tried.
    pub(super) fn open(
        options: &FileOptions,
        now: Wall,
    ) -> Result<RotatingFile, (PathBuf, io::Error)> {
        let (dir, name) = match options.path.rsplit_once('/') {
            Some(("", name)) => (Path::new("/"), name),
            Some((dir, name)) => (Path::new(dir), name),
            None => (Path::new("."), options.path.as_str()),
        };
        let name = if name.is_empty() { "consul.log" } else { name };
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) => (stem, format!(".{extension}")),
            None => (name, ".log".to_owned()),
        };
        let path = path_of(dir, stem, &extension, now);
        match create(&path) {
            Err(err) => Err((path, err)),
            Ok(file) => Ok(RotatingFile {
                options: options.clone(),
                dir: dir.to_owned(),
                stem: stem.to_owned(),
                extension,
                file: BufWriter::new(file),
                path,
                created: now,
                bytes: 0,
            }),
        }
    }

    /// Writes a line into the file, or into a new one if it is time.
    ///
    /// # Errors
    /// The disk refuses. The line may be in the file in part.
    pub(super) fn write(&mut self, line: &[u8], now: Wall) -> io::Result<()> {
        let large = self.options.rotate_bytes > 0 && self.bytes >= self.options.rotate_bytes;
        let age = self.options.rotate_duration;
        if large || (!age.is_zero() && now.since(self.created) >= age) {
            self.rotate(now)?;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self, now: Wall) -> io::Result<()> {
        let path = path_of(&self.dir, &self.stem, &self.extension, now);
        let file = create(&path)?;
        // What the full disk did not take is lost with the old file.
        let flushed = self.file.flush();
        self.file = BufWriter::new(file);
        self.path = path;
        self.created = now;
        self.bytes = 0;
        self.prune();
        flushed
    }

    /// Removes the oldest files. A file that cannot be removed is tried again next time.
    fn prune(&self) {
        let keep = match self.options.rotate_max_files {
            0 => return,
            n => usize::try_from(n).unwrap_or(0),
        };
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return;
        };
        let mut older: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let stamp = name
                    .strip_prefix(&self.stem)?
                    .strip_prefix('-')?
                    .strip_suffix(&self.extension)?;
                let digits = !stamp.is_empty() && stamp.bytes().all(|b| b.is_ascii_digit());
                let stamp = if digits {
                    stamp.parse().ok()?
                } else {
                    return None;
                };
                (path != self.path).then_some((stamp, path))
            })
            .collect();
        older.sort();
        let remove = older.len().saturating_sub(keep);
        for (_, path) in older.into_iter().take(remove) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn path_of(dir: &Path, stem: &str, extension: &str, now: Wall) -> PathBuf {
    dir.join(format!("{stem}-{}{extension}", now.0))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(path: &str, bytes: u64, age: u64, keep: i64) -> FileOptions {
        FileOptions {
            path: path.to_owned(),
            rotate_bytes: bytes,
            rotate_duration: Duration::from_secs(age),
            rotate_max_files: keep,
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn names_carry_the_moment_before_the_extension() {
        let dir = tempfile::tempdir().unwrap();
        // (what is configured below the directory, file)
        for (path, want) in [
            ("/", "consul-7.log"),
            ("/a.txt", "a-7.txt"),
            ("/b", "b-7.log"),
            ("/c.d.e", "c.d-7.e"),
        ] {
            RotatingFile::open(
                &options(&format!("{}{path}", dir.path().display()), 0, 0, 0),
                Wall(7),
            )
            .unwrap();
            assert!(
                names(dir.path()).contains(&want.to_owned()),
                "{path} {:?}",
                names(dir.path())
            );
        }
        let mode = std::fs::metadata(dir.path().join("b-7.log"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777 & !0o640, 0);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, err) = RotatingFile::open(
            &options(&format!("{}/no/x.log", dir.path().display()), 0, 0, 0),
            Wall(7),
        )
        .unwrap_err();
        assert_eq!(path, dir.path().join("no/x-7.log"));
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn large_files_are_followed_by_new_ones_and_old_ones_go() {
        // (kept, files left after 5 files)
        for (keep, want) in [(0, 5), (2, 3), (-1, 1)] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("x-other.log"), "stays").unwrap();
            std::fs::write(dir.path().join("y-1.log"), "stays").unwrap();
            let mut file = RotatingFile::open(
                &options(&format!("{}/x", dir.path().display()), 10, 0, keep),
                Wall(10),
            )
            .unwrap();
            for n in 0..10u64 {
                file.write(b"12345\n", Wall(11 + n)).unwrap();
            }
            file.flush().unwrap();
            let ours: Vec<String> = names(dir.path())
                .into_iter()
                .filter(|n| n.starts_with("x-1") || n.starts_with("x-2"))
                .collect();
            assert_eq!(ours.len(), want, "{ours:?}");
            assert_eq!(names(dir.path()).len(), want + 2);
            for name in ours {
                assert_eq!(
                    std::fs::read(dir.path().join(name)).unwrap(),
                    b"12345\n12345\n"
                );
            }
        }
    }

    #[test]
    fn old_files_are_followed_by_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::open(
            &options(&format!("{}/x.log", dir.path().display()), 0, 60, 0),
            Wall(0),
        )
        .unwrap();
        file.write(b"a\n", Wall(59_999_999_999)).unwrap();
        file.write(b"b\n", Wall(60_000_000_000)).unwrap();
        file.flush().unwrap();
        assert_eq!(names(dir.path()), ["x-0.log", "x-60000000000.log"]);
        assert_eq!(std::fs::read(dir.path().join("x-0.log")).unwrap(), b"a\n");
    }
}

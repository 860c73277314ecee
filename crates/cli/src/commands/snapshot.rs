//! `snapshot save`, `restore`, `inspect`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tribune_api::client::snapshot::{self, ArchiveError, Metadata};

use crate::command::{Action, Api, Command, Failure, Outcome, Run, because, open_text};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "snapshot save",
        synopsis: "Saves a snapshot to a file",
        usage: "[options] FILE",
        about: "Fetches a snapshot of the servers' state, checks it, and puts it at FILE. With -stale it may come from any server, also when there is no leader.\n\n$ {p} snapshot save backup.snap",
        api: Api::Cluster,
        flags: &[],
        action: Action::Call(save),
    },
    Command {
        path: "snapshot restore",
        synopsis: "Restores the servers' state from a file",
        usage: "[options] FILE",
        about: "Replaces the state of the servers by that of a snapshot. What was written after the snapshot is lost.\n\n$ {p} snapshot restore backup.snap",
        api: Api::Cluster,
        flags: &[],
        action: Action::Call(restore),
    },
    Command {
        path: "snapshot inspect",
        synopsis: "Shows what a snapshot file is",
        usage: "[options] FILE",
        about: "Checks a snapshot file and shows from when it is. No agent is asked.\n\n$ {p} snapshot inspect backup.snap",
        api: Api::None,
        flags: &[],
        action: Action::Call(inspect),
    },
];

/// Removes the unverified file unless it became the snapshot.
struct Unverified(PathBuf);

impl Drop for Unverified {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn save(run: &mut Run<'_, '_>) -> Outcome {
    let file = run.one_arg("Missing FILE argument")?;
    let client = run.client()?;
    let mut answer = client
        .snapshot_save(&run.query())
        .map_err(because("Error saving snapshot"))?;
    let index = answer.meta().last_index;
    let path = format!("{file}.unverified");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| {
            Failure::Text(format!(
                "Error writing unverified snapshot file: {}",
                open_text(&path, &e)
            ))
        })?;
    let unverified = Unverified(PathBuf::from(&path));
    // A stream that breaks off is told as what it is for the user: a file that does not verify.
    match io::copy(&mut answer, &mut out).and_then(|_| out.sync_all()) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(e) => {
            return Err(Failure::Text(format!(
                "Error writing unverified snapshot file: {e}"
            )));
        }
    }
    drop(out);
    let stored = File::open(&path).map_err(because("Error opening snapshot file for verify"))?;
    snapshot::check(stored).map_err(because("Error verifying snapshot file"))?;
    fs::rename(&path, &file).map_err(because("Error renaming snapshot file"))?;
    sync_folder(Path::new(&file));
    std::mem::forget(unverified);
    run.out(format!("Saved and verified snapshot to index {index}"));
    Ok(0)
}

/// Makes the rename last. A file system that cannot do this for folders is left alone.
fn sync_folder(file: &Path) {
    let folder = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

fn restore(run: &mut Run<'_, '_>) -> Outcome {
    let (path, file) = open(run)?;
    drop(path);
    run.client()?
        .snapshot_restore(file, &run.query())
        .map_err(because("Error restoring snapshot"))?;
    run.out("Restored snapshot");
    Ok(0)
}

fn open(run: &Run<'_, '_>) -> Result<(String, File), Failure> {
    let path = run.one_arg("Missing FILE argument")?;
    match File::open(&path) {
        Ok(file) => Ok((path, file)),
        Err(e) => Err(Failure::Text(format!(
            "Error opening snapshot file: {}",
            open_text(&path, &e)
        ))),
    }
}

fn inspect(run: &mut Run<'_, '_>) -> Outcome {
    let (_, file) = open(run)?;
    let found: Result<Metadata, ArchiveError> = snapshot::check(file);
    let meta = found.map_err(because("Error verifying snapshot"))?;
    for (name, value) in [
        ("ID", meta.id),
        ("Size", meta.size.to_string()),
        ("Index", meta.index.to_string()),
        ("Term", meta.term.to_string()),
        ("Version", meta.version.to_string()),
    ] {
        run.out(format!("{name:13}{value}"));
    }
    run.out("");
    Ok(0)
}

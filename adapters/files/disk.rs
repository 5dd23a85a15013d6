//! Reading what may be hostile, writing what must survive.
//!
//! Reading never follows a symbolic link and takes no memory on the word of a file. Writing goes
//! through [`Disk`], one method per step that a crash can fall behind, so that the tests can stop
//! it after each.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::COMPONENT;
use crate::{Error, ErrorKind};

/// The file is not what was written.
pub(super) fn corrupt(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, COMPONENT, format!("{} {what}", path.display()))
}

/// The disk did not do it: full, read-only, gone, forbidden.
pub(super) fn unavailable(doing: &str, path: &Path, error: io::Error) -> Error {
    let context = format!("cannot {doing} {}", path.display());
    Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(error)
}

/// What is at `path` itself, not behind a link; `None` if nothing is.
fn look(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable("look at", path, error)),
    }
}

/// Whether there is a folder at `path`; anything else there is [`ErrorKind::Corrupt`].
pub(super) fn is_folder(path: &Path) -> Result<bool, Error> {
    match look(path)? {
        None => Ok(false),
        Some(metadata) if metadata.is_dir() => Ok(true),
        Some(metadata) => Err(corrupt(path, &format!("is {}, not a folder", kind(&metadata)))),
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_symlink() {
        "a symbolic link"
    } else if metadata.is_dir() {
        "a folder"
    } else if metadata.is_file() {
        "a file"
    } else {
        "a device"
    }
}

/// Names in a folder, in any order. Names that are not UTF-8 are none of ours and left out.
pub(super) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |error| unavailable("list", path, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// The bytes of a small file; `None` if there is none. More than `most` are corrupt.
pub(super) fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Error> {
    let Some((file, size)) = open(path)? else { return Ok(None) };
    if size > most {
        return Err(corrupt(path, &format!("has {size} bytes, more than {most}")));
    }
    read_all(path, file, size).map(Some)
}

/// The bytes of a file that must be there with exactly `size` bytes.
pub(super) fn read_sized(path: &Path, size: u64) -> Result<Vec<u8>, Error> {
    let Some((file, found)) = open(path)? else { return Err(corrupt(path, "is missing")) };
    if found != size {
        return Err(corrupt(path, &format!("has {found} bytes, not {size}")));
    }
    read_all(path, file, size)
}

/// Opens a plain file, after a look at its kind and with a second one at what was opened.
fn open(path: &Path) -> Result<Option<(File, u64)>, Error> {
    let Some(seen) = look(path)? else { return Ok(None) };
    if !seen.is_file() {
        return Err(corrupt(path, &format!("is {}, not a file", kind(&seen))));
    }
    let failed = |error| unavailable("open", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        // Replaced by a rename, or removed, just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let opened = file.metadata().map_err(failed)?;
    if !opened.is_file() {
        return Err(corrupt(path, "was exchanged while it was opened"));
    }
    if !same_file(&seen, &opened) {
        // A writer renamed a new file to this place between the look and the opening; a link
        // there now is refused, whatever was opened.
        let now = look(path)?;
        if !now.is_some_and(|now| now.is_file()) {
            return Err(corrupt(path, "was exchanged while it was opened"));
        }
    }
    Ok(Some((file, opened.len())))
}

fn read_all(path: &Path, file: File, size: u64) -> Result<Vec<u8>, Error> {
    let changed = || corrupt(path, "changed while it was read");
    let room = usize::try_from(size).map_err(|_| corrupt(path, "is too large for this machine"))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(|error| {
        let context = format!("no memory for the {size} bytes of {}", path.display());
        Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(error)
    })?;
    let read = file.take(size.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| unavailable("read", path, error))?;
    if bytes.len() == room { Ok(bytes) } else { Err(changed()) }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// The steps of writing.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) fuse: super::tests::Fuse,
}

impl Disk {
    /// Called before each step; a test may let it fail.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        self.fuse.burn()?;
        Ok(())
    }

    /// Makes a folder for the owner alone.
    pub(super) fn make_folder(&self, path: &Path) -> Result<(), Error> {
        let make = || self.step().and_then(|()| builder().create(path));
        make().map_err(|error| unavailable("make the folder", path, error))
    }

    /// Makes a folder for the owner alone if there is none, with every folder above it.
    pub(super) fn make_folders(&self, path: &Path) -> Result<(), Error> {
        let make = || self.step().and_then(|()| builder().recursive(true).create(path));
        make().map_err(|error| unavailable("make the folder", path, error))
    }

    /// Writes a new file, down to the disk.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            self.step()?;
            let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
            // In two parts, so that a test can stop in the middle.
            let (front, back) = bytes.split_at(bytes.len() / 2);
            file.write_all(front)?;
            self.step()?;
            file.write_all(back)?;
            self.step()?;
            file.sync_all()
        };
        write().map_err(|error| unavailable("write", path, error))
    }

    /// Gives what was written in `tmp/` its place, in one step that lasts.
    pub(super) fn publish(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let rename = || self.step().and_then(|()| fs::rename(from, to));
        rename().map_err(|error| unavailable("publish", to, error))?;
        to.parent().map_or(Ok(()), |folder| self.sync_folder(folder))
    }

    /// Makes the names in a folder last.
    pub(super) fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        // Elsewhere a folder cannot be opened as a file, and a rename is logged by itself.
        let sync = || if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) };
        self.step().and_then(|()| sync()).map_err(|error| unavailable("sync", path, error))
    }

    /// Removes whatever is at `path`; nothing is fine too. Links are removed, not followed.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        let remove = |folder: bool| {
            self.step()?;
            if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        };
        match look(path)? {
            None => Ok(()),
            Some(found) => {
                remove(found.is_dir()).map_err(|error| unavailable("remove", path, error))
            }
        }
    }
}

fn builder() -> DirBuilder {
    #[allow(unused_mut, reason = "changed on Unix only")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// The right to write, among all processes; given back when dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, but for a child process that was forked a moment ago and has not yet
        // let go of its copy. An error leaves it to the closing.
        let _ = self.0.unlock();
    }
}

/// Makes the lock file if there is none. Never behind a link: a new file follows none.
pub(super) fn make_lock(path: &Path) -> Result<(), Error> {
    match private(OpenOptions::new().write(true).create_new(true)).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unavailable("make", path, error)),
    }
}

/// Takes the lock, waiting for at most `timeout`; `None` if others have it all the while.
pub(super) fn lock(path: &Path, timeout: Duration) -> Result<Option<Lock>, Error> {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(1);
    loop {
        let Some(seen) = look(path)?.filter(Metadata::is_file) else {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            return Err(unavailable("lock", path, gone));
        };
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| unavailable("lock", path, error))?;
        match file.try_lock() {
            // Somebody may have put another file there, which others lock from now on.
            Ok(()) if file.metadata().is_ok_and(|opened| same_file(&seen, &opened)) => {
                return Ok(Some(Lock(file)));
            }
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                let context = format!("the file system of {} has no locks", path.display());
                return Err(
                    Error::new(ErrorKind::NotSupported, COMPONENT, context).with_source(error)
                );
            }
            Err(TryLockError::Error(error)) => return Err(unavailable("lock", path, error)),
        }
        if waited >= timeout {
            return Ok(None);
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(16));
    }
}

//! The steps of writing, one method for each that may fail, so that the tests can let it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::COMPONENT;
use crate::{Error, ErrorKind};

/// The disk did not do it: full, read-only, gone, forbidden.
pub(super) fn unavailable(doing: &str, path: &Path, error: io::Error) -> Error {
    let context = format!("cannot {doing} {}", path.display());
    Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(error)
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) fuse: super::tests::fuse::Fuse,
}

impl Disk {
    /// Called before each step; a test may let it fail.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        self.fuse.burn()?;
        Ok(())
    }

    /// Makes a folder for the owner alone if there is none, with every folder above it.
    pub(super) fn make_folder(&self, path: &Path) -> Result<(), Error> {
        #[allow(unused_mut, reason = "changed on Unix only")]
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let new: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        let mut make = || self.step().and_then(|()| builder.recursive(true).create(path));
        make().map_err(|error| unavailable("make the folder", path, error))?;
        // Their names are to last as what is in them does.
        let parents = new.iter().filter_map(|path| path.parent());
        let here = |path: &'_ Path| path.as_os_str().is_empty();
        parents
            .map(|path| if here(path) { Path::new(".") } else { path })
            .try_for_each(|path| self.sync_folder(path))
    }

    /// A whole file.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step()?;
        fs::read(path)
    }

    /// A new file, whose name lasts.
    pub(super) fn create(&self, path: &Path) -> Result<File, Error> {
        let create = || {
            self.step()?;
            private(OpenOptions::new().write(true).create_new(true)).open(path)
        };
        let file = create().map_err(|error| unavailable("make", path, error))?;
        path.parent().map_or(Ok(()), |folder| self.sync_folder(folder))?;
        Ok(file)
    }

    /// Writes behind what is there.
    pub(super) fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        // In two parts, so that a test can stop in the middle.
        let (front, back) = bytes.split_at(bytes.len() / 2);
        file.write_all(front)?;
        self.step()?;
        file.write_all(back)
    }

    /// Brings what was written down to the disk.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        file.sync_data()
    }

    /// Cuts `file` off, and goes on from there.
    pub(super) fn cut(&self, file: &mut File, length: u64) -> io::Result<()> {
        self.step()?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        file.sync_all()
    }

    /// Replaces the file at `path` in one step, and lastingly.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let draft = path.with_extension("tmp");
        let write = || {
            self.step()?;
            let options = &mut OpenOptions::new();
            let mut file = private(options.write(true).create(true).truncate(true)).open(&draft)?;
            file.write_all(bytes)?;
            self.step()?;
            file.sync_all()?;
            self.step()?;
            fs::rename(&draft, path)
        };
        write().map_err(|error| unavailable("write", path, error))?;
        path.parent().map_or(Ok(()), |folder| self.sync_folder(folder))
    }

    /// Writes lines behind what is there, down to the disk.
    pub(super) fn append_line(&self, path: &Path, line: &[u8]) -> Result<(), Error> {
        let write = || {
            self.step()?;
            let mut file = private(OpenOptions::new().append(true).create(true)).open(path)?;
            // A line that was cut short by a crash must not swallow this one.
            let whole = file.metadata()?.len() == 0 || last_byte(path)? == Some(b'\n');
            if !whole {
                file.write_all(b"\n")?;
            }
            file.write_all(line)?;
            self.step()?;
            file.sync_all()
        };
        write().map_err(|error| unavailable("write", path, error))?;
        path.parent().map_or(Ok(()), |folder| self.sync_folder(folder))
    }

    /// A second name for a file; there may be one already.
    pub(super) fn link(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let linked = self.step().and_then(|()| match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Somebody has removed it: there is nothing left to look at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Not every file system has them.
            Err(_) => fs::copy(from, to).map(drop),
            Ok(()) => Ok(()),
        });
        linked.map_err(|error| unavailable("set aside", from, error))
    }

    /// Removes a file; none is fine too.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.step().and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unavailable("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        // Elsewhere a folder cannot be opened as a file, and a name is logged by itself.
        let sync = || if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) };
        self.step().and_then(|()| sync()).map_err(|error| unavailable("sync", path, error))
    }
}

fn last_byte(path: &Path) -> io::Result<Option<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    Ok((file.read(&mut byte)? == 1).then_some(byte[0]))
}

/// The bytes of a part of a file.
pub(super) fn read_part(path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// The right to a folder, among all processes; given back when dropped.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, but for a child process that was forked a moment ago and has not yet
        // let go of its copy. An error leaves it to the closing.
        let _ = self.0.unlock();
    }
}

/// Keeps every other process out of `folder` for as long as the result lives.
pub(super) fn lock(folder: &Path) -> Result<Lock, Error> {
    let path = folder.join("lock");
    let options = &mut OpenOptions::new();
    let file = private(options.write(true).create(true).truncate(false)).open(&path);
    let file = file.map_err(|error| unavailable("open", &path, error))?;
    let at = folder.display();
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            let context = format!("the spool {at} is in use: another process, or one not closed");
            Err(Error::new(ErrorKind::Conflict, COMPONENT, context))
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            let context = format!("the file system of {at} has no locks");
            Err(Error::new(ErrorKind::NotSupported, COMPONENT, context).with_source(error))
        }
        Err(TryLockError::Error(error)) => Err(unavailable("lock", &path, error)),
    }
}

//! The folder as it is found: what waits in it, what was torn by a crash, what is damaged.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::COMPONENT;
use super::disk::{self, Disk, Lock, unavailable};
use super::frame::{self, Found, Head, Search};
use super::state::{Place, State};
use crate::log::{Backlog, BatchId, Reply};
use crate::{Error, ErrorKind};

const CURSOR: &str = "cursor";

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:020}.seg")
}

pub(super) fn damaged_name(number: u64) -> String {
    format!("damaged-{number:020}.seg")
}

/// No file of a spool has such a number, however long it lives; room is left to count on.
const BEYOND: u64 = 1 << 60;

fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok().filter(|number| *number < BEYOND)?;
    (segment_name(number) == name).then_some(number)
}

/// Whether a crash can have left it: what was to replace a file of ours.
fn is_draft(name: &str) -> bool {
    let of_segment = |stem: &str| segment_number(&format!("{stem}.seg")).is_some();
    name.strip_suffix(".tmp").is_some_and(|stem| stem == CURSOR || of_segment(stem))
}

/// What was found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) state: State,
    // of the next file
    pub(super) next: u64,
}

/// Opens the folder for this process alone, and puts in order what a crash left behind.
pub(super) fn open(folder: &Path, disk: &Disk) -> Result<Opened, Error> {
    disk.make_folder(folder)?;
    let lock = disk::lock(folder)?;
    let mut numbers = Vec::new();
    let failed = |error| unavailable("list", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        match segment_number(name) {
            Some(number) if !entry.file_type().map_err(failed)?.is_file() => {
                let context = format!("segment {number} of {} is no file", folder.display());
                return Err(Error::new(ErrorKind::Corrupt, COMPONENT, context));
            }
            Some(number) => numbers.push(number),
            None if is_draft(name) => disk.remove(&entry.path())?,
            None => {}
        }
    }
    numbers.sort_unstable();
    let cursor = read_cursor(folder);
    let newest = numbers.last().copied();
    // Where nothing waits the store has as much as it had.
    let mut state = State { end: cursor, ..State::default() };
    let mut found: Vec<Place> = Vec::new();
    for number in numbers {
        let path = folder.join(segment_name(number));
        let from = match number.cmp(&cursor.0) {
            Ordering::Less => None,
            Ordering::Equal => Some(cursor.1),
            Ordering::Greater => Some(0),
        };
        let segment = Segment { path, number, is_newest: Some(number) == newest };
        found.extend(segment.read(folder, disk, from, &mut state)?);
    }
    // What was written twice, because the disk did not take the first, is where it is last.
    let last: HashMap<BatchId, (u64, u64)> =
        found.iter().map(|place| (place.head.batch, (place.segment, place.offset))).collect();
    found.retain(|place| last.get(&place.head.batch) == Some(&(place.segment, place.offset)));
    state.recover(found);
    let next = newest.unwrap_or(0).max(cursor.0) + 1;
    Ok(Opened { lock, state, next })
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    number: u64,
    is_newest: bool,
}

impl Segment {
    /// The frames from `from`, none without it, whose numbers are still to be given. Cuts off a torn one; sets a
    /// copy of the file aside if it is damaged, and leaves the frames that are whole.
    fn read(
        &self,
        folder: &Path,
        disk: &Disk,
        from: Option<u64>,
        state: &mut State,
    ) -> Result<Vec<Place>, Error> {
        let bytes = match patiently(|| disk.read(&self.path)) {
            Ok(bytes) => bytes,
            // For a person, who can make it right; what can be read must not wait for it.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                let aside = free_name(folder, self.number);
                let (path, kept) = (self.path.display(), aside.display());
                tracing::error!(%path, %error, aside = %kept, "a file of the spool is unreadable");
                disk.link(&self.path, &aside)?;
                disk.remove(&self.path)?;
                state.totals.damaged += 1;
                return Ok(Vec::new());
            }
            Err(error) => return Err(unavailable("read", &self.path, error)),
        };
        let start = match from.map(usize::try_from) {
            None => bytes.len(),
            // What is beyond the end is wrong, and the store knows what it has.
            Some(start) => start.ok().filter(|start| *start <= bytes.len()).unwrap_or(0),
        };
        // What the store has is known when it is sent once more, and holds answers.
        let known = scan(&bytes[..start], 0).frames;
        let segment = state.segments.entry(self.number).or_default();
        segment.bytes = bytes.len() as u64;
        for (_, head) in &known {
            state.known.insert(head.batch);
            segment.holds(head, 0);
        }
        let Scan { mut frames, torn, damaged } = scan(&bytes, start);
        // A write that did not end is the last of its file, and nobody was told that it was kept.
        // In a file behind which another was begun, something kept may be missing.
        let torn_in_order = torn.filter(|_| self.is_newest);
        let damaged = damaged + usize::from(torn.is_some() && torn_in_order.is_none());
        if let Some(at) = torn_in_order {
            let (path, cut) = (self.path.display(), bytes.len() - at);
            tracing::warn!(%path, bytes = cut, "an unfinished write was cut off");
            state.totals.torn += 1;
        }
        if damaged > 0 {
            let aside = folder.join(damaged_name(self.number));
            let (path, kept) = (self.path.display(), aside.display());
            let whole = frames.len();
            tracing::error!(%path, damaged, whole, copy = %kept, "a file of the spool is damaged");
            state.totals.damaged += damaged as u64;
            disk.link(&self.path, &aside)?;
            if start > 0 {
                // First, so that a crash in between sends too much and not too little.
                write_cursor(folder, disk, (self.number, 0))?;
            }
            let mut whole = Vec::new();
            for (offset, head) in &mut frames {
                let frame = &bytes[*offset..*offset + head.frame_bytes()];
                *offset = whole.len();
                whole.extend_from_slice(frame);
            }
            disk.replace(&self.path, &whole)?;
        } else if let Some(at) = torn_in_order {
            let file = OpenOptions::new().write(true).open(&self.path);
            let cut = file.and_then(|mut file| disk.cut(&mut file, at as u64));
            cut.map_err(|error| unavailable("cut", &self.path, error))?;
        }
        let place = |(offset, head): (usize, Head)| Place {
            seq: 0,
            segment: self.number,
            offset: offset as u64,
            head,
        };
        Ok(frames.into_iter().map(place).collect())
    }
}

/// A name for a damaged file that no other has.
fn free_name(folder: &Path, number: u64) -> PathBuf {
    let name = folder.join(damaged_name(number));
    let others = (2_u32..).map(|copy| name.with_extension(format!("{copy}.seg")));
    let mut names = std::iter::once(name.clone()).chain(others);
    names.find(|name| !name.exists()).unwrap_or(name)
}

/// What a disk fails at once it may do a moment later.
fn patiently<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for pause in [20, 80, 320] {
        match read() {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                std::thread::sleep(Duration::from_millis(pause));
            }
            done => return done,
        }
    }
    read()
}

#[derive(Debug, Default)]
struct Scan {
    frames: Vec<(usize, Head)>,
    // where a write did not end
    torn: Option<usize>,
    damaged: usize,
}

/// The frames of a file from `start`.
fn scan(bytes: &[u8], start: usize) -> Scan {
    let (mut scan, mut at) = (Scan::default(), start);
    // Of what is behind the first damage.
    let mut search: Option<(usize, Search<'_>)> = None;
    while at < bytes.len() {
        let found = match &search {
            None => frame::look(&bytes[at..]),
            Some((from, search)) => search.look(at - from),
        };
        if let Found::Frame(head) = found {
            scan.frames.push((at, head));
            at += head.frame_bytes();
            continue;
        }
        let (from, search) = search.get_or_insert_with(|| (at, Search::new(&bytes[at..])));
        match search.next(at - *from) {
            Some(next) => {
                scan.damaged += 1;
                at = *from + next;
            }
            None => {
                match found {
                    Found::Torn => scan.torn = Some(at),
                    _ => scan.damaged += 1,
                }
                break;
            }
        }
    }
    scan
}

/// The numbers of the files of `folder`, in order.
fn numbers(folder: &Path) -> Result<Vec<u64>, Error> {
    let failed = |error| unavailable("list", folder, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        numbers.extend(entry.map_err(failed)?.file_name().to_str().and_then(segment_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file of `folder`; `None` if it was removed just now.
fn look_into(folder: &Path, number: u64) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(folder.join(segment_name(number))) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable("read", folder, error)),
    }
}

/// What waits in `folder` at most, as its files say by themselves: events, bytes, and the oldest.
pub(super) fn waiting(folder: &Path) -> Result<Backlog, Error> {
    let (mut backlog, mut seen) = (Backlog::default(), HashSet::new());
    if !folder.exists() {
        return Ok(backlog);
    }
    // First: what leaves meanwhile is counted, and nothing is missed.
    let cursor = read_cursor(folder);
    for number in numbers(folder)?.into_iter().filter(|number| *number >= cursor.0) {
        let Some(bytes) = look_into(folder, number)? else { continue };
        let start = if number == cursor.0 { cursor.1 } else { 0 };
        let start = usize::try_from(start).ok().filter(|start| *start <= bytes.len()).unwrap_or(0);
        for (_, head) in scan(&bytes, start).frames {
            if !seen.insert(head.batch) {
                continue;
            }
            backlog.events += u64::from(head.events);
            backlog.bytes += head.frame_bytes() as u64;
            // Refused requests alone have no moment.
            let oldest = backlog.oldest.is_none_or(|oldest| head.first < oldest);
            if head.events > 0 && oldest {
                backlog.oldest = Some(head.first);
            }
        }
    }
    Ok(backlog)
}

/// The latest replies that stand in the files of `folder`, the oldest first, at most `limit`.
pub(super) fn replies(folder: &Path, limit: usize) -> Result<Vec<Reply>, Error> {
    let mut numbers = numbers(folder)?;
    let mut found = Vec::new();
    while let Some(number) = numbers.pop()
        && found.len() < limit
    {
        let Some(bytes) = look_into(folder, number)? else { continue };
        for (at, head) in scan(&bytes, 0).frames.into_iter().rev() {
            let frame = &bytes[at..at + head.frame_bytes()];
            found.extend(frame::replies(frame, &head).into_iter().rev());
        }
    }
    found.truncate(limit);
    found.reverse();
    Ok(found)
}

/// The place in front of which the store has everything; the beginning, if it is not known.
fn read_cursor(folder: &Path) -> (u64, u64) {
    // What it says wrongly early is sent again and recognised.
    let text = fs::read_to_string(folder.join(CURSOR)).unwrap_or_default();
    let place = |text: &str| {
        let (place, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        let (segment, offset) = place.split_once(' ')?;
        let same = format!("{:08x}", crc32fast::hash(place.as_bytes())) == sum;
        let segment = segment.parse().ok().filter(|segment| *segment < BEYOND)?;
        Some((segment, offset.parse().ok()?)).filter(|_| same)
    };
    place(&text).unwrap_or((0, 0))
}

pub(super) fn write_cursor(
    folder: &Path,
    disk: &Disk,
    (segment, offset): (u64, u64),
) -> Result<(), Error> {
    let place = format!("{segment} {offset}");
    let sum = crc32fast::hash(place.as_bytes());
    disk.replace(&folder.join(CURSOR), format!("{place} {sum:08x}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::traffic::Traffic;
    use frame::Frame;
    use frame::tests::HASHED;

    #[test]
    fn damage_everywhere_is_looked_through_in_one_go() {
        let frame = |number| {
            let mut frame = Frame::new(&Traffic::new().batch(number, 3), &[]).unwrap();
            frame.seal(BatchId(uuid::Uuid::from_u128(77))).to_vec()
        };
        // Every second one says of itself that it goes on to the end of the file.
        let (whole, mut liar) = (frame(1), frame(2));
        *liar.last_mut().unwrap() ^= 1;
        let (pairs, pair) = (500, whole.len() + liar.len());
        let mut bytes = Vec::new();
        for number in 0..pairs {
            let rest = (pairs - number) * pair - whole.len();
            let length = u32::try_from(rest - frame::HEAD).unwrap();
            liar[4..8].copy_from_slice(&length.to_le_bytes());
            bytes.extend([&whole[..], &liar].concat());
        }
        let before = HASHED.get();
        let found = scan(&bytes, 0);
        let hashed = HASHED.get() - before;
        let places: Vec<usize> = found.frames.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, (0..pairs).map(|number| number * pair).collect::<Vec<_>>());
        assert_eq!((found.damaged, found.torn), (pairs, None));
        // Each liar by itself would be half of the file.
        assert!(hashed < 8 * bytes.len(), "{hashed} bytes hashed of {}", bytes.len());
    }
}

//! CSV files into a [`Table`].
//!
//! [`read_table`] for a file that is as it should be, [`Reader`] for one that is not: another
//! delimiter, no header, other names, other texts for "no value".
//!
//! ```
//! use std::sync::Arc;
//! use pmmds::csv::{Reader, snake_case};
//! use pmmds::record::Columns;
//! use pmmds::schema::FeatureSchema;
//!
//! let file = "customerID;MonthlyCharges;Plan\nc1;20.5;gold\nc2;?;basic\n";
//! let table = Reader::new().delimiter(b';').rename(snake_case).nulls(["?"]).read(file.as_bytes())?;
//! let inferred = FeatureSchema::infer(&table).leave_out(["customer_id"]).build()?;
//! let columns = Columns::read(inferred.schema(), &table)?;
//! assert_eq!(columns.schema().features()[0].name(), "monthly_charges");
//!
//! let error = Reader::new().read(file.as_bytes()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "csv: invalid input: the input: the header is one column \
//!      'customerID;MonthlyCharges;Plan': is the delimiter ';'?",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A first drift report from two files:
//!
//! ```
//! use pmmds::csv::read_table;
//! use pmmds::drift::{Counts, DriftDetector, Profile};
//! use pmmds::record::Columns;
//! use pmmds::schema::FeatureSchema;
//! # let folder = std::env::temp_dir().join(format!("pmmds-two-files-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let file = |name: &str, shift: usize| {
//! #     let rows: String = (0..500).map(|n| format!("{},{}\n", n % 50 + shift, n % 3)).collect();
//! #     let path = folder.join(name);
//! #     std::fs::write(&path, format!("tenure,plan\n{rows}")).map(|()| path)
//! # };
//! # let (training, today) = (file("training.csv", 0)?, file("today.csv", 40)?);
//!
//! let (training, today) = (read_table(training)?, read_table(today)?);
//! let inferred = FeatureSchema::infer(&training).build()?;
//! let profile = Profile::fit(&Columns::read(inferred.schema(), &training)?.batch())?;
//! let counts = Counts::of(&profile, &Columns::read(inferred.schema(), &today)?.batch(), None)?;
//! println!("{}", DriftDetector::default().detect(&profile, &counts));
//! # std::fs::remove_dir_all(&folder)?;
//! # assert_eq!(DriftDetector::default().detect(&profile, &counts).verdict, pmmds::drift::Verdict::FeatureDrift);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! RFC 4180: quoted cells with delimiters, line breaks and doubled quotes in them; lines end in
//! LF, CRLF or CR; empty lines are skipped, a byte order mark too. Files are read as a stream; what
//! is kept is one row and the table, each within a limit: see [`Reader`]. The text must be UTF-8.
//! Row numbers count from 0 and leave out the header, as everywhere in this crate; line numbers
//! count from 1.

mod names;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ::csv::{ReaderBuilder, StringRecord};

use crate::record::{Table, TableBuilder};
use crate::{Error, ErrorKind};

pub use names::snake_case;
use source::Source;

/// Reads the file at `path`, with the defaults of [`Reader`].
///
/// # Errors
///
/// As [`Reader::read_path`].
///
/// ```
/// use pmmds::ErrorKind;
/// # let path = std::env::temp_dir().join(format!("pmmds-read-table-{}.csv", std::process::id()));
/// # std::fs::write(&path, "tenure,plan\n12,gold\n")?;
///
/// let table = pmmds::csv::read_table(&path)?;
/// assert_eq!(table.rows(), 1);
/// # std::fs::remove_file(&path)?;
///
/// let error = pmmds::csv::read_table("no/such.csv").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "csv: not found: no/such.csv: cannot open the file");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_table(path: impl AsRef<Path>) -> Result<Table, Error> {
    Reader::new().read_path(path)
}

/// What becomes of rows with more or fewer cells than the header.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Ragged {
    /// One is an error.
    #[default]
    Refuse,
    /// They are left out; too many are an error.
    Skip {
        /// largest share of all rows that may be left out, from 0 to 1
        share: f64,
    },
}

/// What becomes of white space at either end of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Space {
    /// It is cut off: numbers do not need it, and levels cannot have it.
    #[default]
    Trim,
    /// It stays.
    Keep,
}

/// How to read a CSV file.
///
/// # Limits
///
/// | limit | default | what it bounds |
/// |---|---|---|
/// | [`record_limit`](Self::record_limit) | 1 MiB | bytes of one row, hence of one cell and of the header |
/// | [`column_limit`](Self::column_limit) | 16,384 | columns |
/// | [`memory_limit`](Self::memory_limit) | 2 GiB | the table: 4 bytes a cell, and each distinct text of a column once |
///
/// ```
/// use pmmds::csv::Reader;
///
/// let table = Reader::new().delimiter(b'\t').read("a\tb\n1\t2\n".as_bytes())?;
/// assert_eq!(table.columns().len(), 2);
///
/// let endless = std::io::repeat(b'x');
/// let error = Reader::new().record_limit(1_000).read(endless).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "csv: invalid input: the input: the row that begins on line 1 is longer than 1000 bytes: \
///      is a quote left open?",
/// );
/// # Ok::<(), pmmds::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call `read_path` or `read`"]
pub struct Reader {
    delimiter: u8,
    names: Option<Vec<String>>,
    rename: Option<fn(&str) -> String>,
    nulls: Vec<String>,
    space: Space,
    ragged: Ragged,
    record_limit: usize,
    column_limit: usize,
    memory_limit: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// The usual: commas, a header, no row too long or too short.
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            names: None,
            rename: None,
            nulls: Vec::new(),
            space: Space::Trim,
            ragged: Ragged::Refuse,
            record_limit: 1 << 20,
            column_limit: 16_384,
            memory_limit: 2 << 30,
        }
    }

    /// What stands between two cells. Defaults to `b','`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Names for the columns of a file without a header. Defaults to a header in the first row.
    ///
    /// ```
    /// use pmmds::csv::Reader;
    /// let headless = "39,Bachelors\n50,Masters\n";
    /// let table = Reader::new().names(["age", "degree"]).read(headless.as_bytes())?;
    /// assert_eq!(table.rows(), 2);
    ///
    /// let error = Reader::new().read("39,13\n50,14\n".as_bytes()).unwrap_err();
    /// assert!(error.to_string().contains("is the header missing?"));
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// How a column is called, given its name in the file; [`snake_case`] is one way. Defaults to
    /// the name in the file.
    pub fn rename(mut self, name: fn(&str) -> String) -> Self {
        self.rename = Some(name);
        self
    }

    /// More texts that stand for "no value", besides those of
    /// [`Table::is_null`]. A cell that is exactly one of them becomes empty. Defaults to none.
    ///
    /// ```
    /// use pmmds::csv::Reader;
    /// let table = Reader::new().nulls(["-", "?"]).read("age\n39\n?\n-\n".as_bytes())?;
    /// assert_eq!(table.columns()[0].null_count(), 2);
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn nulls<N: Into<String>>(mut self, texts: impl IntoIterator<Item = N>) -> Self {
        self.nulls.extend(texts.into_iter().map(Into::into));
        self
    }

    /// What becomes of white space around cells and names. Defaults to [`Space::Trim`].
    pub fn space(mut self, space: Space) -> Self {
        self.space = space;
        self
    }

    /// What becomes of rows with more or fewer cells than the header. Defaults to
    /// [`Ragged::Refuse`]. [`read_counted`](Self::read_counted) says which were left out.
    pub fn ragged(mut self, ragged: Ragged) -> Self {
        self.ragged = ragged;
        self
    }

    /// Most bytes of one row: one that long is read, one that is 64 KiB longer never. Defaults to
    /// 1 MiB.
    pub fn record_limit(mut self, bytes: usize) -> Self {
        self.record_limit = bytes;
        self
    }

    /// Most columns. Defaults to 16,384.
    pub fn column_limit(mut self, columns: usize) -> Self {
        self.column_limit = columns;
        self
    }

    /// About how many bytes the table may take: see
    /// [`TableBuilder::memory`]. Defaults to 2 GiB.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidInput`], naming file, line
    /// or row, and column, when it is no table: no header, two columns of one name, another
    /// delimiter, ragged rows, no UTF-8, beyond a limit; [`ErrorKind::Other`] when it cannot be
    /// read.
    pub fn read_path(&self, path: impl AsRef<Path>) -> Result<Table, Error> {
        let name = path.as_ref().display().to_string();
        let file =
            File::open(path).map_err(|error| failed(&name, "cannot open the file", error))?;
        self.read_counted(&name, file).map(|(table, _)| table)
    }

    /// Reads whatever can be read.
    ///
    /// # Errors
    ///
    /// As [`read_path`](Self::read_path).
    pub fn read(&self, input: impl Read) -> Result<Table, Error> {
        self.read_counted("the input", input).map(|(table, _)| table)
    }

    /// Reads whatever can be read, called `name` in errors, and says which rows were
    /// [left out](Self::ragged).
    ///
    /// # Errors
    ///
    /// As [`read_path`](Self::read_path).
    ///
    /// ```
    /// use pmmds::csv::{Ragged, Reader};
    /// let file = "a,b\n1,2\n3\n4,5\n";
    /// let (table, left_out) = Reader::new()
    ///     .ragged(Ragged::Skip { share: 0.5 })
    ///     .read_counted("rows.csv", file.as_bytes())?;
    /// assert_eq!((table.rows(), left_out.count()), (2, 1));
    ///
    /// let error = Reader::new().read_counted("rows.csv", file.as_bytes()).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "csv: invalid input: rows.csv: 1 of 3 rows has not 2 cells as the header: \
    ///      row 1 (line 3) has 1",
    /// );
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn read_counted(&self, name: &str, input: impl Read) -> Result<(Table, RaggedRows), Error> {
        let refuse =
            |why: String| Error::new(ErrorKind::InvalidInput, "csv", format!("{name}: {why}"));
        self.check().map_err(refuse)?;
        let mut rows = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(Source::new(input, self.record_limit));
        let mut record = StringRecord::new();
        let names = match &self.names {
            Some(names) => names.clone(),
            None if next(&mut rows, &mut record, name)? => {
                names::header(&record, self.delimiter).map_err(refuse)?
            }
            None => return Err(refuse("it is empty, without even a header".to_owned())),
        };
        if names.len() > self.column_limit {
            let limit = self.column_limit;
            return Err(refuse(format!("{} columns, more than {limit}", names.len())));
        }
        let mut ragged = RaggedRows { rows: 0, expected: names.len(), count: 0, first: Vec::new() };
        let names = names::columns(names, self.space, self.rename).map_err(refuse)?;
        let mut table = TableBuilder::new(names).map_err(|error| refuse(error.to_string()))?;
        while next(&mut rows, &mut record, name)? {
            if record.len() == ragged.expected {
                let cells = record.iter().map(|cell| self.cell(cell));
                table.push(cells).map_err(|error| refuse(error.to_string()))?;
            } else {
                ragged.add(&record);
            }
            ragged.rows += 1;
            if table.memory() > self.memory_limit {
                let limit = self.memory_limit;
                let rows = table.rows();
                return Err(refuse(format!("its first {rows} rows take more than {limit} bytes")));
            }
        }
        match self.ragged {
            Ragged::Skip { share } if ragged.share() <= share => Ok((table.build(), ragged)),
            _ if ragged.count == 0 => Ok((table.build(), ragged)),
            _ => Err(refuse(ragged.to_string())),
        }
    }

    fn check(&self) -> Result<(), String> {
        let delimiter = char::from(self.delimiter);
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\r' | '\n' | '\0') {
            return Err(format!("{delimiter:?} cannot be a delimiter"));
        }
        match self.ragged {
            Ragged::Skip { share } if !(0.0..=1.0).contains(&share) => {
                Err(format!("a share of {share} ragged rows is not from 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    fn cell<'c>(&self, cell: &'c str) -> &'c str {
        let cell = match self.space {
            Space::Trim => cell.trim(),
            Space::Keep => cell,
        };
        if self.nulls.iter().any(|null| null == cell) { "" } else { cell }
    }
}

/// Reads the next row; `false` at the end.
fn next<R: Read>(
    rows: &mut ::csv::Reader<Source<R>>,
    record: &mut StringRecord,
    name: &str,
) -> Result<bool, Error> {
    rows.get_mut().begin_record();
    let line = rows.position().line();
    rows.read_record(record).map_err(|error| match rows.get_ref().fault() {
        Some(fault) => {
            let context = format!("{name}: {}", fault.describe(line));
            Error::new(ErrorKind::InvalidInput, "csv", context)
        }
        None => match error.into_kind() {
            ::csv::ErrorKind::Io(error) => failed(name, "cannot read on", error),
            other => {
                let context = format!("{name}: line {line}: {other:?}");
                Error::new(ErrorKind::InvalidInput, "csv", context)
            }
        },
    })
}

fn failed(name: &str, what: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::IsADirectory => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    };
    Error::new(kind, "csv", format!("{name}: {what}")).with_source(error)
}

/// Rows with more or fewer cells than the header: how many, and the first ten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaggedRows {
    // of the file
    rows: u64,
    // cells of the header
    expected: usize,
    count: u64,
    // the first MOST_LISTED: row, line, cells
    first: Vec<(u64, u64, usize)>,
}

/// Most ragged rows that are listed.
const MOST_LISTED: usize = 10;

impl RaggedRows {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Row numbers in the file, without the header, of the first ten.
    pub fn first(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.first.iter().map(|(row, ..)| *row)
    }

    fn add(&mut self, record: &StringRecord) {
        self.count += 1;
        if self.first.len() < MOST_LISTED {
            let line = record.position().map_or(0, ::csv::Position::line);
            self.first.push((self.rows, line, record.len()));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of rows needs no 53 bits")]
    fn share(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.count as f64 / self.rows as f64 }
    }
}

impl fmt::Display for RaggedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, expected, count, first } = self;
        let have = if *count == 1 { "has" } else { "have" };
        let s = |count: u64| if count == 1 { "" } else { "s" };
        let cells = s(*expected as u64);
        write!(
            f,
            "{count} of {rows} row{} {have} not {expected} cell{cells} as the header",
            s(*rows)
        )?;
        for (index, (row, line, cells)) in first.iter().enumerate() {
            let start = if index == 0 { ": " } else { ", " };
            write!(f, "{start}row {row} (line {line}) has {cells}")?;
        }
        if *count > first.len() as u64 { f.write_str(", ...") } else { Ok(()) }
    }
}

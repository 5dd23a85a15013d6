//! Counting codes as stores keep them: row after row, a byte per column.

/// Why bytes are not rows of codes.
///
/// ```
/// use pmmds::drift::{CodeRowsError, Counts, Profile};
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// let mut counts = Counts::empty(&Profile::fit(&batch)?);
/// let error = counts.observe_code_rows(&[0, 0, 200]).unwrap_err();
/// let CodeRowsError::NoSuchSlot { row, code, .. } = error else { panic!() };
/// assert_eq!((row, code), (2, 200));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeRowsError {
    /// Not every row is whole.
    #[error("{bytes} bytes are not whole rows of {columns} codes")]
    Ragged {
        /// how many bytes there were
        bytes: usize,
        /// codes of a row
        columns: usize,
    },
    /// A code that the profile has no slot for.
    #[error("row {row} has code {code} in column {column}, which has {slots} slots")]
    NoSuchSlot {
        /// row number from 0
        row: usize,
        /// column number from 0
        column: usize,
        /// the code
        code: u8,
        /// slots of the column
        slots: usize,
    },
}

/// How often each code stands in each of the `slots.len()` columns of `bytes`: none beyond the
/// column's slots.
pub(super) fn count(slots: &[Vec<u64>], bytes: &[u8]) -> Result<Vec<[u64; 256]>, CodeRowsError> {
    let columns = slots.len();
    if columns == 0 || !bytes.len().is_multiple_of(columns) {
        return Err(CodeRowsError::Ragged { bytes: bytes.len(), columns });
    }
    let mut tables = vec![[0_u64; 256]; columns];
    for row in bytes.chunks_exact(columns) {
        for (table, code) in tables.iter_mut().zip(row) {
            table[usize::from(*code)] += 1;
        }
    }
    let beyond = |(table, slots): (&[u64; 256], &Vec<u64>)| {
        table[slots.len().min(256)..].iter().any(|count| *count > 0)
    };
    if tables.iter().zip(slots).any(beyond) {
        let places = bytes.iter().enumerate().map(|(at, code)| (at / columns, at % columns, *code));
        for (row, column, code) in places {
            if usize::from(code) >= slots[column].len() {
                let slots = slots[column].len();
                return Err(CodeRowsError::NoSuchSlot { row, column, code, slots });
            }
        }
    }
    Ok(tables)
}

//! A table of texts, as read from a file and before any schema is known.

use std::collections::HashMap;
use std::sync::Arc;

use crate::schema::FeatureSchema;

/// One column of a [`Table`]: every distinct text once, and for each row which one it holds.
///
/// ```
/// use pmmds::record::Table;
/// let table = Table::from_rows(["plan"], [["basic"], ["gold"], ["basic"]])?;
/// let plan = table.column("plan").unwrap();
/// assert_eq!(plan.name(), "plan");
/// assert_eq!(plan.cells().collect::<Vec<_>>(), ["basic", "gold", "basic"]);
/// assert_eq!(plan.texts().collect::<Vec<_>>(), ["basic", "gold"]);
/// assert_eq!(plan.indices().collect::<Vec<_>>(), [0, 1, 0]);
/// assert_eq!(plan.text(1), "gold");
/// # Ok::<(), pmmds::record::TableError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumn {
    name: String,
    // distinct, in order of first appearance
    texts: Vec<Arc<str>>,
    // index into `texts`, one per row
    cells: Vec<u32>,
}

impl TextColumn {
    /// The column's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every distinct text, in order of first appearance.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    /// The distinct text at `index`.
    ///
    /// # Panics
    ///
    /// When there are not that many.
    #[must_use]
    pub fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    /// For each row the index of its text among [`texts`](Self::texts).
    pub fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.cells.iter().map(|cell| *cell as usize)
    }

    /// How many cells stand for "no value", see [`Table::is_null`].
    ///
    /// ```
    /// use pmmds::record::Table;
    /// let table = Table::from_rows(["charges"], [["20.5"], [" "], ["NA"]])?;
    /// assert_eq!(table.columns()[0].null_count(), 2);
    /// # Ok::<(), pmmds::record::TableError>(())
    /// ```
    #[must_use]
    pub fn null_count(&self) -> usize {
        let null: Vec<bool> = self.texts().map(Table::is_null).collect();
        self.indices().filter(|index| null[*index]).count()
    }

    /// The text of every row.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = &str> {
        self.indices().map(|index| self.text(index))
    }

    fn select(&self, rows: &[usize]) -> Self {
        let mut column = Self { name: self.name.clone(), texts: Vec::new(), cells: Vec::new() };
        // Where each old text stands among the new ones, once it has appeared.
        let mut moved: Vec<Option<u32>> = vec![None; self.texts.len()];
        for row in rows {
            let old = self.cells[*row] as usize;
            let new = *moved[old].get_or_insert_with(|| column.add(Arc::clone(&self.texts[old])));
            column.cells.push(new);
        }
        column
    }

    /// Adds a distinct text and says where it stands.
    fn add(&mut self, text: Arc<str>) -> u32 {
        // 2^32 distinct texts of one column would take hundreds of gigabytes first.
        let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text);
        index
    }
}

/// Named columns of texts, of equal length.
///
/// Each distinct text of a column is stored once, so that a column with few levels takes four
/// bytes a row.
///
/// ```
/// use pmmds::record::Table;
///
/// let table = Table::from_rows(["id", "plan"], [["1", "basic"], ["2", "basic"]])?;
/// assert_eq!(table.rows(), 2);
/// assert_eq!(table.column("plan").unwrap().texts().len(), 1);
///
/// let ragged = Table::from_rows(["id", "plan"], [vec!["1"]]);
/// assert_eq!(ragged.unwrap_err().to_string(), "row 0 has 1 cells, expected 2");
/// # Ok::<(), pmmds::record::TableError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    // names distinct, each `rows` long
    columns: Vec<TextColumn>,
    rows: usize,
}

impl Table {
    /// A table of `rows` under the column names `names`.
    ///
    /// # Errors
    ///
    /// As [`TableBuilder::new`] and [`TableBuilder::push`].
    pub fn from_rows<N, R, C>(
        names: impl IntoIterator<Item = N>,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self, TableError>
    where
        N: Into<String>,
        R: IntoIterator<Item = C>,
        C: AsRef<str>,
    {
        let mut builder = TableBuilder::new(names)?;
        for row in rows {
            builder.push(row)?;
        }
        Ok(builder.build())
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns in order.
    #[must_use]
    pub fn columns(&self) -> &[TextColumn] {
        &self.columns
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&TextColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The same table with each column named by `name` of its old name.
    ///
    /// # Errors
    ///
    /// [`TableError::DuplicateColumn`] when two columns end up with one name.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// let table = Table::from_rows(["Plan"], [["basic"]])?.rename(str::to_lowercase)?;
    /// assert!(table.column("plan").is_some());
    /// # Ok::<(), pmmds::record::TableError>(())
    /// ```
    pub fn rename(mut self, name: impl Fn(&str) -> String) -> Result<Self, TableError> {
        for column in &mut self.columns {
            column.name = name(&column.name);
        }
        check_names(self.columns.iter().map(|column| column.name.as_str()))?;
        Ok(self)
    }

    /// The rows at `indices`, in that order.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// let table = Table::from_rows(["plan"], [["basic"], ["gold"], ["gold"]])?;
    /// let gold = table.select(&[2, 1]);
    /// assert_eq!(gold.columns()[0].texts().collect::<Vec<_>>(), ["gold"]);
    /// # Ok::<(), pmmds::record::TableError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When an index is not below [`rows`](Self::rows).
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| column.select(indices)).collect();
        Self { columns, rows: indices.len() }
    }

    /// Names of the columns that are no feature of `schema`.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let table = Table::from_rows(["id", "x"], [["a", "1"]])?;
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// assert_eq!(table.columns_outside(&schema).collect::<Vec<_>>(), ["id"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn columns_outside<'t>(
        &'t self,
        schema: &'t FeatureSchema,
    ) -> impl Iterator<Item = &'t str> {
        self.columns.iter().map(TextColumn::name).filter(|name| schema.id(name).is_none())
    }

    /// Whether `text` stands for "no value": empty or white space, `NA`, `N/A`, `NaN` or `null`
    /// in any case. A categorical feature that lists such a text as a level keeps it as a level.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// assert!(Table::is_null(" ") && Table::is_null("N/A") && Table::is_null("NaN"));
    /// assert!(!Table::is_null("0") && !Table::is_null("none"));
    /// ```
    #[must_use]
    pub fn is_null(text: &str) -> bool {
        let text = text.trim();
        text.is_empty()
            || ["na", "n/a", "nan", "null"].iter().any(|null| text.eq_ignore_ascii_case(null))
    }
}

/// Builds a [`Table`] row by row.
///
/// ```
/// use pmmds::record::TableBuilder;
/// let mut builder = TableBuilder::new(["plan", "tenure"])?;
/// builder.push(["basic", "12"])?;
/// let error = builder.push(["gold"]).unwrap_err();
/// assert_eq!(error.to_string(), "row 1 has 1 cells, expected 2");
/// assert_eq!((builder.rows(), builder.build().rows()), (1, 1));
/// # Ok::<(), pmmds::record::TableError>(())
/// ```
#[derive(Debug)]
pub struct TableBuilder {
    columns: Vec<TextColumn>,
    // per column: where each distinct text stands
    known: Vec<HashMap<Arc<str>, u32>>,
    rows: usize,
    // of all distinct texts
    text_bytes: usize,
    distinct: usize,
}

/// About what a distinct text takes besides its bytes: two pointers, the counts behind them, a
/// place in a hash map.
const BYTES_PER_TEXT: usize = 80;

impl TableBuilder {
    /// A table with these columns and no rows.
    ///
    /// # Errors
    ///
    /// [`TableError::DuplicateColumn`] when two columns have one name, [`TableError::NoColumns`]
    /// when there are none.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, TableError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        check_names(names.iter().map(String::as_str))?;
        let columns: Vec<TextColumn> = names
            .into_iter()
            .map(|name| TextColumn { name, texts: Vec::new(), cells: Vec::new() })
            .collect();
        let known = columns.iter().map(|_| HashMap::new()).collect();
        Ok(Self { columns, known, rows: 0, text_bytes: 0, distinct: 0 })
    }

    /// Adds one row.
    ///
    /// # Errors
    ///
    /// [`TableError::Ragged`] when the number of cells is not the number of columns; the table is
    /// as before.
    pub fn push<C: AsRef<str>>(
        &mut self,
        cells: impl IntoIterator<Item = C>,
    ) -> Result<(), TableError> {
        let cells: Vec<C> = cells.into_iter().collect();
        if cells.len() != self.columns.len() {
            return Err(TableError::Ragged {
                row: self.rows,
                expected: self.columns.len(),
                found: cells.len(),
            });
        }
        for (at, cell) in cells.iter().enumerate() {
            self.cell(at, cell.as_ref());
        }
        self.rows += 1;
        Ok(())
    }

    fn cell(&mut self, at: usize, text: &str) {
        let column = &mut self.columns[at];
        let index = match self.known[at].get(text) {
            Some(index) => *index,
            None => {
                let text: Arc<str> = text.into();
                self.text_bytes += text.len();
                self.distinct += 1;
                let index = column.add(Arc::clone(&text));
                self.known[at].insert(text, index);
                index
            }
        };
        column.cells.push(index);
    }

    /// Number of rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the table takes so far, for whoever reads rows that never end: four a
    /// cell, and each distinct text of a column once.
    ///
    /// ```
    /// use pmmds::record::TableBuilder;
    /// let mut builder = TableBuilder::new(["plan"])?;
    /// builder.push(["basic"])?;
    /// let first = builder.memory();
    /// builder.push(["basic"])?;
    /// assert_eq!(builder.memory(), first + 4);
    /// # Ok::<(), pmmds::record::TableError>(())
    /// ```
    #[must_use]
    pub fn memory(&self) -> usize {
        let cells = self.rows.saturating_mul(self.columns.len()).saturating_mul(4);
        cells.saturating_add(self.text_bytes).saturating_add(self.distinct * BYTES_PER_TEXT)
    }

    /// The table.
    #[must_use]
    pub fn build(self) -> Table {
        Table { columns: self.columns, rows: self.rows }
    }
}

fn check_names<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), TableError> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(TableError::DuplicateColumn { name: name.to_owned() });
        }
    }
    if seen.is_empty() { Err(TableError::NoColumns) } else { Ok(()) }
}

/// Why texts do not make a table.
///
/// ```
/// use pmmds::record::{Table, TableError};
/// let error = Table::from_rows(["x", "x"], [["1", "2"]]).unwrap_err();
/// assert_eq!(error, TableError::DuplicateColumn { name: "x".to_owned() });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Two columns have the same name.
    #[error("column {name:?} stands twice")]
    DuplicateColumn {
        /// the name
        name: String,
    },
    /// A table needs a column.
    #[error("the table has no columns")]
    NoColumns,
    /// A row is too short or too long.
    #[error("row {row} has {found} cells, expected {expected}")]
    Ragged {
        /// row number from 0, without the header
        row: usize,
        /// number of columns
        expected: usize,
        /// number of cells in the row
        found: usize,
    },
}

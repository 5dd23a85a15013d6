//! Counting a log that a team already has, in a table of its own.

use std::collections::HashMap;
use std::fmt::Write;

use sqlx::AssertSqlSafe;

use super::error::COMPONENT;
use super::moment::Moment;
use super::{PostgresStore, rows, scalar};
use crate::drift::{Binning, Counts, NumericBinning, Profile};
use crate::{Error, ErrorKind, Window};

/// Where a value lies in an [`OwnTable`].
///
/// ```
/// use pmmds::postgres::OwnColumn;
/// let typed = OwnColumn::Typed("monthly_charges".to_owned());
/// let json = OwnColumn::Json { column: "features".to_owned(), key: "tenure".to_owned() };
/// assert_ne!(typed, json);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnColumn {
    /// A column.
    Typed(String),
    /// A field of a JSON or JSONB column.
    Json {
        /// the column
        column: String,
        /// the field
        key: String,
    },
}

/// A table with a row per request, which somebody else writes.
///
/// ```no_run
/// # async fn count(store: pmmds::postgres::PostgresStore, profile: pmmds::drift::Profile,
/// #     day: pmmds::Window) -> Result<(), pmmds::Error> {
/// use pmmds::postgres::{OwnColumn, OwnTable};
///
/// let requests = OwnTable::new("public", "requests", "asked_at")
///     .column("tenure", OwnColumn::Json { column: "body".to_owned(), key: "tenure".to_owned() })
///     .score(OwnColumn::Typed("probability".to_owned()));
/// let counts = store.count_own_table(&requests, day, &profile).await?;
/// println!("{} rows", counts.rows());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct OwnTable {
    schema: String,
    table: String,
    time: String,
    columns: HashMap<String, OwnColumn>,
    score: Option<OwnColumn>,
}

impl OwnTable {
    /// The table `table` of `schema`, whose column `time` is a `timestamptz`.
    pub fn new(
        schema: impl Into<String>,
        table: impl Into<String>,
        time: impl Into<String>,
    ) -> Self {
        let (schema, table, time) = (schema.into(), table.into(), time.into());
        Self { schema, table, time, columns: HashMap::new(), score: None }
    }

    /// Where `feature` lies. Defaults to the column of its name.
    pub fn column(mut self, feature: impl Into<String>, column: OwnColumn) -> Self {
        self.columns.insert(feature.into(), column);
        self
    }

    /// Where the model's score lies. Defaults to nowhere, which does for a profile without scores.
    pub fn score(mut self, column: OwnColumn) -> Self {
        self.score = Some(column);
        self
    }
}

/// What a statement is given beside its two moments.
enum Bound {
    Edges(Vec<f64>),
    Levels(Vec<String>),
    Key(String),
}

impl PostgresStore {
    /// Counts the rows of a table that is not ours, in slots of `profile`, by one statement that
    /// reads each row once: `GROUPING SETS`, a set for each feature. Names are quoted by the server
    /// and values are bound. Numbers are taken as `float8`, categories as `text`; NULL and NaN are
    /// missing.
    ///
    /// The counts have no summaries: means, and values out of the range of the reference, are not
    /// known.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the profile has scores and the table has none,
    /// or a value is no number where one belongs. [`Other`](ErrorKind::Other) for a table or column
    /// that is not there.
    pub async fn count_own_table(
        &self,
        table: &OwnTable,
        window: Window,
        profile: &Profile,
    ) -> Result<Counts, Error> {
        let OwnTable { schema, table: name, .. } = table;
        let what = format!("count the rows of {schema}.{name} in {window}");
        let failed = |cause| self.failed(&what, cause);
        let mut places = Vec::new();
        for feature in profile.features() {
            let typed = || OwnColumn::Typed(feature.name().to_owned());
            let place = table.columns.get(feature.name()).cloned().unwrap_or_else(typed);
            places.push((place, feature.binning()));
        }
        if let Some(score) = profile.score() {
            let place = table.score.clone().ok_or_else(|| {
                let context = format!("cannot {what}: the profile has scores, and where are they?");
                Error::new(ErrorKind::InvalidInput, COMPONENT, context)
            })?;
            places.push((place, score.binning()));
        }
        let mut transaction = self.read(&what).await?;
        let column = |place: &OwnColumn| match place {
            OwnColumn::Typed(column) | OwnColumn::Json { column, .. } => column.clone(),
        };
        let mut names = vec![schema.clone(), name.clone(), table.time.clone()];
        names.extend(places.iter().map(|(place, _)| column(place)));
        let quoted: Vec<String> = scalar(
            "SELECT quote_ident(name) FROM unnest($1::text[]) WITH ORDINALITY AS n (name, number)
            ORDER BY number",
        )
        .bind(names)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let (statement, bound) = statement(&quoted, &places);
        let (start, end) = Moment::ends(window);
        let mut query = rows(AssertSqlSafe(statement)).bind(start).bind(end);
        for value in bound {
            query = match value {
                Bound::Edges(edges) => query.bind(edges),
                Bound::Levels(levels) => query.bind(levels),
                Bound::Key(key) => query.bind(key),
            };
        }
        let found: Vec<(Option<i32>, Option<i32>, i64)> =
            query.fetch_all(&mut *transaction).await.map_err(failed)?;
        self.add_groups(&found, &places, profile, &what)
    }

    fn add_groups(
        &self,
        found: &[(Option<i32>, Option<i32>, i64)],
        places: &[(OwnColumn, &Binning)],
        profile: &Profile,
        what: &str,
    ) -> Result<Counts, Error> {
        let impossible = || self.corrupt(format_args!("cannot {what}: a group of no slot came"));
        let mut offsets = vec![0];
        for (_, binning) in places {
            offsets.push(offsets[offsets.len() - 1] + binning.slots());
        }
        let mut slots = vec![0_u64; offsets[places.len()]];
        let mut rows = 0;
        for (column, slot, count) in found {
            let (Some(column), Some(slot)) = (column, slot) else {
                rows = count.unsigned_abs();
                continue;
            };
            let column = usize::try_from(*column).map_err(|_| impossible())?;
            let offset = offsets.get(column).ok_or_else(impossible)?;
            let slot = usize::try_from(*slot).map_err(|_| impossible())?;
            *slots.get_mut(offset + slot).ok_or_else(impossible)? += count.unsigned_abs();
        }
        let mut counts = Counts::empty(profile);
        counts.merge_flat_slots(rows, &slots).map_err(|e| impossible().with_source(e))?;
        Ok(counts)
    }
}

/// The statement over quoted names (schema, table, time, then one per place), and what it is given
/// after the ends of the window. All else in it is made of numbers of ours.
fn statement(quoted: &[String], places: &[(OwnColumn, &Binning)]) -> (String, Vec<Bound>) {
    let mut bound = Vec::new();
    let mut bind = |value| {
        bound.push(value);
        bound.len() + 2
    };
    let (mut values, mut slots) = (Vec::new(), Vec::new());
    for (number, (place, binning)) in places.iter().enumerate() {
        let column = quoted.get(number + 3).map_or("NULL", String::as_str);
        let value = match place {
            OwnColumn::Typed(_) => column.to_owned(),
            OwnColumn::Json { key, .. } => {
                format!("({column} ->> ${})", bind(Bound::Key(key.clone())))
            }
        };
        let kind = if binning.other_slot().is_some() { "text" } else { "float8" };
        values.push(format!("({value})::{kind} AS v{number}"));
        let missing = binning.missing_slot();
        slots.push(if let Binning::Levels(levels) = binning {
            let levels = bind(Bound::Levels(levels.clone()));
            let other = missing - 1;
            format!(
                "CASE WHEN v{number} IS NULL THEN {missing} ELSE
                    coalesce(array_position(${levels}::text[], v{number}) - 1, {other}) END
                    AS c{number}"
            )
        } else if let Binning::Numeric(bins) = binning {
            let (edges, slot) = thresholds(bins, number);
            let edges = bind(Bound::Edges(edges));
            format!(
                "CASE WHEN v{number} IS NULL OR v{number} = 'NaN' THEN {missing} ELSE
                    {} END AS c{number}",
                slot.replace("EDGES", &format!("${edges}::float8[]"))
            )
        } else {
            // A kind to come: no slot for any row, and so an error and no count.
            format!("NULL::int AS c{number}")
        });
    }
    let (mut which, mut slot, mut sets) = (String::new(), String::new(), "()".to_owned());
    for number in 0..places.len() {
        // A slot is never NULL: of each group the one that is not is the one that it is of.
        let _ = write!(which, " WHEN c{number} IS NOT NULL THEN {number}");
        let _ = write!(slot, "c{number}, ");
        let _ = write!(sets, ", (c{number})");
    }
    let names = |at: usize| quoted.get(at).map_or("", String::as_str);
    // OFFSET 0: the server would take slots for as many as there are values, and sort the rows on
    // disk for each set of theirs. Of what comes over that fence it expects few, and keeps tables.
    let statement = format!(
        "SELECT CASE{which} END, coalesce({slot}NULL::int), count(*) FROM (
            SELECT {} FROM (
                SELECT {} FROM {}.{} WHERE {time} >= $1 AND {time} < $2) v OFFSET 0) c
        GROUP BY GROUPING SETS ({sets})",
        slots.join(", "),
        values.join(", "),
        names(0),
        names(1),
        time = names(2),
    );
    (statement, bound)
}

/// What `width_bucket` is given, and what the slot is by it. It counts the thresholds that are at
/// most the value: those are the edges of bins that are closed on the left. Of bins that are closed
/// on the right, the edges that are at least the value are counted from the other end.
fn thresholds(bins: &NumericBinning, number: usize) -> (Vec<f64>, String) {
    let edges = bins.edges();
    let closed_on_the_right = edges.first().is_none_or(|edge| bins.bin(*edge) == Some(0));
    if closed_on_the_right {
        let mirrored = edges.iter().rev().map(|edge| -edge).collect();
        (mirrored, format!("{} - width_bucket(-v{number}, EDGES)", edges.len()))
    } else {
        (edges.to_vec(), format!("width_bucket(v{number}, EDGES)"))
    }
}

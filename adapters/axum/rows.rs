//! Requests for many rows: read off the threads that answer, checked row by row, answered in order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::axum::body::{Body, Bytes};
use ::axum::extract::Query;
use ::axum::extract::rejection::QueryRejection;
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::Response;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{Given, Replies, Together, answer};
use super::idempotency::NotKept;
use super::loaded::Loaded;
use super::origin::Origin;
use super::predict::{INVALID, json};
use super::problem::{Detail, Problem};
use super::request::{PredictRequest, misshapen, readable};
use super::state::{Place, State};
use crate::record::DecodeError;
use crate::registry::{ModelName, VersionId};

/// Most problems that an answer for many rows repeats.
const MOST_DETAILS: usize = 1_000;

/// How rows may fail: `?atomic=true` or not.
#[derive(Debug, Deserialize)]
pub(super) struct Options {
    #[serde(default)]
    atomic: bool,
}

/// The list of rows in a request for many.
pub(super) struct List {
    /// name of its field
    pub(super) name: &'static str,
    /// finds it in a body
    pub(super) find: for<'a> fn(&'a str) -> serde_json::Result<&'a RawValue>,
    /// reads one row, which stands at this JSON pointer
    pub(super) read: fn(&Loaded, &RawValue, String) -> Read,
}

impl List {
    /// The answer to a request for many rows.
    pub(super) async fn answer(
        &'static self,
        state: &State,
        query: Result<Query<Options>, QueryRejection>,
        origin: Origin,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Problem> {
        let together = together(query)?;
        let (body, _large) = state.rows_body(headers, body).await?;
        let _place = state.admit()?;
        // The one version that all rows see.
        let model = state.model()?;
        let began = state.clock.elapsed();
        let reading = Arc::clone(&model);
        let read = state.read_rows(body, move |text, most| {
            let rows = (self.find)(text).map_err(|why| not_json(&why))?;
            let rows = elements(rows, most, self.name)?.into_iter().enumerate();
            let at = |at| format!("/{}/{at}", self.name);
            Ok(rows.map(|(number, row)| (self.read)(&reading, row, at(number))).collect())
        });
        let rows: Vec<Read> = read.await?;
        let replies = state.answer_rows(&model, origin, rows, began, together).await?;
        Ok(results(&model, &replies, state.clock.elapsed().saturating_sub(began)))
    }
}

/// What the query of a request for many rows says.
fn together(query: Result<Query<Options>, QueryRejection>) -> Result<Together, Problem> {
    match query {
        Ok(Query(Options { atomic: true })) => Ok(Together::Whole),
        Ok(Query(Options { atomic: false })) => Ok(Together::Apart),
        Err(_) => {
            let message = "atomic must be true or false, and stand in the query once";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_query", message))
        }
    }
}

/// A row that was read: a request, with the prediction that came along if one did; or what is wrong
/// around it.
pub(super) type Read = Result<(PredictRequest, Option<Given>), Problem>;

impl State {
    /// Most rows of one request.
    pub(super) fn most_rows(&self) -> usize {
        self.limits.batch_instances.min(self.limits.queue)
    }

    /// The whole body of a request for many rows, with its place among the large ones.
    pub(super) async fn rows_body(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, Place), Problem> {
        self.json_body_of(headers, body, self.limits.batch_bytes).await
    }

    /// Reads the rows of a body, of which there are at most so many as the queue can take, off the
    /// threads that answer requests.
    pub(super) async fn read_rows<T: Send + 'static>(
        &self,
        body: Bytes,
        read: impl FnOnce(&str, usize) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let most = self.most_rows();
        let work = tokio::task::spawn_blocking(move || {
            let unreadable = |why| Problem::invalid(INVALID, vec![why], Vec::new());
            let text = readable(&body).map_err(unreadable)?;
            read(text, most)
        });
        super::joined(work).await?
    }

    /// Answers rows, in order, each as a single prediction would be; `began` is when reading them
    /// began.
    ///
    /// # Errors
    ///
    /// What concerns all of them; and, where they belong together, what is wrong with any.
    pub(super) async fn answer_rows(
        &self,
        model: &Arc<Loaded>,
        origin: Origin,
        rows: Vec<Read>,
        began: Duration,
        together: Together,
    ) -> Result<Replies, Problem> {
        let mut replies = Vec::with_capacity(rows.len());
        let mut asked = Vec::with_capacity(rows.len());
        let mut warnings = 0;
        for row in rows {
            let valid = row.and_then(|(request, given)| {
                let mut asked = self.valid(model, request)?;
                asked.given = given;
                Ok(asked)
            });
            match valid {
                Ok(valid) => {
                    warnings += usize::from(!valid.warnings.is_empty());
                    asked.push(valid);
                    replies.push(None);
                }
                Err(problem) => replies.push(Some(problem)),
            }
        }
        let refused = replies.len() - asked.len();
        if refused + warnings > 0 {
            tracing::info!(rows = replies.len(), refused, warnings, "rows were refused or odd");
        }
        if together == Together::Whole && refused > 0 {
            return Err(whole(replies.into_iter().flatten()));
        }
        let read = self.clock.elapsed().saturating_sub(began);
        let mut answered = answer(self, model, origin, asked, read, together).await?.into_iter();
        let reply = |refused: Option<Problem>| match refused {
            Some(problem) => Some(Err(problem)),
            // One for each that was asked.
            None => answered.next(),
        };
        let replies: Replies = replies.into_iter().filter_map(reply).collect();
        if together == Together::Whole && replies.iter().any(Result::is_err) {
            return Err(whole(replies.into_iter().filter_map(Result::err)));
        }
        Ok(replies)
    }
}

/// One problem for all rows: the first, with what is wrong with the others.
fn whole(problems: impl Iterator<Item = Problem>) -> Problem {
    let mut problems = problems.peekable();
    let Some(first) = problems.peek().cloned() else {
        return Problem::internal("internal", "There is no answer");
    };
    let mut details: Vec<Detail> = problems.flat_map(|problem| problem.details()).collect();
    let more = details.len().saturating_sub(MOST_DETAILS);
    details.truncate(MOST_DETAILS);
    if more > 0 {
        details.push(Detail::new("", "more_errors", format!("... and {more} more errors")));
    }
    first.with_details(details)
}

/// 400: it is not of the shape that it should have.
pub(super) fn not_json(why: &serde_json::Error) -> Problem {
    Problem::invalid(INVALID, vec![misshapen(why)], Vec::new())
}

/// The elements of a list in the field `name`, at least one, and at most `most`.
pub(super) fn elements<'a>(
    list: &'a RawValue,
    most: usize,
    name: &'static str,
) -> Result<Vec<&'a RawValue>, Problem> {
    let found = Elements::of(list, most).map_err(|why| {
        let why = DecodeError::from(&why);
        let why = format!("{name}: {}", why.message());
        let detail = Detail::new(format!("/{name}"), "not_a_list", why);
        Problem::invalid(INVALID, vec![detail], Vec::new())
    })?;
    if found.more {
        return Err(too_many(most, name));
    }
    if found.rows.is_empty() {
        return Err(nothing(name));
    }
    Ok(found.rows)
}

/// 413: there are more rows than are taken at a time.
pub(super) fn too_many(most: usize, name: &str) -> Problem {
    let message = format!("There are more than {most} {name}");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_rows", message)
}

/// 400: there is no row.
pub(super) fn nothing(name: &str) -> Problem {
    let detail = Detail::new(format!("/{name}"), "no_rows", format!("There are no {name}"));
    Problem::invalid(INVALID, vec![detail], Vec::new())
}

/// Takes elements as they stand, and gives up after `most`.
pub(super) struct Elements<'a> {
    most: usize,
    pub(super) rows: Vec<&'a RawValue>,
    // there are more
    pub(super) more: bool,
}

impl<'a> Elements<'a> {
    /// The first `most` elements of a list.
    pub(super) fn of(list: &'a RawValue, most: usize) -> Result<Self, serde_json::Error> {
        let mut found = Self { most, rows: Vec::new(), more: false };
        let mut source = serde_json::Deserializer::from_str(list.get());
        match (&mut found).deserialize(&mut source) {
            Err(why) if !found.more => Err(why),
            _ => Ok(found),
        }
    }
}

impl<'a> DeserializeSeed<'a> for &mut Elements<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for &mut Elements<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.rows.len() < self.most {
            match seq.next_element()? {
                Some(row) => self.rows.push(row),
                None => return Ok(()),
            }
        }
        self.more = seq.next_element::<IgnoredAny>()?.is_some();
        // The rest is not looked at.
        if self.more { Err(de::Error::custom("too many")) } else { Ok(()) }
    }
}

/// What follows the results.
#[derive(Serialize)]
struct Summary<'a> {
    succeeded: usize,
    failed: usize,
    model_name: &'a ModelName,
    model_version: VersionId,
    latency_ms: f64,
}

/// `{"results": [...], "succeeded": 2, ...}`: what each row is answered, or `{"error": ...}`.
fn results(
    model: &Loaded,
    replies: &[Result<super::answer::Reply, Problem>],
    took: Duration,
) -> Response {
    #[derive(Serialize)]
    struct Failed<'a> {
        error: super::problem::RowProblem<'a>,
    }
    let succeeded = replies.iter().filter(|reply| reply.is_ok()).count();
    let summary = Summary {
        succeeded,
        failed: replies.len() - succeeded,
        model_name: model.model.name(),
        model_version: model.model.version(),
        latency_ms: super::millis(took),
    };
    // Texts, finite numbers, and JSON that was written here: nothing that JSON could refuse.
    let mut text = b"{\"results\":[".to_vec();
    for (index, reply) in replies.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        match reply {
            Ok(reply) => text.extend_from_slice(&reply.body),
            Err(problem) => {
                let failed = Failed { error: problem.of_row() };
                text.extend(serde_json::to_vec(&failed).unwrap_or_default());
            }
        }
    }
    text.extend_from_slice(b"],");
    let summary = serde_json::to_vec(&summary).unwrap_or_default();
    text.extend_from_slice(summary.strip_prefix(b"{").unwrap_or_default());
    let mut response = json(text);
    if replies.iter().any(|reply| reply.as_ref().is_err_and(Problem::is_ours)) {
        response.extensions_mut().insert(NotKept);
    }
    response
}

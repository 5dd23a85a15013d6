//! The Open Inference Protocol, version 2, over REST, as KServe, Triton and MLServer speak it.
//!
//! One input tensor per feature, named like it: `BYTES` for a category, `INT64` or `FP64` for a
//! number, of shape `[n]` or `[n, 1]`. Or one tensor of another name: `BYTES` of shape `[n]`, each a
//! JSON object of features; or numbers of shape `[n, features]`, in the order of the schema. The
//! outputs are `prediction`, `probability` (of a classifier) and `request_id`, by which an outcome
//! is told. Rows are validated, logged and watched like those of `/api/v1/predict`, all or none; the
//! `id` of a request for one row is its request id if it is a UUID. Tensors may come and go
//! [binary](self::binary).

mod binary;

use std::sync::Arc;

use ::axum::Json;
use ::axum::body::{Body, Bytes};
use ::axum::extract::State as Shared;
use ::axum::extract::rejection::PathRejection;
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use self::binary::Parameters;
use super::foreign::{self, Column, Predicted, Text, malformed, quoted};
use super::loaded::Loaded;
use super::origin::Origin;
use super::problem::Problem;
use super::request::{MOST_UNKNOWN, Object, request_id};
use super::rows::{Read, elements, not_json, nothing, too_many};
use super::state::State;
use crate::record::Target;
use crate::schema::{Feature, FeatureKind, FeatureSchema};

const BYTES: &str = "BYTES";
const INT64: &str = "INT64";
const FP64: &str = "FP64";

const PREDICTION: &str = "prediction";
const PROBABILITY: &str = "probability";
const REQUEST_ID: &str = "request_id";

/// Deepest nesting of a tensor's data.
const DIMENSIONS: usize = 2;

pub(super) async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// "A 4xx status code indicates false", whatever other probes here say.
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    let ready = state.trouble().await.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    (status, Json(json!({ "ready": ready }))).into_response()
}

pub(super) async fn server() -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "name": "pmmds", "version": version, "extensions": ["binary_tensor_data"] }))
}

/// The model that a path names, perhaps with a version.
#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
    #[serde(default)]
    version: Option<String>,
}

/// What a path names; a name may be no text at all.
type Path = Result<::axum::extract::Path<Named>, PathRejection>;

impl Named {
    /// The version in service, if it is the one that is meant.
    fn find(path: &Path, state: &State) -> Result<Arc<Loaded>, Problem> {
        let missing =
            |why: String| Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", why));
        let Ok(::axum::extract::Path(named)) = path else {
            return missing("there is no such model here".to_owned());
        };
        if named.name != state.models.name().as_str() {
            return missing(format!("there is no model {} here", quoted(&named.name)));
        }
        let model = state.model()?;
        match &named.version {
            Some(asked) if *asked != model.model.version().to_string() => {
                let (name, version) = (model.model.name(), model.model.version());
                let asked = quoted(asked);
                missing(format!("version {asked} of {name} is not in service, {version} is"))
            }
            _ => Ok(model),
        }
    }
}

pub(super) async fn model_ready(
    Shared(state): Shared<State>,
    path: Path,
) -> Result<Json<Value>, Problem> {
    let model = Named::find(&path, &state)?;
    Ok(Json(json!({ "name": model.model.name(), "ready": true })))
}

pub(super) async fn model(
    Shared(state): Shared<State>,
    path: Path,
) -> Result<Json<Value>, Problem> {
    let model = Named::find(&path, &state)?;
    let input = |feature: &Feature| tensor(feature.name(), datatype(feature));
    let inputs: Vec<Value> = model.model.schema().features().iter().map(input).collect();
    let output = |(name, datatype): (&str, &str)| tensor(name, datatype);
    let outputs: Vec<Value> = outputs(&model).into_iter().map(output).collect();
    Ok(Json(json!({
        "name": model.model.name(),
        "versions": [model.model.version()],
        "platform": "pmmds",
        "inputs": inputs,
        "outputs": outputs,
    })))
}

fn tensor(name: &str, datatype: &str) -> Value {
    json!({ "name": name, "datatype": datatype, "shape": [-1] })
}

/// What the tensor of a feature holds.
pub(super) fn datatype(feature: &Feature) -> &'static str {
    match feature.kind() {
        FeatureKind::Categorical { .. } => BYTES,
        FeatureKind::Numeric { integer: true, .. } => INT64,
        _ => FP64,
    }
}

/// The outputs of a model, in order.
fn outputs(model: &Loaded) -> Vec<(&'static str, &'static str)> {
    match model.model.model().task().target() {
        Target::Number => vec![(PREDICTION, FP64), (REQUEST_ID, BYTES)],
        _ => vec![(PREDICTION, INT64), (PROBABILITY, FP64), (REQUEST_ID, BYTES)],
    }
}

#[derive(Deserialize)]
struct Infer<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    inputs: Vec<Object<Tensor<'a>>>,
    #[serde(default)]
    outputs: Option<Vec<Object<Wanted>>>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
}

#[derive(Deserialize)]
struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    // None: it stands behind the JSON
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
}

/// An output that is wanted.
struct Output {
    name: &'static str,
    datatype: &'static str,
    binary: bool,
}

/// The answer, in the order in which it is written.
#[derive(Serialize)]
struct Inferred<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    outputs: Vec<Value>,
}

pub(super) async fn infer(
    Shared(state): Shared<State>,
    path: Path,
    origin: Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let headers = binary::as_json(headers);
    let (body, _large) = state.rows_body(&headers, body).await?;
    let _place = state.admit()?;
    let model = Named::find(&path, &state)?;
    let began = state.clock.elapsed();
    let (body, behind) = binary::split(&headers, body)?;
    let reading = Arc::clone(&model);
    let read = state.read_rows(body, move |text, most| read(&reading, text, &behind, most));
    let (rows, id, wanted): Asked = read.await?;
    let predicted = state.predict_foreign(&model, origin, rows, began).await?;

    let mut behind = Vec::new();
    let mut output = |Output { name, datatype, binary }: Output| {
        let data: Vec<Value> = predicted.iter().map(|one| value(one, name)).collect();
        let shape = [data.len()];
        match binary::bytes(datatype, &data).filter(|_| binary) {
            None => json!({ "name": name, "datatype": datatype, "shape": shape, "data": data }),
            Some(bytes) => {
                behind.extend(&bytes);
                let size = json!({ "binary_data_size": bytes.len() });
                json!({ "name": name, "datatype": datatype, "shape": shape, "parameters": size })
            }
        }
    };
    let outputs = wanted.into_iter().map(&mut output).collect();
    let warnings: Vec<&str> =
        predicted.iter().flat_map(|one| &one.warnings).map(String::as_str).collect();
    let warnings = (!warnings.is_empty()).then(|| json!({ "warnings": warnings.join("; ") }));
    let answer = Inferred {
        model_name: model.model.name().as_str(),
        model_version: model.model.version().to_string(),
        id,
        parameters: warnings,
        outputs,
    };
    if behind.is_empty() {
        return Ok(Json(answer).into_response());
    }
    // Texts and finite numbers: there is nothing that JSON could refuse.
    Ok(binary::answer(serde_json::to_vec(&answer).unwrap_or_default(), &behind))
}

fn value(one: &Predicted, output: &str) -> Value {
    match output {
        PREDICTION => Value::Number(one.prediction.clone()),
        PROBABILITY => one.probability.clone().map_or(Value::Null, Value::Number),
        _ => Value::String(one.request_id.to_string()),
    }
}

type Asked = (Vec<Read>, Option<String>, Vec<Output>);

/// Reads the rows of a request, its id, and which outputs it wants.
fn read(model: &Loaded, text: &str, behind: &Bytes, most: usize) -> Result<Asked, Problem> {
    let Object(sent) =
        serde_json::from_str::<Object<Infer<'_>>>(text).map_err(|why| not_json(&why))?;
    let all_binary = sent.parameters.is_some_and(|Object(it)| it.binary_data_output == Some(true));
    let offered = outputs(model);
    let wanted = match sent.outputs {
        None => {
            let output = |(name, datatype)| Output { name, datatype, binary: all_binary };
            offered.into_iter().map(output).collect()
        }
        Some(wanted) => {
            let find = |Object(Wanted { name, parameters }): &Object<Wanted>| {
                let found = offered.iter().find(|(offered, _)| offered == name);
                let (name, datatype) = *found.ok_or_else(|| {
                    let offered: Vec<&str> = offered.iter().map(|(name, _)| *name).collect();
                    let (name, offered) = (quoted(name), offered.join(", "));
                    malformed(format!("there is no output {name}: {offered}"))
                })?;
                let own = parameters.as_ref().and_then(|Object(it)| it.binary_data);
                Ok(Output { name, datatype, binary: own.unwrap_or(all_binary) })
            };
            // In the order of the model, each once.
            let mut found = wanted.iter().map(find).collect::<Result<Vec<Output>, Problem>>()?;
            let place = |it: &Output| offered.iter().position(|(name, _)| *name == it.name);
            found.sort_by_key(place);
            found.dedup_by_key(|output| output.name);
            found
        }
    };
    let inputs: Vec<Tensor<'_>> = sent.inputs.into_iter().map(|Object(tensor)| tensor).collect();
    let schema = model.model.schema();
    let texts = texts(schema, inputs, behind, most)?;
    let alone = texts.len() == 1;
    let id = sent.id.as_deref().filter(|_| alone).and_then(|id| request_id(id).ok());
    let rows: Vec<(Option<Uuid>, Text)> = texts.into_iter().map(|text| (id, text)).collect();
    Ok((foreign::read(model, rows), sent.id, wanted))
}

/// The lists of values that stand behind the JSON, each beside its tensor, whose shape is a
/// possible one.
fn lists(inputs: &[Tensor<'_>], behind: &[u8]) -> Result<Vec<Option<Box<RawValue>>>, Problem> {
    let mut left = behind;
    let mut lists = Vec::with_capacity(inputs.len());
    for Tensor { name, shape, datatype, data, parameters } in inputs {
        let size = parameters.as_ref().and_then(|Object(it)| it.binary_data_size);
        lists.push(match (data, size) {
            (Some(_), None) => None,
            (None, Some(size)) => {
                let bytes = binary::take(&mut left, size, name)?;
                Some(binary::list(name, datatype, bytes, shape.iter().product())?)
            }
            (data, _) => {
                let (have, and) = if data.is_some() { ("both", "and") } else { ("neither", "nor") };
                let name = quoted(name);
                return Err(malformed(format!("{name} has {have} data {and} binary_data_size")));
            }
        });
    }
    if !left.is_empty() {
        let left = left.len();
        return Err(malformed(format!("{left} bytes behind the JSON belong to no input")));
    }
    Ok(lists)
}

/// The rows of tensors. Names and shapes come first: bytes become many times as many.
fn texts(
    schema: &FeatureSchema,
    inputs: Vec<Tensor<'_>>,
    behind: &[u8],
    most: usize,
) -> Result<Vec<Text>, Problem> {
    if inputs.is_empty() {
        return Err(nothing("inputs"));
    }
    let most_inputs = schema.len() + MOST_UNKNOWN;
    if inputs.len() > most_inputs {
        return Err(malformed(format!("there are more than {most_inputs} inputs")));
    }
    foreign::check_names(schema, inputs.iter().map(|tensor| tensor.name.as_str()))?;
    let whole = matches!(&inputs[..], [one] if schema.id(&one.name).is_none());
    let numbers = whole && inputs[0].datatype != BYTES;
    let width = if numbers { schema.len() } else { 1 };
    inputs.iter().try_for_each(|tensor| tensor.check_shape(most, width))?;
    let lists = lists(&inputs, behind)?;
    let mut columns = Vec::with_capacity(inputs.len());
    for (tensor, list) in inputs.into_iter().zip(&lists) {
        let values = tensor.values(list.as_deref())?;
        columns.push(Column { name: tensor.name, values });
    }
    match &columns[..] {
        [Column { values, .. }] if numbers => {
            let row = |row: &[&RawValue]| Text::of_list(schema, row);
            Ok(values.chunks(schema.len()).map(row).collect())
        }
        [Column { values, .. }] if whole => values.iter().map(|value| object(value)).collect(),
        columns => foreign::of_columns(schema, columns),
    }
}

/// An object of features inside of a JSON text.
fn object(value: &RawValue) -> Result<Text, Problem> {
    let not = || malformed("each entry of the tensor must be a JSON object of features");
    let text: String = serde_json::from_str(value.get()).map_err(|_| not())?;
    let raw: &RawValue = serde_json::from_str(&text).map_err(|_| not())?;
    if raw.get().starts_with('{') { Ok(Text::of_object(raw.get())) } else { Err(not()) }
}

impl<'a> Tensor<'a> {
    /// Refuses any shape but at least one and at most `most` rows of `width`.
    fn check_shape(&self, most: usize, width: usize) -> Result<(), Problem> {
        let Self { name, shape, .. } = self;
        let (rows, columns) = match shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => (0, 0),
        };
        if rows == 0 || columns != width {
            let want =
                if width == 1 { "[n] or [n, 1]".to_owned() } else { format!("[n, {width}]") };
            let have = match shape.len() {
                many if many > DIMENSIONS => format!("{many} dimensions"),
                _ => format!("shape {shape:?}"),
            };
            let name = quoted(name);
            return Err(malformed(format!("{name} has {have}, expected {want}")));
        }
        if rows > most { Err(too_many(most, "rows")) } else { Ok(()) }
    }

    /// The values of this tensor, whose shape is a possible one; `list` has them where they stood
    /// behind the JSON.
    fn values(&self, list: Option<&'a RawValue>) -> Result<Vec<&'a RawValue>, Problem> {
        let Self { name, shape, datatype, data, .. } = self;
        let Some(data) = list.or(*data) else { return Err(nothing("data")) };
        let name = quoted(name);
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        flatten(data, count, DIMENSIONS, &mut values)?;
        if values.len() != count {
            let have = values.len();
            return Err(malformed(format!("{name} has shape {shape:?}, and {have} values")));
        }
        let fits = kind(datatype).ok_or_else(|| {
            let datatype = quoted(datatype);
            malformed(format!(
                "{name} has datatype {datatype}, expected {BYTES}, {INT64} or {FP64}"
            ))
        })?;
        match values.iter().find(|value| value.get() != "null" && !fits(value.get())) {
            Some(_) => Err(malformed(format!("{name} holds what is no {datatype}"))),
            None => Ok(values),
        }
    }
}

/// What the values of a datatype look like.
fn kind(datatype: &str) -> Option<fn(&str) -> bool> {
    let number = |text: &str| text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let whole =
        |text: &str| text.strip_prefix('-').unwrap_or(text).bytes().all(|c| c.is_ascii_digit());
    match datatype {
        BYTES => Some(|text| text.starts_with('"')),
        "FP16" | "FP32" | FP64 => Some(number),
        "INT8" | "INT16" | "INT32" | INT64 | "UINT8" | "UINT16" | "UINT32" | "UINT64" => {
            Some(whole)
        }
        _ => None,
    }
}

/// Data may be nested like the shape, or flat.
fn flatten<'a>(
    data: &'a RawValue,
    most: usize,
    depth: usize,
    into: &mut Vec<&'a RawValue>,
) -> Result<(), Problem> {
    for value in elements(data, most, "data")? {
        if value.get().starts_with('[') && depth > 1 {
            flatten(value, most, depth - 1, into)?;
        } else {
            into.push(value);
        }
        if into.len() > most {
            return Err(malformed("there are more data than the shape says"));
        }
    }
    Ok(())
}

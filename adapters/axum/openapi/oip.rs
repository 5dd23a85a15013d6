//! The routes of the Open Inference Protocol.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, Schema, SchemaType, Type};
use utoipa::openapi::{Content, HeaderBuilder, ObjectBuilder, RefOr, Required};

use super::super::oip::datatype;
use super::shapes::{count, nullable, object, of, reference, text, version};
use super::{body, json_of, operation};
use crate::lifecycle::ServingModel;
use crate::registry::ModelName;
use crate::schema::Feature;

/// An error in the shape of the protocol.
const ERROR: &str = "OpenInferenceError";

/// The media type of JSON with tensors behind it.
const OCTETS: &str = "application/octet-stream";

/// The operations, by path.
pub(super) fn all(
    name: &ModelName,
    model: Option<&ServingModel>,
) -> Vec<(String, HttpMethod, OperationBuilder)> {
    let get = |path: &str, id: &str, summary: &str, shape: &str| {
        let operation = operation(id, summary).tag("open-inference");
        let operation = operation.response("200", json_of(summary, shape));
        (path.to_owned(), HttpMethod::Get, failing(operation, &[]))
    };
    let mut all = vec![
        get("/v2", "oip_server", "The server", "OpenInferenceServer"),
        get("/v2/health/live", "oip_live", "Whether the process runs", "OpenInferenceLive"),
    ];
    let (path, method, ready) = get(
        "/v2/health/ready",
        "oip_ready",
        "Whether predictions would be answered now",
        "OpenInferenceReady",
    );
    all.push((
        path,
        method,
        ready.response("400", json_of("They would not", "OpenInferenceReady")),
    ));
    for (at, suffix) in [("", ""), ("/versions/{version}", "_of_version")] {
        let of_model = |operation: OperationBuilder| {
            let missing = "It is not in service here";
            let mut operation = operation.parameter(named("name", name.as_str()));
            if !at.is_empty() {
                let version = model.map_or_else(|| "1".to_owned(), |m| m.version().to_string());
                operation = operation.parameter(named("version", &version));
            }
            failing(operation, &[("404", missing), ("503", "No model is loaded")])
        };
        for (rest, id, summary, shape) in [
            ("", "oip_model", "The inputs and outputs of the model", "OpenInferenceModel"),
            (
                "/ready",
                "oip_model_ready",
                "Whether the model is in service",
                "OpenInferenceModelReady",
            ),
        ] {
            let path = format!("/v2/models/{{name}}{at}{rest}");
            let (_, method, operation) = get("", &format!("{id}{suffix}"), summary, shape);
            all.push((path, method, of_model(operation)));
        }
        let operation = operation(&format!("oip_infer{suffix}"), "Predict for rows in tensors")
            .tag("open-inference")
            .description(Some(
                "One tensor per feature, named like it, or one tensor of another name: JSON \
                 objects of features as BYTES, or numbers of shape [n, features]. All rows are \
                 predicted or none; they are validated, logged and watched like those of \
                 `/api/v1/predict`. Tensors may come and go by the extension for binary tensor data: \
                 behind the JSON, whose length is in `Inference-Header-Content-Length`. A request \
                 without a content type is read as JSON.",
            ))
            .parameter(json_length())
            .request_body(Some(request(model)))
            .response("200", predictions());
        let operation = failing(
            of_model(operation),
            &[
                ("400", "Everything that is wrong with the request"),
                ("408", "The body did not arrive in time"),
                ("409", "The id was used with other features"),
                ("413", "The body is too large, or there are too many rows"),
                (
                    "415",
                    "The body is compressed, or neither application/json nor, with \
                     `Inference-Header-Content-Length`, application/octet-stream",
                ),
            ],
        );
        let late = format!("{}, unless it is one with a UUID as `id`", super::LATE);
        let operation = operation.response("504", json_of(&late, ERROR));
        all.push((format!("/v2/models/{{name}}{at}/infer"), HttpMethod::Post, operation));
    }
    all
}

fn failing(operation: OperationBuilder, failures: &[(&str, &str)]) -> OperationBuilder {
    let everywhere = [("500", "Something went wrong here"), ("504", "The request took too long")];
    let all = failures.iter().chain(&everywhere);
    all.fold(operation, |operation, (status, what)| {
        let mut failure = json_of(what, ERROR);
        if *status == "503" {
            failure = super::waiting(failure);
        }
        operation.response(*status, failure)
    })
}

/// A part of a path that has one value here.
fn named(part: &str, value: &str) -> ParameterBuilder {
    let schema = of(Type::String).enum_values(Some([value])).build();
    ParameterBuilder::new()
        .name(part)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
}

/// Where the JSON of a request with binary tensors ends.
fn json_length() -> ParameterBuilder {
    ParameterBuilder::new()
        .name("Inference-Header-Content-Length")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Bytes of the JSON, behind which tensors stand; without it all is JSON"))
        .schema(Some(count()))
}

/// JSON with tensors behind it.
fn octets() -> RefOr<Content> {
    let bytes = of(Type::String).content_media_type(OCTETS).build();
    RefOr::T(Content::new(Some(bytes)))
}

fn request(model: Option<&ServingModel>) -> RequestBody {
    let mut request = body(reference("OpenInferenceRequest"), example(model));
    request.content.insert(OCTETS.to_owned(), octets());
    request
}

/// As JSON, or with binary tensors where they are asked for.
fn predictions() -> Response {
    let mut answer = json_of("The predictions", "OpenInferenceAnswer");
    answer.content.insert(OCTETS.to_owned(), octets());
    let length = HeaderBuilder::new()
        .schema(Some(count()))
        .description(Some("Bytes of the JSON, where tensors stand behind it"));
    answer.headers.insert("Inference-Header-Content-Length".to_owned(), length.build().into());
    answer
}

/// A request for one row, from the example of the features.
fn example(model: Option<&ServingModel>) -> Option<serde_json::Value> {
    let model = model?;
    let row = super::features::example(model.schema());
    let input = |feature: &Feature| {
        let datatype = datatype(feature);
        let data = [&row[feature.name()]];
        json!({ "name": feature.name(), "shape": [1], "datatype": datatype, "data": data })
    };
    let inputs: Vec<_> = model.schema().features().iter().map(input).collect();
    Some(json!({ "inputs": inputs }))
}

/// The bodies of these routes.
pub(super) fn shapes() -> Vec<(&'static str, Object)> {
    let truth = || of(Type::Boolean).build();
    let anything = || ObjectBuilder::new().schema_type(SchemaType::AnyValue).build();
    let datatype = of(Type::String).enum_values(Some([
        "BYTES", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16",
        "UINT32", "UINT64",
    ]));
    let shape = ArrayBuilder::new().items(count()).min_items(Some(1)).max_items(Some(2)).build();
    let list = |of: Object| Schema::Array(Array::new(of));
    let parameters = |name: &str, of: ObjectBuilder| {
        let both = [Type::Object, Type::Null].into_iter().collect::<SchemaType>();
        ObjectBuilder::new().schema_type(both).property(name, nullable(of).build()).build()
    };
    let size = of(Type::Integer).minimum(Some(0_usize));
    let tensor = object([
        ("name", text().into()),
        ("shape", Schema::Array(shape).into()),
        ("datatype", datatype.build().into()),
    ])
    .description(Some("With `data`, or with the bytes that are behind the JSON"))
    .property("data", list(anything()))
    .property("parameters", parameters("binary_data_size", size));
    let described = object([
        ("name", text().into()),
        ("datatype", text().into()),
        ("shape", list(of(Type::Integer).build()).into()),
    ])
    .build();
    let inputs = ArrayBuilder::new().items(reference("OpenInferenceTensor")).min_items(Some(1));
    let wanted = object([("name", text().into())])
        .property("parameters", parameters("binary_data", of(Type::Boolean)))
        .build();
    let wanted = ArrayBuilder::new()
        .items(wanted)
        .schema_type([Type::Array, Type::Null].into_iter().collect::<SchemaType>())
        .build();
    let request = object([("inputs", Schema::Array(inputs.build()).into())])
        .property("id", nullable(of(Type::String)).build())
        .property("outputs", Schema::Array(wanted))
        .property("parameters", parameters("binary_data_output", of(Type::Boolean)));
    let answer = object([
        ("model_name", text().into()),
        ("model_version", version().build().into()),
        ("outputs", Schema::Array(Array::new(reference("OpenInferenceTensor"))).into()),
    ])
    .property("id", text())
    .property("parameters", ObjectBuilder::new().build());
    vec![
        (ERROR, object([("error", text().into())]).build()),
        ("OpenInferenceLive", object([("live", truth().into())]).build()),
        ("OpenInferenceReady", object([("ready", truth().into())]).build()),
        (
            "OpenInferenceModelReady",
            object([("name", text().into()), ("ready", truth().into())]).build(),
        ),
        (
            "OpenInferenceServer",
            object([
                ("name", text().into()),
                ("version", text().into()),
                ("extensions", list(text()).into()),
            ])
            .build(),
        ),
        (
            "OpenInferenceModel",
            object([
                ("name", text().into()),
                ("versions", list(version().build()).into()),
                ("platform", text().into()),
                ("inputs", list(described.clone()).into()),
                ("outputs", list(described).into()),
            ])
            .build(),
        ),
        ("OpenInferenceTensor", tensor.build()),
        ("OpenInferenceRequest", request.build()),
        ("OpenInferenceAnswer", answer.build()),
    ]
}

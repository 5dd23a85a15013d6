//! The routes of MLflow's scoring server.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, Array, Object, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};

use super::shapes::{closed, id, object, of, reference, text, texts};
use super::{body, described, json_of, operation};
use crate::lifecycle::ServingModel;
use crate::record::Target;

/// An error in the shape of MLflow.
const ERROR: &str = "MlflowError";

const TEXT: &str = "text/plain; charset=utf-8";

/// The operations, by path.
pub(super) fn all(model: Option<&ServingModel>) -> Vec<(String, HttpMethod, OperationBuilder)> {
    let example = model
        .map(|model| json!({ "dataframe_records": [super::features::example(model.schema())] }));
    let mut invocations = operation("mlflow_invocations", "Predict for the rows of a data frame")
        .tag("mlflow")
        .description(Some(
            "One of the four. All rows are predicted or none; they are validated, logged and \
             watched like those of `/api/v1/predict`.",
        ))
        .request_body(Some(body(reference("MlflowInvocation"), example)))
        .response("200", json_of("A record for each row", "MlflowPredictions"))
        .response("503", super::waiting(json_of("Not now, but soon", ERROR)));
    for (status, what) in [
        ("400", "Everything that is wrong with the request"),
        ("408", "The body did not arrive in time"),
        ("413", "The body is too large, or there are too many rows"),
        ("415", "The body is not application/json, or compressed"),
        ("500", "Something went wrong here"),
        ("504", super::LATE),
    ] {
        invocations = invocations.response(status, json_of(what, ERROR));
    }
    let plain = |id: &str, summary: &str| {
        let text = described(summary, &[(TEXT, RefOr::T(text().into()))]);
        operation(id, summary)
            .tag("mlflow")
            .response("200", text)
            .response("500", json_of("Something went wrong here", ERROR))
            .response("504", json_of("The request took too long", ERROR))
    };
    let unready = described("They would not", &[(TEXT, RefOr::T(text().into()))]);
    let ping = plain("mlflow_ping", "Whether predictions would be answered now");
    vec![
        ("/invocations".to_owned(), HttpMethod::Post, invocations),
        ("/ping".to_owned(), HttpMethod::Get, ping.response("503", unready)),
        (
            "/version".to_owned(),
            HttpMethod::Get,
            plain("mlflow_version", "The version of this service"),
        ),
    ]
}

/// The bodies of these routes.
pub(super) fn shapes(target: Target) -> Vec<(&'static str, Object)> {
    let anything = || ObjectBuilder::new().schema_type(SchemaType::AnyValue).build();
    let list = |of: Object| Schema::Array(Array::new(of));
    let row = || Schema::Array(Array::new(anything()));
    let split =
        object([("columns", texts().into()), ("data", Schema::Array(Array::new(row())).into())])
            .property("index", anything());
    let rows_or_columns = || {
        let either = AnyOfBuilder::new().item(row()).item(ObjectBuilder::new().build());
        Schema::AnyOf(either.build())
    };
    let invocation = ObjectBuilder::new()
        .property("dataframe_split", closed(split))
        .property("dataframe_records", row())
        .property("instances", rows_or_columns())
        .property("inputs", rows_or_columns())
        .property("params", anything())
        .min_properties(Some(1));
    let class = of(Type::Integer).enum_values(Some([0, 1])).build();
    let probability = of(Type::Number).minimum(Some(0_usize)).maximum(Some(1_usize)).build();
    let record = object([("request_id", id().into())]).property("warnings", texts());
    let record = match target {
        Target::Number => record.property("prediction", of(Type::Number).build()),
        _ => record
            .property("prediction", class)
            .property("probability", probability)
            .required("probability"),
    };
    let record = record.required("prediction").build();
    vec![
        (ERROR, object([("error_code", text().into()), ("message", text().into())]).build()),
        ("MlflowInvocation", closed(invocation)),
        ("MlflowPredictions", object([("predictions", list(record).into())]).build()),
    ]
}

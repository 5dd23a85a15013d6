//! The routes that take many rows.

use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{
    AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type,
};
use utoipa::openapi::{RefOr, Required};

use super::shapes::{
    closed, count, id_or_null, millis, model_name, nullable, object, of, reference, text, texts,
    version,
};
use super::{body, error, features, json_of, operation, with_body};
use crate::lifecycle::ServingModel;
use crate::record::Target;
use crate::registry::ModelName;

/// `POST /api/v1/predict/batch`
pub(super) fn batch(model: Option<&ServingModel>) -> OperationBuilder {
    let example = model.map(|model| json!({ "instances": [features::example(model.schema())] }));
    let operation = operation("predict_batch", "Predict for many rows").tag("predict");
    many(operation, "BatchRequest", "Results", example)
        .description(Some(
            "Each row is answered, logged and replayed as if it had come alone, in order; one that \
             cannot be is answered with an error in its place, and has the status that it would \
             have had alone. With `atomic=true` all are predicted or none is.",
        ))
        .response("500", error("A model answered no valid prediction, and `atomic` is true"))
}

/// `POST /api/v1/observations`
pub(super) fn observations(model: Option<&ServingModel>) -> OperationBuilder {
    let example = model.map(|model| {
        let mut one = json!({ "features": features::example(model.schema()) });
        match model.model().task().target() {
            Target::Number => one["prediction"] = json!(1_250.5),
            _ => one["probability"] = json!(0.374),
        }
        json!({ "observations": [one] })
    });
    let operation = operation("record_observations", "Tell predictions that were made elsewhere");
    many(operation, "ObservationsRequest", "Results", example).description(Some(
        "They are validated, binned, logged and watched like those of this service, under the \
         version in service, whose profile bins them; `model_version` makes sure that it is the \
         one that the sender means. Rows that cannot be are answered with an error in their place, \
         or with `atomic=true` keep all others from the log.",
    ))
}

fn many(
    operation: OperationBuilder,
    request: &str,
    answer: &str,
    example: Option<Value>,
) -> OperationBuilder {
    let atomic = ParameterBuilder::new()
        .name("atomic")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("All rows or none"))
        .schema(Some(of(Type::Boolean).build()));
    with_body(operation)
        .parameter(atomic)
        .request_body(Some(body(reference(request), example)))
        .response("200", json_of("What each row is answered", answer))
        .response("400", super::invalid("Everything that is wrong"))
        .response("409", error("A request_id was used with other features, and `atomic` is true"))
}

/// At least one row, and at most `most`. One that is not as it should be is answered with an error
/// in its place, so that anything may stand there.
fn rows(shapes: &[&str], most: usize) -> Array {
    let anything = ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
        .description(Some("Anything else is answered with an error in its place"))
        .build();
    let any = shapes.iter().fold(AnyOfBuilder::new(), |any, shape| any.item(reference(shape)));
    let items = Schema::AnyOf(any.item(anything).build());
    ArrayBuilder::new().items(RefOr::T(items)).min_items(Some(1)).max_items(Some(most)).build()
}

/// The bodies of these routes.
pub(super) fn all(name: &ModelName, target: Target, most: usize) -> Vec<(&'static str, Object)> {
    let optional = |kind: Type| nullable(of(kind));
    let features = object([("features", reference("Features"))])
        .property("request_id", id_or_null())
        .property(
            "latency_ms",
            optional(Type::Number).minimum(Some(0_usize)).maximum(Some(86_400_000_usize)).build(),
        )
        .property("model_version", nullable(version()).build());
    let probability = of(Type::Number).minimum(Some(0_usize)).maximum(Some(1_usize)).build();
    let observation = match target {
        Target::Number => {
            features.property("prediction", of(Type::Number).build()).required("prediction")
        }
        _ => features.property("probability", probability).required("probability").property(
            "prediction",
            optional(Type::Integer)
                .enum_values(Some([json!(0), json!(1), Value::Null]))
                .description(Some("Where the threshold is another than that of the version")),
        ),
    };
    let row_error = object([
        ("status", of(Type::Integer).build().into()),
        ("code", text().into()),
        ("message", text().into()),
        ("errors", Schema::Array(Array::new(reference("ProblemDetail"))).into()),
        ("warnings", texts().into()),
    ])
    .property("request_id", super::shapes::id());
    let result = AnyOfBuilder::new().item(reference("Prediction")).item(reference("RowFailure"));
    let results = object([
        ("results", Schema::Array(Array::new(Schema::AnyOf(result.build()))).into()),
        ("succeeded", count().into()),
        ("failed", count().into()),
        ("model_name", model_name(name).into()),
        ("model_version", version().build().into()),
        ("latency_ms", millis().into()),
    ]);
    vec![
        (
            "BatchRequest",
            closed(object([(
                "instances",
                Schema::Array(rows(&["Features", "PredictRequest"], most)).into(),
            )])),
        ),
        (
            "ObservationsRequest",
            closed(object([("observations", Schema::Array(rows(&["Observation"], most)).into())])),
        ),
        ("Observation", closed(observation)),
        ("RowFailure", closed(object([("error", row_error.build().into())]))),
        ("Results", results.build()),
    ]
}

//! The bodies that do not depend on the feature schema.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

use super::super::request::MOST_FIELDS;
use crate::record::Target;
use crate::registry::ModelName;

/// A request id, for examples.
pub(super) const EXAMPLE_ID: &str = "0195f3a0-0000-7000-8000-00000000002a";

const UUID: &str = "uuid";
pub(super) const DATE_TIME: &str = "date-time";

pub(super) fn of(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

pub(super) fn text() -> Object {
    of(Type::String).build()
}

pub(super) fn formatted(format: &str) -> ObjectBuilder {
    of(Type::String).format(Some(SchemaFormat::Custom(format.to_owned())))
}

/// The same, or null.
pub(super) fn nullable(object: ObjectBuilder) -> ObjectBuilder {
    let object = object.build();
    let kind = match &object.schema_type {
        SchemaType::Type(kind) => kind.clone(),
        _ => Type::String,
    };
    ObjectBuilder::from(object).schema_type([kind, Type::Null].into_iter().collect::<SchemaType>())
}

pub(super) fn id_or_null() -> Object {
    nullable(formatted(UUID))
        .description(Some("Names the request; sent again, it gets its first answer"))
        .examples([EXAMPLE_ID])
        .build()
}

pub(super) fn model_name(name: &ModelName) -> Object {
    of(Type::String).examples([name.as_str()]).build()
}

pub(super) fn id() -> Object {
    formatted(UUID).examples([EXAMPLE_ID]).build()
}

pub(super) fn version() -> ObjectBuilder {
    of(Type::String).pattern(Some("^[1-9][0-9]*$")).examples(["1"])
}

pub(super) fn texts() -> Schema {
    Schema::Array(Array::new(text()))
}

pub(super) fn count() -> Object {
    of(Type::Integer).minimum(Some(0_usize)).build()
}

pub(super) fn one_of(texts: &[&str]) -> Object {
    of(Type::String).enum_values(Some(texts.iter().copied())).build()
}

pub(super) fn millis() -> Object {
    of(Type::Number).minimum(Some(0_usize)).build()
}

pub(super) fn digest() -> Object {
    of(Type::String).pattern(Some("^[0-9a-f]{64}$")).build()
}

pub(super) type Property = (&'static str, RefOr<Schema>);

/// An object of which every property is there.
pub(super) fn object(properties: impl IntoIterator<Item = Property>) -> ObjectBuilder {
    let add = |object: ObjectBuilder, (name, schema): Property| {
        object.property(name, schema).required(name)
    };
    properties.into_iter().fold(ObjectBuilder::new(), add)
}

pub(super) fn closed(object: ObjectBuilder) -> Object {
    object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false))).build()
}

pub(super) fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// The answer of a model called `name`, and an example of it.
fn prediction(name: &ModelName, target: Target) -> Object {
    let probability = || of(Type::Number).minimum(Some(0_usize)).maximum(Some(1_usize)).build();
    let class = of(Type::Integer).enum_values(Some([0, 1])).build();
    let (predicted, probability, example) = match target {
        Target::Number => (of(Type::Number).build(), None, json!(1_250.5)),
        _ => (class, Some(("probability", probability().into())), json!(0)),
    };
    let mut answer = json!({ "request_id": EXAMPLE_ID, "prediction": example });
    if probability.is_some() {
        answer["probability"] = json!(0.374);
    }
    for (field, value) in [
        ("model_name", json!("churn-classifier")),
        ("model_version", json!("1")),
        ("latency_ms", json!(0.05)),
        ("warnings", json!([])),
    ] {
        answer[field] = value;
    }
    let first = [("request_id", id().into()), ("prediction", predicted.into())];
    let rest = [
        ("model_name", model_name(name).into()),
        ("model_version", version().build().into()),
        ("latency_ms", millis().into()),
        ("warnings", texts().into()),
    ];
    object(first.into_iter().chain(probability).chain(rest)).examples([answer]).build()
}

/// All of them, by name, for a model of such a target.
pub(super) fn all(
    name: &ModelName,
    target: Target,
) -> impl Iterator<Item = (&'static str, Schema)> {
    let prediction = prediction(name, target);
    let truth = of(Type::Number);
    let truth = match target {
        Target::Number => truth.build(),
        _ => truth.enum_values(Some([0, 1])).build(),
    };
    let name = || model_name(name);
    let invalid = object([
        ("message", text().into()),
        ("errors", texts().into()),
        ("warnings", texts().into()),
    ])
    .build();
    let other =
        object([("code", text().into()), ("message", text().into())]).property("request_id", id());
    let other = other.property("job_id", id());
    let detail = OneOfBuilder::new().item(other.build()).item(invalid.clone()).build();
    let problem = object([
        ("type", text().into()),
        ("title", text().into()),
        ("status", of(Type::Integer).build().into()),
        ("code", text().into()),
        ("detail", text().into()),
    ])
    .property("request_id", id())
    .property("job_id", id())
    .property("errors", Schema::Array(Array::new(reference("ProblemDetail"))))
    .property("warnings", texts());
    let problem_detail = object([
        ("pointer", of(Type::String).description(Some("A JSON pointer")).build().into()),
        ("code", text().into()),
        ("message", text().into()),
    ]);
    let model = object([
        ("name", name().into()),
        ("version", version().build().into()),
        ("alias", text().into()),
        ("source", one_of(&["registry", "cache"]).into()),
        ("source_since", formatted(DATE_TIME).build().into()),
        ("loaded_at", formatted(DATE_TIME).build().into()),
        ("load_time_ms", millis().into()),
        ("digest", digest().into()),
        ("schema", digest().into()),
        ("profile", digest().into()),
    ]);
    let previous = nullable(version()).build();
    let reloaded = object([
        ("status", one_of(&["reloaded"]).into()),
        ("previous_version", previous.into()),
        ("current_version", version().build().into()),
        ("model", reference("Model")),
    ]);
    let health = object([
        ("status", one_of(&["healthy", "degraded"]).into()),
        ("timestamp", formatted(DATE_TIME).build().into()),
        ("version", text().into()),
        ("database", one_of(&["healthy", "unhealthy"]).into()),
    ]);
    let outcome = object([("request_id", id().into()), ("outcome", truth.into())])
        .property("observed_at", nullable(formatted(DATE_TIME)).build());
    let window = object([
        ("start", formatted(DATE_TIME).build().into()),
        ("end", formatted(DATE_TIME).build().into()),
    ]);
    let live = object([
        ("model_name", name().into()),
        ("model_version", version().build().into()),
        ("at", formatted(DATE_TIME).build().into()),
        ("window", reference("Window")),
        ("covered_from", formatted(DATE_TIME).build().into()),
        ("whole", of(Type::Boolean).build().into()),
        ("late", count().into()),
        ("report", reference("DriftReport")),
    ]);
    let anything = || ObjectBuilder::new().build();
    let objects = || Schema::Array(Array::new(anything()));
    let verdict = object([(
        "kind",
        one_of(&[
            "stable",
            "feature_drift",
            "drift",
            "insufficient_data",
            "no_traffic",
            "not_comparable",
        ])
        .into(),
    )]);
    let feature = object([
        ("name", text().into()),
        ("psi", of(Type::Number).build().into()),
        ("severity", text().into()),
        ("status", text().into()),
        ("sentence", text().into()),
    ]);
    let report = object([
        ("report_version", count().into()),
        ("verdict", verdict.build().into()),
        ("profile", digest().into()),
        ("reference_rows", count().into()),
        ("current_rows", count().into()),
        ("rejected_requests", count().into()),
        ("settings", anything().into()),
        ("features", Schema::Array(Array::new(feature.build())).into()),
        ("signals", objects().into()),
    ]);
    let number = || nullable(of(Type::Number)).build();
    let compared = object([
        ("rows", count().into()),
        ("failed", count().into()),
        ("agreement", number().into()),
        ("mean_absolute_difference", number().into()),
        ("largest_difference", number().into()),
        ("score_psi", number().into()),
        ("champion_latency_ms", number().into()),
        ("shadow_latency_ms", number().into()),
        ("latency_ratio", number().into()),
    ]);
    let nothing = of(Type::Null).build();
    let compared = OneOfBuilder::new().item(compared.build()).item(nothing);
    let shadow = object([
        ("model_name", name().into()),
        ("champion_version", nullable(version()).build().into()),
        ("shadow_version", nullable(version()).build().into()),
        ("why_not", nullable(of(Type::String)).build().into()),
        ("since", nullable(formatted(DATE_TIME)).build().into()),
        ("missed", count().into()),
        ("not_logged", count().into()),
        ("comparison", Schema::OneOf(compared.build()).into()),
    ]);
    let ready = object([("status", one_of(&["ready", "degraded", "not_ready", "alive"]).into())])
        .property("reason", text());
    [
        (
            "PredictRequest",
            object([("features", reference("Features"))])
                .property("request_id", id_or_null())
                .max_properties(Some(MOST_FIELDS))
                .build(),
        ),
        ("Prediction", prediction),
        ("ValidationError", object([("detail", invalid.into())]).build()),
        ("Error", object([("detail", Schema::OneOf(detail).into())]).build()),
        ("Problem", problem.build()),
        ("ProblemDetail", problem_detail.build()),
        ("Model", model.build()),
        ("Reloaded", reloaded.build()),
        ("Health", health.build()),
        ("Ready", ready.build()),
        ("Window", window.build()),
        ("LiveReport", live.build()),
        ("DriftReport", report.build()),
        ("Shadow", shadow.build()),
        ("Outcome", closed(outcome)),
        (
            "OutcomeReceipt",
            object([
                ("recorded", count().into()),
                ("unchanged", count().into()),
                ("corrected", count().into()),
            ])
            .build(),
        ),
    ]
    .into_iter()
    .map(|(name, object)| (name, Schema::Object(object)))
}

//! The bodies of the operators' routes.

use utoipa::openapi::schema::{
    AdditionalProperties, Array, Object, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

use super::super::records::MOST_ACTION;
use super::shapes::{
    DATE_TIME, count, formatted, id, nullable, object, of, one_of, reference, text, texts, version,
};

fn moment() -> Object {
    formatted(DATE_TIME).build()
}

fn no_or(object: ObjectBuilder) -> Object {
    nullable(object).build()
}

fn no_or_number() -> Object {
    let kinds: SchemaType = [Type::Number, Type::Null].into_iter().collect();
    ObjectBuilder::new().schema_type(kinds).build()
}

fn no_or_truth() -> Object {
    let kinds: SchemaType = [Type::Boolean, Type::Null].into_iter().collect();
    ObjectBuilder::new().schema_type(kinds).build()
}

fn anything() -> Object {
    ObjectBuilder::new().build()
}

fn no_or_object() -> Object {
    let kinds: SchemaType = [Type::Object, Type::Null].into_iter().collect();
    ObjectBuilder::new().schema_type(kinds).build()
}

fn truth() -> Object {
    of(Type::Boolean).build()
}

fn no_or_moment() -> Object {
    no_or(formatted(DATE_TIME))
}

fn no_or_id() -> Object {
    no_or(formatted("uuid"))
}

fn no_or_text() -> Object {
    no_or(of(Type::String))
}

fn severity() -> Object {
    one_of(&["none", "moderate", "significant", "major"])
}

/// A page of such items.
fn page(of_items: &str) -> Object {
    let items = Schema::Array(Array::new(reference(of_items)));
    object([("items", items.into()), ("next", no_or_text().into())]).build()
}

/// All of them, by name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Schema)> {
    let verdict: RefOr<Schema> =
        Ref::new("#/components/schemas/DriftReport/properties/verdict").into();
    let run = object([
        ("id", id().into()),
        ("model", text().into()),
        ("version", version().build().into()),
        ("window", reference("Window")),
        ("created_at", moment().into()),
        ("report", reference("DriftReport")),
    ]);
    let summary = object([
        ("id", id().into()),
        ("model", text().into()),
        ("version", version().build().into()),
        ("window", reference("Window")),
        ("created_at", moment().into()),
        ("verdict", verdict),
        ("current_rows", count().into()),
        ("rejected_requests", count().into()),
        ("drifted", texts().into()),
        ("max_psi", no_or_number().into()),
    ]);
    let alert = object([
        ("id", id().into()),
        ("model", text().into()),
        ("version", version().build().into()),
        ("key", text().into()),
        ("drift_run", no_or_id().into()),
        ("last_run", no_or_id().into()),
        ("severity", severity().into()),
        ("message", text().into()),
        ("features", texts().into()),
        ("opened_at", moment().into()),
        ("acknowledged_at", no_or_moment().into()),
        ("action_taken", no_or_text().into()),
        ("retraining_run", no_or_id().into()),
        ("quiet_runs", count().into()),
        ("resolved_at", no_or_moment().into()),
    ])
    .property("deliveries", Schema::Array(Array::new(reference("AlertDelivery"))));
    let delivery = object([
        ("sink", text().into()),
        ("event", one_of(&["opened", "resolved"]).into()),
        ("state", one_of(&["pending", "delivered", "superseded", "dead"]).into()),
        ("attempts", count().into()),
        ("last_error", no_or_text().into()),
        ("updated_at", moment().into()),
    ]);
    let retraining = object([
        ("id", id().into()),
        ("model", text().into()),
        ("trigger", one_of(&["drift", "scheduled", "manual"]).into()),
        ("alert", no_or_id().into()),
        ("drift_run", no_or_id().into()),
        ("state", one_of(&["running", "completed", "skipped", "failed", "abandoned"]).into()),
        ("step", text().into()),
        ("attempts", count().into()),
        ("data", no_or_text().into()),
        ("challenger", no_or(version()).into()),
        ("decision", no_or_id().into()),
        ("promoted", no_or_truth().into()),
        ("message", no_or_text().into()),
        ("details", anything().into()),
        ("started_at", moment().into()),
        ("finished_at", no_or_moment().into()),
    ]);
    let decision = object([
        ("id", id().into()),
        ("model", text().into()),
        ("kind", one_of(&["promotion", "rollback", "restore", "external"]).into()),
        ("champion", no_or(version()).into()),
        ("challenger", version().build().into()),
        ("promoted", truth().into()),
        ("reason", text().into()),
        ("state", one_of(&["intended", "done", "cancelled"]).into()),
        ("retraining_run", no_or_id().into()),
        ("record", no_or_object().into()),
        ("created_at", moment().into()),
        ("updated_at", moment().into()),
    ]);
    let job = object([
        ("id", id().into()),
        ("kind", one_of(&["monitor", "retrain"]).into()),
        ("state", one_of(&["running", "done", "failed"]).into()),
        ("started_at", moment().into()),
        ("finished_at", no_or_moment().into()),
        ("run", no_or_id().into()),
        ("message", no_or_text().into()),
    ]);
    let closed = |object: ObjectBuilder| {
        object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false))).build()
    };
    // Control characters are refused, but for line ends and tabs.
    let action = nullable(of(Type::String).max_length(Some(MOST_ACTION)))
        .pattern(Some(r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"));
    let retrain = ObjectBuilder::new().property("force", truth());
    let acknowledgement = ObjectBuilder::new().property("action_taken", action.build());
    let family = object([
        ("name", text().into()),
        ("help", text().into()),
        ("type", one_of(&["counter", "gauge", "histogram"]).into()),
        ("samples", Schema::Array(Array::new(anything())).into()),
    ]);
    let metrics = object([("metrics", Schema::Array(Array::new(family.build())).into())]);
    [
        ("DriftRun", run.build()),
        ("DriftRunSummary", summary.build()),
        ("DriftRuns", page("DriftRunSummary")),
        ("Alert", alert.build()),
        ("AlertDelivery", delivery.build()),
        ("Alerts", page("Alert")),
        ("RetrainingRun", retraining.build()),
        ("RetrainingRuns", page("RetrainingRun")),
        ("Decision", decision.build()),
        ("Decisions", page("Decision")),
        ("Job", job.build()),
        ("RetrainRequest", closed(retrain)),
        ("Acknowledgement", closed(acknowledgement)),
        ("Metrics", metrics.build()),
    ]
    .into_iter()
    .map(|(name, object)| (name, Schema::Object(object)))
}

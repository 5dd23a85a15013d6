//! `GET /openapi.json`: OpenAPI 3.1, made from the schema of the version in service.

mod features;
#[cfg(feature = "mlflow-scoring")]
mod mlflow_scoring;
#[cfg(feature = "oip")]
mod oip;
mod operator_shapes;
mod operators;
mod rows;
mod shapes;

use std::fmt;

use ::axum::body::Body;
use ::axum::extract::{OriginalUri, State as Shared};
use ::axum::http::header::{CONTENT_TYPE, HeaderValue};
use ::axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response as Described, ResponseBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, HeaderBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
    OpenApiVersion, Ref, RefOr, Required, Server,
};

use super::problem::PROBLEM_JSON;
use super::state::State;
use crate::lifecycle::ServingModel;
use crate::record::Target;
use crate::registry::ModelName;

const JSON: &str = "application/json";

/// Name of the security scheme of the admin routes.
const TOKEN: &str = "admin_token";

/// The document, but for where it is mounted.
#[derive(Clone)]
pub(super) struct Document(OpenApi);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

/// `GET /openapi.json`
pub(super) async fn serve(Shared(state): Shared<State>, OriginalUri(uri): OriginalUri) -> Response {
    let (token, most) = (state.admin.has_token(), state.most_rows());
    let Document(mut document) = match state.models.current() {
        Some(loaded) => {
            let make = || Document::of(state.models.name(), Some(&loaded.model), token, most);
            loaded.openapi.get_or_init(make).clone()
        }
        None => Document::of(state.models.name(), None, token, most),
    };
    // Relative to the host, whatever it is called.
    let prefix = uri.path().strip_suffix("/openapi.json").unwrap_or_default();
    let prefix = if prefix.is_empty() { "/" } else { prefix };
    document.servers = Some(vec![Server::new(prefix)]);
    // Texts and finite numbers: there is nothing that JSON could refuse.
    let json = document.to_json().unwrap_or_default();
    ([(CONTENT_TYPE, HeaderValue::from_static(JSON))], Body::from(json)).into_response()
}

impl Document {
    /// The document of a service for `model` that takes at most `most` rows at a time; without a
    /// version, features are any object.
    pub(super) fn of(
        name: &ModelName,
        model: Option<&ServingModel>,
        token: bool,
        most: usize,
    ) -> Self {
        let admin = |operation: OperationBuilder| {
            let operation = operation.tag("admin");
            if token {
                let no_scopes: [String; 0] = [];
                operation
                    .security(SecurityRequirement::new(TOKEN, no_scopes))
                    .response("401", error("The admin token is missing or wrong"))
                    .response("403", error("The host or the origin is not allowed"))
            } else {
                operation.response("403", error("Not from this machine"))
            }
        };
        let mut paths = Paths::new();
        let mut add = |path: &str, method: HttpMethod, operation: OperationBuilder| {
            let operation: Operation = operation.build();
            paths.add_path_operation(path, vec![method], operation);
        };
        add("/api/v1/predict", HttpMethod::Post, predict(model));
        add("/api/v1/predict/batch", HttpMethod::Post, rows::batch(model));
        let once = |operation| admin(operators::with_key(operation));
        add("/api/v1/observations", HttpMethod::Post, once(rows::observations(model)));
        add("/api/v1/outcomes", HttpMethod::Post, once(outcomes()));
        add("/api/v1/drift/live", HttpMethod::Get, drift_live());
        add("/api/v1/shadow", HttpMethod::Get, shadow());
        add("/model", HttpMethod::Get, model_info());
        add("/model/reload", HttpMethod::Post, once(reload()));
        add("/healthz", HttpMethod::Get, healthz());
        add("/livez", HttpMethod::Get, checks("livez", "Whether the process runs"));
        for path in ["ready", "readyz"] {
            let operation = checks(path, "Whether predictions would be answered now").response(
                "503",
                described("Not ready, with the reason", &[(JSON, reference("Ready"))]),
            );
            add(&format!("/{path}"), HttpMethod::Get, operation);
        }
        // Of a model that is not known yet no target is; most have classes.
        let target = model.map_or(Target::Binary, |model| model.model().task().target());
        let mut more = Vec::new();
        #[cfg(feature = "oip")]
        {
            oip::all(name, model).into_iter().for_each(|(path, method, op)| add(&path, method, op));
            more.extend(oip::shapes());
        }
        #[cfg(feature = "mlflow-scoring")]
        {
            let all = mlflow_scoring::all(model).into_iter();
            all.for_each(|(path, method, op)| add(&path, method, op));
            more.extend(mlflow_scoring::shapes(target));
        }
        for (path, operation) in operators::open() {
            add(path, HttpMethod::Get, operation);
        }
        for (path, method, operation) in operators::guarded() {
            add(path, method, admin(operation));
        }
        let features: Schema = match model {
            Some(model) => features::object(model.schema()).into(),
            None => ObjectBuilder::new()
                .description(Some("Known once a model is loaded"))
                .build()
                .into(),
        };
        let mut components = Components::new();
        components.schemas.insert("Features".to_owned(), features.into());
        let shapes = shapes::all(name, target).map(|(name, shape)| (name.to_owned(), shape.into()));
        components.schemas.extend(shapes);
        more.extend(rows::all(name, target, most));
        let shapes = more.into_iter();
        components.schemas.extend(shapes.map(|(name, shape)| (name.to_owned(), shape.into())));
        let more = operator_shapes::all().map(|(name, shape)| (name.to_owned(), shape.into()));
        components.schemas.extend(more);
        if token {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
            components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme));
        }
        everywhere(&mut paths);
        let description = "Every answer has an `x-request-id`. Errors are \
                           `{\"detail\": ...}`, or RFC 9457 with `Accept: \
                           application/problem+json`.";
        let document = OpenApiBuilder::new()
            .openapi(OpenApiVersion::Version31)
            .info(
                InfoBuilder::new()
                    .title(format!("pmmds: {name}"))
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(description))
                    .build(),
            )
            .paths(paths)
            .components(Some(components))
            .build();
        Self(document)
    }
}

fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn described(description: &str, contents: &[(&str, RefOr<Schema>)]) -> Described {
    let mut response = ResponseBuilder::new().description(description);
    for (media, schema) in contents {
        response = response.content(*media, Content::new(Some(schema.clone())));
    }
    response.build()
}

fn json_of(description: &str, schema: &str) -> Described {
    described(description, &[(JSON, reference(schema))])
}

/// An error in both of its shapes.
fn error(description: &str) -> Described {
    described(description, &[(JSON, reference("Error")), (PROBLEM_JSON, reference("Problem"))])
}

/// An error that says what is wrong with the body: as a list, or by itself where there is no body
/// to speak of.
fn invalid(description: &str) -> Described {
    let either = AnyOfBuilder::new().item(reference("ValidationError")).item(reference("Error"));
    let either = Schema::AnyOf(either.build());
    described(description, &[(JSON, either.into()), (PROBLEM_JSON, reference("Problem"))])
}

/// What every route can answer, and every answer has.
fn everywhere(paths: &mut Paths) {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9._-]{1,128}$"))
        .build();
    let id = HeaderBuilder::new().schema(Some(text)).description(Some("The id of the request"));
    let id = id.build();
    let operations = paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch]
    });
    for operation in operations.flatten() {
        let responses = &mut operation.responses.responses;
        for (status, what) in
            [("500", "Something went wrong here"), ("504", "The request took too long")]
        {
            responses.entry(status.to_owned()).or_insert_with(|| error(what).into());
        }
        for response in responses.values_mut() {
            if let RefOr::T(response) = response {
                response.headers.insert("x-request-id".to_owned(), id.clone().into());
            }
        }
    }
}

/// An error that passes by itself.
fn busy(description: &str) -> Described {
    waiting(error(description))
}

/// What 504 means where many rows come in the shape of another server.
#[cfg(any(feature = "oip", feature = "mlflow-scoring"))]
const LATE: &str = "The request took too long, or its rows are not in the log yet and will be: sent again, they \
     are a new request";

/// A response that says how long to wait.
fn waiting(mut response: Described) -> Described {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize)).build();
    let header =
        HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait")).build();
    response.headers.insert("Retry-After".to_owned(), header.into());
    response
}

fn body(schema: RefOr<Schema>, example: Option<Value>) -> RequestBody {
    let mut content = Content::new(Some(schema));
    content.example = example;
    RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build()
}

fn operation(id: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(id)).summary(Some(summary))
}

/// What can come of reading a body.
fn read_whole(operation: OperationBuilder) -> OperationBuilder {
    operation
        .response("408", error("The body did not arrive in time"))
        .response("413", error("The body is too large"))
}

/// What is wrong with a request that needs no body, but for one with a key.
fn no_key() -> Described {
    error("The Idempotency-Key is none, or the body ended too early")
}

/// What every route that takes a body can answer.
fn with_body(operation: OperationBuilder) -> OperationBuilder {
    read_whole(operation)
        .response("415", error("The body is not application/json, or compressed"))
        .response("503", busy("No model, too many requests, or the log takes no more"))
        .response("504", error("The request took too long"))
}

fn predict(model: Option<&ServingModel>) -> OperationBuilder {
    let example = model.map(|model| json!({ "features": features::example(model.schema()) }));
    let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["true"])).build();
    let header = HeaderBuilder::new()
        .schema(Some(text))
        .description(Some("The request_id was known: this is the answer that it got"))
        .build();
    let mut answer = json_of("The prediction", "Prediction");
    answer.headers.insert("idempotent-replayed".to_owned(), header.into());
    with_body(operation("predict", "Predict for one row").tag("predict"))
        .description(Some(
            "The prediction is logged before it is answered, or queued for it, as the service is \
             configured. A request that is sent again with its `request_id` gets its first answer.",
        ))
        .request_body(Some(body(reference("PredictRequest"), example)))
        .response("200", answer)
        .response("400", invalid("Everything that is wrong with the request"))
        .response("409", error("The request_id was used with other features"))
        .response("500", error("The model answered no valid prediction"))
}

fn outcomes() -> OperationBuilder {
    let example = json!([{ "request_id": shapes::EXAMPLE_ID, "outcome": 1 }]);
    let list = utoipa::openapi::schema::Array::new(reference("Outcome"));
    let invalid = invalid("Everything that is wrong with the outcomes; none of them is recorded");
    with_body(operation("record_outcomes", "Tell what really happened"))
        .description(Some("Idempotent. May come before the prediction is in the log."))
        .request_body(Some(body(Schema::Array(list).into(), Some(example))))
        .response("200", json_of("What became of them", "OutcomeReceipt"))
        .response("400", invalid)
}

fn model_info() -> OperationBuilder {
    operation("model", "The version in service")
        .tag("model")
        .response("200", json_of("The version", "Model"))
        .response("503", busy("No model is loaded"))
}

fn drift_live() -> OperationBuilder {
    operation("drift_live", "Drift of what this process has answered lately, as it is now")
        .tag("drift")
        .description(Some(
            "Counted in memory since the version came into service; other replicas count for \
             themselves. `whole` says whether the window was counted from its start.",
        ))
        .response("200", json_of("The report", "LiveReport"))
        .response("503", busy("No model is loaded"))
}

fn shadow() -> OperationBuilder {
    operation("shadow", "How a version that only watches compares with the one in service")
        .tag("drift")
        .description(Some("What is not known is null."))
        .response("200", json_of("The comparison", "Shadow"))
        .response("404", error("No version is to run in the shadow"))
}

fn reload() -> OperationBuilder {
    operation("reload_model", "Bring the version behind the alias into service")
        .description(Some("Whatever goes wrong, the version in service stays."))
        .response("200", json_of("The version now in service", "Reloaded"))
        .response("400", no_key())
        .response("502", error("The registry has no such version, or one that is refused"))
        .response("503", busy("The registry does not answer"))
        .response("504", error("The request took too long"))
}

fn healthz() -> OperationBuilder {
    operation("healthz", "Health of the service and its store")
        .tag("health")
        .response("200", json_of("Healthy", "Health"))
        .response("503", json_of("The store does not answer", "Health"))
}

fn checks(id: &str, summary: &str) -> OperationBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let verbose = ParameterBuilder::new()
        .name("verbose")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("List each check"))
        .schema(Some(text));
    operation(id, summary).tag("health").parameter(verbose).response("200", json_of("Yes", "Ready"))
}

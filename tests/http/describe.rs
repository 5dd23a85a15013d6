//! The API describes itself, truly, and wherever it is mounted.

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{TOKEN, TestLog, TestRegistry, body, read, serve, serve_on, telco};

#[tokio::test]
async fn the_document_says_what_the_schema_says() {
    let server = serve(|b| b).await;
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let features = &document["components"]["schemas"]["Features"];
    let schema = telco();
    assert_eq!(features["required"].as_array().unwrap().len(), schema.len());
    assert_eq!(features["properties"].as_object().unwrap().len(), schema.len());
    let property = |name: &str| &features["properties"][name];
    assert_eq!(property("tenure")["type"], "integer");
    assert_eq!(property("tenure")["maximum"], 100);
    assert_eq!(property("monthly_charges")["type"], "number");
    assert_eq!(property("total_charges")["type"], json!(["number", "null"]));
    assert_eq!(property("contract")["enum"], json!(["Month-to-month", "One year", "Two year"]));
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    for path in [
        "/api/v1/predict",
        "/api/v1/predict/batch",
        "/api/v1/observations",
        "/api/v1/outcomes",
        "/api/v1/shadow",
        "/v2/models/{name}/infer",
        "/invocations",
        "/api/v1/drift/live",
        "/model",
        "/model/reload",
        "/healthz",
        "/ready",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert!(document["components"]["securitySchemes"].is_null());
}

/// Every `$ref` of the document, and every place that it has an example.
fn walk<'v>(value: &'v Value, at: &str, refs: &mut Vec<&'v str>, examples: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "$ref" {
                    refs.extend(value.as_str());
                }
                if key == "example" || key == "examples" {
                    examples.push(format!("{at}/{key}"));
                }
                let key = key.replace('~', "~0").replace('/', "~1");
                walk(value, &format!("{at}/{key}"), refs, examples);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                walk(value, &format!("{at}/{index}"), refs, examples);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_example_validates_and_every_reference_leads_somewhere() {
    let server = serve(|b| b.admin_token(TOKEN)).await;
    let (_, document) = server.get("/openapi.json").await;
    let (mut refs, mut examples) = (Vec::new(), Vec::new());
    walk(&document, "", &mut refs, &mut examples);
    assert!(!refs.is_empty());
    for reference in refs {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }

    let predict = "/paths/~1api~1v1~1predict/post/requestBody/content/application~1json/example";
    let outcomes = "/paths/~1api~1v1~1outcomes/post/requestBody/content/application~1json/example";
    let whole = document.pointer(predict).unwrap();
    let (status, answer) = server.predict(whole).await;
    assert_eq!((status, &answer["warnings"]), (200, &json!([])), "{answer}");
    let sent = server.client.post(server.url("/api/v1/outcomes")).bearer_auth(TOKEN);
    let sent = sent.json(document.pointer(outcomes).unwrap()).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    for route in [
        "/api/v1/predict/batch",
        "/api/v1/observations",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
        "/invocations",
    ] {
        let at = route.replace('/', "~1");
        let at = format!("/paths/{at}/post/requestBody/content/application~1json/example");
        let path = route.replace("{name}", "churn-classifier").replace("{version}", "1");
        let sent = server.client.post(server.url(&path)).bearer_auth(TOKEN);
        let (status, answer) =
            read(sent.json(document.pointer(&at).unwrap()).send().await.unwrap()).await;
        assert_eq!(status, 200, "{route}: {answer}");
        assert_eq!(answer["failed"].as_u64().unwrap_or(0), 0, "{route}: {answer}");
    }
    let features = "/components/schemas/Features";
    for at in &examples {
        let example = document.pointer(at).unwrap();
        if let Some(name) = at
            .strip_prefix(&format!("{features}/properties/"))
            .and_then(|rest| rest.strip_suffix("/examples"))
        {
            let mut body = body();
            body["features"][name] = example[0].clone();
            assert_eq!(server.predict(&body).await.0, 200, "{at}: {example}");
        } else if at == &format!("{features}/examples") {
            let body = json!({"features": example[0]});
            assert_eq!(server.predict(&body).await.0, 200, "{example}");
        }
    }
    assert!(examples.len() > 20, "{examples:?}");
    assert_eq!(document["components"]["securitySchemes"]["admin_token"]["scheme"], "bearer");
    let reload = &document["paths"]["/model/reload"]["post"];
    assert_eq!(reload["security"], json!([{"admin_token": []}]));
}

#[tokio::test]
async fn whatever_a_key_leads_to_is_in_the_document() {
    let server = serve(|b| b.admin_token(TOKEN)).await;
    let (_, document) = server.get("/openapi.json").await;
    let mut keyed = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["post"]["parameters"].as_array();
        let mut names = parameters.into_iter().flatten().map(|parameter| &parameter["name"]);
        if !names.any(|name| name == "idempotency-key") {
            continue;
        }
        keyed += 1;
        // With a key the body is read, also where none is asked for.
        let sent = path.replace("{id}", "00000000-0000-0000-0000-0000000003e9");
        assert_eq!(server.announce(&sent, 17 << 20).await, 413, "{path}");
        for status in ["400", "408", "409", "413", "422"] {
            assert!(item["post"]["responses"][status].is_object(), "{path} {status}");
        }
    }
    assert_eq!(keyed, 6);
}

#[tokio::test]
async fn it_works_under_a_prefix() {
    let server = serve(|b| b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/ml/v2", listener.local_addr().unwrap());
    let app = Router::new().nest("/ml/v2", server.service.router());
    let app = app.fallback(async || "the application's own");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let get = async |path: &str| server.client.get(format!("{base}{path}")).send().await.unwrap();
    let sent = server.client.post(format!("{base}/api/v1/predict")).json(&body());
    assert_eq!(read(sent.send().await.unwrap()).await.0, 200);
    let (_, document) = read(get("/openapi.json").await).await;
    assert_eq!(document["servers"], json!([{"url": "/ml/v2"}]));
    assert_eq!(get("/nowhere").await.text().await.unwrap(), "the application's own");

    // The page finds its files and its document by itself.
    for page in ["/docs", "/docs/"] {
        let url = reqwest::Url::parse(&format!("{base}{page}")).unwrap();
        let html = get(page).await.text().await.unwrap();
        let links: Vec<&str> =
            html.split(['"']).filter(|s| s.ends_with(".js") || s.ends_with(".css")).collect();
        assert_eq!(links.len(), 3, "{html}");
        for link in links {
            let file = server.client.get(url.join(link).unwrap()).send().await.unwrap();
            assert_eq!(file.status(), 200, "{link} on {page}");
        }
        assert!(!html.contains("http"), "nothing from elsewhere: {html}");
    }
    let script = get("/docs/start.js").await.text().await.unwrap();
    assert!(script.contains("../openapi.json"));
}

#[tokio::test]
async fn the_page_is_whole_and_locked_down() {
    let server = serve(|b| b).await;
    let get = async |path: &str| server.client.get(server.url(path)).send().await.unwrap();
    let page = get("/docs").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("http"), "{policy}");
    let bundle = get("/docs/swagger-ui-bundle.js").await;
    assert_eq!(bundle.headers()["content-type"], "text/javascript; charset=utf-8");
    let bundle = bundle.text().await.unwrap();
    assert!(bundle.len() > 500_000 && bundle.contains("SwaggerUIBundle"), "{}", bundle.len());
    for missing in ["/docs/nothing.js", "/docs/..%2fCargo.toml", "/docs/index.html", "/nowhere"] {
        let (status, answer) = server.get(missing).await;
        assert_eq!((status, &answer["detail"]["code"]), (404, &json!("not_found")), "{missing}");
    }
}

#[tokio::test]
async fn without_a_model_there_is_a_document_too() {
    let server = serve_on(TestLog::new(), TestRegistry::with(&[]), |b| b).await;
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(document["components"]["schemas"]["Features"]["type"], "object");
}

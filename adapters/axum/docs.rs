//! `/docs`: Swagger UI from files in the binary, so that it works offline and under any prefix.

use std::sync::{Arc, OnceLock};

use ::axum::body::{Body, Bytes};
use ::axum::extract::{OriginalUri, Path};
use ::axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use ::axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use super::problem::{Problem, not_found};

/// The files that the page needs, and nothing else of what is packed.
const FILES: [&str; 4] =
    ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png", "favicon-32x32.png"];

/// The start of the page. The document is found from where this script is, not from where the page
/// is: `/docs` and `/docs/` are two places.
const START: &str = r##"const here = document.currentScript.src;
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: new URL("../openapi.json", here).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
  });
});
"##;

/// The page, with `base` before every link.
fn page(base: &str) -> String {
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pmmds API</title>
<link rel="icon" type="image/png" href="{base}favicon-32x32.png">
<link rel="stylesheet" href="{base}swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document itself is <a href="{base}../openapi.json">openapi.json</a>.</noscript>
<script src="{base}swagger-ui-bundle.js"></script>
<script src="{base}start.js"></script>
</body>
</html>
"##
    )
}

fn file(content_type: &'static str, body: impl Into<Body>) -> Response {
    // Scripts and styles of this origin only; the UI styles itself inline and has its icons in data
    // URLs.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                  img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body.into()).into_response()
}

/// The page at `/docs` and `/docs/`.
pub(super) async fn index(OriginalUri(uri): OriginalUri) -> Response {
    let base = if uri.path().ends_with('/') { "" } else { "docs/" };
    file("text/html; charset=utf-8", page(base))
}

/// A file below `/docs/`.
pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    if name == "start.js" {
        return Ok(file("text/javascript; charset=utf-8", START));
    }
    let Some(index) = FILES.iter().position(|file| *file == name) else {
        return Err(not_found().await);
    };
    static UNPACKED: [OnceLock<Option<Bytes>>; FILES.len()] =
        [const { OnceLock::new() }; FILES.len()];
    let bytes = UNPACKED[index].get_or_init(|| {
        let found = utoipa_swagger_ui::serve(FILES[index], Arc::new(Config::from("")));
        found.ok().flatten().map(|file| Bytes::from(file.bytes.into_owned()))
    });
    let content_type = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "image/png",
    };
    match bytes {
        Some(bytes) => Ok(file(content_type, bytes.clone())),
        None => Err(not_found().await),
    }
}

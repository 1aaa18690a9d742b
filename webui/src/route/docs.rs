//! The API's own description: the OpenAPI document, and the same for people, made here as plain HTML without a script.

use std::{fmt::Write, sync::Arc};

use axum::{
    Router,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::{
    Modify,
    openapi::{
        Content, OpenApi, Ref, RefOr, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::state::Shared;

/// How callers show who they are.
pub(super) struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-tidegate"))));
        let none: [&str; 0] = [];
        openapi.security = Some(vec![SecurityRequirement::new("token", none), SecurityRequirement::new("cookie", none)]);
    }
}

/// What holds for every operation: errors are problem documents, and any operation may have one that its own list does not name
/// (a role that is missing, too many requests).
pub(super) fn finish(openapi: &mut OpenApi) {
    let problem = RefOr::Ref(Ref::from_schema_name("Problem"));
    // The router's word for "the rest of the path" is not OpenAPI's.
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for item in openapi.paths.paths.values_mut() {
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in methods.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, response) in responses.iter_mut() {
                if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
                    response.content.clear();
                    response.content.insert(PROBLEM.to_owned(), RefOr::T(Content::new(Some(problem.clone()))));
                }
            }
            let any =
                ResponseBuilder::new().description("Why not, and what to do next.").content(PROBLEM, Content::new(Some(problem.clone())));
            responses.entry("default".to_owned()).or_insert_with(|| RefOr::T(any.build()));
        }
    }
}

const PROBLEM: &str = "application/problem+json";

/// Routes that are not in the document because they are the document.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(page))
}

async fn document() -> Response {
    axum::Json(super::openapi()).into_response()
}

async fn page() -> Html<String> {
    let document = serde_json::to_value(super::openapi()).unwrap_or_default();
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Tidegate API</title><h1>Tidegate API</h1>",
    );
    let paragraph = |html: &mut String, text: &str| write!(html, "<p>{}</p>", escape(text)).ok();
    paragraph(&mut html, document["info"]["description"].as_str().unwrap_or_default());
    html.push_str("<p><a href=\"openapi.json\">OpenAPI document</a></p>");
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            write!(html, "<h2><code>{} {}</code></h2>", escape(&method.to_uppercase()), escape(path)).ok();
            paragraph(&mut html, operation["summary"].as_str().unwrap_or_default());
            let details = [("parameters", "Parameters"), ("requestBody", "Request"), ("responses", "Answers")];
            for (key, title) in details.into_iter().filter(|(key, _)| !operation[*key].is_null()) {
                let text = serde_json::to_string_pretty(&operation[key]).unwrap_or_default();
                write!(html, "<details><summary>{title}</summary><pre>{}</pre></details>", escape(&text)).ok();
            }
        }
    }
    html.push_str("<h1>Shapes</h1>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        write!(html, "<details id=\"{0}\"><summary><code>{0}</code></summary><pre>{1}</pre></details>", escape(name), escape(&text)).ok();
    }
    Html(html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document that others build on: a change of it is one that a reviewer sees. `TIDEGATE_GOLDEN=write cargo test` renews it.
    #[test]
    fn the_document_is_the_one_that_was_agreed_on() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let now = crate::openapi().to_pretty_json().expect("JSON") + "\n";
        if std::env::var_os("TIDEGATE_GOLDEN").is_some_and(|word| word == "write") {
            std::fs::write(&path, &now).expect("written");
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(agreed == now, "openapi.json is not what the code says: renew it with TIDEGATE_GOLDEN=write, and read the difference");
    }

    #[test]
    fn nothing_in_the_page_for_people_is_taken_for_markup() {
        assert_eq!(escape("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        for (path, _) in crate::openapi().paths.paths {
            assert!(path.starts_with("/api/v1/"), "{path}");
        }
    }
}

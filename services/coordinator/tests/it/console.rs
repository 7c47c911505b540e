//! The console's files: open to everybody, and so sent that nothing else can run in their page.

use std::collections::BTreeMap;

use reqwest::{Method, Response, StatusCode};

use crate::api::problem;
use crate::cluster::Cluster;

const FILES: [(&str, &str); 14] = [
    ("", "text/html; charset=utf-8"),
    ("index.html", "text/html; charset=utf-8"),
    ("console.css", "text/css; charset=utf-8"),
    ("parts.css", "text/css; charset=utf-8"),
    ("narrow.css", "text/css; charset=utf-8"),
    ("console.js", "text/javascript; charset=utf-8"),
    ("api.js", "text/javascript; charset=utf-8"),
    ("dom.js", "text/javascript; charset=utf-8"),
    ("instance.js", "text/javascript; charset=utf-8"),
    ("units.js", "text/javascript; charset=utf-8"),
    ("rotation.js", "text/javascript; charset=utf-8"),
    ("phases.js", "text/javascript; charset=utf-8"),
    ("dialogs.js", "text/javascript; charset=utf-8"),
    ("icon.svg", "image/svg+xml"),
];

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_str().unwrap().to_owned()
}

fn assert_guarded(response: &Response, file: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(header(response, name), value, "{file}");
    }
    let policy = header(response, "content-security-policy");
    let directives: BTreeMap<_, _> =
        policy.split("; ").map(|directive| directive.split_once(' ').unwrap()).collect();
    let wanted = [
        ("default-src", "'none'"),
        ("script-src", "'self'"),
        ("style-src", "'self'"),
        ("connect-src", "'self'"),
        ("img-src", "'self'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
        ("require-trusted-types-for", "'script'"),
    ];
    assert_eq!(directives, BTreeMap::from(wanted), "{file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_is_given_without_a_token_with_its_type_and_its_guards() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    for (file, kind) in FILES {
        let response = open.get(&format!("/console/{file}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{file}");
        assert_eq!(header(&response, "content-type"), kind, "{file}");
        assert_guarded(&response, file);
        assert!(!response.text().await.unwrap().is_empty(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_the_root_is_led_to_the_page() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    for path in ["/", "/console"] {
        let response = open.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.url().path(), "/console/", "{path}");
        assert!(response.text().await.unwrap().contains("<title>keyhelm</title>"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_the_newest_is_not_sent_again() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    let path = "/console/console.js";
    let tag = header(&open.get(path).await, "etag");
    assert_ne!(tag, header(&open.get("/console/api.js").await, "etag"));
    for given in [tag.clone(), format!("\"other\", W/{tag}")] {
        let asked = open.request(Method::GET, path).header("if-none-match", given);
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&response, "etag"), tag);
        assert_guarded(&response, path);
        assert!(response.text().await.unwrap().is_empty());
    }
    let asked = open.request(Method::GET, path).header("if-none-match", "\"other\"");
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_else_behind_the_open_door() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    for path in ["/console/other.js", "/console/..%2Fsrc%2Flib.rs", "/console/a/b"] {
        problem(open.get(path).await, StatusCode::NOT_FOUND, "unknown-path").await;
    }
    let response = open.request(Method::POST, "/console/").send().await.unwrap();
    problem(response, StatusCode::METHOD_NOT_ALLOWED, "unknown-method").await;
    let response = open.get("/v1/instances").await;
    problem(response, StatusCode::UNAUTHORIZED, "unauthenticated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_only_files_that_are_given() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    let page = open.get("/console/").await.text().await.unwrap();
    let named = page.split(['"', '\'']).filter(|text| text.contains('.') && !text.contains(' '));
    let named: Vec<_> = named.filter(|text| !text.contains('<')).collect();
    assert!(named.len() >= 5, "{named:?}");
    for file in named {
        let status = open.get(&format!("/console/{file}")).await.status();
        assert_eq!(status, StatusCode::OK, "{file}");
    }
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"));
}

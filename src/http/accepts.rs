//! Content types of bodies: those that `/openapi.json` declares for a route, and no others.
//!
//! A page of another site may send `text/plain` and forms to any address without asking (no preflight), so these are accepted
//! nowhere, with a body or without one.

use std::collections::HashMap;

use axum::http::{HeaderMap, Method, header};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, PathItem},
};

use super::problem::Problem;
use crate::format::Format;

/// By route, then by method.
#[derive(Debug, Default)]
pub struct Accepts(HashMap<String, Vec<(Method, Vec<String>)>>);

/// What a browser sends for any page, unasked.
const SIMPLE: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

impl Accepts {
    pub fn of(api: &OpenApi) -> Accepts {
        let routes = api.paths.paths.iter().map(|(route, item)| {
            let declared = operations(item).into_iter().filter_map(|(method, operation)| {
                let media = match &operation?.request_body {
                    Some(RefOr::T(body)) => body.content.keys().cloned().collect(),
                    _ => Vec::new(),
                };
                Some((method, media))
            });
            (route.clone(), declared.collect())
        });
        Accepts(routes.collect())
    }

    /// The problem with a request's Content-Type: 415 that lists what would be right. `empty` where it has no body.
    pub fn refuse(&self, method: &Method, route: &str, headers: &HeaderMap, empty: bool) -> Option<Problem> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let (_, declared) = self.0.get(route)?.iter().find(|(known, _)| known == method)?;
        let Some(sent) = headers.get(header::CONTENT_TYPE) else {
            return (!empty && !declared.is_empty()).then(|| unsupported("", declared));
        };
        let sent = sent.to_str().unwrap_or("(not text)");
        let essence = sent.split(';').next().unwrap_or_default().trim();
        let is = |media: &str| essence.eq_ignore_ascii_case(media);
        let right = declared.iter().any(|media| is(media))
            || Format::from_media_type(essence)
                .is_some_and(|format| declared.iter().any(|m| m == format.media_type()));
        if right || (!SIMPLE.into_iter().any(is) && (empty || declared.is_empty())) {
            return None;
        }
        Some(unsupported(sent, declared))
    }
}

fn unsupported(sent: &str, declared: &[String]) -> Problem {
    let known: Vec<&str> = declared.iter().map(String::as_str).collect();
    let mut problem = Problem::unsupported_media_type(&crate::format::shorten(sent), &known);
    if known.is_empty() {
        problem.detail =
            format!("this call takes no body; leave out the Content-Type `{}`", crate::format::shorten(sent));
    } else if sent.starts_with("application/x-www-form-urlencoded") {
        problem.detail += &format!(
            ". This is what curl's -d sends where nothing else is said: add -H 'content-type: {}'",
            known[0]
        );
    }
    problem
}

pub(super) fn operations(item: &PathItem) -> [(Method, Option<&Operation>); 5] {
    [
        (Method::GET, item.get.as_ref()),
        (Method::POST, item.post.as_ref()),
        (Method::PUT, item.put.as_ref()),
        (Method::PATCH, item.patch.as_ref()),
        (Method::DELETE, item.delete.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepts() -> Accepts {
        let post = |media: &[&str]| vec![(Method::POST, media.iter().map(|m| (*m).to_owned()).collect())];
        Accepts(HashMap::from([
            ("/rows".to_owned(), post(&["application/json", "application/x-ndjson"])),
            ("/verify".to_owned(), post(&[])),
        ]))
    }

    fn detail(route: &str, sent: Option<&str>, empty: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(sent).unwrap());
        }
        let problem = accepts().refuse(&Method::POST, route, &headers, empty)?;
        assert_eq!(problem.status.as_u16(), 415);
        Some(problem.detail)
    }

    #[test]
    fn what_is_declared_is_taken_under_all_its_names() {
        for right in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/x-ndjson",
            "application/jsonl",
        ] {
            assert_eq!(detail("/rows", Some(right), false), None, "{right}");
        }
        for wrong in ["text/csv", "text/plain", "application/xml", "json", ""] {
            let detail = detail("/rows", Some(wrong), false).unwrap();
            assert!(detail.contains("send one of application/json, application/x-ndjson"), "{detail}");
        }
        assert!(detail("/rows", None, false).unwrap().starts_with("the request has no Content-Type"));
        assert_eq!(detail("/rows", None, true), None, "its handler says what is missing");
    }

    #[test]
    fn what_any_page_may_send_is_taken_nowhere() {
        for simple in [
            "text/plain",
            "TEXT/plain;charset=utf-8",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            for (route, empty) in [("/rows", false), ("/rows", true), ("/verify", false), ("/verify", true)] {
                assert!(detail(route, Some(simple), empty).is_some(), "{simple} {route} {empty}");
            }
        }
        let curl = detail("/rows", Some("application/x-www-form-urlencoded"), false).unwrap();
        assert!(curl.ends_with("add -H 'content-type: application/json'"), "{curl}");
    }

    #[test]
    fn a_call_without_a_body_does_not_mind_json() {
        assert_eq!(detail("/verify", Some("application/json"), false), None);
        assert_eq!(detail("/verify", None, false), None);
    }
}

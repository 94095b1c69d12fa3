//! The manual as pages: `/docs/` and `/docs/PAGE`. Plain HTML with one inline style sheet; nothing is fetched from elsewhere.

use axum::{
    extract::{Path, Query},
    http::header,
    response::{IntoResponse, Response},
};
use pulldown_cmark::{Event, Options, Parser, Tag, html::push_html};
use serde::Deserialize;

use crate::{
    http::Problem,
    manual::{PAGES, Page, find, search},
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c1917;background:#fff}\
    nav{font-size:14px}nav a{margin-right:.8em}a{color:#9a3412}code{background:#f5f5f4;padding:.1em .25em;border-radius:3px}\
    pre{background:#f5f5f4;padding:.8em;overflow-x:auto;font-size:14px;line-height:1.4}pre code{padding:0}\
    table{border-collapse:collapse;font-size:15px}td,th{border:1px solid #d6d3d1;padding:.3em .6em;text-align:left;vertical-align:top}";
/// Pages hold no scripts and load nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
const FORM: &str = "<form action=\"/docs/\"><input name=\"search\" placeholder=\"search the manual\"> <button>search</button></form>";

#[derive(Deserialize)]
pub struct Words {
    /// Words to look for instead of listing the pages.
    search: Option<String>,
}

/// The manual's table of contents, or the lines that contain the words of `search`.
#[utoipa::path(get, path = "/docs/", tag = "manual",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))),
    params(("search" = Option<String>, Query, description = "words to look for")),
    responses((status = 200, description = "a page", body = String, content_type = "text/html")))]
pub async fn contents(Query(words): Query<Words>) -> Response {
    let mut body = format!("<h1>larder's manual</h1>{FORM}");
    match words.search.as_deref().map(str::trim).filter(|words| !words.is_empty()) {
        Some(words) => {
            let hits = search(words);
            if hits.is_empty() {
                body += "<p>No line has all of these words.</p>";
            }
            for hit in hits.iter().take(100) {
                body += &format!("<p>{} &gt; {}<br>", link(hit.page), escaped(hit.section));
                body += &format!("{}</p>", escaped(hit.line.trim_start_matches(['#', ' ', '-', '|'])));
            }
        }
        None => {
            body += "<table>";
            for page in PAGES {
                body += &format!("<tr><td>{}</td><td>{}</td></tr>", link(page), escaped(page.answers));
            }
            body += "</table>";
        }
    }
    html("larder's manual", &body)
}

/// One page of the manual.
#[utoipa::path(get, path = "/docs/{page}", tag = "manual",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))),
    params(("page" = String, Path, description = "its name, as `/docs/` lists it")),
    responses((status = 200, description = "a page", body = String, content_type = "text/html"), (status = 404, description = "no such page")))]
pub async fn page(Path(name): Path<String>) -> Result<Response, Problem> {
    let page = find(&name).ok_or_else(|| {
        Problem::not_found(format!(
            "the manual has no page `{}`; `/docs/` lists the pages",
            crate::format::shorten(&name)
        ))
    })?;
    Ok(html(page.title(), &rendered(page)))
}

fn rendered(page: &Page) -> String {
    // The pages are ours, but a `<` in one of them is text, not a tag.
    let events = Parser::new_ext(page.text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        other => other,
    });
    let mut body = String::new();
    push_html(&mut body, events);
    linked(body)
}

/// Makes each `larder manual PAGE` a link.
fn linked(mut body: String) -> String {
    for page in PAGES {
        let command = format!("<code>larder manual {}</code>", page.name);
        body = body.replace(&command, &format!("<a href=\"/docs/{}\">{command}</a>", page.name));
    }
    body
}

fn html(title: &str, body: &str) -> Response {
    let links: String = PAGES.iter().map(link).collect();
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{}</title><style>{STYLE}</style><nav><a href=\"/docs/\">contents</a>{links}</nav><main>{body}</main></html>",
        escaped(title)
    );
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, text).into_response()
}

fn link(page: &Page) -> String {
    format!("<a href=\"/docs/{0}\">{0}</a>", page.name)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_becomes_html_whose_tables_and_links_work() {
        for page in PAGES {
            let text = rendered(page);
            assert!(text.starts_with("<h1>"), "{}", page.name);
            assert!(!text.contains("<script"), "{}", page.name);
        }
        assert!(rendered(find("semantics").unwrap()).contains("<td><code>PRESENT</code></td>"));
        assert!(rendered(find("start").unwrap()).contains("<a href=\"/docs/definitions\">"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("<a b=\"c\">&"), "&lt;a b=&quot;c&quot;&gt;&amp;");
    }
}

//! Which names this node answers to, and which web pages may change it.
//!
//! A page of another site can send requests to a node on the visitor's own machine. Its browser says where the page comes from
//! (`Origin`, `Sec-Fetch-Site`). A page whose own name was made to point here (DNS rebinding) is of the node's own origin for
//! the browser; it is known by its name (`Host`), which is not one of this node's. An IP address cannot be made to point
//! elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::problem::Problem;
use crate::config::ServerConfig;

const FETCH_SITE: &str = "sec-fetch-site";

/// Names and origins of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Foreign<'a> {
    NoHost,
    Host(&'a str),
    Origin(&'a str),
    CrossSite,
}

impl Sites {
    pub fn new(server: &ServerConfig) -> Sites {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Sites { hosts: lower(&server.hosts), origins: lower(&server.origins) }
    }

    /// The problem with where a request comes from or whom it is for; 421 and 403.
    pub fn refuse(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
        self.check(method, uri, headers).err().map(Problem::from)
    }

    fn check<'a>(&self, method: &Method, uri: &'a Uri, headers: &'a HeaderMap) -> Result<(), Foreign<'a>> {
        let host = host(uri, headers)?;
        if !self.knows(host) {
            return Err(Foreign::Host(host));
        }
        // What reads without a body cannot be seen by another site's page, and a link from there is no attack.
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        match headers.get(header::ORIGIN).map(text) {
            Some(origin) if self.may_change(origin, host) => Ok(()),
            Some(origin) => Err(Foreign::Origin(origin)),
            None if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site") => {
                Err(Foreign::CrossSite)
            }
            None => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let Some(name) = name(host) else { return false };
        is_address(name)
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether a page of `origin` may change a node that it calls `host`: the node's own pages, behind TLS or not, and those of
    /// the configuration. `null`, the origin of files and sandboxes, is nobody's.
    fn may_change(&self, origin: &str, host: &str) -> bool {
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host))
            || self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
    }
}

/// The name and port that the client calls this node: of an absolute URL its own, else the one `Host`.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Foreign<'a>> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.as_str());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(text(host)),
        _ => Err(Foreign::NoHost),
    }
}

/// A header's text; what is no text equals nothing that is known.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// `name`, `name:port`, `[::1]:port`: the name, an IPv6 address with its brackets.
fn name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (&host[..end], &host[end..])
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    (!name.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn is_address(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        // As browsers write them: four decimal numbers.
        None => name.starts_with(|c: char| c.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_ok(),
    }
}

impl From<Foreign<'_>> for Problem {
    fn from(foreign: Foreign<'_>) -> Problem {
        let shown = crate::format::shorten;
        let forbidden = |detail| Problem::new(StatusCode::FORBIDDEN, detail);
        match foreign {
            Foreign::NoHost => Problem::bad_request("a request has one Host header: the name that this node is called"),
            Foreign::Host(host) => Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "`{}` is not a name of this node: call it localhost or by its IP address, or add the name to server.hosts",
                    shown(host)
                ),
            ),
            Foreign::Origin(origin) => forbidden(format!(
                "pages of `{}` may not send this request: add their origin to server.origins if they should",
                shown(origin)
            )),
            Foreign::CrossSite => forbidden(
                "a page of another site may not send this request (Sec-Fetch-Site); add its origin to server.origins if it should"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> Sites {
        Sites {
            hosts: vec!["larder.example.com".to_owned()],
            origins: vec!["https://ml.example.com".to_owned()],
        }
    }

    fn status(method: Method, headers: &[(&'static str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        sites().refuse(&method, &Uri::from_static("/v1/info"), &map).map_or(200, |p| p.status.as_u16())
    }

    #[test]
    fn names_of_this_node_and_addresses_are_known() {
        for host in [
            "localhost",
            "LocalHost:6566",
            "127.0.0.1:1",
            "127.8.9.10",
            "[::1]:6566",
            "[::1]",
            "10.1.2.3:80",
            "larder.example.com",
            "Larder.Example.COM:443",
            "[fe80::1]:7",
            "localhost:",
        ] {
            assert_eq!(status(Method::GET, &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:6566",
            "",
            ":80",
            "[::1",
            "[evil]",
            "localhost:80@evil.example",
            "2130706433",
            "0x7f.0.0.1",
            "127.1",
            "example.com",
            "locälhost",
            "x.larder.example.com",
            "[127.0.0.1]",
            "localhost:8o",
        ] {
            assert_eq!(status(Method::GET, &[("host", host)]), 421, "{host}");
            assert_eq!(status(Method::POST, &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(Method::GET, &[]), 400);
        assert_eq!(status(Method::GET, &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn the_name_in_an_absolute_url_is_the_one_that_counts() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        let check =
            |uri: &'static str| sites().refuse(&Method::GET, &Uri::from_static(uri), &headers).is_none();
        assert!(check("http://127.0.0.1:9/x") && !check("http://evil.example/x"));
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let of =
            |method: Method, origin: &str| status(method, &[("host", "localhost:6566"), ("origin", origin)]);
        for own in [
            "http://localhost:6566",
            "https://localhost:6566",
            "HTTP://localhost:6566".to_lowercase().as_str(),
        ] {
            assert_eq!(of(Method::POST, own), 200, "{own}");
        }
        assert_eq!(of(Method::DELETE, "https://ML.example.com"), 200);
        for foreign in [
            "null",
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:6566",
            "",
            "file://",
            "ftp://localhost:6566",
            "https://ml.example.com.evil.example",
            "http://localhost:6566/",
        ] {
            for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH, Method::OPTIONS] {
                assert_eq!(of(method, foreign), 403, "{foreign}");
            }
            assert_eq!(of(Method::GET, foreign), 200, "{foreign}: its page cannot see the answer");
        }
    }

    #[test]
    fn browsers_that_say_no_origin_say_cross_site() {
        let of =
            |method: Method, site: &str| status(method, &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert_eq!((of(Method::POST, "cross-site"), of(Method::GET, "cross-site")), (403, 200));
        assert_eq!((of(Method::POST, "same-origin"), of(Method::POST, "none")), (200, 200));
        let allowed =
            [("host", "localhost"), ("origin", "https://ml.example.com"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(Method::POST, &allowed), 200);
    }
}

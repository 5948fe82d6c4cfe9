//! Requests of browsers, and what is answered: nothing but GET of a few paths, of whoever calls this page by a name of
//! its own (no other site by a name that it had resolved to here), and nothing that a browser keeps, guesses or runs.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde::Serialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv6Addr, SocketAddr};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// The page: one file with its style and its script. `NONCE` stands where each answer has a number of its own.
const PAGE: &str = include_str!("page.html");
/// Bytes of what is searched for.
const MAX_TEXT: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The page.
    Page,
    /// The authority.
    Status,
    /// Its NVEs.
    Nves,
    /// Moves of attachments.
    Moves,
    /// Virtual networks.
    Networks,
    /// Mappings by what somebody typed, behind a SIR address.
    Mappings { text: String, after: Option<Ipv6Addr> },
    /// What happens, after an event of this number.
    Events { after: Option<u64> },
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another method than GET.
    Method,
    /// Another path.
    NotFound,
    /// It makes no sense.
    Bad(String),
    /// By whom it comes, or by which name.
    Forbidden(String),
    /// Not now.
    Unavailable(String),
}

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a request asks for.
///
/// # Errors
/// It is no GET, or not of this page.
pub(super) fn judge<B>(request: &Request<B>, hosts: &BTreeSet<String>) -> Result<Route, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::Method);
    }
    judge_host(request.headers(), hosts)?;
    let route = route(request.uri(), request.headers())?;
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    // A link on another site may lead here; its scripts get nothing.
    if route != Route::Page && !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(Refusal::Forbidden("another site asks".to_owned()));
    }
    Ok(route)
}

/// Lets in by an address, `localhost` or one of the names of this page: not by a name that another site made lead here
/// (DNS rebinding).
fn judge_host(headers: &HeaderMap, hosts: &BTreeSet<String>) -> Result<(), Refusal> {
    let mut all = headers.get_all(HOST).iter();
    let host = match (all.next().map(HeaderValue::to_str), all.next()) {
        (Some(Ok(host)), None) => host.to_ascii_lowercase(),
        _ => return Err(Refusal::Bad("one Host is needed".to_owned())),
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => name,
        _ => &host,
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = host.parse::<SocketAddr>().is_ok()
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok());
    if is_address || name == "localhost" || hosts.contains(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Refusal::Forbidden(format!(
        "`{}` is no name of this page; add it to page.hosts",
        shown.escape_debug()
    )))
}

fn route(uri: &Uri, headers: &HeaderMap) -> Result<Route, Refusal> {
    let query = uri.query().unwrap_or_default();
    match uri.path() {
        "/" => Ok(Route::Page),
        "/status" => Ok(Route::Status),
        "/nves" => Ok(Route::Nves),
        "/moves" => Ok(Route::Moves),
        "/networks" => Ok(Route::Networks),
        "/mappings" => {
            let bad = |what: &str| Refusal::Bad(format!("{what}; write /mappings?q=TEXT&after=SIR"));
            let (mut text, mut after) = (String::new(), None);
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair.split_once('=').ok_or_else(|| bad("a word without ="))?;
                let value = decode(value).ok_or_else(|| bad("what is written is no text"))?;
                match key {
                    "q" if value.len() <= MAX_TEXT => text = value.trim().to_owned(),
                    "q" => return Err(bad(&format!("more than {MAX_TEXT} bytes to search for"))),
                    "after" => after = Some(value.parse().map_err(|_| bad("after is no SIR address"))?),
                    _ => return Err(bad("another word than q and after")),
                }
            }
            Ok(Route::Mappings { text, after })
        }
        "/events" => {
            let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
            Ok(Route::Events { after: last.and_then(|last| last.parse().ok()) })
        }
        _ => Err(Refusal::NotFound),
    }
}

/// Text as it stands in an address: `%20` and `+` are blanks.
fn decode(written: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || (rest.next()? as char).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? << 4 | digit()?).ok()?,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// An answer that a browser neither keeps nor takes for something else, nor shows within another page.
fn response(status: StatusCode, kind: &'static str, policy: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What is no page runs and loads nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const TEXT: &str = "text/plain; charset=utf-8";

/// The page: its own script and its own style run, and nothing else; it asks its own server, and nobody else.
pub(super) fn page() -> Response<Body> {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "{NOTHING}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         require-trusted-types-for 'script'"
    );
    let text = PAGE.replace("NONCE", &nonce);
    response(StatusCode::OK, "text/html; charset=utf-8", &policy, full(text))
}

/// A value.
pub(super) fn json(value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let text = serde_json::to_vec(value).map_err(|why| Refusal::Unavailable(why.to_string()))?;
    Ok(response(StatusCode::OK, "application/json", NOTHING, full(text)))
}

const EVENTS: &str = "text/event-stream";

/// A stream of events.
pub(super) fn stream(lines: mpsc::Receiver<String>) -> Response<Body> {
    let frames = ReceiverStream::new(lines).map(|line| Ok(Frame::data(Bytes::from(line))));
    response(StatusCode::OK, EVENTS, NOTHING, StreamBody::new(frames).boxed_unsync())
}

/// Whether an answer is a stream of events.
pub(super) fn is_stream(response: &Response<Body>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == EVENTS)
}

/// An answer that says why.
pub(super) fn refuse(refusal: Refusal) -> Response<Body> {
    let (status, why) = match refusal {
        Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "use GET".to_owned()),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not here; the page is /".to_owned()),
        Refusal::Bad(why) => (StatusCode::BAD_REQUEST, why),
        Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, why),
        Refusal::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let mut response = response(status, TEXT, NOTHING, full(why + "\n"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Route, Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).unwrap(), &BTreeSet::from(["nva1.example".to_owned()]))
    }

    #[test]
    fn only_get_of_what_is_there_is_answered() {
        let host = ("host", "127.0.0.1:9466");
        let get = |path| ask("GET", path, &[host]);
        assert_eq!(get("/"), Ok(Route::Page));
        assert_eq!(get("/events"), Ok(Route::Events { after: None }));
        let again = ask("GET", "/events", &[host, ("last-event-id", "17")]);
        assert_eq!(again, Ok(Route::Events { after: Some(17) }));
        let wanted =
            Route::Mappings { text: "a b/é".to_owned(), after: Some("2001:db8::1".parse().unwrap()) };
        assert_eq!(get("/mappings?q=+a%20b%2F%C3%A9&after=2001:db8::1"), Ok(wanted));
        for method in ["HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "X"] {
            assert_eq!(ask(method, "/", &[host]), Err(Refusal::Method), "{method}");
        }
        for path in ["/x", "/status/", "//", "/..%2f", "/metrics"] {
            assert_eq!(get(path), Err(Refusal::NotFound), "{path}");
        }
        let long = format!("/mappings?q={}", "x".repeat(300));
        for path in
            ["/mappings?x", "/mappings?x=1", "/mappings?q=%ff", "/mappings?q=%z", "/mappings?after=1", &long]
        {
            assert!(matches!(get(path), Err(Refusal::Bad(_))), "{path}");
        }
    }

    #[test]
    fn who_calls_it_by_a_name_that_is_not_its_own_gets_nothing() {
        let by = |host: &str| ask("GET", "/status", &[("host", host)]);
        for own in [
            "127.0.0.1",
            "127.0.0.1:9466",
            "192.0.2.7:1",
            "[::1]",
            "[2001:db8::1]:9466",
            "localhost",
            "LocalHost:9466",
            "nva1.example",
            "nva1.example:443",
        ] {
            assert_eq!(by(own), Ok(Route::Status), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:9466",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "nva1.example.evil",
            "localhost:x",
            "user@localhost",
            "[::1",
            "::1]",
            "127.0.0.1:99999",
        ] {
            assert!(matches!(by(other), Err(Refusal::Forbidden(_))), "{other}");
        }
        assert!(matches!(ask("GET", "/", &[]), Err(Refusal::Bad(_))));
        let two = ask("GET", "/", &[("host", "localhost"), ("host", "evil.example")]);
        assert!(matches!(two, Err(Refusal::Bad(_))));
    }

    #[test]
    fn another_site_may_lead_here_and_gets_nothing() {
        let from = |path, site| ask("GET", path, &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert_eq!(from("/", "cross-site"), Ok(Route::Page));
        assert_eq!(from("/nves", "same-origin"), Ok(Route::Nves));
        assert_eq!(from("/nves", "none"), Ok(Route::Nves));
        for path in ["/nves", "/events", "/mappings?q=x"] {
            for site in ["cross-site", "same-site", "x"] {
                assert!(matches!(from(path, site), Err(Refusal::Forbidden(_))), "{path} {site}");
            }
        }
    }

    #[test]
    fn every_answer_says_what_a_browser_must_not_do() {
        let (_, lines) = mpsc::channel(1);
        let refusals = [
            Refusal::Method,
            Refusal::NotFound,
            Refusal::Bad("x".to_owned()),
            Refusal::Forbidden("x".to_owned()),
            Refusal::Unavailable("x".to_owned()),
        ];
        let answers = refusals.into_iter().map(refuse).chain([page(), json(&1).unwrap(), stream(lines)]);
        for answer in answers {
            let header = |name: &str| answer.headers()[name].to_str().unwrap();
            assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store", "nosniff"));
            assert_eq!(header("x-frame-options"), "DENY");
            assert!(
                header("content-security-policy").starts_with("default-src 'none'; frame-ancestors 'none'")
            );
            assert!(!header("content-security-policy").contains("unsafe"));
            assert!(answer.headers().get("access-control-allow-origin").is_none());
        }
        assert_eq!(refuse(Refusal::Method).headers()["allow"], "GET");
    }

    #[tokio::test]
    async fn the_page_runs_its_own_script_by_a_number_that_nobody_knows() {
        let mut before = String::new();
        for _ in 0..2 {
            let answer = page();
            let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
            let nonce =
                policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
            assert!(nonce.len() == 32 && nonce != before, "{policy}");
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert_eq!(text.matches(&nonce).count(), 2, "one style and one script");
            assert!(!text.contains("NONCE"));
            before = nonce;
        }
        // What could make text into more than text, or ask somebody else, is not there.
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "http:",
            "https:",
            " style=",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
        assert_eq!((PAGE.matches("<script").count(), PAGE.matches("<style").count()), (1, 1));
    }
}

//! The chat page: three files built in, and the official client's files read from a folder.
//!
//! The page's own files are part of the program; the client's are not, since it is someone else's
//! package. They are read from `--assets` at each request, so building never needs npm.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::answer::{Json, Refusal, with_type};
use crate::page_link::PageLink;

/// The client's file that the page imports; a folder without it cannot serve the page.
const CLIENT_FILE: &str = "phoenix.mjs";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page, the folder with the client's files, and what the page asks about this node.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    assets: Option<Arc<Path>>,
    about: Arc<About>,
}

/// What the page shows about this node.
#[derive(Debug, Serialize)]
struct About {
    name: String,
    links: Vec<PageLink>,
}

/// The folder given with `--assets` cannot serve the page.
#[derive(Debug, thiserror::Error)]
#[error(
    "--assets {folder:?} is not allowed: it takes the folder with the official client's browser files, \
     but {CLIENT_FILE} cannot be read there ({source}); `cargo xtask demo` installs it and passes the folder"
)]
pub(crate) struct AssetsError {
    folder: PathBuf,
    source: io::Error,
}

impl Page {
    /// The page of the node `name`, with the client's files from `assets`.
    ///
    /// # Errors
    ///
    /// [`AssetsError`] if the folder does not hold the file that the page imports.
    pub(crate) fn open(
        assets: Option<&Path>,
        name: String,
        links: Vec<PageLink>,
    ) -> Result<Self, AssetsError> {
        if let Some(folder) = assets {
            std::fs::File::open(folder.join(CLIENT_FILE)).map_err(|source| AssetsError {
                folder: folder.to_owned(),
                source,
            })?;
        }
        Ok(Self {
            assets: assets.map(Arc::from),
            about: Arc::new(About { name, links }),
        })
    }

    /// `/`: the chat, or without the client's files a page that says which command to run.
    pub(crate) fn index(&self, request: &HeaderMap) -> Response {
        let html = match self.assets {
            Some(_) => include_str!("page/index.html"),
            None => WITHOUT_CLIENT,
        };
        let mut response = page_file(HTML, html);
        response.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            content_security_policy(request.get(header::HOST)),
        );
        response
    }

    /// `/chat.css`
    pub(crate) fn style() -> Response {
        page_file(CSS, include_str!("page/chat.css"))
    }

    /// `/chat.js`
    pub(crate) fn script() -> Response {
        page_file(JAVASCRIPT, include_str!("page/chat.js"))
    }

    /// `/api/page`: this node's name and the links to the others.
    pub(crate) fn about(&self) -> Response {
        Json(&*self.about).into_response()
    }

    /// `/assets/<name>`: one file of the client's folder.
    pub(crate) async fn asset(&self, name: &str) -> Response {
        let (Some(folder), Some(content_type)) = (&self.assets, asset_type(name)) else {
            return no_asset(name).into_response();
        };
        match tokio::fs::read(folder.join(name)).await {
            Ok(bytes) => page_file(content_type, bytes),
            Err(error) => {
                tracing::debug!(file = name, %error, "a client file was asked for in vain");
                no_asset(name).into_response()
            }
        }
    }
}

/// Nothing inline and nothing from elsewhere; sockets only back to where the page came from.
/// `'self'` alone would do, if every browser took it for `ws:` too: so the host is spelled out.
fn content_security_policy(host: Option<&HeaderValue>) -> HeaderValue {
    let sockets = host
        .and_then(|host| host.to_str().ok())
        .filter(|host| host.bytes().all(is_host_byte))
        .map(|host| format!(" ws://{host} wss://{host}"))
        .unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    policy
        .try_into()
        .expect("the policy is plain text and the host was checked")
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
}

/// The content type of a file that may be served, or nothing. A name is a single path component
/// that does not start with a dot, so that none can lead out of the folder.
fn asset_type(name: &str) -> Option<&'static str> {
    let is_component = !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let (_, extension) = name.rsplit_once('.').filter(|_| is_component)?;
    match extension {
        "js" | "mjs" => Some(JAVASCRIPT),
        "map" => Some("application/json; charset=utf-8"),
        "css" => Some(CSS),
        _ => None,
    }
}

fn no_asset(name: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!(
            "no file {name:?} is served here; --assets names the folder of the client's .js, .mjs, \
             .map and .css files"
        ),
    )
}

fn page_file(content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = with_type(StatusCode::OK, content_type, body);
    for (name, value) in PAGE_HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

const PAGE_HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Ask again each time: the page and the node must be of one version.
    (header::CACHE_CONTROL, "no-cache"),
];

const WITHOUT_CLIENT: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Matryoshka node</title>
<h1>This node runs without the chat page</h1>
<p>The page needs the official client's browser files. Run <code>cargo xtask demo</code>: it installs
them and starts three nodes that serve the chat.</p>
<p>To serve it from this node, start it with <code>--assets DIR</code>, where DIR holds the files.</p>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_with_a_known_extension_are_served() {
        assert_eq!(asset_type("phoenix.mjs"), Some(JAVASCRIPT));
        assert_eq!(
            asset_type("phoenix.mjs.map"),
            Some("application/json; charset=utf-8")
        );
        for name in [
            "",
            ".",
            "..",
            ".js",
            "../phoenix.mjs",
            "a/b.js",
            "a\\b.js",
            "c:x.js",
            "phoenix",
            "package.json",
            "a\0.js",
            "%2e%2e%2fa.js",
        ] {
            assert_eq!(asset_type(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_policy_names_the_host_unless_it_could_break_out() {
        let policy = |host| content_security_policy(Some(&HeaderValue::from_static(host)));
        let named = policy("127.0.0.1:4000");
        assert!(
            named
                .to_str()
                .unwrap()
                .contains("'self' ws://127.0.0.1:4000 wss://127.0.0.1:4000;")
        );
        let odd = policy("evil; script-src *");
        assert!(!odd.to_str().unwrap().contains("evil"));
    }

    #[test]
    fn a_folder_without_the_client_is_refused_with_the_cure() {
        let error = Page::open(Some(Path::new("/nonexistent")), "n1".into(), Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("--assets \"/nonexistent\" is not allowed"),
            "{error}"
        );
        assert!(error.contains("cargo xtask demo"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

//! A link from the chat page to another node's page: `NAME=URL`, with an http or https address.

use std::str::FromStr;

use serde::Serialize;

/// Another node as the page names it, and the HTTP address of its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PageLink {
    name: String,
    url: String,
}

impl FromStr for PageLink {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, url) = text.split_once('=').ok_or(())?;
        let uri: http::Uri = url.parse().map_err(drop)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        if name.is_empty() || !is_web || !has_host {
            return Err(());
        }
        Ok(Self {
            name: name.to_owned(),
            url: url.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_name_and_a_web_address() {
        let link: PageLink = "n2=http://127.0.0.1:4001".parse().unwrap();
        assert_eq!(link.name, "n2");
        assert_eq!(link.url, "http://127.0.0.1:4001");
    }

    #[test]
    fn what_a_browser_would_run_or_not_open_is_refused() {
        for text in [
            "",
            "n2",
            "=http://127.0.0.1:4001",
            "n2=",
            "n2=javascript:alert(1)",
            "n2=127.0.0.1:4001",
            "n2=http://",
            "n2=/path",
        ] {
            assert_eq!(text.parse::<PageLink>(), Err(()), "{text}");
        }
    }
}

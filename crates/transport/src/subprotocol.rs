//! Which WebSocket subprotocol is spoken, and the token that clients hide among those they offer.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

/// The subprotocol of clients that send a token.
pub(crate) const PHOENIX: &str = "phoenix";

/// What stands before a token among the subprotocols that a client offers.
const TOKEN_PREFIX: &str = "base64url.bearer.phx.";

/// A token that a client sent beside its parameters, where it is in no URL and so in nobody's log. Its `Debug` form does not show
/// it either.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken(String);

impl AuthToken {
    /// For carriers that have a way of their own to send one, and for tests.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken([FILTERED])")
    }
}

/// What becomes of the subprotocols that a client offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The one that is spoken, which the answer names.
    pub(crate) spoken: Option<HeaderValue>,
    pub(crate) token: Option<AuthToken>,
}

/// Why a client cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disagreed {
    /// Its token is no base64 of a text.
    Token,
    /// None of those that it offers is spoken here.
    Subprotocol,
}

/// Agrees on a subprotocol: the first of the server's that the client offers. With `takes_token`, `phoenix` is the server's first.
///
/// Without a list the client's offers mean nothing, and without offers there is nothing to agree on.
pub(crate) fn agree(
    headers: &HeaderMap,
    spoken_here: &[String],
    takes_token: bool,
) -> Result<Agreed, Disagreed> {
    if spoken_here.is_empty() && !takes_token {
        return Ok(Agreed::default());
    }
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.and_then(|offered| offered.to_str().ok());
    let mut offered: Vec<&str> = offered
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    offered.retain(|name| !name.is_empty());
    let token = match takes_token {
        true => take_token(&mut offered)?,
        false => None,
    };
    if offered.is_empty() {
        return Ok(Agreed {
            spoken: None,
            token,
        });
    }
    let phoenix = takes_token.then_some(PHOENIX).into_iter();
    let mut here = phoenix.chain(spoken_here.iter().map(String::as_str));
    let spoken = here.find(|name| offered.contains(name));
    let spoken = spoken.and_then(|name| HeaderValue::from_str(name).ok());
    match spoken {
        Some(spoken) => Ok(Agreed {
            spoken: Some(spoken),
            token,
        }),
        None => Err(Disagreed::Subprotocol),
    }
}

/// Takes out the one offer that is a token. Several are none.
fn take_token(offered: &mut Vec<&str>) -> Result<Option<AuthToken>, Disagreed> {
    let mut tokens = offered
        .iter()
        .filter_map(|name| name.strip_prefix(TOKEN_PREFIX));
    let (Some(encoded), None) = (tokens.next(), tokens.next()) else {
        return Ok(None);
    };
    let token = decode(encoded).ok_or(Disagreed::Token)?;
    offered.retain(|name| !name.starts_with(TOKEN_PREFIX));
    Ok(Some(AuthToken(token)))
}

/// Whatever the prefix says, clients write the standard alphabet; both are taken, padded or not.
fn decode(encoded: &str) -> Option<String> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = encoded.replace('-', "+").replace('_', "/");
    let bytes = GeneralPurpose::new(&STANDARD, config)
        .decode(standard)
        .ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        offered: &str,
        spoken_here: &[&str],
        takes_token: bool,
    ) -> Result<(Option<String>, Option<String>), Disagreed> {
        let mut headers = HeaderMap::new();
        if !offered.is_empty() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered.parse().unwrap());
        }
        let spoken_here: Vec<String> = spoken_here.iter().map(|name| (*name).to_owned()).collect();
        let agreed = agree(&headers, &spoken_here, takes_token)?;
        let spoken = agreed
            .spoken
            .map(|spoken| spoken.to_str().unwrap().to_owned());
        Ok((spoken, agreed.token.map(|token| token.0)))
    }

    fn agreed(
        spoken: Option<&str>,
        token: Option<&str>,
    ) -> Result<(Option<String>, Option<String>), Disagreed> {
        Ok((spoken.map(str::to_owned), token.map(str::to_owned)))
    }

    #[test]
    fn without_a_list_offers_mean_nothing() {
        assert_eq!(ask("", &[], false), agreed(None, None));
        assert_eq!(
            ask("mqtt, base64url.bearer.phx.MTIzNA", &[], false),
            agreed(None, None)
        );
    }

    #[test]
    fn the_first_of_the_servers_that_is_offered_is_spoken() {
        assert_eq!(ask("", &["sip"], false), agreed(None, None));
        assert_eq!(ask("sip", &["sip"], false), agreed(Some("sip"), None));
        assert_eq!(
            ask("a, b ,c", &["x", "c", "b"], false),
            agreed(Some("c"), None)
        );
        assert_eq!(ask("mqtt", &["sip"], false), Err(Disagreed::Subprotocol));
        assert_eq!(ask("SIP", &["sip"], false), Err(Disagreed::Subprotocol));
    }

    #[test]
    fn a_token_is_taken_out_and_phoenix_is_spoken() {
        let with = |offered: &str| ask(offered, &[], true);
        let phoenix = |token| agreed(Some("phoenix"), token);
        assert_eq!(
            with("phoenix, base64url.bearer.phx.MTIzNA"),
            phoenix(Some("1234"))
        );
        assert_eq!(
            with("phoenix, base64url.bearer.phx.MTIzNA=="),
            phoenix(Some("1234"))
        );
        assert_eq!(
            with("base64url.bearer.phx.MTIzNA"),
            agreed(None, Some("1234"))
        );
        assert_eq!(with("phoenix"), phoenix(None));
        assert_eq!(with(""), agreed(None, None));
        // In either alphabet.
        assert_eq!(
            with("phoenix, base64url.bearer.phx.fn5+Pz8/"),
            phoenix(Some("~~~???"))
        );
        assert_eq!(
            with("phoenix, base64url.bearer.phx.fn5-Pz8_"),
            phoenix(Some("~~~???"))
        );
    }

    #[test]
    fn several_tokens_are_none_and_what_is_no_token_is_refused() {
        let two = "phoenix, base64url.bearer.phx.MTIzNA, base64url.bearer.phx.MTIzNA";
        assert_eq!(ask(two, &[], true), agreed(Some("phoenix"), None));
        let alone = "base64url.bearer.phx.MTIzNA, base64url.bearer.phx.MTIzNA";
        assert_eq!(ask(alone, &[], true), Err(Disagreed::Subprotocol));
        let unknown = "base64url.bearer.phx.MTIzNA, mqtt";
        assert_eq!(ask(unknown, &["sip"], true), Err(Disagreed::Subprotocol));
        for bad in ["!", "MTIzN", "/w", "_w=="] {
            let offered = format!("phoenix, base64url.bearer.phx.{bad}");
            assert_eq!(ask(&offered, &[], true), Err(Disagreed::Token), "{bad}");
        }
        assert_eq!(
            ask("sip, base64url.bearer.phx.MTIzNA", &["sip"], true),
            agreed(Some("sip"), Some("1234"))
        );
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = AuthToken::new("1234");
        assert_eq!(
            format!("{token:?} {:?}", Some(&token)),
            "AuthToken([FILTERED]) Some(AuthToken([FILTERED]))"
        );
        assert_eq!(token.as_str(), "1234");
    }
}

//! Tokens: their form, age, keys, and what is refused.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = {
    let mut key = [0; 32];
    let mut at = 0;
    while at < 32 {
        key[at] = at as u8;
        at += 1;
    }
    key
};

fn ring(keys: &[[u8; 32]]) -> KeyRing {
    KeyRing::new(keys.iter().copied()).unwrap()
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

const NOW_MS: u64 = 1_700_000_000_123;

fn now() -> SystemTime {
    at(NOW_MS)
}

#[test]
fn the_form_is_fixed_since_tokens_outlive_programs() {
    // Computed by another implementation of HMAC and base64.
    let known = "1.AAABi8_laHt7InVzZXIiOjd9.vPdmXYYPXL4HIaHb5c5Df2P8RknhM9hv7H87SzbFb7A";
    let tokens = Tokens::new(&ring(&[KEY]), "socket");
    let value = BTreeMap::from([("user".to_owned(), 7)]);
    assert_eq!(tokens.sign_at(&value, now()).unwrap().as_str(), known);
    let verified = tokens.verify_at(known, now()).unwrap();
    assert_eq!((verified.value, verified.issued_at), (value, now()));
}

#[test]
fn a_token_is_good_until_its_age_is_reached() {
    let tokens: Tokens<u8> = Tokens::new(&ring(&[KEY]), "p").max_age(Duration::from_secs(10));
    let token = tokens.sign_at(&7, now()).unwrap();
    let check = |now| tokens.verify_at(token.as_str(), now);
    assert_eq!(check(now()).unwrap().expires_at, Some(at(NOW_MS + 10_000)));
    assert!(check(at(NOW_MS + 9_999)).is_ok());
    assert_eq!(check(at(NOW_MS + 10_000)), Err(TokenError::Expired));
    // The clock of whoever signed may be a little ahead, and no more.
    assert!(check(at(NOW_MS - 60_000)).is_ok());
    assert_eq!(check(at(NOW_MS - 60_001)), Err(TokenError::Early));
    // Whoever verifies decides.
    let stricter = tokens.clone().max_age(Duration::from_secs(1));
    let late = stricter.verify_at(token.as_str(), at(NOW_MS + 1_000));
    assert_eq!(late, Err(TokenError::Expired));
    let endless = tokens.clone().max_age(Duration::MAX);
    let verified = endless.verify_at(token.as_str(), at(2 * NOW_MS)).unwrap();
    assert_eq!(verified.expires_at, None);
}

#[test]
fn keys_are_replaced_while_tokens_are_out() {
    let (old, new) = ([1; 32], [2; 32]);
    let used = ring(&[old]);
    let tokens: Tokens<String> = Tokens::new(&used, "p");
    let first = tokens.sign(&"one".to_owned()).unwrap();
    // The new key verifies only, then it signs, then the old one goes.
    used.replace(&ring(&[old, new]));
    let second = tokens.sign(&"two".to_owned()).unwrap();
    used.replace(&ring(&[new, old]));
    let third = tokens.sign(&"three".to_owned()).unwrap();
    for token in [&first, &second, &third] {
        assert!(tokens.verify(token.as_str()).is_ok());
    }
    used.replace(&ring(&[new]));
    assert_eq!(tokens.verify(first.as_str()), Err(TokenError::Signature));
    assert_eq!(tokens.verify(second.as_str()), Err(TokenError::Signature));
    assert_eq!(tokens.verify(third.as_str()).unwrap().value, "three");
}

#[test]
fn a_token_is_for_one_purpose_and_one_type() {
    let ring = ring(&[KEY]);
    let socket: Tokens<u32> = Tokens::new(&ring, "socket");
    let token = socket.sign(&7).unwrap();
    let other: Tokens<u32> = Tokens::new(&ring, "socket2");
    assert_eq!(other.verify(token.as_str()), Err(TokenError::Signature));
    let typed: Tokens<String> = Tokens::new(&ring, "socket");
    assert_eq!(typed.verify(token.as_str()), Err(TokenError::Value));
}

#[test]
fn what_is_no_token_is_told_from_a_forged_one() {
    let tokens: Tokens<u8> = Tokens::new(&ring(&[KEY]), "p");
    let long = "x".repeat(MAX_TOKEN_BYTES + 1);
    for text in [
        "",
        ".",
        "..",
        "1..",
        "2.AAAA.AAAA",
        "1.AAAA.*",
        "1.AAAA",
        &long,
    ] {
        let error = tokens.verify(text).unwrap_err();
        let expected = match text {
            "1.." => TokenError::Signature,
            _ => TokenError::Malformed,
        };
        assert_eq!(error, expected, "{text}");
    }
    let cut = tokens.sign(&7).unwrap();
    let cut = &cut.as_str()[..cut.as_str().len() - 3];
    assert_eq!(tokens.verify(cut), Err(TokenError::Signature));
}

#[test]
fn a_value_too_large_is_refused_before_anybody_gets_it() {
    let tokens: Tokens<String> = Tokens::new(&ring(&[KEY]), "p");
    let fits = "x".repeat(3_000);
    assert!(tokens.verify(tokens.sign(&fits).unwrap().as_str()).is_ok());
    assert!(matches!(
        tokens.sign(&"x".repeat(3_100)),
        Err(SignError::TooLong { bytes: 4_097.. })
    ));
    let no_json: Tokens<BTreeMap<Vec<u8>, u8>> = Tokens::new(&ring(&[KEY]), "p");
    let value = BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(no_json.sign(&value), Err(SignError::Value(_))));
}

#[test]
fn keys_are_read_from_hex_and_base64() {
    let hex: String = KEY.iter().map(|byte| format!("{byte:02X}")).collect();
    let token = Tokens::new(&ring(&[KEY]), "p").sign(&7u8).unwrap();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for text in [
        &hex,
        base64,
        base64.trim_end_matches('='),
        &format!(" \n {hex}\r\n"),
    ] {
        let tokens: Tokens<u8> = Tokens::new(&KeyRing::parse(text).unwrap(), "p");
        assert!(tokens.verify(token.as_str()).is_ok(), "{text:?}");
    }
    let two = KeyRing::parse(&format!("{},{hex}", "ff".repeat(40))).unwrap();
    assert_eq!(format!("{two:?}"), "KeyRing(2 hidden)");
    let error = |text: &str| KeyRing::parse(text).unwrap_err();
    assert_eq!(error(" \n,"), KeyError::Empty);
    assert_eq!(
        error(&format!("{hex}\n00ff")),
        KeyError::TooShort { index: 2, bytes: 2 }
    );
    assert_eq!(error("no key!"), KeyError::Undecodable { index: 1 });
    assert_eq!(error(&hex[1..]), KeyError::Undecodable { index: 1 });
    let many = [hex.as_str()].repeat(MAX_KEYS + 1).join(",");
    assert_eq!(
        error(&many),
        KeyError::TooMany {
            count: MAX_KEYS + 1
        }
    );
    let (one, other) = (KeyRing::generate(), KeyRing::generate());
    let token = Tokens::new(&one, "p").sign(&7u8).unwrap();
    assert!(
        Tokens::<u8>::new(&other, "p")
            .verify(token.as_str())
            .is_err()
    );
}

#[test]
fn neither_tokens_nor_keys_nor_values_are_shown() {
    let ring = ring(&[[b'k'; 32]]);
    let tokens: Tokens<String> = Tokens::new(&ring, "p");
    let token = tokens.sign(&"secret".to_owned()).unwrap();
    assert_eq!(format!("{token:?}"), "Token(hidden)");
    let shown = format!("{tokens:?} {ring:?}");
    assert!(!shown.contains("kkk") && !shown.contains("107"), "{shown}");
    let typed: Tokens<u8> = Tokens::new(&ring, "p");
    let error = typed.verify(token.as_str()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

proptest! {
    /// Whatever is changed, at whatever place.
    #[test]
    fn a_changed_token_is_never_believed(
        value in "\\PC{0,40}",
        place in any::<prop::sample::Index>(),
        with in "[A-Za-z0-9_.-]",
    ) {
        let tokens: Tokens<String> = Tokens::new(&ring(&[KEY]), "p");
        let token = String::from(tokens.sign(&value).unwrap());
        prop_assert_eq!(tokens.verify(&token).unwrap().value, value);
        let at = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(tokens.verify(&changed).is_ok(), changed == token);
    }

    #[test]
    fn no_text_makes_verifying_panic(text in "\\PC{0,200}", body in "[A-Za-z0-9_-]{0,20}") {
        let tokens: Tokens<String> = Tokens::new(&ring(&[KEY]), "p");
        prop_assert!(tokens.verify(&text).is_err());
        let text = format!("1.{}.{}", body, body);
        prop_assert!(tokens.verify(&text).is_err());
    }
}

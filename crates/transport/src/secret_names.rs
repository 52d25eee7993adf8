//! Which parameters are secrets, by their names, and so in no log.
//!
//! Pure: no clock, no I/O, no tasks.

/// Parameters whose name contains one of these, in whatever case, are shown as [`FILTERED`].
const SECRET_NAMES: [&str; 3] = ["password", "token", "secret"];

/// What stands in a log where a secret would.
pub const FILTERED: &str = "[FILTERED]";

/// Whether a parameter of that name is a secret: a password, a token, or something that is called secret.
///
/// ```
/// # use matryoshka_transport::is_secret_name;
/// assert!(is_secret_name("userToken") && !is_secret_name("user"));
/// ```
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

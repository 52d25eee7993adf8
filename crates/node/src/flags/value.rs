//! Values that flags of several kinds take: a path, on or off.

use std::path::PathBuf;

pub(super) fn file_path(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("it takes a path".to_owned());
    }
    Ok(PathBuf::from(value))
}

pub(super) fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it takes on or off".to_owned()),
    }
}

/// A switch's variable; on the command line it has no value.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" | "on" | "true" | "yes" => Ok(true),
        "0" | "off" | "false" | "no" => Ok(false),
        _ => Err("it takes true or false".to_owned()),
    }
}

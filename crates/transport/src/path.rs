//! Paths by segment, some of which may be variables.
//!
//! Pure: no clock, no I/O, no tasks.

use percent_encoding::percent_decode_str;

use crate::params::Params;

/// The variables that a path has where it matches a pattern such as `/custom/:room/websocket`, as parameters. Slashes that are
/// doubled or stand at the end do not matter. A variable whose name begins with `_` is not handed on.
pub(crate) struct Match<'a>(Vec<(&'a str, String)>);

impl<'a> Match<'a> {
    /// None if the path does not match. The pattern is that of its parts, one behind the other.
    pub(crate) fn of(pattern: [&'a str; 2], path: &str) -> Option<Self> {
        let mut pattern = pattern.into_iter().flat_map(segments);
        let mut variables = Vec::new();
        for segment in segments(path) {
            let expected = pattern.next()?;
            match expected.strip_prefix(':') {
                None if segment == expected => {}
                None => return None,
                Some(name) => {
                    let value = percent_decode_str(segment).decode_utf8().ok()?;
                    if !name.starts_with('_') {
                        variables.push((name, value.into_owned()));
                    }
                }
            }
        }
        pattern.next().is_none().then_some(Self(variables))
    }

    /// Sets the variables, which win over parameters of their name.
    pub(crate) fn set(self, params: &mut Params) {
        for (name, value) in self.0 {
            params.set(name, value);
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pattern: [&str; 2], path: &str) -> Option<String> {
        let found = Match::of(pattern, path)?;
        let pairs = found
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Some(pairs.collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn plain_paths_match_by_segment() {
        let pattern = ["/my/socket/", "websocket"];
        for path in ["/my/socket/websocket", "//my/socket//websocket/"] {
            assert_eq!(variables(pattern, path).as_deref(), Some(""), "{path}");
        }
        for path in [
            "",
            "/",
            "/my/socket",
            "/my/socket/websocket/x",
            "/my/Socket/websocket",
        ] {
            assert_eq!(variables(pattern, path), None, "{path}");
        }
    }

    #[test]
    fn variables_take_any_one_segment_decoded() {
        let pattern = ["/custom/:socket_var", ":path_var/nested/path"];
        let found = variables(pattern, "/custom/a/b%20%C3%A9/nested/path");
        assert_eq!(found.as_deref(), Some("socket_var=a&path_var=b é"));
        assert_eq!(variables(pattern, "/custom/a/nested/path"), None);
        assert_eq!(variables(pattern, "/custom/%ff/b/nested/path"), None);
        assert_eq!(variables([":_any", "x"], "/secret/x").as_deref(), Some(""));
    }

    #[test]
    fn variables_win_over_parameters() {
        let mut params = Params::parse("room=query&user=al").unwrap();
        Match::of([":room", "websocket"], "/path/websocket")
            .unwrap()
            .set(&mut params);
        assert_eq!(
            (params.get("room"), params.get("user")),
            (Some("path"), Some("al"))
        );
    }
}

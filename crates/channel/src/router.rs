//! Which channel serves which topic.
//!
//! Pure: no clock, no I/O, no tasks.

use thiserror::Error;

/// Patterns and what they lead to, asked in the order in which they were added: the first match wins, however long
/// a later one is.
///
/// ```
/// use matryoshka_channel::Router;
///
/// let mut router = Router::new();
/// router.add("room:lobby", 1)?;
/// router.add("room:*", 2)?;
/// assert_eq!(router.find("room:lobby"), Some(&1));
/// assert_eq!(router.find("room:"), Some(&2));
/// assert_eq!(router.find("game:1"), None);
/// # Ok::<(), matryoshka_channel::PatternError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Router<T> {
    routes: Vec<(Pattern, T)>,
}

impl<T> Router<T> {
    /// A router without routes: every topic is unmatched.
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Adds a route behind those there are.
    ///
    /// `pattern` is a whole topic, or a prefix followed by one `*`; `*` alone matches every topic.
    ///
    /// # Errors
    /// [`PatternError`] if a `*` stands anywhere but at the end. The router is unchanged.
    pub fn add(&mut self, pattern: &str, target: T) -> Result<(), PatternError> {
        self.routes.push((Pattern::parse(pattern)?, target));
        Ok(())
    }

    /// All patterns, in the order in which they are asked.
    pub(crate) fn patterns(&self) -> String {
        let shown = self.routes.iter().map(|(pattern, _)| match pattern {
            Pattern::Exact(exact) => exact.to_string(),
            Pattern::Prefix(prefix) => format!("{prefix}*"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// What the first matching route leads to.
    pub fn find(&self, topic: &str) -> Option<&T> {
        self.routes
            .iter()
            .find(|(pattern, _)| pattern.matches(topic))
            .map(|(_, target)| target)
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a pattern cannot be a route.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("topic pattern {pattern:?} has a `*` before its end; use one `*`, as the last character")]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self, PatternError> {
        let (prefix, kind): (&str, fn(Box<str>) -> Self) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, Self::Prefix),
            None => (pattern, Self::Exact),
        };
        if prefix.contains('*') {
            return Err(PatternError {
                pattern: pattern.to_owned(),
            });
        }
        Ok(kind(prefix.into()))
    }

    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(patterns: &[&'static str]) -> Router<&'static str> {
        let mut router = Router::new();
        for pattern in patterns {
            router.add(pattern, *pattern).unwrap();
        }
        router
    }

    #[test]
    fn r1_a_pattern_without_a_star_matches_that_topic_only() {
        let router = router(&["room:lobby"]);
        assert!(router.find("room:lobby").is_some());
        assert!(router.find("room:lobby2").is_none());
        assert!(router.find("room:").is_none());
    }

    #[test]
    fn r2_a_star_matches_the_prefix_and_all_below_it() {
        assert!(router(&["room:*"]).find("room:").is_some());
        assert!(router(&["room:*"]).find("room:a:b").is_some());
        assert!(router(&["room:*"]).find("room").is_none());
        assert!(router(&["*"]).find("").is_some());
        assert!(router(&["*"]).find("anything").is_some());
    }

    #[test]
    fn r3_a_star_elsewhere_is_refused() {
        let mut router = Router::new();
        for pattern in ["ro*m", "*room", "**", "room:**", "a*b*"] {
            let error = router.add(pattern, ()).unwrap_err();
            assert_eq!(error.pattern, pattern);
        }
        assert!(router.find("room").is_none(), "nothing was added");
    }

    #[test]
    fn r4_the_first_declared_wins() {
        let router = router(&["food*", "foo*", "food:1"]);
        assert_eq!(router.find("food:1"), Some(&"food*"));
        assert_eq!(router.find("foo:1"), Some(&"foo*"));
    }
}

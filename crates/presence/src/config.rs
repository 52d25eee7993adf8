//! What can be set when a presence starts.

use matryoshka_tracker::TrackerConfig;

/// Settings of a [`Presence`](crate::Presence). The default is right for one presence in an application.
///
/// ```
/// # use matryoshka_presence::PresenceConfig;
/// let config = PresenceConfig::default().name("support");
/// ```
#[derive(Clone, Debug)]
pub struct PresenceConfig {
    pub(crate) tracker: TrackerConfig,
}

impl PresenceConfig {
    /// The name of a presence that was given no other.
    pub const DEFAULT_NAME: &'static str = "presence";

    /// The name under which the presences of all nodes find each other. Default: [`DEFAULT_NAME`](Self::DEFAULT_NAME).
    ///
    /// Two presences of different names share nothing, so one application may have several.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.tracker.name = name.into();
        self
    }

    /// The settings of the tracker beneath, its name included.
    #[must_use]
    pub fn tracker(mut self, tracker: TrackerConfig) -> Self {
        self.tracker = tracker;
        self
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            tracker: TrackerConfig::named(Self::DEFAULT_NAME),
        }
    }
}

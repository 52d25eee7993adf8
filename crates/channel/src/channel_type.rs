//! What is the same for all channels of one type, as the parts see it that know nothing of the type.

use std::any::TypeId;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use crate::Channel;
use crate::log_lines::LogLines;
use crate::multiplexer::InstanceId;
use crate::panics::caught;
use crate::transport::{Payload, WhenSlow};
use matryoshka_transport::excerpt;

/// One for each type of channel, or a few of the same content.
pub(crate) struct ChannelType {
    id: fn() -> TypeId,
    pub(crate) intercept: &'static [&'static str],
    when_slow: fn(&str, &Payload) -> WhenSlow,
}

impl ChannelType {
    /// That of `C`.
    pub(crate) fn of<App, C: Channel<App>>() -> &'static Self {
        Of::<App, C>::TYPE
    }

    pub(crate) fn id(&self) -> TypeId {
        (self.id)()
    }

    /// What becomes of an event of this topic whose reader is slow, the same for all channels of the type.
    ///
    /// It runs where events are sent from, so its panic is nobody's end: the event is then as any other.
    pub(crate) fn when_slow(
        &self,
        topic: &str,
        event: &str,
        payload: &Payload,
        lines: &LogLines,
    ) -> WhenSlow {
        match caught(|| (self.when_slow)(event, payload)) {
            Ok(WhenSlow::Latest(key)) => WhenSlow::latest_of((topic, event, key)),
            Ok(when_slow) => when_slow,
            Err(panic) => {
                if let Some(left_out) = lines.when_slow.pass_now() {
                    tracing::error!(
                        event = excerpt(event),
                        panic = panic.words,
                        at = panic.place.as_deref(),
                        left_out,
                        "a channel's when_slow panicked"
                    );
                }
                WhenSlow::Close
            }
        }
    }
}

struct Of<App, C>(PhantomData<(App, C)>);

impl<App, C: Channel<App>> Of<App, C> {
    const TYPE: &'static ChannelType = &ChannelType {
        id: TypeId::of::<C>,
        intercept: C::INTERCEPT,
        when_slow: C::when_slow,
    };
}

/// The same for one join: its events never take the place of those of another, which would come before its answer.
pub(crate) fn within(when_slow: WhenSlow, join: InstanceId) -> WhenSlow {
    match when_slow {
        WhenSlow::Latest(key) => {
            let mut hasher = DefaultHasher::new();
            (key, join).hash(&mut hasher);
            WhenSlow::Latest(hasher.finish())
        }
        when_slow => when_slow,
    }
}

//! Which versions of the wire are spoken.
//!
//! Pure: no clock, no I/O, no tasks.

use thiserror::Error;

use super::{Serializer, UnknownVsn, V1, V2, parse_patch_level};

/// The versions of the wire that are spoken: [`V1`] and [`V2`] unless you take one out, and any that you add. A client that asks for another is
/// refused as for one that does not exist.
///
/// ```
/// use matryoshka_transport::*;
///
/// /// Version 2 in a binary frame, for clients whose gateway takes no text.
/// struct Wrapped;
///
/// impl Serializer for Wrapped {
///     fn vsn(&self) -> &'static str { "wrapped-1" }
///
///     fn decode(&self, frame: Frame) -> Result<ClientMessage, DecodeError> {
///         let text = frame.bytes().clone().try_into().map_err(|_| DecodeError::NotUtf8)?;
///         V2.decode(Frame::Text(text))
///     }
///
///     fn encode(&self, message: &ServerMessage) -> Result<Frame, EncodeError> {
///         match V2.encode(message)? {
///             Frame::Text(text) => Ok(Frame::Binary(text.into_bytes())),
///             Frame::Binary(_) => Err(EncodeError::BinaryPayload { vsn: self.vsn() }),
///         }
///     }
/// }
///
/// let serializers = Serializers::default().with(&Wrapped).unwrap();
/// let config = HttpConfig::default().with_serializers(serializers); // for clients with vsn=wrapped-1
/// # drop(config);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Serializers {
    without_v1: bool,
    without_v2: bool,
    added: Vec<&'static dyn Serializer>,
}

impl Serializers {
    /// Speaks a further version, to clients whose parameter `vsn` is exactly [`Serializer::vsn`].
    ///
    /// Within one pubsub a `vsn` must stand for one serializer: a broadcast is encoded once for all who share it.
    ///
    /// # Errors
    /// [`VsnTaken`] if clients that ask for this version are served already, or it is one of version 1 or 2, spoken or not.
    pub fn with(mut self, serializer: &'static dyn Serializer) -> Result<Self, VsnTaken> {
        let vsn = serializer.vsn();
        // Also where they are not spoken: another mount of the same pubsub may speak them.
        if is_ours(vsn) || self.added(vsn).is_some() {
            return Err(VsnTaken(vsn));
        }
        self.added.push(serializer);
        Ok(self)
    }

    /// Does not speak version 1: neither with clients that ask for it, nor with those that ask for none and so mean it. Nobody else may
    /// have its number.
    ///
    /// ```
    /// # use matryoshka_transport::*;
    /// let newest_alone = Serializers::default().without_v1();
    /// assert!(newest_alone.get(Some("2.0.0")).is_ok());
    /// assert!(newest_alone.get(Some("1.0.0")).is_err() && newest_alone.get(None).is_err());
    /// ```
    pub fn without_v1(mut self) -> Self {
        self.without_v1 = true;
        self
    }

    /// Does not speak version 2, with which go binary payloads. Nobody else may have its number.
    pub fn without_v2(mut self) -> Self {
        self.without_v2 = true;
        self
    }

    /// The versions that are spoken, as clients ask for them.
    pub fn vsns(&self) -> impl Iterator<Item = &'static str> {
        let ours = [(self.without_v1, V1.vsn()), (self.without_v2, V2.vsn())];
        let ours = ours
            .into_iter()
            .filter_map(|(without, vsn)| (!without).then_some(vsn));
        ours.chain(self.added.iter().map(|serializer| serializer.vsn()))
    }

    /// The serializer for the `vsn` parameter of a connection: absent or `1.0.x` is [`V1`], `2.0.x` is [`V2`].
    ///
    /// # Errors
    /// [`UnknownVsn`] for anything else that was not added, `2` and `2.1.0` included, and for what was taken out: the handshake is refused.
    pub fn get(&self, vsn: Option<&str>) -> Result<&'static dyn Serializer, UnknownVsn> {
        let vsn = vsn.unwrap_or(V1.vsn());
        let found = match parse_patch_level(vsn) {
            Some((1, 0)) => (!self.without_v1).then_some(&V1 as &dyn Serializer),
            Some((2, 0)) => (!self.without_v2).then_some(&V2 as &dyn Serializer),
            _ => self.added(vsn),
        };
        found.ok_or_else(|| UnknownVsn(vsn.to_owned()))
    }

    fn added(&self, vsn: &str) -> Option<&'static dyn Serializer> {
        let mut added = self.added.iter().copied();
        added.find(|serializer| serializer.vsn() == vsn)
    }
}

/// Whether clients that ask for this mean [`V1`] or [`V2`].
fn is_ours(vsn: &str) -> bool {
    matches!(parse_patch_level(vsn), Some((1 | 2, 0)))
}

/// A serializer was not added: its version is another's. Give it one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "version {0} of the wire is another serializer's; a further one needs a version of its own"
)]
pub struct VsnTaken(pub &'static str);

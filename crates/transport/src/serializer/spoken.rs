//! Which versions of the wire are spoken.
//!
//! Pure: no clock, no I/O, no tasks.

use thiserror::Error;

use super::{Serializer, UnknownVsn, V1, V2, parse_patch_level};

/// The versions of the wire that are spoken: [`V1`] and [`V2`], and any that you add.
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
pub struct Serializers {
    added: Vec<&'static dyn Serializer>,
}

impl Serializers {
    /// Speaks a further version, to clients whose parameter `vsn` is exactly [`Serializer::vsn`].
    ///
    /// Within one pubsub a `vsn` must stand for one serializer: a broadcast is encoded once for all who share it.
    ///
    /// # Errors
    /// [`VsnTaken`] if clients that ask for this version are served already.
    pub fn with(mut self, serializer: &'static dyn Serializer) -> Result<Self, VsnTaken> {
        match self.get(Some(serializer.vsn())) {
            Ok(_) => Err(VsnTaken(serializer.vsn())),
            Err(UnknownVsn(_)) => {
                self.added.push(serializer);
                Ok(self)
            }
        }
    }

    /// The serializer for the `vsn` parameter of a connection: absent or `1.0.x` is [`V1`], `2.0.x` is [`V2`].
    ///
    /// # Errors
    /// [`UnknownVsn`] for anything else that was not added, `2` and `2.1.0` included: the handshake is refused.
    pub fn get(&self, vsn: Option<&str>) -> Result<&'static dyn Serializer, UnknownVsn> {
        let Some(vsn) = vsn else { return Ok(&V1) };
        match parse_patch_level(vsn) {
            Some((1, 0)) => Ok(&V1),
            Some((2, 0)) => Ok(&V2),
            _ => {
                let mut added = self.added.iter().copied();
                let found = added.find(|serializer| serializer.vsn() == vsn);
                found.ok_or_else(|| UnknownVsn(vsn.to_owned()))
            }
        }
    }
}

/// A serializer was not added: its version is spoken already. Give it one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("version {0} of the wire is spoken already; a further serializer needs one of its own")]
pub struct VsnTaken(pub &'static str);

//! A frame that counts once, however many outboxes hold it, and until the last of them has let go of it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::super::{frame::Frame, stats::Gauge};

/// What it is made of.
struct Counted {
    bytes: Bytes,
    all: Arc<Gauge>,
}

/// The same frame, which counts among all of its kind.
pub(super) fn counted(frame: Frame, all: &Arc<Gauge>) -> Frame {
    all.add(frame.len());
    let count = |bytes| {
        let all = Arc::clone(all);
        Bytes::from_owner(Counted { bytes, all })
    };
    match frame {
        Frame::Text(text) => {
            let text = ByteString::try_from(count(text.into_bytes()));
            Frame::Text(text.expect("it is the text that it was"))
        }
        Frame::Binary(bytes) => Frame::Binary(count(bytes)),
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.subtract(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_once_and_until_nobody_holds_it() {
        let all = Arc::<Gauge>::default();
        for frame in [Frame::text("text"), Frame::binary(vec![1, 2, 3])] {
            let one = counted(frame.clone(), &all);
            let other = one.clone();
            assert_eq!((&one, all.get()), (&frame, frame.len()));
            drop(one);
            assert_eq!(all.get(), frame.len());
            drop(other);
            assert_eq!(all.get(), 0);
        }
    }
}

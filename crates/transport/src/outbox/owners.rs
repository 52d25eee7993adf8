//! The owners that end with a connection.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_pubsub::registry::OwnerId;

/// Mostly one, for most clients join one topic: it takes no memory of its own.
#[derive(Debug, Default)]
pub(super) enum Owners {
    #[default]
    None,
    One(OwnerId),
    Many(Box<Several>),
}

/// Boxed, so that who has one or none does not pay for a list.
#[derive(Debug)]
pub(super) struct Several(Vec<OwnerId>);

impl Owners {
    pub(super) fn add(&mut self, owner: OwnerId) {
        match self {
            Self::None => *self = Self::One(owner),
            Self::One(first) => *self = Self::Many(Box::new(Several(vec![*first, owner]))),
            Self::Many(several) => several.0.push(owner),
        }
    }

    pub(super) fn remove(&mut self, owner: OwnerId) {
        match self {
            Self::One(only) if *only == owner => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(several) => several.0.retain(|other| *other != owner),
        }
    }

    pub(super) fn as_slice(&self) -> &[OwnerId] {
        match self {
            Self::None => &[],
            Self::One(owner) => std::slice::from_ref(owner),
            Self::Many(several) => &several.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use matryoshka_pubsub::registry::Owner;

    use super::*;

    #[test]
    fn it_has_whom_was_added_and_not_removed() {
        let ids: Vec<OwnerId> = (0..3).map(|_| Owner::new().id()).collect();
        let mut owners = Owners::default();
        for (count, owner) in ids.iter().enumerate() {
            assert_eq!(owners.as_slice(), &ids[..count]);
            owners.add(*owner);
        }
        owners.remove(ids[1]);
        assert_eq!(owners.as_slice(), [ids[0], ids[2]]);
        owners.remove(ids[0]);
        owners.remove(ids[2]);
        assert!(owners.as_slice().is_empty());
        let mut one = Owners::One(ids[0]);
        one.remove(ids[1]);
        assert_eq!(one.as_slice(), &ids[..1]);
        one.remove(ids[0]);
        assert!(one.as_slice().is_empty());
    }
}

//! Values that a connection and its routes hand to their channels, found by type.
//!
//! Pure: no clock, no I/O, no tasks.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

type Value = Arc<dyn Any + Send + Sync>;

/// At most one value of each type. Cloning shares the values; a change is seen by the changed clone only.
#[derive(Clone, Default)]
pub struct Assigns {
    /// Few, so a list beats a map. `None` without any, which is the usual case.
    values: Option<Arc<[(TypeId, Value)]>>,
}

impl Assigns {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more value, in place of an older one of its type.
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.put(value);
        self
    }

    /// Puts a value in, in place of an older one of its type.
    pub fn put<T: Send + Sync + 'static>(&mut self, value: T) {
        self.put_shared(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of that type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let (_, value) = self.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// Puts all of `others` in, in place of older ones of their types.
    pub(crate) fn merge(&mut self, others: &Self) {
        for (id, value) in others.iter() {
            self.put_shared(*id, Arc::clone(value));
        }
    }

    fn put_shared(&mut self, id: TypeId, value: Value) {
        let own = self.values.as_mut().and_then(Arc::get_mut);
        let known = own.and_then(|values| values.iter_mut().find(|(known, _)| *known == id));
        if let Some((_, old)) = known {
            *old = value;
            return;
        }
        let others = self.iter().filter(|(other, _)| *other != id).cloned();
        self.values = Some(others.chain([(id, value)]).collect());
    }

    fn iter(&self) -> impl Iterator<Item = &(TypeId, Value)> {
        self.values.iter().flat_map(|values| values.iter())
    }
}

impl fmt::Debug for Assigns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assigns")
            .field("count", &self.iter().count())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_the_changed_clone_only() {
        let before = Assigns::new().with(1u8).with("text");
        let mut after = before.clone();
        after.put(2u8);
        after.merge(&Assigns::new().with('c'));
        assert_eq!((before.get(), after.get()), (Some(&1u8), Some(&2u8)));
        assert_eq!((before.get::<char>(), after.get()), (None, Some(&'c')));
        assert_eq!(after.get(), Some(&"text"));
    }
}

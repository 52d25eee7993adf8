//! Notes about a registry, for all who have its handle.

use std::any::{Any, type_name};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

/// A small store of named values of any type beside the entries: they belong to no owner, and the last write wins.
///
/// ```
/// use matryoshka_registry::UniqueRegistry;
///
/// let names = UniqueRegistry::<String, u32>::new();
/// names.meta().put("limit", 10_usize);
/// assert_eq!(*names.meta().get::<usize>("limit")?, 10);
/// # Ok::<(), matryoshka_registry::MetaError>(())
/// ```
#[derive(Debug, Default)]
pub struct Meta {
    notes: RwLock<HashMap<Box<str>, Note>>,
}

#[derive(Clone, Debug)]
struct Note {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
}

impl Meta {
    /// Puts `value` under `name`, in place of what was there; whether there was something.
    pub fn put<T: Send + Sync + 'static>(&self, name: impl Into<Box<str>>, value: T) -> bool {
        let note = Note {
            value: Arc::new(value),
            type_name: type_name::<T>(),
        };
        let name = name.into();
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        let before = notes.insert(name, note);
        drop(notes);
        before.is_some()
    }

    /// What is under `name`.
    ///
    /// # Errors
    ///
    /// [`MetaError`] if there is nothing, or something of another type.
    pub fn get<T: Send + Sync + 'static>(&self, name: &str) -> Result<Arc<T>, MetaError> {
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let note = notes.get(name).cloned();
        drop(notes);
        let Some(Note { value, type_name }) = note else {
            return Err(MetaError::Missing { name: name.into() });
        };
        value.downcast().map_err(|_| MetaError::OtherType {
            name: name.into(),
            stored: type_name,
            asked: std::any::type_name::<T>(),
        })
    }

    /// Deletes what is under `name`; whether there was something.
    pub fn delete(&self, name: &str) -> bool {
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        let before = notes.remove(name);
        drop(notes);
        before.is_some()
    }
}

/// Why [`Meta::get`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetaError {
    /// Nobody put it there, or it was deleted.
    #[error("nothing is stored under {name:?}")]
    Missing {
        /// What was asked for.
        name: Box<str>,
    },
    /// It is there, but not what was asked for: ask for the type that was put.
    #[error("under {name:?} a {stored} is stored, and a {asked} was asked for")]
    OtherType {
        /// What was asked for.
        name: Box<str>,
        /// The type of what is there.
        stored: &'static str,
        /// The type that was asked for.
        asked: &'static str,
    },
}

//! The task that empties an outbox, and which news it is woken for.
//!
//! Pure: no clock, no I/O, no tasks.

/// What the task waits for; `W` is what wakes it.
///
/// Each method returns a waker that is of no more use here, for the caller to wake or to drop where it holds no lock.
#[derive(Debug)]
pub(super) enum Reader<W> {
    /// Nothing: it runs, or was woken. It looks at the outbox once more before it waits.
    Awake,
    /// For something to come in.
    Idle(W),
    /// For its client to read, and only then it looks at the outbox again. What comes in meanwhile waits without waking it,
    /// or each frame would cost a turn that can write nothing; only the end of the outbox is worth one, and what waits for no frame.
    /// Without a waker it has been called meanwhile.
    Blocked(Option<W>),
}

impl<W> Reader<W> {
    /// Whether it waits for its client.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked(_))
    }

    /// Something came in.
    #[must_use = "the task has to be woken"]
    pub(super) fn pushed(&mut self) -> Option<W> {
        match self {
            Self::Awake | Self::Blocked(_) => None,
            Self::Idle(_) => self.ended(),
        }
    }

    /// There is something for it whether or not its client reads.
    #[must_use = "the task has to be woken"]
    pub(super) fn called(&mut self) -> Option<W> {
        match self {
            // It still takes nothing.
            Self::Blocked(waker) => waker.take(),
            Self::Awake | Self::Idle(_) => self.ended(),
        }
    }

    /// The outbox has come to its end.
    #[must_use = "the task has to be woken"]
    pub(super) fn ended(&mut self) -> Option<W> {
        std::mem::replace(self, Self::Awake).into_waker()
    }

    /// Whether it waits for something to come in, by a waker of which that holds.
    pub(super) fn waits_by(&self, is_it: impl FnOnce(&W) -> bool) -> bool {
        matches!(self, Self::Idle(waker) if is_it(waker))
    }

    /// The task has taken everything, and waits for more.
    #[must_use = "a waker is not to be dropped under a lock"]
    pub(super) fn wait(&mut self, waker: W) -> Option<W> {
        std::mem::replace(self, Self::Idle(waker)).into_waker()
    }

    /// The client takes nothing, and the task will hear when it does.
    #[must_use = "a waker is not to be dropped under a lock"]
    pub(super) fn block(&mut self, waker: W) -> Option<W> {
        std::mem::replace(self, Self::Blocked(Some(waker))).into_waker()
    }

    fn into_waker(self) -> Option<W> {
        match self {
            Self::Awake => None,
            Self::Idle(waker) => Some(waker),
            Self::Blocked(waker) => waker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_wakes_an_idle_task_once_and_a_blocked_one_never() {
        let mut reader = Reader::Awake;
        assert_eq!(reader.pushed(), None, "it is about to look anyway");
        assert_eq!(reader.wait(1), None);
        assert_eq!([reader.pushed(), reader.pushed()], [Some(1), None]);
        assert_eq!(reader.block(2), None);
        assert_eq!([reader.pushed(), reader.pushed()], [None, None]);
        assert_eq!(reader.wait(3), Some(2));
        assert_eq!(reader.pushed(), Some(3));
    }

    #[test]
    fn an_end_or_a_call_wakes_whoever_waits_for_whatever() {
        for wait in [Reader::wait, Reader::block] {
            let mut reader = Reader::Awake;
            assert_eq!(reader.ended(), None);
            assert_eq!(wait(&mut reader, 1), None);
            assert_eq!([reader.ended(), reader.ended()], [Some(1), None]);
            assert_eq!(wait(&mut reader, 2), None);
            assert_eq!([reader.called(), reader.ended()], [Some(2), None]);
        }
    }

    #[test]
    fn one_that_is_called_takes_nothing_all_the_same_until_it_looks_for_more() {
        let mut reader = Reader::Awake;
        assert_eq!(reader.block(1), None);
        assert_eq!([reader.called(), reader.called()], [Some(1), None]);
        assert!(reader.is_blocked());
        assert_eq!(reader.block(2), None);
        assert_eq!(reader.wait(3), Some(2));
        assert!(!reader.is_blocked());
    }
}

//! A sorted sequence of small rows, cut into runs of bounded length.
//!
//! A row takes its own size and little more: runs that grow at their end are full, where the leaves of a B-tree stay half
//! empty. What orders the rows is the caller's, so that a row need not hold what it is sorted by, only lead to it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;

/// Rows in order, none twice.
#[derive(Debug)]
pub(crate) struct Runs<T> {
    /// None of them is empty.
    runs: Vec<Vec<T>>,
    len: usize,
}

/// The place of a row that is missing.
#[derive(Debug)]
pub(crate) struct Vacancy((usize, usize));

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Runs<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().flatten()
    }

    /// All rows from the first one that is not before what is sought.
    pub(crate) fn from(&self, before: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let at = self.run_where(&before);
        let first = self.runs.get(at);
        let skip = first.map_or(0, |run| run.partition_point(before));
        self.runs[at..].iter().flatten().skip(skip)
    }

    /// The row that equals what is sought, by how rows compare with it.
    pub(crate) fn find(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let (run, index) = self.place(&order).ok()?;
        Some(&self.runs[run][index])
    }

    /// As [`find`](Self::find). What the rows are sorted by must stay.
    pub(crate) fn find_mut(&mut self, order: impl Fn(&T) -> Ordering) -> Option<&mut T> {
        let (run, index) = self.place(&order).ok()?;
        Some(&mut self.runs[run][index])
    }

    /// Where a row is missing that equals what is sought, as long as nothing is changed.
    ///
    /// # Errors
    ///
    /// The row that is there.
    pub(crate) fn vacancy(&self, order: impl Fn(&T) -> Ordering) -> Result<Vacancy, &T> {
        match self.place(&order) {
            Ok((run, index)) => Err(&self.runs[run][index]),
            Err(place) => Ok(Vacancy(place)),
        }
    }

    /// Adds a row where it was missing.
    pub(crate) fn fill(&mut self, Vacancy(place): Vacancy, row: T) {
        let (run, index) = self.make_room(place);
        self.runs[run].insert(index, row);
        self.len += 1;
    }

    /// Takes the row out that equals what is sought.
    pub(crate) fn remove(&mut self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let (run, index) = self.place(&order).ok()?;
        let row = self.runs[run].remove(index);
        self.len -= 1;
        self.mend(run);
        Some(row)
    }

    /// Takes the last rows out, so many at most: run by run from the end.
    pub(crate) fn take_last(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(run) = self.runs.last_mut()
        {
            let stay = run.len().saturating_sub(most - taken.len());
            taken.extend(run.drain(stay..));
            if run.is_empty() {
                self.runs.pop();
            }
        }
        self.len -= taken.len();
        taken
    }

    /// The run and the index in it where what is sought is, or would be.
    fn place(&self, order: &impl Fn(&T) -> Ordering) -> Result<(usize, usize), (usize, usize)> {
        let at = self.run_where(|row| order(row) == Ordering::Less);
        let Some(run) = self.runs.get(at) else {
            // After everything: into the last run.
            let last = self.runs.len().saturating_sub(1);
            return Err((last, self.runs.last().map_or(0, Vec::len)));
        };
        let found = run.binary_search_by(order);
        found.map(|index| (at, index)).map_err(|index| (at, index))
    }

    /// The first run whose last row is not before what is sought.
    fn run_where(&self, before: impl Fn(&T) -> bool) -> usize {
        self.runs
            .partition_point(|run| run.last().is_some_and(&before))
    }

    /// Cuts the run in two, if it is full. Gives the place where the row goes then.
    fn make_room(&mut self, (run, index): (usize, usize)) -> (usize, usize) {
        let Some(full) = self.runs.get_mut(run) else {
            self.runs.push(Vec::new());
            return (run, index);
        };
        if full.len() < RUN_ROWS {
            return (run, index);
        }
        if index == full.len() {
            // Rows that come in order leave full runs behind.
            self.runs.insert(run + 1, Vec::new());
            return (run + 1, 0);
        }
        let rest = full.split_off(RUN_ROWS / 2);
        full.shrink_to_fit();
        self.runs.insert(run + 1, rest);
        match index.checked_sub(RUN_ROWS / 2) {
            Some(index) if index > 0 => (run + 1, index),
            _ => (run, index),
        }
    }

    /// Keeps runs from staying nearly empty after removals.
    fn mend(&mut self, at: usize) {
        if self.runs[at].is_empty() {
            self.runs.remove(at);
            return;
        }
        let joined = self
            .runs
            .get(at + 1)
            .map(|next| self.runs[at].len() + next.len());
        if joined.is_some_and(|joined| joined <= RUN_ROWS / 2) {
            let next = self.runs.remove(at + 1);
            self.runs[at].extend(next);
        } else if self.runs[at].capacity() > 2 * self.runs[at].len() {
            self.runs[at].shrink_to_fit();
        }
    }
}

/// Rows of one run at most: a change moves half as many on average, and one entry of the table of runs now and then.
const RUN_ROWS: usize = 128;

#[cfg(test)]
mod tests;

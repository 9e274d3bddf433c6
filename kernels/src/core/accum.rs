//! Writing to an output, or adding to it.

/// Mode of writing outputs. Every row of a table that [accumulates](crate::table::Table::accumulates) serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accum {
    /// Overwrites; what was there is never read.
    Write,
    /// Adds to what is there.
    Add,
}

impl Accum {
    /// The number to store where `old` stands.
    #[inline(always)]
    pub(crate) fn put<T: Copy + std::ops::Add<Output = T>>(self, old: &mut T, value: T) {
        *old = match self {
            Accum::Write => value,
            Accum::Add => *old + value,
        };
    }
}

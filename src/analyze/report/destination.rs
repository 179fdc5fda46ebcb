//! Where formats go: one writer each, and what became of it.
//!
//! A writer that fails (a full disk, a closed pipe) gets nothing more and keeps
//! its error; all others go on. Who made the destinations asks for the errors at the end.

use std::io::{self, IoSlice, Write};

use super::{Format, Formats};

/// A writer and its format.
pub struct Destination<'w> {
    format: Format,
    color: bool,
    out: &'w mut dyn Write,
    error: Option<io::Error>,
    /// Bytes of the first transaction that are left out: it has none before it.
    skip: usize,
}

impl<'w> Destination<'w> {
    /// For a format without colours.
    pub fn new(format: Format, out: &'w mut dyn Write) -> Self {
        Self { format, color: false, out, error: None, skip: format.separator().len() }
    }

    /// With colours in text and log.
    #[must_use]
    pub fn colored(self, color: bool) -> Self {
        Self { color, ..self }
    }

    /// What it gets.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether that has colours.
    pub fn color(&self) -> bool {
        self.color
    }

    /// Why it gets nothing more.
    pub fn into_error(self) -> Option<io::Error> {
        self.error
    }

    /// It gets nothing more; the first error is the one that is kept.
    pub fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }

    /// Writes a piece of the transactions.
    fn write_all(&mut self, bytes: &[u8]) {
        let skip = self.skip.min(bytes.len());
        self.skip -= skip;
        self.with(|out| out.write_all(bytes.get(skip..).unwrap_or_default()));
    }

    /// Writes as many of the slices, `len` bytes, as it takes; all where it has
    /// failed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`], to be tried again.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>], len: usize) -> io::Result<usize> {
        if self.error.is_some() {
            return Ok(len);
        }
        if let Some(first) = slices.first().filter(|_| self.skip > 0) {
            self.write_all(first);
            return Ok(first.len());
        }
        match self.out.write_vectored(slices) {
            Ok(0) if len > 0 => self.fail(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => self.fail(error),
        }
        Ok(len)
    }

    /// Does something with the writer, unless it has failed.
    pub fn with<R: Default>(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<R>) -> R {
        if self.error.is_some() {
            return R::default();
        }
        write(self.out).unwrap_or_else(|error| {
            self.fail(error);
            R::default()
        })
    }
}

/// The destinations of a run.
pub struct Destinations<'w>(Vec<Destination<'w>>);

impl<'w> Destinations<'w> {
    /// Those that are asked for. Of one format there may be several.
    pub fn new(destinations: Vec<Destination<'w>>) -> Self {
        Self(destinations)
    }

    /// Formats of all.
    pub fn formats(&self) -> Formats {
        self.0.iter().map(Destination::format).collect()
    }

    /// Each, in the order given.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Destination<'w>> {
        self.0.iter_mut()
    }

    /// Why each gets nothing more, in the order given.
    pub fn into_errors(self) -> Vec<Option<io::Error>> {
        self.0.into_iter().map(Destination::into_error).collect()
    }

    /// Whether there is nothing left to write to.
    pub fn have_all_failed(&self) -> bool {
        self.0.iter().all(|destination| destination.error.is_some())
    }

    /// Gives a format up.
    pub fn fail(&mut self, format: Format, kind: io::ErrorKind, why: &str) {
        for destination in self.0.iter_mut().filter(|destination| destination.format == format) {
            destination.fail(io::Error::new(kind, why));
        }
    }

    /// Hands on what writers keep.
    pub fn flush(&mut self) {
        self.0.iter_mut().for_each(|destination| destination.with(|out| out.flush()));
    }

    /// A writer to all destinations of a format, which never fails.
    pub fn of(&mut self, format: Format) -> OfFormat<'_, 'w> {
        OfFormat { destinations: &mut self.0, format }
    }
}

/// All destinations of one format as one writer; see [`Destinations::of`].
pub struct OfFormat<'s, 'w> {
    destinations: &'s mut [Destination<'w>],
    format: Format,
}

impl<'w> OfFormat<'_, 'w> {
    fn destinations(&mut self) -> impl Iterator<Item = &mut Destination<'w>> {
        let format = self.format;
        self.destinations.iter_mut().filter(move |destination| destination.format == format)
    }
}

impl Write for OfFormat<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.destinations().for_each(|destination| destination.write_all(bytes));
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        let mut destinations = self.destinations();
        let (first, more) = (destinations.next(), destinations.next().is_some());
        match first {
            // Nearly always there is one, which may take a part of them.
            Some(destination) if !more => return destination.write_vectored(slices, len),
            _ => drop(destinations),
        }
        for slice in slices {
            self.write_all(slice)?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.destinations().for_each(|destination| destination.with(|out| out.flush()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and then fails as a full disk does.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.min(bytes.len());
            self.0 -= room;
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_that_fails_leaves_the_others_whole() {
        let (mut lines, mut more, mut rows, mut full) = (vec![], vec![], vec![], Full(3));
        let mut destinations = Destinations::new(vec![
            Destination::new(Format::Jsonl, &mut lines),
            Destination::new(Format::Csv, &mut rows),
            Destination::new(Format::Jsonl, &mut full),
            Destination::new(Format::Jsonl, &mut more),
        ]);
        let slices = [IoSlice::new(b"one\n"), IoSlice::new(b""), IoSlice::new(b"two\n")];
        assert_eq!(destinations.of(Format::Jsonl).write_vectored(&slices).unwrap(), 8);
        destinations.of(Format::Jsonl).write_all(b"three\n").unwrap();
        assert_eq!(destinations.of(Format::Csv).write_vectored(&slices).unwrap(), 8);
        assert!(!destinations.have_all_failed());
        let failed =
            destinations.into_errors().into_iter().map(|error| error.map(|error| error.kind()));
        let full = Some(io::ErrorKind::StorageFull);
        assert_eq!(failed.collect::<Vec<_>>(), [None, None, full, None]);
        assert_eq!(lines, b"one\ntwo\nthree\n");
        assert_eq!((more, rows), (lines, b"one\ntwo\n".to_vec()));
    }

    #[test]
    fn a_format_without_a_writer_left_is_written_to_nothing() {
        let mut full = Full(0);
        let mut destinations = Destinations::new(vec![Destination::new(Format::Csv, &mut full)]);
        let slices = [IoSlice::new(b"row\n")];
        assert_eq!(destinations.of(Format::Csv).write_vectored(&slices).unwrap(), 4);
        assert_eq!(destinations.of(Format::Csv).write_vectored(&slices).unwrap(), 4);
        assert!(destinations.have_all_failed());
    }
}

//! An open file of the simulated disk.

use std::{io, path::Path, sync::Arc};

use rand::RngExt as _;
use sorcha_register::entry::Source;
use sorcha_store::journal::Medium;

use super::{End, Failure, Mounted, State, content::Write, no_space};

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) mounted: Mounted,
    pub(super) content: usize,
}

impl Drop for File {
    fn drop(&mut self) {
        let mut state = self.mounted.disk.state();
        let user = &mut state.contents[self.content].user;
        if *user == Some(self.mounted.user) {
            *user = None;
        }
    }
}

/// A file for reading, by the process that has opened it.
#[derive(Debug)]
struct Reader {
    mounted: Mounted,
    content: usize,
}

impl Source for Reader {
    fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>> {
        Some(self.read(bytes, offset))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.mounted.access()?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = from.checked_add(bytes.len()).map(|to| from..to);
        let content = range.and_then(|range| state.contents[self.content].current.get(range));
        bytes.copy_from_slice(content.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

impl Medium for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.mounted.access()?.contents[self.content].current.len() as u64)
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(Reader { mounted: self.mounted.clone(), content: self.content })
    }

    /// A full disk takes what there was space for; so does one that fails.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, end) = self.mounted.change()?;
        let at = usize::try_from(offset).map_err(|_| no_space())?;
        let full = state.full;
        let part = if end.is_done() { bytes.len() } else { state.rng.random_range(0..=bytes.len()) };
        let content = &mut state.contents[self.content];
        let space = if full { content.current.len().saturating_sub(at) } else { usize::MAX };
        content.write(at, &bytes[..part.min(space)]);
        if end == End::Well && space < bytes.len() { Err(no_space()) } else { end.result() }
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        let (state, result) = self.mounted.change_whole()?;
        let Some(mut state) = state else { return result };
        let length = usize::try_from(length).map_err(|_| no_space())?;
        let full = state.full;
        let content = &mut state.contents[self.content];
        if full && length > content.current.len() {
            return Err(no_space());
        }
        content.current.resize(length, 0);
        content.pending.push(Write::Length(length));
        result
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, end) = self.mounted.change()?;
        let State { rng, contents, .. } = &mut *state;
        let content = &mut contents[self.content];
        match end {
            End::Fails(Failure::NotDone) => content.fail_to_settle(rng),
            _ => content.settle(),
        }
        if end == End::Dies { Ok(()) } else { end.result() }
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let state = self.mounted.access()?;
        state
            .names
            .get(path)
            .map(|content| *content == self.content)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

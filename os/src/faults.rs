//! Failing steps for tests: one step of one thread fails as a full or broken disk makes it fail.

use std::{cell::RefCell, io};

/// A step of putting a file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file in the making gets its name.
    Create,
    /// It gets the mode and the owner of the one that it replaces.
    Permit,
    /// A part of it is written.
    Write,
    /// It is made durable.
    Sync,
    /// It takes its place.
    Move,
    /// That it did is made durable.
    SyncFolder,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Permit, Self::Write, Self::Sync, Self::Move, Self::SyncFolder];
}

/// A step that is to fail, and how often it came.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    step: Step,
    fails: Option<usize>,
    seen: usize,
}

thread_local! {
    static NEXT: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

impl Fault {
    /// Runs work on this thread of which the step fails the time that is named, counted from 0.
    pub fn at<T>(step: Step, number: usize, work: impl FnOnce() -> T) -> T {
        Self { step, fails: Some(number), seen: 0 }.during(work).0
    }

    /// How often work on this thread comes to a step.
    pub fn count(step: Step, work: impl FnOnce()) -> usize {
        Self { step, fails: None, seen: 0 }.during(work).1
    }

    fn during<T>(self, work: impl FnOnce() -> T) -> (T, usize) {
        NEXT.set(Some(self));
        let done = work();
        let seen = NEXT.take().map_or(0, |fault| fault.seen);
        (done, seen)
    }
}

/// Fails if the step is to fail now.
///
/// # Errors
/// The one that was asked for.
pub(crate) fn step(step: Step) -> io::Result<()> {
    NEXT.with_borrow_mut(|next| match next {
        Some(fault) if fault.step == step => {
            fault.seen += 1;
            if fault.fails == Some(fault.seen - 1) {
                return Err(io::Error::other(format!("injected: {step:?} fails")));
            }
            Ok(())
        }
        _ => Ok(()),
    })
}

//! What a central node that lies says.

use std::fmt;

use rand::{RngExt as _, rngs::SmallRng, seq::IndexedRandom as _};

/// What of a published blueprint is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its document.
    Document,
    /// The time of its publication.
    Time,
    /// Its publisher.
    Publisher,
}

/// A kind of lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A published blueprint has another content at its version; all digests are those of this register.
    Rewrites(Part),
    /// The same, at a new version.
    RewritesAgain(Part),
    /// The newest changes of the register have never been.
    RollsBack,
    /// The newest changes have never been, and others have their versions.
    GivesAgain,
    /// The head is lower than that of the peer; whatever else is sent is true.
    LowersHead,
    /// A published blueprint has never been.
    Forgets,
    /// The version of a published blueprint is another blueprint's.
    Retakes,
    /// A version that was superseded long ago is a blueprint's that was never published.
    Backdates,
    /// A published blueprint has a new version without a change.
    Repeats,
    /// There is a newer blueprint, which the digest stated does not cover.
    Invents,
    /// There is a blueprint beyond the head that is stated.
    GoesBeyond,
    /// The head is the greatest version that there can be; the digest is that of the real one.
    Overstates,
    /// A blueprint is left out, which the digest stated covers.
    LeavesOut,
    /// Everything is true but the digest.
    Misstates,
}

impl Lie {
    pub(super) const ALL: [Self; 18] = [
        Self::Rewrites(Part::Document),
        Self::Rewrites(Part::Time),
        Self::Rewrites(Part::Publisher),
        Self::RewritesAgain(Part::Document),
        Self::RewritesAgain(Part::Time),
        Self::RewritesAgain(Part::Publisher),
        Self::RollsBack,
        Self::GivesAgain,
        Self::LowersHead,
        Self::Forgets,
        Self::Retakes,
        Self::Backdates,
        Self::Repeats,
        Self::Invents,
        Self::GoesBeyond,
        Self::Overstates,
        Self::LeavesOut,
        Self::Misstates,
    ];
}

/// A lie with its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tale {
    /// Its kind.
    pub lie: Lie,
    /// Which blueprint it is about, and how many changes are lost.
    pub pick: u8,
    /// It is told on open push streams, too, where a peer can see through it.
    pub pushed: bool,
}

impl Tale {
    pub(in super::super) fn draw(rng: &mut SmallRng) -> Self {
        let lie = *Lie::ALL.choose(rng).unwrap_or(&Lie::Misstates);
        Self { lie, pick: rng.random(), pushed: rng.random() }
    }

    /// Changes of the register that have never been, where some have not.
    pub(super) fn changes_lost(self) -> usize {
        1 + usize::from(self.pick % 16)
    }

    /// One of some things.
    pub(super) fn choose<T>(self, mut from: Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = usize::from(self.pick) % from.len();
        Some(from.swap_remove(at))
    }
}

impl fmt::Display for Tale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lie {
            Lie::Rewrites(part) => write!(f, "{part} of a published blueprint (no. {})", self.pick)?,
            Lie::RewritesAgain(part) => {
                write!(f, "{part} of a published blueprint (no. {}), at a new version", self.pick)?;
            }
            Lie::RollsBack => write!(f, "the newest {} changes have never been", self.changes_lost())?,
            Lie::GivesAgain => {
                write!(
                    f,
                    "other blueprints have the versions of the newest {} changes",
                    self.changes_lost()
                )?;
            }
            Lie::LowersHead => f.write_str("a lower head")?,
            Lie::Forgets => write!(f, "a published blueprint (no. {}) has never been", self.pick)?,
            Lie::Retakes => {
                write!(f, "the version of a published blueprint (no. {}) is another one's", self.pick)?
            }
            Lie::Backdates => f.write_str("an invented blueprint at a version that was superseded")?,
            Lie::Repeats => {
                write!(f, "a published blueprint (no. {}) has a new version without a change", self.pick)?;
            }
            Lie::Invents => f.write_str("an invented blueprint that the digest does not cover")?,
            Lie::GoesBeyond => f.write_str("an invented blueprint beyond the head that is stated")?,
            Lie::Overstates => {
                f.write_str("the greatest head that there can be, with the digest of the real one")?
            }
            Lie::LeavesOut => {
                write!(f, "a blueprint (no. {}) that the digest covers is left out", self.pick)?
            }
            Lie::Misstates => f.write_str("another digest than that of what is sent")?,
        }
        f.write_str(if self.pushed { ", pushed, too" } else { "" })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document => "another document",
            Self::Time => "another publication time",
            Self::Publisher => "another publisher",
        })
    }
}

//! The kinds of hostile central nodes, each with what must show that it was found out.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use sorcha_proto::v1::ReplicaComparison;
use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::Entry,
    lineage::Genesis,
    names::{BlueprintId, Version},
    view::RegisterView,
};

use super::lies::{Head, Lies, Messages, Pull, Silent, messages, stated};

/// What a peer shows of a hostile node.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// `refused` in its status with this reason, in its health and metrics.
    Refused(&'static str),
    /// `splitBrain` in its status, and its health.
    SplitBrain,
    /// Its health says that the replica is ahead.
    Ahead,
    /// Its health says this, while it stays.
    Impaired(&'static str),
    /// The node's `lastError` has these words, and the peer is without a central node.
    Failed(&'static str),
}

/// What a peer does as soon as an honest central node is in its list, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It moves there by itself.
    Moves,
    /// The hostile node has a session that breaks no rule. An administrator takes it off the list.
    IsMoved,
}

/// A kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) shown: Shown,
    pub(super) then: Then,
    /// The peer's replica and its central nodes are of the original contract.
    pub(super) is_original: bool,
    pub(super) lies: Lies,
}

/// Beyond all versions of honest registers.
pub(super) const FAR: i64 = 1 << 62;
const BILLION: i64 = 1_000_000_000;

/// Makes kinds of what peers hold.
pub(super) struct Maker<'v> {
    /// With its lineage.
    pub(super) held: &'v RegisterView,
    /// Of a peer of the original contract.
    pub(super) original: &'v RegisterView,
}

fn version(number: i64) -> Result<Version> {
    Ok(Version::new("version", number)?)
}

fn sealed(entry: Entry) -> Result<Bytes> {
    Ok(entry.seal().checked()?)
}

/// The register with one entry changed.
fn with(view: &RegisterView, at: usize, change: impl FnOnce(&mut Entry)) -> Result<RegisterView> {
    let mut entries = view.iter().map(|sealed| sealed.whole()).collect::<Result<Vec<_>, _>>()?;
    change(entries.get_mut(at).context("an entry")?);
    let entries = entries.into_iter().map(Entry::seal).collect();
    Ok(RegisterView::with_entries(view.genesis().cloned(), entries, view.head()))
}

/// The register as it was when it had this many entries.
fn earlier(view: &RegisterView, count: usize) -> RegisterView {
    RegisterView::with_entries(
        view.genesis().cloned(),
        view.iter().take(count).cloned().collect(),
        Version::ZERO,
    )
}

/// A blueprint that no honest node has, in 200 bytes.
fn invented(view: &RegisterView, at: i64) -> Result<Bytes> {
    let mut entry = view.iter().next().context("an entry")?.whole()?;
    entry.blueprint_id = BlueprintId::new("invented")?;
    entry.document = Document::canonicalize(br#"{"id":"invented"}"#)?;
    (entry.version, entry.transaction_id, entry.is_active) = (version(at)?, String::new(), true);
    sealed(entry)
}

impl Maker<'_> {
    fn next(&self) -> i64 {
        self.held.head().get() + 1
    }

    fn truth(&self) -> Lies {
        Lies::of(self.held, self.held.head().get())
    }

    /// A head of which nothing is sent but this.
    fn says(&self, version: i64, sent: Vec<Bytes>) -> Lies {
        let head = Head::invented(version);
        let full = [messages(self.held, 0, true), sent.clone()].concat();
        Lies {
            head,
            full: Pull { stated: Some(head), messages: Messages::Listed(full) },
            incremental: Pull { stated: Some(head), messages: Messages::Listed(sent) },
            ..self.truth()
        }
    }

    fn native(name: &'static str, shown: Shown, lies: Lies) -> Kind {
        let then = if matches!(shown, Shown::Ahead) { Then::IsMoved } else { Then::Moves };
        Kind { name, shown, then, is_original: false, lies }
    }

    /// All kinds that a replica with a lineage meets.
    pub(super) fn native_kinds(&self) -> Result<Vec<Kind>> {
        let kinds =
            [self.histories()?, self.statements()?, self.floods()?, self.lineages()?, self.silences()];
        Ok(kinds.into_iter().flatten().collect())
    }

    fn histories(&self) -> Result<Vec<Kind>> {
        let (held, head) = (self.held, self.held.head().get());
        let rewritten = with(held, 3, |entry| entry.published_by = "mallory".to_owned())?;
        let mut pushed = held.iter().nth(3).context("an entry")?.whole()?;
        (pushed.published_by, pushed.version) = ("mallory".to_owned(), version(self.next())?);
        let lower = earlier(held, held.len() / 2);
        let rolled = Lies { comparison: ReplicaComparison::Ahead, ..Lies::of(&lower, head) };
        let diverged = Lies { comparison: ReplicaComparison::Diverged, ..rolled.clone() };
        let pushes = Lies { push: Some(Messages::Open(vec![sealed(pushed)?])), ..self.truth() };
        Ok(vec![
            Self::native("another publisher", Shown::Refused("rewritten"), Lies::of(&rewritten, head)),
            Self::native("another publisher, pushed", Shown::Refused("rewritten"), pushes),
            Self::native("an older register", Shown::Ahead, rolled),
            Self::native("an older register, whole", Shown::Refused("head_fell"), diverged),
        ])
    }

    fn statements(&self) -> Result<Vec<Kind>> {
        let (held, next) = (self.held, self.next());
        let mut bare = self.says(next, vec![invented(held, next)?]);
        (bare.full.stated, bare.incremental.stated) = (None, None);
        let mut again = Lies { comparison: ReplicaComparison::Diverged, ..self.truth() };
        again.full.messages = Messages::Forever(messages(held, 0, true));
        let mut endless = self.says(next, Vec::new());
        endless.incremental.messages = Messages::Forever(vec![invented(held, next)?]);
        let refused = |name, reason, lies| Self::native(name, Shown::Refused(reason), lies);
        Ok(vec![
            refused("another digest than it sends", "digest", self.says(next, vec![invented(held, next)?])),
            refused("a lineage, but no digest", "no_digest", bare),
            refused(
                "version 2^62 beyond its head",
                "beyond_head",
                self.says(next, vec![invented(held, FAR)?]),
            ),
            refused("version 10^9", "digest", self.says(BILLION, vec![invented(held, BILLION)?])),
            refused("a full sync without end", "out_of_order", again),
            refused("an incremental sync without end", "out_of_order", endless),
        ])
    }

    /// Nothing contradicts what they send but what the peer may hold.
    fn floods(&self) -> Result<Vec<Kind>> {
        let mut like = self.held.iter().next().context("an entry")?.whole()?;
        (like.version, like.transaction_id, like.is_active) = (version(self.next())?, String::new(), true);
        let rising = |before| Messages::Rising(before, Box::new(like.clone()));
        let mut whole = Lies { comparison: ReplicaComparison::Diverged, ..self.says(FAR, Vec::new()) };
        whole.full.messages = rising(messages(self.held, 0, true));
        let mut newer = self.says(FAR, Vec::new());
        newer.incremental.messages = rising(Vec::new());
        let refused = |name, label, lies| Self::native(name, Shown::Refused(label), lies);
        Ok(vec![
            refused("a full sync of new blueprints without end", "too_large", whole),
            // What does not fit into memory is fetched by a full sync, which has an end here.
            refused("new blueprints without end", "digest", newer),
        ])
    }

    fn lineages(&self) -> Result<Vec<Kind>> {
        let other = Genesis::create("mallory", &SigningKey::from_bytes(&[7; 32]), Timestamp::from_millis(1))?;
        let named = stated(self.held.genesis().context("a genesis")?);
        let unsigned = Lies { genesis: Some((Bytes::from_static(b"{}"), named.1)), ..self.truth() };
        let entries = self.held.iter().cloned().collect();
        let copied = RegisterView::with_entries(Some(other.into()), entries, self.held.head());
        let original = Lies::original(self.held, self.held.head().get());
        Ok(vec![
            Self::native("another lineage", Shown::SplitBrain, Lies::of(&copied, 0)),
            Self::native("a genesis that is not signed", Shown::Failed("genesis record"), unsigned),
            Self::native("no lineage", Shown::Refused("no_lineage"), original),
        ])
    }

    fn silences(&self) -> Vec<Kind> {
        let silent = |silent| Lies { silent: Some(silent), ..self.truth() };
        let missed = Shown::Impaired("heartbeats are missed");
        vec![
            Self::native("no answer to connects", Shown::Failed(""), silent(Silent::Connect)),
            Self::native("no answer to heartbeats", missed, silent(Silent::Heartbeat)),
        ]
    }

    /// What a replica without a lineage meets: nodes of the original contract.
    pub(super) fn original_kinds(&self) -> Result<Vec<Kind>> {
        let (held, head) = (self.original, self.original.head().get());
        let rewritten = with(held, 3, |entry| entry.published_by = "mallory".to_owned())?;
        let lower = earlier(held, held.len() / 2);
        let mut fewer = Lies::original(held, head);
        fewer.full.messages = Messages::Listed(messages(&lower, 0, true));
        let mut again = Lies::original(held, head);
        again.full.messages = Messages::Forever(messages(held, 0, true));
        let refused = |name, reason, lies| Kind {
            name,
            shown: Shown::Refused(reason),
            then: Then::Moves,
            is_original: true,
            lies,
        };
        Ok(vec![
            refused("original: another publisher", "rewritten", Lies::original(&rewritten, head)),
            refused("original: an older register", "head_fell", Lies::original(&lower, head)),
            refused("original: blueprints left out", "missing", fewer),
            refused("original: a full sync without end", "out_of_order", again),
        ])
    }

    /// A push that contradicts nothing, at a version that leaves no room for honest ones.
    pub(super) fn far(&self) -> Result<Kind> {
        let lies = Lies { push: Some(Messages::Open(vec![invented(self.held, FAR)?])), ..self.truth() };
        Ok(Self::native("version 2^62, pushed", Shown::Ahead, lies))
    }
}

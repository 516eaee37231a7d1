//! One of several controllers reconciles: the one that holds the Lease, and only while it can prove that by its own clock
//! (`election`). When that time is over, its calls end where they are ([`fence`]), and so does the process.

pub(crate) mod election;
pub mod fence;

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use self::{
    election::{Election, LeaseStep, Record},
    fence::Fence,
};
use crate::config::Settings;

/// How long a process that ends takes to give the lease back.
const RELEASE: Duration = Duration::from_secs(3);
/// Looks at the Lease within its duration: so many may fail.
const LOOKS: u32 = 7;

/// The Lease, and how this process stands to it.
#[derive(Debug)]
pub(crate) struct Leadership {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    election: Election,
    fence: Fence,
}

impl Leadership {
    /// Of a candidate.
    #[must_use]
    pub(crate) fn new(client: Client, settings: &Settings, identity: &str, fence: Fence) -> Self {
        let namespace =
            settings.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let duration = Duration::from_secs(settings.lease_seconds);
        Self {
            api: Api::namespaced(client, &namespace),
            name: settings.lease_name.clone(),
            identity: identity.to_owned(),
            duration,
            election: Election::new(identity, duration),
            fence,
        }
    }

    /// Looks at the Lease for the first time.
    ///
    /// # Errors
    /// When it can't be read or made: nothing would ever be reconciled.
    pub(crate) async fn campaign(&mut self) -> kube::Result<()> {
        self.look().await?;
        self.fence.set(self.election.leads_until());
        Ok(())
    }

    /// Waits until the lease is held.
    pub(crate) async fn gained(&mut self) {
        while !self.election.leads(Instant::now()) {
            sleep(self.pause()).await;
            self.step().await;
        }
    }

    /// Renews the lease until it is lost: taken by another, or not renewed in time.
    pub(crate) async fn lost(&mut self) {
        while let Some(until) = self.election.leads_until() {
            let next = Instant::now() + self.pause();
            if next >= until {
                sleep_until(until).await;
                break;
            }
            sleep_until(next).await;
            // What is not answered in time has failed.
            let _late = timeout_at(until, self.step()).await.is_err();
            if !self.election.leads(Instant::now()) {
                break;
            }
        }
        self.fence.set(None);
    }

    fn pause(&self) -> Duration {
        self.duration / LOOKS
    }

    /// One look, and one write if it is due.
    async fn step(&mut self) {
        let looked = timeout(self.duration / 3, self.look()).await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "the lease can't be looked at"),
            Err(_) => tracing::warn!(lease = self.name, "the API server does not answer about the lease"),
        }
        self.fence.set(self.election.leads_until());
    }

    async fn look(&mut self) -> kube::Result<()> {
        let record = match self.api.get_opt(&self.name).await? {
            Some(lease) => record(&lease),
            // Written as a new one.
            None => Record::default(),
        };
        let step = self.election.look(&record, Instant::now());
        if step == LeaseStep::Wait {
            return Ok(());
        }
        let at = now();
        let wanted = self.lease(&record, at, step == LeaseStep::Take);
        self.election.sending(at.to_string(), Instant::now());
        let written = if record.version.is_empty() {
            self.api.create(&PostParams::default(), &wanted).await
        } else {
            self.api.replace(&self.name, &PostParams::default(), &wanted).await
        };
        match written {
            Ok(lease) => {
                self.election.confirmed(self::record(&lease), Instant::now());
                Ok(())
            }
            // Another was faster; the next look tells who.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The Lease with our name in it. It names the version that was looked at, so that of two candidates one fails.
    fn lease(&self, seen: &Record, at: Timestamp, taken: bool) -> Lease {
        let now = Some(MicroTime(at));
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            renew_time: now.clone(),
            acquire_time: if taken { now } else { seen.acquired.map(MicroTime) },
            lease_transitions: Some(seen.transitions.saturating_add(i32::from(taken))),
            ..LeaseSpec::default()
        };
        self.with(seen, spec)
    }

    fn with(&self, seen: &Record, spec: LeaseSpec) -> Lease {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: Some(seen.version.clone()).filter(|version| !version.is_empty()),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// Gives the lease back, so that a standby takes over at once. Nothing may be under way any more.
    pub(crate) async fn release(self) {
        self.fence.set(None);
        let Some(seen) = self.election.seen().filter(|seen| seen.holder.as_ref() == Some(&self.identity))
        else {
            return;
        };
        let spec = LeaseSpec { lease_transitions: Some(seen.transitions), ..LeaseSpec::default() };
        let (lease, parameters) = (self.with(seen, spec), PostParams::default());
        let written = timeout(RELEASE, self.api.replace(&self.name, &parameters, &lease)).await;
        if !matches!(written, Ok(Ok(_))) {
            tracing::warn!("lease not released; a standby waits until it expires");
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        seconds: spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()),
        renewed: spec.renew_time.map(|time| time.0.to_string()),
        acquired: spec.acquire_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// For people who read the Lease, in its precision. To this process it is only a name of what it wrote.
#[expect(clippy::disallowed_methods, reason = "written into the Lease, never compared with a time")]
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests;

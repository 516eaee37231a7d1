//! The reporter's task: looks, waits for the moment, writes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sorcha_register::clock::Monotonic;
use sorcha_runtime::{env::Env, supervise::Supervisor};
use tokio_util::sync::CancellationToken;

use super::{Report, ReportError, Transport, pacer::Pacer, subject::Subject};

/// How long a write under way may go on once the node has ended.
const GRACE: Duration = Duration::from_secs(1);

pub(super) struct Task<T> {
    subject: Subject,
    pacer: Pacer,
    transport: T,
    env: Env,
    timeout: Duration,
    /// When the newest report was written.
    written_at: Arc<Mutex<Option<Monotonic>>>,
    /// What was logged last.
    fault: Option<&'static str>,
}

impl<T: Transport> Task<T> {
    pub(super) fn new(subject: Subject, pacer: Pacer, transport: T, env: Env, timeout: Duration) -> Self {
        let written_at = Arc::new(Mutex::new(None));
        let (at, clock) = (Arc::clone(&written_at), Arc::clone(&env.clock));
        env.metrics.observe_report_age(move || {
            let at: Option<Monotonic> = *at.lock().unwrap_or_else(PoisonError::into_inner);
            Some(clock.monotonic().since(at?))
        });
        Self { subject, pacer, transport, env, timeout, written_at, fault: None }
    }

    /// Reports until `stop`, then says the last word.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut supervisor = Supervisor::new("report", &self.env);
        while supervisor.until_done(self.follow(&stop)).await.is_none() && !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = supervisor.pause() => {}
            }
        }
        let report = self.subject.look();
        self.pacer.observe(report);
        if let Some(report) = self.pacer.last_word() {
            let outcome = self.transport.apply(&report).await;
            self.ended(report, outcome.err().as_ref());
        }
    }

    async fn follow(&mut self, stop: &CancellationToken) {
        loop {
            let report = self.subject.look();
            self.pacer.observe(report);
            let due = self.until_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = due => self.write(stop).await,
                () = self.subject.changed() => {}
            }
        }
    }

    fn until_due(&self) -> impl Future<Output = ()> + use<T> {
        let wait = self.pacer.due().map(|due| due.since(self.env.clock.monotonic()));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn write(&mut self, stop: &CancellationToken) {
        let Some(report) = self.pacer.begin(self.env.clock.monotonic()) else { return };
        let out_of_time = async {
            tokio::select! {
                () = tokio::time::sleep(self.timeout) => {}
                () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {}
            }
        };
        let outcome = tokio::select! {
            outcome = self.transport.apply(&report) => outcome,
            () = out_of_time => Err(ReportError::Unanswered),
        };
        self.ended(report, outcome.err().as_ref());
    }

    fn ended(&mut self, report: Report, fault: Option<&ReportError>) {
        let now = self.env.clock.monotonic();
        self.env.metrics.report_written(fault.map_or("ok", ReportError::label));
        if fault.is_none() {
            *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        self.log(fault);
        self.pacer.ended(report, fault, self.env.random.unit(), now);
    }

    /// Logs what has changed, once.
    fn log(&mut self, fault: Option<&ReportError>) {
        let label = fault.map(ReportError::label);
        if std::mem::replace(&mut self.fault, label) == label {
            return;
        }
        match fault {
            Some(error) => tracing::warn!(%error, "status not reported; trying again, the node goes on"),
            None => tracing::info!("status reported again"),
        }
    }
}

//! What the nodes of a run log as errors, and where they panic.

use std::{cell::RefCell, fmt::Write as _, sync::Once};

use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _, registry::LookupSpan};

use super::history::{History, What};

/// Errors of this thread go into the record while the guard lives; with `SORCHA_SIMULATION_LOG` all lines of that level
/// are printed with the run's time.
pub(super) fn capture(history: &History) -> DefaultGuard {
    let complaints = Complaints { history: history.clone(), printed: printed_level() };
    tracing::subscriber::set_default(tracing_subscriber::registry().with(complaints))
}

#[expect(clippy::disallowed_methods, reason = "a setting for people who look for a fault")]
fn printed_level() -> Option<Level> {
    std::env::var("SORCHA_SIMULATION_LOG").ok()?.parse().ok()
}

struct Complaints {
    history: History,
    printed: Option<Level>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Complaints {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let least = self.printed.unwrap_or(Level::ERROR).max(Level::ERROR);
        metadata.is_event() && *metadata.level() <= least && metadata.target().starts_with("sorcha")
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if self.printed.is_some() {
            let level = event.metadata().level();
            println!(
                "{:9.3} s  {level} {} {}",
                self.history.now().as_secs_f64(),
                event.metadata().target(),
                line.0
            );
        }
        if *event.metadata().level() == Level::ERROR {
            self.history.record(What::Complaint(line.0));
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // A String takes everything.
        let _written = if field.name() == "message" {
            self.0.insert_str(0, &format!("{value:?} "));
            Ok(())
        } else {
            write!(self.0, "{}={value:?} ", field.name())
        };
    }
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics of this thread since it was made.
pub(super) struct Panics(());

/// Keeps panics for the record: a runtime swallows those of its tasks.
pub(super) fn catch_panics() -> Panics {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            usual(info);
        }));
    });
    PANICS.take();
    Panics(())
}

impl Panics {
    pub(super) fn take(&self) -> Vec<String> {
        PANICS.take()
    }
}

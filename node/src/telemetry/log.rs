//! Log lines: for people or one JSON object each.

use std::{fmt, io::IsTerminal as _};

use opentelemetry::{Context, trace::TraceContextExt as _};
use sorcha_config::{Log, LogFormat};
use sorcha_http::AUDIT;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, JsonFields, Writer},
        writer::BoxMakeWriter,
    },
    registry::LookupSpan,
};

use super::TelemetryError;

/// Where log lines go.
pub(super) struct Output {
    writer: BoxMakeWriter,
    colours: bool,
}

impl Output {
    /// Standard error; colours only for a terminal.
    pub(super) fn stderr() -> Self {
        Self { writer: BoxMakeWriter::new(std::io::stderr), colours: std::io::stderr().is_terminal() }
    }

    #[cfg(test)]
    pub(super) fn to(writer: BoxMakeWriter) -> Self {
        Self { writer, colours: false }
    }
}

/// Reads `log.filter`; `log.audit` alone decides on the audit log.
pub(super) fn filter(log: &Log) -> Result<EnvFilter, TelemetryError> {
    let text = &log.filter;
    let refuse = |problem: String| TelemetryError::Filter { filter: text.clone(), problem };
    let filter = EnvFilter::builder().parse(text).map_err(|error| refuse(error.to_string()))?;
    let audit = format!("{AUDIT}={}", if log.audit { "info" } else { "off" });
    Ok(filter.add_directive(audit.parse().map_err(|error: ParseError| refuse(error.to_string()))?))
}

/// The layer that writes log lines. Only this layer is filtered, so that `log.filter` does not thin out traces.
pub(super) fn layer<S>(
    log_format: LogFormat,
    filter: EnvFilter,
    output: Output,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(output.writer);
    match log_format {
        LogFormat::Json => {
            let lines = format::json().flatten_event(true).with_current_span(true).with_span_list(false);
            layer.event_format(JsonLines(lines)).fmt_fields(JsonFields::new()).with_filter(filter).boxed()
        }
        // The library's own choice where there is a terminal: it honours NO_COLOR.
        LogFormat::Human if output.colours => layer.compact().with_filter(filter).boxed(),
        LogFormat::Human => layer.compact().with_ansi(false).with_filter(filter).boxed(),
    }
}

/// The library's JSON lines, with the ids of the current trace where there is one.
struct JsonLines(format::Format<format::Json>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let current = Context::current();
        let span = current.span();
        let span = span.span_context();
        if !span.is_valid() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(object) = line.trim_end().strip_suffix('}') else { return writer.write_str(&line) };
        writeln!(writer, r#"{object},"trace_id":"{}","span_id":"{}"}}"#, span.trace_id(), span.span_id())
    }
}

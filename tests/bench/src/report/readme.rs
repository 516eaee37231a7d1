//! The generated part of docs/benchmarks/README.md, between two marks; the rest is written by hand.

use super::Report;

const BEGIN: &str = "<!-- results: written by tests/bench/run -->";
const END: &str = "<!-- end of results -->";

/// What the figures were made on.
pub(super) fn about(report: &Report) -> String {
    let machine = &report.machine;
    let rivals = [&machine.nats, &machine.etcd, &machine.nginx].into_iter().filter_map(Option::as_deref);
    let versions: Vec<_> = std::iter::once(machine.node.as_str()).chain(rivals).collect();
    let mut text = format!(
        "{} · {}, {} cores, {:.0} GB · Linux {} · {} · write of 4 KB with fsync: median {:.2} ms, p99 {:.2} ms · load before: \
         {:.2} · {:.0} minutes · {}\n",
        machine.started_at,
        machine.processor,
        machine.cores,
        machine.memory_gb,
        machine.kernel,
        machine.filesystem,
        machine.fsync_ms.p50,
        machine.fsync_ms.p99,
        machine.load_before,
        report.minutes,
        versions.join(", ")
    );
    if let Some(remark) = &machine.remark {
        text += &format!("\n{remark}\n");
    }
    if report.quick {
        text += "\n**A quick run: these numbers mean nothing.**\n";
    }
    text
}

/// The text with the results between its marks; they are added at the end where there are none.
pub(super) fn with_results(text: &str, results: &str) -> String {
    let block = format!("{BEGIN}\n{results}{END}");
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{block}{}", &text[..begin], &text[end + END.len()..])
        }
        _ => format!("{text}{block}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let first = with_results("# Title\n", "one\n");
        assert_eq!(first, format!("# Title\n{BEGIN}\none\n{END}\n"));
        let second = with_results(&format!("{first}tail\n"), "two\n");
        assert_eq!(second, format!("# Title\n{BEGIN}\ntwo\n{END}\ntail\n"));
    }
}

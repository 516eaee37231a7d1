//! The plots of a report, as SVG.

mod bars;
mod curves;

use std::path::Path;

use anyhow::Result;
use plotters::style::RGBColor;

use self::{
    bars::{Bar, Bars},
    curves::{Curve, Curves, Scale},
};
use crate::{
    push::Contestant,
    report::{Compared, Report},
};

/// Width and height, pixels.
const SIZE: (u32, u32) = (900, 480);
/// Colours that can be told apart, in print and by colour-blind people too (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Writes all plots that the report has the figures for.
pub(crate) fn all(report: &Report, compared: &[Compared], folder: &Path) -> Result<()> {
    push(compared, folder)?;
    cost(report, folder)?;
    failover(report, folder)?;
    reconnect(report, folder)?;
    staleness(report, folder)
}

fn colour(system: Contestant) -> RGBColor {
    let place = Contestant::ALL.iter().position(|other| *other == system).unwrap_or_default();
    COLOURS[place]
}

fn push(compared: &[Compared], folder: &Path) -> Result<()> {
    let mut cases: Vec<&str> = compared.iter().map(|row| row.case.as_str()).collect();
    cases.dedup();
    for case in cases {
        let rows = || compared.iter().filter(|row| row.case == case);
        let peers = case.split(' ').next().unwrap_or_default();
        if case.ends_with("most") {
            let bar = |row: &Compared| Bar {
                name: row.system.name().to_owned(),
                value: row.deliveries_per_second,
                colour: colour(row.system),
            };
            Bars {
                title: format!("Most deliveries a second to {peers} subscribers, 2 KB entries"),
                axis: "deliveries/s (line: extremes of the repetitions)",
                bars: rows().map(bar).collect(),
            }
            .draw(&folder.join(format!("push-most-{peers}.svg")))?;
        } else {
            let curve = |row: &Compared| Curve {
                name: row.system.name().to_owned(),
                points: row.cumulative.iter().map(|(value, share)| (*value, 100.0 * share)).collect(),
                colour: colour(row.system),
            };
            Curves {
                title: format!("From publication to acknowledgement: {case}, 2 KB entries"),
                x: ("milliseconds, log scale", Scale::Log),
                y: ("% of the deliveries within", Scale::Linear),
                curves: rows().map(curve).collect(),
            }
            .draw(&folder.join(format!("push-{peers}.svg")))?;
        }
    }
    Ok(())
}

/// What integrity costs: full sync and start.
fn cost(report: &Report, folder: &Path) -> Result<()> {
    let mut bars = Vec::new();
    if let Some(sync) = &report.full_sync {
        bars.push(Bar { name: "bare tonic stream".to_owned(), value: sync.bare_s, colour: COLOURS[1] });
        bars.push(Bar { name: "disk alone".to_owned(), value: sync.disk_s, colour: COLOURS[1] });
        bars.push(Bar { name: "full sync, persisted".to_owned(), value: sync.peer_s, colour: COLOURS[0] });
    }
    if let Some(start) = report.start_up.last() {
        bars.push(Bar {
            name: "SHA-256 alone".to_owned(),
            value: start.sha256_ms.scaled(0.001),
            colour: COLOURS[1],
        });
        bars.push(Bar {
            name: "start, written as a whole".to_owned(),
            value: start.whole_ms.scaled(0.001),
            colour: COLOURS[0],
        });
        bars.push(Bar {
            name: "start, grown entry by entry".to_owned(),
            value: start.grown_ms.scaled(0.001),
            colour: COLOURS[0],
        });
    }
    let Some(start) = report.start_up.last().filter(|_| !bars.is_empty()) else { return Ok(()) };
    let title = format!("What integrity costs: {} entries, {:.0} MB", start.entries, start.megabytes);
    Bars { title, axis: "seconds (line: extremes of the repetitions)", bars }
        .draw(&folder.join("integrity.svg"))
}

fn failover(report: &Report, folder: &Path) -> Result<()> {
    let curves = report.failover.iter().zip(COLOURS).map(|(failover, colour)| Curve {
        name: failover.end.name().to_owned(),
        points: percent(failover.recovered_s.cumulative()),
        colour,
    });
    Curves {
        title: "Failover of 100 peers to another central node".to_owned(),
        x: ("seconds from the signal to the new session and push stream, log scale", Scale::Log),
        y: ("% of the peers within", Scale::Linear),
        curves: curves.collect(),
    }
    .draw(&folder.join("failover.svg"))
}

fn reconnect(report: &Report, folder: &Path) -> Result<()> {
    let curves = report.reconnect.iter().zip(COLOURS).map(|(restart, colour)| Curve {
        name: format!("{} peers, {:.0} s away", restart.peers, restart.down_s),
        points: percent(restart.back_s.cumulative()),
        colour,
    });
    Curves {
        title: "Peers back after a restart of their only central node".to_owned(),
        x: ("seconds since the central node takes peers again", Scale::Linear),
        y: ("% of the peers back", Scale::Linear),
        curves: curves.collect(),
    }
    .draw(&folder.join("reconnect.svg"))
}

fn percent(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.into_iter().map(|(value, share)| (value, 100.0 * share)).collect()
}

fn staleness(report: &Report, folder: &Path) -> Result<()> {
    let Some(stale) = &report.staleness else { return Ok(()) };
    let healthy = format!("worst of {} healthy peers", stale.peers - 2);
    let names = [healthy.as_str(), "a slow peer (250 ms a batch)", "a peer that is killed every 4 s"];
    let curves = names.into_iter().zip(1..).zip(COLOURS).map(|((name, column), colour)| Curve {
        name: name.to_owned(),
        points: stale.over_time.iter().map(|point| (point[0], point[column])).collect(),
        colour,
    });
    Curves {
        title: format!("Staleness at {:.0} publications/s", stale.publications_per_second),
        x: ("seconds", Scale::Linear),
        y: ("milliseconds since the oldest publication lacked, log scale", Scale::Log),
        curves: curves.collect(),
    }
    .draw(&folder.join("staleness.svg"))
}

//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Benchmarks of the nodes, side by side with NATS JetStream, etcd and nginx.
///
/// Needs a release build of sorcha-node; the others are left out where their programs are not named. tests/bench/run
/// builds everything and runs this.
#[derive(Clone, Debug, Parser)]
#[command(name = "sorcha-bench", after_help = "Exit codes: 0 done, 1 failed, 2 usage.")]
pub(crate) struct Cli {
    /// What is measured [default: everything]
    #[arg(value_name = "MEASURE")]
    pub(crate) measures: Vec<Measure>,
    /// Small numbers, a few seconds each: shows that everything works, and nothing else
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes plots, results.json and the table in README.md to this folder [default: docs/benchmarks after a whole run]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where servers and peers keep their data: a folder on the disk to be measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// The node's program [default: beside this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) node: Option<PathBuf>,
    /// The program nats-server
    #[arg(long, value_name = "FILE")]
    pub(crate) nats: Option<PathBuf>,
    /// The program etcd
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd: Option<PathBuf>,
    /// The program nginx
    #[arg(long, value_name = "FILE")]
    pub(crate) nginx: Option<PathBuf>,
    /// A server of MongoDB's protocol that takes --host, --port and --file, as tests/mongo/serve
    #[arg(long, value_name = "FILE")]
    pub(crate) mongo: Option<PathBuf>,
    /// A remark on the run for its results, such as what else the machine did
    #[arg(long, value_name = "TEXT")]
    pub(crate) remark: Option<String>,
    /// Serves the register in a data directory as a bare stream; started by the measure of full syncs
    #[arg(long, hide = true, value_name = "DIR", requires = "bare_port")]
    pub(crate) bare_server: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "PORT")]
    pub(crate) bare_port: Option<u16>,
}

/// A measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Full sync, persisted and verified, against a bare tonic stream
    Sync,
    /// Integrity check at start against SHA-256 alone
    StartUp,
    /// From publication to persisted acknowledgement, side by side with NATS JetStream and etcd
    Push,
    /// Publications a second through HTTP, beside etcd's put and JetStream's publish
    Publish,
    /// Reads a second of a node's HTTP API, beside nginx
    Reads,
    /// Memory and processor time of idle peers
    Idle,
    /// Memory of nodes with large registers, within the chart's limits
    Memory,
    /// All peers at once after a restart of the central node
    Reconnect,
    /// Detection and recovery when a central node closes, is killed, falls silent
    Failover,
    /// Age of replicas while publications go on
    Staleness,
}

impl Cli {
    /// Whether a measure is wanted.
    pub(crate) fn wants(&self, measure: Measure) -> bool {
        self.measures.is_empty() || self.measures.contains(&measure)
    }

    /// Where plots and table go, if anywhere: what is published is a whole run or named by hand.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let published = self.measures.is_empty() && !self.quick;
        self.out.clone().or_else(|| published.then(|| "docs/benchmarks".into()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn only_a_whole_run_is_published_unasked() {
        Cli::command().debug_assert();
        let parse = |line: &str| Cli::parse_from(line.split(' '));
        assert_eq!(parse("sorcha-bench").folder(), Some("docs/benchmarks".into()));
        assert_eq!(parse("sorcha-bench push").folder(), None);
        assert_eq!(parse("sorcha-bench --quick").folder(), None);
        assert_eq!(parse("sorcha-bench --quick --out x").folder(), Some("x".into()));
        assert!(parse("sorcha-bench push idle").wants(Measure::Idle));
        assert!(!parse("sorcha-bench push idle").wants(Measure::Sync));
    }
}

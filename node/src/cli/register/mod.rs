//! `register`: tools for the stored register of a node that is stopped.

mod adopt;
mod backup;
mod beside;
mod download;
mod export;
mod import;
mod reseed;
mod summary;
mod verify;

use clap::{Args, Subcommand};
use sorcha_config::Config;
use sorcha_register::clock::Clock;

pub(crate) use self::{
    adopt::AdoptArgs,
    backup::BackupArgs,
    export::ExportArgs,
    import::{ImportArgs, RestoreArgs},
    reseed::ReseedArgs,
    verify::VerifyArgs,
};
use super::{Outcome, console::Console, store::StoreArgs};

/// Flags of `register`.
#[derive(Debug, Args)]
#[command(
    after_help = "The tools work on the store itself, so stop the node first; of several central nodes on one \
    MongoDB, all of them. (`export --url` and `backup` ask a running node instead.) \
    --config, the environment and the flags say where the register is stored, as they do for the node.\n\
    \n\
    Examples:\n  \
    sorcha-node register verify --data-dir /var/lib/sorcha\n  \
    sorcha-node register export backup.sorcha --config /etc/sorcha/node.toml\n  \
    sorcha-node register restore backup.sorcha --mongodb-uri-file /etc/sorcha/mongodb-uri"
)]
pub struct RegisterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RegisterCommand,
    /// Where the register lies.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The register tools.
#[derive(Debug, Subcommand)]
pub enum RegisterCommand {
    /// Check every stored byte and name what is wrong; exits with 1 when something is
    Verify(VerifyArgs),
    /// Save the register in one file, a bundle
    Export(ExportArgs),
    /// Save a running node's register as a bundle in a folder, and keep the newest bundles there
    Backup(BackupArgs),
    /// Fill an empty store from a bundle
    Import(ImportArgs),
    /// Replace the stored register by a bundle
    Restore(RestoreArgs),
    /// Begin a new register on a central node, with nothing but the seed blueprint in it
    Reseed(ReseedArgs),
    /// Let a peer replace its replica by another lineage when it connects next
    Adopt(AdoptArgs),
}

/// Runs one of the tools.
///
/// # Errors
/// Whatever stopped it; the store is then as it was before.
pub(crate) async fn run(
    command: &RegisterCommand,
    config: &Config,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    match command {
        RegisterCommand::Verify(args) => verify::run(args, config, console).await,
        RegisterCommand::Export(args) => export::run(args, config, clock, console).await,
        RegisterCommand::Backup(args) => backup::run(args, clock, console).await,
        RegisterCommand::Import(args) => import::import(args, config, clock, console).await,
        RegisterCommand::Restore(args) => import::restore(args, config, clock, console).await,
        RegisterCommand::Reseed(args) => reseed::run(args, config, clock, console).await,
        RegisterCommand::Adopt(args) => adopt::run(args, config, console).await,
    }
}

#[cfg(test)]
mod tests;

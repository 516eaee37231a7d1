//! The scenarios, and in which order they run.

mod backup;
mod blueprints;
mod certificates;
mod cert_manager;
mod change;
mod crash;
mod deletion;
mod demo;
mod drift;
mod events;
mod failover;
mod hostile;
mod install;
mod isolation;
mod lifecycle;
mod namespaced;
mod network;
mod networks;
mod outage;
mod publish;
mod publishers;
mod quiet;
mod refusals;
mod contradictions;
mod rights;
mod rolling;
mod scale;
mod service;
mod tls;
mod upgrade;

use crate::run::Scenario;

macro_rules! scenario {
    ($name:literal, $run:path, $about:literal) => {
        Scenario { name: $name, about: $about, run: |cluster| Box::pin(async move { $run(&cluster).await }) }
    };
}

/// Phases, in each of them lanes, in each of them scenarios.
pub(crate) fn phases() -> Vec<Vec<Vec<Scenario>>> {
    vec![
        vec![vec![scenario!(
            "install",
            install::run,
            "both charts install; two controllers, one holds the lease"
        )]],
        vec![on_the_shared_network(), against_intruders(), on_networks_of_their_own()],
        // These disturb everything else.
        vec![vec![
            scenario!("quiet", quiet::run, "a restarted controller and an idle minute write nothing"),
            scenario!("crash", crash::run, "controllers killed in the middle: everything ends reconciled"),
            scenario!(
                "hostile",
                hostile::run,
                "one namespace's resources stop nobody else's, and get no token"
            ),
            scenario!("outage", outage::run, "the API server away: replication goes on, status catches up"),
            scenario!("demo", demo::run, "helm test: a look, then a drill on the demo network"),
            scenario!("upgrade", upgrade::run, "helm upgrade keeps the data, helm uninstall the resources"),
            // The last one has taken the controller away.
            scenario!("namespaced", namespaced::run, "a controller with Roles only, for one namespace"),
        ]],
    ]
}

fn on_the_shared_network() -> Vec<Scenario> {
    vec![
        scenario!("network", network::run, "three central nodes and five peers by one apply"),
        scenario!("publish", publish::run, "a publication reaches every peer, and is read there"),
        scenario!(
            "blueprints",
            blueprints::run,
            "a blueprint by kubectl apply, from publication to deletion"
        ),
        scenario!("failover", failover::run, "a central node is killed, another one drained"),
        scenario!("isolation", isolation::run, "all central nodes away: reads go on"),
        scenario!("scale", scale::run, "5, 8, 2 replicas by kubectl scale"),
        scenario!("restart", scale::restart, "a deleted pod comes back from its volume"),
        scenario!("change", change::run, "a changed peer rolls one replica at a time"),
        scenario!("rolling", rolling::run, "changed central nodes take turns"),
    ]
}

fn against_intruders() -> Vec<Scenario> {
    vec![
        scenario!("refusals", refusals::run, "bad specs are refused with a message"),
        scenario!("contradict", contradictions::run, "specs that contradict others say so in the status"),
        scenario!("publishers", publishers::run, "ServiceAccounts publish as RBAC lets them"),
        scenario!("rights", rights::run, "a node's token is good for its own part of its own status only"),
        scenario!("certificates", certificates::run, "certificates are made, renewed, repaired, replaced"),
        scenario!("cert-manager", cert_manager::run, "certificates by cert-manager"),
        scenario!("drift", drift::run, "deleted and changed objects are repaired"),
        scenario!("taken", drift::taken, "an object of somebody else is left alone"),
    ]
}

fn on_networks_of_their_own() -> Vec<Scenario> {
    vec![
        scenario!("deletion", deletion::run, "volumes are kept or deleted as asked"),
        scenario!("lifecycle", lifecycle::run, "pause, resync, missing Secret"),
        scenario!("backup", backup::run, "backups by schedule, verified, restored, and no longer asked for"),
        scenario!("tls", tls::run, "mutual TLS, while every certificate is replaced"),
        scenario!("service", service::run, "addresses follow LoadBalancer and NodePort"),
        scenario!("late", lifecycle::late, "peers that are there before any central node"),
        scenario!("events", events::run, "Events tell transitions, once each"),
        scenario!("wait", publish::wait, "what README tells to wait for is true when the wait returns"),
        scenario!("networks", networks::run, "networks of other namespaces and names never mix"),
    ]
}

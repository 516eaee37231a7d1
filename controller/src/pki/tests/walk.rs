//! Random walks: resources come and go, controllers end between any two writes, Secrets are deleted and damaged, authorities
//! are lost, time passes. Whatever happens, any two nodes accept each other, whichever of the contents that its Secret
//! had within the settle time each of them uses.

mod gaps;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::ServerName,
};

use crate::pki::{
    Policy,
    authority::{Authority, Held, Phase, RotationStep, step},
    identity, issue, later,
    leaf::{Decision, Leaf, WantedLeaf, Why, decide},
    x509,
};

const NETWORK: &str = "walk.test";
const POLICY: Policy = Policy {
    ca_lifetime: Duration::from_secs(3600),
    lifetime: Duration::from_secs(900),
    settle: Duration::from_secs(60),
};

/// One content of a Secret.
#[derive(Clone)]
struct State {
    leaf: Leaf,
    from: Timestamp,
    /// Replaced by another one.
    until: Option<Timestamp>,
}

/// A resource: its Secret, if it is there and readable, and all that its nodes may use.
#[derive(Default)]
struct Resource {
    secret: Option<Leaf>,
    damaged: bool,
    states: Vec<State>,
}

struct World {
    now: Timestamp,
    random: StdRng,
    authority: Option<Authority>,
    resources: BTreeMap<String, Resource>,
    requests: BTreeSet<String>,
    made: usize,
    seen: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: "2026-11-25T10:00:00Z".parse().expect("a time"),
            random: StdRng::seed_from_u64(seed),
            authority: None,
            resources: BTreeMap::new(),
            requests: BTreeSet::new(),
            made: 0,
            seen: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn wanted(name: &str) -> WantedLeaf {
        let hosts = identity::cluster_hosts(name, "shop");
        WantedLeaf {
            names: identity::central(NETWORK, "shop", name, &hosts),
            token: None,
            further: Vec::new(),
        }
    }

    fn held(&self) -> Vec<Held> {
        let of = |(name, resource): (&String, &Resource)| Held {
            name: name.clone(),
            trust: resource.secret.as_ref().map(|leaf| leaf.trust.clone()),
            issuer: resource.secret.as_ref().map(|leaf| leaf.pair.certificate.issuer.clone()),
            written: resource.secret.as_ref().and_then(|leaf| leaf.written),
        };
        self.resources.iter().map(of).collect()
    }

    /// One reconcile; the controller may end after each write.
    fn reconcile(&mut self, name: &str) {
        let Some(authority) = self.reconcile_authority() else { return };
        if self.chance(30) {
            return self.count("ended between the two writes");
        }
        let resource = self.resources.get(name).expect("a resource");
        let damaged = Err(x509::CertificateFault("damaged".to_owned()));
        let parsed = resource.secret.clone().map(|leaf| if resource.damaged { damaged } else { Ok(leaf) });
        let wanted = Self::wanted(name);
        match decide(parsed.as_ref(), &wanted, &authority, self.now) {
            Decision::Keep(_) => {}
            Decision::Trust => {
                let leaf = parsed.and_then(Result::ok).expect("a leaf");
                let trust = wanted.trust(&authority);
                self.write(name, Leaf { trust, written: Some(self.now), ..leaf });
            }
            Decision::Issue(why) => {
                let signer = authority.signer(self.now);
                let pair = issue::leaf(name, &wanted.names, NETWORK, &signer, POLICY.lifetime, self.now)
                    .expect("a certificate");
                if why == Why::Authority {
                    self.count("renewed for a new authority");
                }
                let leaf =
                    Leaf { pair, trust: wanted.trust(&authority), token: None, written: Some(self.now) };
                self.write(name, leaf);
            }
        }
    }

    fn reconcile_authority(&mut self) -> Option<Authority> {
        let Some(authority) = self.authority.clone() else {
            let newest = issue::authority(NETWORK, POLICY.ca_lifetime, self.now).expect("an authority");
            let leaves = self.resources.values().filter_map(|resource| resource.secret.as_ref());
            let mut lost = Vec::new();
            for leaf in leaves {
                let signers = x509::read(leaf.trust.as_bytes()).expect("a bundle").into_iter();
                lost.extend(signers.filter(|c| c.subject == leaf.pair.certificate.issuer));
            }
            lost.dedup();
            self.authority = Some(if lost.is_empty() {
                Authority::first(newest, self.requests.clone())
            } else {
                Authority::after_loss(newest, lost, self.requests.clone())
            });
            return self.authority.clone();
        };
        let held = self.held();
        let next = match step(&authority, &held, &self.requests, &POLICY, self.now) {
            RotationStep::Wait(..) => return Some(authority),
            RotationStep::Begin => {
                let newest = issue::authority(NETWORK, POLICY.ca_lifetime, self.now).expect("an authority");
                authority.distributing(newest, &self.requests)
            }
            RotationStep::Write(next, _) => *next,
        };
        self.count(match next.phase {
            Phase::Stable => "alone",
            Phase::Distributing => "made known",
            Phase::Replacing => "signs",
        });
        self.authority = Some(next);
        // What was read before goes on being used, as by a reconcile that was under way.
        if self.chance(20) { Some(authority) } else { self.authority.clone() }
    }

    fn write(&mut self, name: &str, leaf: Leaf) {
        let now = self.now;
        let resource = self.resources.get_mut(name).expect("a resource");
        if let Some(last) = resource.states.last_mut() {
            last.until = Some(now);
        }
        resource.states.push(State { leaf: leaf.clone(), from: now, until: None });
        (resource.secret, resource.damaged) = (Some(leaf), false);
    }

    fn disturb(&mut self) {
        let names: Vec<String> = self.resources.keys().cloned().collect();
        let some = (!names.is_empty()).then(|| names[self.random.random_range(0..names.len())].clone());
        match (self.random.random_range(0..100), some) {
            (0..10, _) if names.len() < 5 => {
                self.made += 1;
                self.resources.insert(format!("n{}", self.made), Resource::default());
            }
            (10..13, Some(name)) if names.len() > 2 => {
                self.resources.remove(&name);
                self.count("deleted a resource");
            }
            (13..16, Some(name)) => {
                // Pods go on using what it held.
                self.resources.get_mut(&name).expect("a resource").secret = None;
                self.count("deleted a Secret");
            }
            (16..19, Some(name)) => {
                let resource = self.resources.get_mut(&name).expect("a resource");
                resource.damaged = resource.secret.is_some();
                self.count("damaged a Secret");
            }
            (19..21, _) => {
                self.requests.insert(format!("{}", self.now));
                self.count("asked for an authority");
            }
            _ => {}
        }
    }

    /// Every pair of nodes, with each state that each may use now.
    fn check(&mut self, seed: u64) {
        let (now, mut pairs) = (self.now, 0);
        let usable = |state: &&State| state.until.is_none_or(|until| now <= later(until, POLICY.settle));
        let all: Vec<(&String, &State)> = self
            .resources
            .iter()
            .flat_map(|(name, resource)| {
                resource.states.iter().filter(usable).map(move |state| (name, state))
            })
            .collect();
        for (server, theirs) in &all {
            for (client, mine) in &all {
                if server == client {
                    continue;
                }
                pairs += 1;
                if let Err(error) = handshake(server, &theirs.leaf, &mine.leaf, now) {
                    panic!(
                        "seed {seed}: at {now} {client} (Secret of {}) and {server} (Secret of {}) refuse each other: {error}",
                        mine.from, theirs.from
                    );
                }
            }
        }
        *self.seen.entry("pairs").or_default() += pairs;
    }
}

/// Both directions of one handshake.
fn handshake(host: &str, server: &Leaf, client: &Leaf, now: Timestamp) -> Result<(), String> {
    let trust = |leaf: &Leaf| x509::read(leaf.trust.as_bytes()).map_err(|fault| fault.to_string());
    let chain = std::slice::from_ref(&client.pair.certificate);
    x509::check_chain(chain, &trust(server)?, now).map_err(|fault| format!("the server says {fault}"))?;
    let roots = x509::roots(&trust(client)?).ok_or("the client trusts nobody")?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, ring::default_provider().into()).build();
    let name = ServerName::try_from(format!("{host}.shop.svc")).expect("a name");
    let verified = verifier.map_err(|error| error.to_string())?.verify_server_cert(
        &server.pair.certificate.der,
        &[],
        &name,
        &[],
        x509::unix(now),
    );
    verified.map(drop).map_err(|error| format!("the client says {error}"))
}

fn walk(seed: u64, steps: usize) -> BTreeMap<&'static str, usize> {
    let mut world = World::new(seed);
    world.resources.insert("n0".to_owned(), Resource::default());
    for _ in 0..steps {
        world.disturb();
        let pause = if world.chance(50) { 0 } else { world.random.random_range(1..40) };
        world.now = later(world.now, Duration::from_secs(pause));
        let names: Vec<String> = world.resources.keys().cloned().collect();
        for name in names {
            // Not everybody gets a turn; but nobody waits longer than a certificate lives.
            if world.chance(60) {
                world.reconcile(&name);
            }
        }
        world.check(seed);
    }
    world.seen
}

#[test]
fn any_two_nodes_accept_each_other_at_every_moment() {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..6 {
        for (what, count) in walk(seed, 300) {
            *seen.entry(what).or_default() += count;
        }
    }
    for (what, least) in [
        ("made known", 10),
        ("signs", 10),
        ("alone", 10),
        ("renewed for a new authority", 20),
        ("ended between the two writes", 100),
        ("deleted a Secret", 20),
        ("damaged a Secret", 20),
        ("pairs", 10_000),
    ] {
        assert!(seen.get(what).copied().unwrap_or_default() >= least, "{what}: {seen:?}");
    }
}

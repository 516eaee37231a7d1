//! `publish --wait`: until every peer that is connected to the node holds what was published.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::super::api::{Api, ApiError};

/// Between two looks, from the first to the last.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// What the node knows of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peers {
    total_peers: u64,
    #[serde(default)]
    min_version: Option<i64>,
}

impl Peers {
    /// Whether all of them have acknowledged a version.
    fn hold(self, version: i64) -> bool {
        self.total_peers == 0 || self.min_version.is_some_and(|held| held >= version)
    }
}

/// Waits until all connected peers hold a version; how many they are, or why they don't.
pub(super) async fn until_held(api: &Api, version: i64, limit: Duration) -> Result<u64, String> {
    let (end, mut pause) = (Instant::now() + limit, LOOKS[0]);
    loop {
        let seen = look(api).await;
        if let Ok(peers) = &seen
            && peers.hold(version)
        {
            return Ok(peers.total_peers);
        }
        if Instant::now() + pause > end {
            return Err(late(version, limit, seen));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOKS[1]);
    }
}

fn late(version: i64, limit: Duration, seen: Result<Peers, String>) -> String {
    let limit = humantime::format_duration(limit);
    match seen {
        Ok(Peers { total_peers, min_version }) => format!(
            "published, but after {limit} not all of the {total_peers} connected peers hold version {version}: the one that is \
             furthest behind has acknowledged version {}; GET /api/peers says which",
            min_version.unwrap_or_default()
        ),
        Err(error) => {
            format!("published, but whether peers hold version {version} is not known after {limit}: {error}")
        }
    }
}

async fn look(api: &Api) -> Result<Peers, String> {
    let text = |error: ApiError| error.to_string();
    let answer = api.get(&["api", "peers", "stats"]).await.map_err(text)?;
    Peers::deserialize(&answer).map_err(|error| format!("{} is no central node: {error}", api.url()))
}

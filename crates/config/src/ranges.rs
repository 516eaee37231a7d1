//! The range of every setting that is a number or a time. Values outside it disable what they configure: a sync in batches
//! of 0 entries never ends, a keepalive of 0 s only sends pings.

use std::{fmt::Display, time::Duration};

use sorcha_register::limits::BODY_BYTES;

use super::{Config, ConfigError, Rate, show};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Config {
    /// Checks every number and time.
    pub(super) fn validate_ranges(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_counts()?;
        let limits = &self.limits;
        rate("limits.connects", limits.connects)?;
        rate("limits.all_connects", limits.all_connects)?;
        rate("limits.full_syncs", limits.full_syncs)?;
        rate("limits.identity_connects", limits.identity_connects)?;
        rate("limits.identity_full_syncs", limits.identity_full_syncs)?;
        rate("limits.refusal_logs", limits.refusal_logs)?;
        within("limits.heartbeat_rate_factor", limits.heartbeat_rate_factor, 0.1, 1000.0)?;
        within("connect.multiplier", self.connect.multiplier, 1.0, 100.0)
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        self.validate_times_of_replication()?;
        self.validate_times_of_service()
    }

    fn validate_times_of_replication(&self) -> Result<(), ConfigError> {
        let Self { heartbeat, sync, connect, keepalive, .. } = self;
        times([
            ("heartbeat.interval", heartbeat.interval, 10 * SECOND, 2 * MINUTE),
            ("heartbeat.timeout", heartbeat.timeout, 10 * SECOND, 2 * MINUTE),
            ("sync.interval", sync.interval, MINUTE, HOUR),
            ("sync.resubscribe_after", sync.resubscribe_after, 10 * MILLISECOND, HOUR),
            ("sync.stall_timeout", sync.stall_timeout, SECOND, 10 * MINUTE),
            ("connect.timeout", connect.timeout, 10 * SECOND, 2 * MINUTE),
            ("connect.dial_timeout", connect.dial_timeout, 10 * MILLISECOND, 2 * MINUTE),
            ("connect.initial_delay", connect.initial_delay, MILLISECOND, HOUR),
            ("connect.max_delay", connect.max_delay, MILLISECOND, 24 * HOUR),
            ("connect.failover_jitter", connect.failover_jitter, Duration::ZERO, HOUR),
            ("connect.failback_after", connect.failback_after.unwrap_or(MINUTE), SECOND, YEAR),
            ("keepalive.interval", keepalive.interval, 100 * MILLISECOND, HOUR),
            ("keepalive.timeout", keepalive.timeout, 100 * MILLISECOND, HOUR),
        ])
    }

    fn validate_times_of_service(&self) -> Result<(), ConfigError> {
        let Self { limits, drain, http, .. } = self;
        let mongodb = &self.store.mongodb;
        times([
            ("limits.full_sync_wait", limits.full_sync_wait, Duration::ZERO, 5 * MINUTE),
            ("limits.push_write_timeout", limits.push_write_timeout, 100 * MILLISECOND, HOUR),
            ("limits.sessionless_connection", limits.sessionless_connection, SECOND, HOUR),
            ("limits.lagging_after", limits.lagging_after, SECOND, 7 * 24 * HOUR),
            ("limits.handshake_timeout", limits.handshake_timeout, 10 * MILLISECOND, 2 * MINUTE),
            ("drain.spread", drain.spread, Duration::ZERO, HOUR),
            ("drain.timeout", drain.timeout, Duration::ZERO, HOUR),
            ("http.head_timeout", http.head_timeout, SECOND, 10 * MINUTE),
            ("http.idle_timeout", http.idle_timeout, SECOND, HOUR),
            ("http.rate_window", http.rate_window, SECOND, HOUR),
            ("http.body_idle_timeout", http.body_idle_timeout, SECOND, 10 * MINUTE),
            ("http.body_timeout", http.body_timeout, SECOND, HOUR),
            ("http.write_timeout", http.write_timeout, SECOND, HOUR),
            ("http.kubernetes.timeout", http.kubernetes.timeout, 100 * MILLISECOND, MINUTE),
            ("http.kubernetes.cache_for", http.kubernetes.cache_for, Duration::ZERO, HOUR),
            ("http.kubernetes.cache_refusals_for", http.kubernetes.cache_refusals_for, Duration::ZERO, HOUR),
            ("http.max_staleness.after", http.max_staleness.after, SECOND, 100 * YEAR),
            ("store.flush_within", self.store.flush_within, Duration::ZERO, MINUTE),
            ("store.mongodb.timeout", mongodb.timeout, 100 * MILLISECOND, 5 * MINUTE),
            // Before the one whose range it ends.
            ("store.mongodb.poll_max", mongodb.poll_max, MILLISECOND, MINUTE),
            ("store.mongodb.poll_min", mongodb.poll_min, MILLISECOND, mongodb.poll_max),
        ])
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        let Self { heartbeat, sync, limits, http, .. } = self;
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        for (setting, value, low, high) in [
            ("heartbeat.max_missed", u64::from(heartbeat.max_missed), 1, 10),
            ("sync.batch", count(sync.batch), 1, 100_000),
            ("sync.max_memory", sync.max_memory.unwrap_or(1 << 20), 1 << 20, 1 << 50),
            ("store.cache_bytes", self.store.cache_bytes, 0, 1 << 40),
            ("sync.max_failures", u64::from(sync.max_failures), 1, 1000),
            ("limits.max_peers", count(limits.max_peers), 1, 1_000_000),
            ("limits.identity_sessions", count(limits.identity_sessions), 1, 1_000_000),
            ("limits.max_concurrent_full_syncs", count(limits.max_concurrent_full_syncs), 1, 10_000),
            ("limits.full_sync_min_rate", limits.full_sync_min_rate, 0, 1 << 30),
            ("limits.heartbeat_burst", u64::from(limits.heartbeat_burst), 1, 1_000_000),
            ("limits.max_message_bytes", count(limits.max_message_bytes), 1 << 16, 1 << 30),
            ("limits.max_request_bytes", count(limits.max_request_bytes), 4096, 1 << 30),
            ("limits.max_connections", count(limits.max_connections), 1, 1_000_000),
            ("limits.push_window", count(limits.push_window), 1, 1_000_000),
            // One connection carries a push stream, a pull and a heartbeat at once.
            ("limits.max_streams_per_connection", limits.max_streams_per_connection.into(), 4, 1_000_000),
            ("limits.max_handshakes", count(limits.max_handshakes), 1, 100_000),
            ("http.max_connections", count(http.max_connections), 1, 1_000_000),
            ("http.min_bytes_per_second", http.min_bytes_per_second, 1, 1 << 30),
            ("http.max_answer_bytes", count(http.max_answer_bytes), 1 << 20, 1 << 40),
            // Twice the largest body: one publisher cannot take it all.
            ("http.max_body_bytes", count(http.max_body_bytes), count(2 * BODY_BYTES), 1 << 40),
            ("http.max_publisher_bodies", count(http.max_publisher_bodies), 1, 100_000),
            // The HTTP library takes no smaller buffer.
            ("http.max_head_bytes", count(http.max_head_bytes), 8192, 1 << 20),
            ("http.kubernetes.max_cached", count(http.kubernetes.max_cached), 1, 1_000_000),
            ("http.kubernetes.max_concurrent", count(http.kubernetes.max_concurrent), 1, 1000),
        ] {
            within(setting, value, low, high)?;
        }
        Ok(())
    }
}

/// Settings with value, least and greatest time.
fn times<const N: usize>(
    times: [(&'static str, Duration, Duration, Duration); N],
) -> Result<(), ConfigError> {
    for (setting, value, low, high) in times {
        if !(low..=high).contains(&value) {
            return Err(outside(setting, show(value), show(low), show(high)));
        }
    }
    Ok(())
}

fn rate(setting: &'static str, rate: Rate) -> Result<(), ConfigError> {
    if !(1e-6..=1e6).contains(&rate.per_second) {
        return Err(outside(setting, format!("per_second = {}", rate.per_second), 0.000_001, 1_000_000));
    }
    if !(1..=1_000_000).contains(&rate.burst) {
        return Err(outside(setting, format!("burst = {}", rate.burst), 1, 1_000_000));
    }
    Ok(())
}

/// NaN is outside.
fn within<T: PartialOrd + Display>(
    setting: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), ConfigError> {
    if value >= low && value <= high { Ok(()) } else { Err(outside(setting, value, low, high)) }
}

fn outside(setting: &'static str, value: impl Display, low: impl Display, high: impl Display) -> ConfigError {
    ConfigError::Invalid { setting, problem: format!("{value} is outside {low} to {high}") }
}

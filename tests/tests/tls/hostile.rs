//! Clients that are no peers: without a certificate, with an old version, with garbage, with nothing at all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sorcha_config::TlsVersion;
use sorcha_runtime::tls::testing::Pair;
use sorcha_tests::{Central, Peer, memory};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, version},
};

use super::{CENTRAL, EDGE, Site, addresses};

/// What any client may have.
fn client(
    site: &Site,
    pair: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(site.ca.certificate_der()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        Some(pair) => config.with_client_auth_cert(vec![pair.certificate_der()], pair.key_der()).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Opens a TLS connection, and reads what comes first; the server speaks first once it has let one in.
async fn opened(config: Arc<ClientConfig>, central: &Central) -> Result<TlsStream<TcpStream>, String> {
    let tcp = TcpStream::connect(central.grpc).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let mut tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| error.to_string())?;
    let mut words = vec![0; 9];
    tls.read_exact(&mut words).await.map_err(|error| error.to_string())?;
    Ok(tls)
}

async fn lets_in(
    site: &Site,
    central: &Central,
    pair: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<(), String> {
    opened(client(site, pair, versions), central).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nobody_gets_in() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let error = lets_in(&site, &central, None, &[&version::TLS13]).await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
    lets_in(&site, &central, Some(&site.pair(EDGE)), &[&version::TLS13]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_is_a_setting() {
    let site = Site::new();
    for (oldest, well) in [(None, false), (Some(TlsVersion::V1_3), false), (Some(TlsVersion::V1_2), true)] {
        let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
        config.tls.min_version = oldest.unwrap_or(config.tls.min_version);
        let central = Central::start(config, memory(), 0).await;
        let outcome = lets_in(&site, &central, Some(&site.pair(EDGE)), &[&version::TLS12]).await;
        assert_eq!(outcome.is_ok(), well, "{oldest:?}: {outcome:?}");
    }
}

/// Each connection shows a certificate: one that has ended or is not believed any more opens no door because it once did.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_would_resume_its_session_shows_its_certificate_again() {
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    config.tls.min_version = TlsVersion::V1_2;
    let central = Central::start(config, memory(), 0).await;
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        let remembers = client(&site, Some(&site.pair(EDGE)), versions);
        for _ in 0..3 {
            let connection = opened(Arc::clone(&remembers), &central).await.unwrap();
            assert_eq!(connection.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

/// Waits for the end of a connection; how long it took.
async fn until_cut(mut connection: TcpStream) -> Duration {
    let (started, mut sink) = (Instant::now(), [0; 1024]);
    let reading = async { while matches!(connection.read(&mut sink).await, Ok(1..)) {} };
    tokio::time::timeout(sorcha_tests::PATIENCE, reading).await.expect("it is cut");
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_finish_hold_up_nobody_and_are_cut() {
    let limit = Duration::from_millis(1500);
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    config.limits.handshake_timeout = limit;
    let central = Central::start(config, memory(), 0).await;
    let mut cut = Vec::new();
    for number in 0..50 {
        let mut connection = TcpStream::connect(central.grpc).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a greeting.
            connection.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
        }
        cut.push(tokio::spawn(until_cut(connection)));
    }
    let started = Instant::now();
    let peer = site.peer("edge-0", EDGE, &[&central]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    assert!(started.elapsed() < limit, "the honest peer had to wait: {:?}", started.elapsed());
    for connection in cut {
        let held = connection.await.unwrap();
        assert!(held > limit / 2 && held < 4 * limit, "held for {held:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_at_once_are_bounded() {
    let limit = Duration::from_millis(700);
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    (config.limits.handshake_timeout, config.limits.max_handshakes) = (limit, 2);
    let central = Central::start(config, memory(), 0).await;
    let silent =
        [TcpStream::connect(central.grpc).await.unwrap(), TcpStream::connect(central.grpc).await.unwrap()];
    let pair = site.pair(EDGE);
    let versions = [&version::TLS13];
    let asking = lets_in(&site, &central, Some(&pair), &versions);
    let mut asking = std::pin::pin!(asking);
    let early = tokio::time::timeout(limit / 3, &mut asking).await;
    assert!(early.is_err(), "there was a third handshake");
    asking.await.expect("its turn comes");
    drop(silent);
}

/// Nobody waits until those who say nothing are cut.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_handshake_gives_way() {
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    (config.limits.handshake_timeout, config.limits.max_handshakes) = (Duration::from_secs(60), 2);
    let central = Central::start(config, memory(), 0).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(central.grpc).await.unwrap());
    }
    let (pair, versions) = (site.pair(EDGE), [&version::TLS13]);
    let asking = lets_in(&site, &central, Some(&pair), &versions);
    tokio::time::timeout(Duration::from_secs(20), asking)
        .await
        .expect("within seconds")
        .expect("its turn comes");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_alone() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let peer =
        Peer::start(site.config("edge-0", &site.pair(EDGE), &[&site.ca]), memory(), addresses(&[&central]))
            .await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let session = peer.node.status().session_id;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0xff; 70_000],
        &[0x16, 0x03, 0x03, 0xff, 0xff],
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let mut connection = TcpStream::connect(central.grpc).await.unwrap();
        // The other side may have closed before all is written.
        drop(connection.write_all(garbage).await);
        drop(connection.shutdown().await);
        until_cut(connection).await;
    }
    central.publish("after").await;
    peer.until_equal(&central).await;
    assert_eq!(peer.node.status().session_id, session);
}

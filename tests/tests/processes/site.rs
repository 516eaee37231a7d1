//! The files and command lines of real nodes.

use sorcha_tests::process::Process;

pub(crate) struct Files {
    pub(crate) data: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("tokens"), "tester: 0123456789abcdef0123456789abcdef\n").unwrap();
        // Short keepalive, so that a silent loss shows within a second.
        std::fs::write(
            data.path().join("sorcha.toml"),
            "[keepalive]\ninterval = '300ms'\ntimeout = '700ms'\n[connect]\ninitial_delay = '200ms'\nmax_delay = '1s'\n[drain]\nspread = '300ms'\n",
        )
        .unwrap();
        Self { data }
    }

    pub(crate) fn central(&self, number: u16, ports: [u16; 2]) -> Process {
        self.central_with(number, ports, &[])
    }

    pub(crate) fn central_on_mongodb(&self, number: u16, ports: [u16; 2], database: u16) -> Process {
        let uri = self.data.path().join("mongodb-uri");
        std::fs::write(&uri, format!("mongodb://127.0.0.1:{database}/?retryWrites=false\n")).unwrap();
        self.central_with(number, ports, &["--mongodb-uri-file", uri.to_str().unwrap()])
    }

    pub(crate) fn central_with(&self, number: u16, [grpc, http]: [u16; 2], more: &[&str]) -> Process {
        let data = self.data.path();
        let (config, tokens) = (data.join("sorcha.toml"), data.join("tokens"));
        let (hostname, directory) = (format!("n{number}.sorcha.dev"), data.join(format!("n{number}")));
        let (grpc, http) = (format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}"));
        let mut arguments = vec!["--config", config.to_str().unwrap(), "central", "--hostname", &hostname];
        arguments.extend([
            "--data-dir",
            directory.to_str().unwrap(),
            "--token-file",
            tokens.to_str().unwrap(),
        ]);
        arguments.extend(["--listen-grpc", &grpc, "--listen-http", &http]);
        arguments.extend(more);
        Process::start(&arguments)
    }

    pub(crate) fn peer(&self, centrals: &[u16], http: u16) -> Process {
        let data = self.data.path();
        let (config, dir) = (data.join("sorcha.toml"), data.join("edge-0"));
        let listen = format!("127.0.0.1:{http}");
        let nodes: Vec<_> = centrals
            .iter()
            .enumerate()
            .map(|(n, port)| format!("n{n}.sorcha.dev=127.0.0.1:{port}"))
            .collect();
        let mut arguments = vec![
            "--config",
            config.to_str().unwrap(),
            "peer",
            "--node-id",
            "edge-0",
            "--data-dir",
            dir.to_str().unwrap(),
            "--listen-http",
            &listen,
        ];
        for node in &nodes {
            arguments.extend(["--central-node", node]);
        }
        Process::start(&arguments)
    }
}

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What Kubernetes sets in a pod beside a Service called `sorcha`, and what else may be there.
pub(crate) const OF_OTHERS: [(&str, &str); 7] = [
    ("SORCHA_PORT", "tcp://10.96.0.7:8080"),
    ("SORCHA_SERVICE_HOST", "10.96.0.7"),
    ("SORCHA_SERVICE_PORT_HTTP", "8080"),
    ("SORCHA_PORT_5000_TCP_ADDR", "10.96.0.7"),
    ("SORCHA_FOO", "bar"),
    ("SORCHA_TOKEN_FILE", ""),
    ("SORCHA_HEARTBEAT__INTERVAL", ""),
];

//! Serves the routes: a bounded number of connections, each with a bounded head and time.

use super::Probe;
use super::routes::router;
use crate::config::HttpConfig;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Why the HTTP port is not served.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for HTTP: {source}; set http.listen to another address, or to `off`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The HTTP port, being served.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<GracefulShutdown>,
}

/// Listens on `listen` and serves `probe` until [`HttpServer::shutdown`]. Within a tokio runtime.
///
/// # Errors
/// [`HttpError::Listen`].
pub async fn serve(
    listen: SocketAddr,
    config: &HttpConfig,
    probe: Arc<dyn Probe>,
) -> Result<HttpServer, HttpError> {
    let failed = |source| HttpError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let front = Front {
        listener,
        router: router(probe, Duration::from_millis(config.request_timeout_ms)),
        places: Arc::new(Semaphore::new(limit(config.connections_max))),
        head_timeout: Duration::from_millis(config.head_timeout_ms),
        request_bytes_max: limit(config.request_bytes_max),
    };
    Ok(HttpServer {
        address,
        stop,
        accepting: tokio::spawn(front.accept_until(stopped)),
    })
}

impl HttpServer {
    /// Where it listens; with the port that the system chose where none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets answers in progress finish for at most `timeout`, and closes. Whether all
    /// finished.
    pub async fn shutdown(self, timeout: Duration) -> bool {
        self.stop.send_replace(true);
        match self.accepting.await {
            Ok(connections) => tokio::time::timeout(timeout, connections.shutdown())
                .await
                .is_ok(),
            Err(error) => {
                tracing::error!(%error, "the HTTP port had failed");
                false
            }
        }
    }
}

struct Front {
    listener: TcpListener,
    router: Router,
    places: Arc<Semaphore>,
    head_timeout: Duration,
    request_bytes_max: usize,
}

impl Front {
    async fn accept_until(self, mut stopped: watch::Receiver<bool>) -> GracefulShutdown {
        let connections = GracefulShutdown::new();
        loop {
            tokio::select! {
                () = self.accept_one(&connections) => {}
                // An error says that the server was dropped, which ends it too.
                _ = stopped.changed() => return connections,
            }
        }
    }

    async fn accept_one(&self, connections: &GracefulShutdown) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let socket = match self.listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                // As when the process has no file descriptor left: another try at once would only burn a core.
                tracing::warn!(%error, "an HTTP connection was not accepted");
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        let connection = connections.watch(self.connection(socket));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
            drop(place);
        });
    }

    fn connection(
        &self,
        socket: TcpStream,
    ) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(self.request_bytes_max)
            .serve_connection(
                TokioIo::new(socket),
                TowerToHyperService::new(self.router.clone()),
            )
    }
}

/// Between two tries to accept, after one failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn limit(limit: u64) -> usize {
    usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::api::{Check, Health, Topic, Version};
    use crate::telemetry::{Metrics, encode};
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Standing(Mutex<Health>);

    impl Probe for Standing {
        fn checks(&self) -> Vec<Check> {
            vec![
                Check {
                    name: "log",
                    health: Health::Ok("height 7".into()),
                },
                Check {
                    name: "index",
                    health: self.0.lock().unwrap().clone(),
                },
            ]
        }

        fn version(&self) -> Version {
            Version {
                program: "0.1.0",
                protocol: 1,
                chain_name: "test".into(),
                chain_id: "ab".into(),
                plane: "solo",
                server_key: "cd".into(),
            }
        }

        fn metrics(&self) -> String {
            encode(&Metrics::default())
        }

        fn overview(&self, of: Topic) -> Option<serde_json::Value> {
            let is_well = self.0.lock().unwrap().is_ready();
            is_well.then(|| serde_json::json!({ "of": of.path() }))
        }
    }

    async fn start(config: &HttpConfig, health: Health) -> HttpServer {
        let probe = Arc::new(Standing(Mutex::new(health)));
        serve("127.0.0.1:0".parse().unwrap(), config, probe)
            .await
            .unwrap()
    }

    async fn send(address: SocketAddr, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The server may close before all is written: what it said is what counts.
        if socket.write_all(bytes).await.is_err() {
            return String::new();
        }
        let mut answer = Vec::new();
        match socket.read_to_end(&mut answer).await {
            Ok(_) => String::from_utf8(answer).unwrap(),
            Err(_) => String::from_utf8_lossy(&answer).into_owned(),
        }
    }

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        let answer = send(address, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn a_node_that_is_well_says_so() {
        let server = start(&HttpConfig::default(), Health::Ok("0 blocks behind".into())).await;
        let address = server.address();
        assert_eq!(get(address, "/livez").await, (200, "alive\n".into()));
        assert_eq!(get(address, "/readyz").await, (200, "ready\n".into()));
        let (status, body) = get(address, "/healthz?verbose").await;
        assert_eq!(
            (status, body.as_str()),
            (200, "[+] log: height 7\n[+] index: 0 blocks behind\n")
        );
        let (status, body) = get(address, "/metrics").await;
        assert!(status == 200 && body.contains("# TYPE selfchain_commit_latency_seconds summary"));
        let (status, body) = get(address, "/version").await;
        let version: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, version["plane"].as_str()), (200, Some("solo")));
        for topic in [Topic::Validators, Topic::Consensus, Topic::Evidence, Topic::Checkpoints] {
            let (status, body) = get(address, topic.path()).await;
            assert_eq!((status, body), (200, format!("{{\"of\":\"{}\"}}", topic.path())));
        }
        assert_eq!(get(address, "/else").await.0, 404);
        assert!(server.shutdown(Duration::from_secs(5)).await);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_node_that_is_not_ready_says_why() {
        let server = start(&HttpConfig::default(), Health::NotReady("9 blocks behind".into())).await;
        assert_eq!(get(server.address(), "/livez").await.0, 200);
        assert_eq!(get(server.address(), "/consensus").await.0, 503);
        assert_eq!(
            get(server.address(), "/readyz").await,
            (503, "[-] index: 9 blocks behind\n".into())
        );
        let server = start(&HttpConfig::default(), Health::Failed("the disk failed".into())).await;
        assert_eq!(
            get(server.address(), "/livez").await,
            (503, "[-] index: the disk failed\n".into())
        );
    }

    #[tokio::test]
    async fn a_head_that_is_too_slow_or_too_large_ends_the_connection() {
        let config = HttpConfig {
            head_timeout_ms: 50,
            ..HttpConfig::default()
        };
        let server = start(&config, Health::Ok(String::new())).await;
        let began = std::time::Instant::now();
        let answer = send(server.address(), b"GET /livez HTTP/1.1\r\nHost:").await;
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(!answer.contains("200 OK"), "{answer}");
        let large = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(20 << 10));
        let answer = send(server.address(), large.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert_eq!(get(server.address(), "/livez").await.0, 200);
    }

    #[tokio::test]
    async fn connections_above_the_limit_wait_for_a_place() {
        let config = HttpConfig {
            connections_max: 1,
            head_timeout_ms: 100,
            ..HttpConfig::default()
        };
        let server = start(&config, Health::Ok(String::new())).await;
        let idle = TcpStream::connect(server.address()).await.unwrap();
        // Answered only once the idle one has lost its place.
        assert_eq!(get(server.address(), "/livez").await.0, 200);
        drop(idle);
    }
}

//! The routes of the HTTP port. All are `GET`, read nothing of a body, and answer from memory.

use super::{Check, Health, Probe, Topic};
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn router(probe: Arc<dyn Probe>, request_timeout: Duration) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route(Topic::Validators.path(), get(validators))
        .route(Topic::Consensus.path(), get(consensus))
        .route(Topic::Evidence.path(), get(evidence))
        .route(Topic::Checkpoints.path(), get(checkpoints))
        .fallback(not_found)
        .layer(from_fn(move |request, next| {
            in_time(request, next, request_timeout)
        }))
        .with_state(probe)
}

async fn in_time(request: Request, next: Next, request_timeout: Duration) -> Response {
    let answered = tokio::time::timeout(request_timeout, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no answer within {} ms\n", request_timeout.as_millis()),
        )
            .into_response()
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// 200 until a restart would help.
async fn livez(State(probe): State<Arc<dyn Probe>>) -> Response {
    verdict(&probe.checks(), Health::is_alive, "alive\n")
}

/// 200 while requests may be sent here, else 503 and why not.
async fn readyz(State(probe): State<Arc<dyn Probe>>) -> Response {
    verdict(&probe.checks(), Health::is_ready, "ready\n")
}

/// As `readyz`; with `?verbose` every check is named.
async fn healthz(State(probe): State<Arc<dyn Probe>>, RawQuery(query): RawQuery) -> Response {
    let checks = probe.checks();
    let is_verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|part| part == "verbose" || part == "verbose=true")
    });
    if !is_verbose {
        return verdict(&checks, Health::is_ready, "ok\n");
    }
    let is_ready = checks.iter().all(|check| check.health.is_ready());
    (status(is_ready), checks.iter().map(line).collect::<String>()).into_response()
}

async fn metrics(State(probe): State<Arc<dyn Probe>>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        probe.metrics(),
    )
        .into_response()
}

async fn version(State(probe): State<Arc<dyn Probe>>) -> Response {
    let version = probe.version();
    axum::Json(serde_json::json!({
        "version": version.program,
        "protocol": version.protocol,
        "chain_name": version.chain_name,
        "chain_id": version.chain_id,
        "plane": version.plane,
        "server_key": version.server_key,
    }))
    .into_response()
}

async fn validators(State(probe): State<Arc<dyn Probe>>) -> Response {
    overview(&*probe, Topic::Validators)
}

async fn consensus(State(probe): State<Arc<dyn Probe>>) -> Response {
    overview(&*probe, Topic::Consensus)
}

async fn evidence(State(probe): State<Arc<dyn Probe>>) -> Response {
    overview(&*probe, Topic::Evidence)
}

async fn checkpoints(State(probe): State<Arc<dyn Probe>>) -> Response {
    overview(&*probe, Topic::Checkpoints)
}

/// 503 while the node stops.
fn overview(probe: &dyn Probe, of: Topic) -> Response {
    match probe.overview(of) {
        Some(value) => axum::Json(value).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn not_found() -> Response {
    let text = "there is /livez, /readyz, /healthz?verbose, /metrics, /version, /validators, /consensus, \
                /evidence and /checkpoints\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

fn verdict(checks: &[Check], holds: fn(&Health) -> bool, well: &'static str) -> Response {
    let faults: String = checks
        .iter()
        .filter(|check| !holds(&check.health))
        .map(line)
        .collect();
    if faults.is_empty() {
        well.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, faults).into_response()
    }
}

fn line(check: &Check) -> String {
    let mark = if check.health.is_ready() { '+' } else { '-' };
    format!("[{mark}] {}: {}\n", check.name, check.health.text())
}

fn status(is_well: bool) -> StatusCode {
    if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

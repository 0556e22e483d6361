//! Counts and times each API request of this process.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{Metrics, request_timeout::streams};

/// Upper bounds of the latency buckets, in seconds: from a cached read to the default request timeout.
const BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0];

/// `katalyst_api_requests_total{verb,code}` and `katalyst_api_request_seconds{verb}`. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<VerbLabel, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    verb: &'static str,
    /// The HTTP status, or 0 without an answer.
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerbLabel {
    verb: &'static str,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl RequestMetrics {
    /// Makes the two families and adds them to `metrics`.
    pub(crate) fn registered(metrics: &Metrics) -> Self {
        let Self { requests, seconds } = Self::default();
        Self {
            requests: metrics.add(
                "api_requests",
                "API requests by verb and status; code 0 is no answer",
                requests,
            ),
            seconds: metrics.add(
                "api_request_seconds",
                "Time to an API request's whole answer, retries included; watches are left out",
                seconds,
            ),
        }
    }

    fn count(&self, verb: &'static str, status: Option<StatusCode>, begun: Instant) {
        let code = status.map_or(0, |status| status.as_u16());
        self.requests
            .get_or_create(&RequestLabels { verb, code })
            .inc();
        if verb != STREAM {
            let seconds = begun.elapsed().as_secs_f64();
            self.seconds
                .get_or_create(&VerbLabel { verb })
                .observe(seconds);
        }
    }
}

impl<S> Layer<S> for RequestMetrics {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted {
            inner,
            metrics: self.clone(),
        }
    }
}

/// See [`RequestMetrics`].
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    metrics: RequestMetrics,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(&request);
        let metrics = self.metrics.clone();
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(Response::status);
            metrics.count(verb, status, begun);
            answer
        })
    }
}

/// Verb of a request that streams.
const STREAM: &str = "WATCH";

/// A label from a fixed set.
fn verb(request: &Request<Body>) -> &'static str {
    if streams(request) {
        return STREAM;
    }
    match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, path::PathBuf};

    use axum::body::Body as AnswerBody;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_verb_and_status() {
        let metrics = Metrics::with_proc("t", "0", PathBuf::from("/nonexistent"));
        let layer = RequestMetrics::registered(&metrics);
        let service = layer.layer(service_fn(|request: Request<Body>| async move {
            tokio::time::sleep(std::time::Duration::from_millis(70)).await;
            let mut response = Response::new(AnswerBody::empty());
            if request.method() == Method::PUT {
                *response.status_mut() = StatusCode::CONFLICT;
            }
            Ok::<_, Infallible>(response)
        }));
        for (method, uri) in [
            (Method::GET, "/api/v1/pods"),
            (Method::GET, "/api/v1/pods"),
            (Method::PUT, "/api/v1/pods"),
            (Method::GET, "/api/v1/pods?watch=true"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .body(Body::empty())
                .unwrap();
            service.clone().oneshot(request).await.unwrap();
        }
        let text = metrics.encode().unwrap();
        for line in [
            "katalyst_api_requests_total{verb=\"GET\",code=\"200\"} 2",
            "katalyst_api_requests_total{verb=\"PUT\",code=\"409\"} 1",
            "katalyst_api_requests_total{verb=\"WATCH\",code=\"200\"} 1",
            "katalyst_api_request_seconds_bucket{le=\"0.05\",verb=\"GET\"} 0",
            "katalyst_api_request_seconds_bucket{le=\"0.1\",verb=\"GET\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(
            !text.contains("request_seconds_count{verb=\"WATCH\"}"),
            "{text}"
        );
    }
}

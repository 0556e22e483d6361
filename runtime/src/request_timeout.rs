//! A limit for each whole API request, retries and body included.
//!
//! kube sets no limit for a response by default, so one hung connection would hang a loop. Requests that stream for as
//! long as the caller wants (watch, log follow, exec) are exempt; silence on those ends by the connection's read
//! timeout.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Bytes;
use http::{Method, Request, Response, Uri, header::UPGRADE};
use http_body_util::{BodyExt, Either, Full};
use kube::client::Body;
use tower::{Layer, Service};

use crate::BoxError;

/// The request was not answered in full within its limit.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: no full answer within {limit:?}")]
pub(crate) struct RequestTimedOut {
    method: Method,
    path: String,
    limit: Duration,
}

/// Wraps a client stack so that each request ends within `limit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimeout {
    limit: Duration,
}

impl RequestTimeout {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for RequestTimeout {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited {
            inner,
            limit: self.limit,
        }
    }
}

/// See [`RequestTimeout`].
#[derive(Clone, Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    limit: Duration,
}

impl<S, B> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let streams = streams(&request);
        let timed_out = RequestTimedOut {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            limit: self.limit,
        };
        let answer = self.inner.call(request);
        if streams {
            return Box::pin(async move {
                let response = answer.await.map_err(Into::into)?;
                Ok(response.map(Either::Right))
            });
        }
        let limit = self.limit;
        Box::pin(async move {
            let whole = async move {
                let (head, body) = answer.await.map_err(Into::into)?.into_parts();
                // kube collects the body of such a response anyway; doing it here puts it under the limit.
                let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
                Ok(Response::from_parts(head, Either::Left(Full::new(bytes))))
            };
            tokio::time::timeout(limit, whole)
                .await
                .unwrap_or_else(|_elapsed| Err(timed_out.into()))
        })
    }
}

/// Whether the answer goes on for as long as the caller wants.
pub(crate) fn streams(request: &Request<Body>) -> bool {
    request.headers().contains_key(UPGRADE) || asks_for_stream(request.uri())
}

fn asks_for_stream(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
}

#[cfg(test)]
mod tests;

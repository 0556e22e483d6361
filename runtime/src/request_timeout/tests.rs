use std::{convert::Infallible, sync::Arc};

use axum::body::Body as AnswerBody;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use parking_lot::Mutex;
use tower::service_fn;

use super::*;
use crate::shutdown::chain;

const LIMIT: Duration = Duration::from_secs(30);

/// A client whose server answers with `answer`, after noting the request's path and query.
fn client<F, Fut>(answer: F) -> (Client, Arc<Mutex<Vec<String>>>)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<AnswerBody>> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Body>| {
        log.lock().push(request.uri().to_string());
        let answer = answer();
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let limited = RequestTimeout::new(LIMIT).layer(service);
    (Client::new(limited, "default"), seen)
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_passes_through() {
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}"#;
    let (client, _) = client(move || async move { Response::new(AnswerBody::from(pod)) });
    let pod = Api::<Pod>::default_namespaced(client)
        .get("web")
        .await
        .unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("web"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_and_named() {
    let (client, _) = client(std::future::pending);
    let begun = tokio::time::Instant::now();
    let error = Api::<Pod>::default_namespaced(client)
        .get("web")
        .await
        .unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
    let text = chain(&error);
    assert!(
        text.contains("GET /api/v1/namespaces/default/pods/web: no full answer within 30s"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_counts_too() {
    let (client, _) = client(|| async {
        let begins = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"items\":["))]);
        Response::new(AnswerBody::from_stream(begins.chain(stream::pending())))
    });
    let pods = Api::<Pod>::default_namespaced(client);
    let error = pods.list(&ListParams::default()).await.unwrap_err();
    assert!(
        chain(&error).contains("no full answer within 30s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_outlives_the_limit() {
    let (client, seen) = client(|| async {
        let later = stream::once(async {
            tokio::time::sleep(2 * LIMIT).await;
            Ok::<_, Infallible>(Bytes::from_static(
                b"{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"late\"}}}\n",
            ))
        });
        Response::new(AnswerBody::from_stream(later))
    });
    let pods = Api::<Pod>::default_namespaced(client);
    let events = pods
        .watch(&kube::api::WatchParams::default(), "0")
        .await
        .unwrap();
    let event = std::pin::pin!(events).next().await.unwrap().unwrap();
    assert!(
        matches!(event, kube::api::WatchEvent::Added(_)),
        "{event:?}"
    );
    assert!(seen.lock()[0].contains("watch=true"), "{seen:?}");
}

#[test]
fn streams_are_recognised_by_whole_parameters() {
    let asks = |uri: &str| asks_for_stream(&uri.parse().unwrap());
    assert!(asks("/api/v1/pods?&watch=true&timeoutSeconds=290"));
    assert!(asks("/api/v1/namespaces/a/pods/b/log?follow=true"));
    assert!(!asks("/api/v1/pods?labelSelector=watch%3Dtrue"));
    assert!(!asks("/api/v1/pods?watch=false"));
    assert!(!asks("/api/v1/pods"));
}

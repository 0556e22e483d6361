//! The configurations of kube-scheduler that are shipped: the rules of its API that a typing error would break, what the extender
//! serves, and, where the program is built, kube-scheduler's own judgement.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use katalyst_scheduler_extender::request::managed as managed_resources;
use katalyst_scheduler_extender::verbs::VERBS;
use rstest::rstest;
use serde_json::Value;

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

fn parse(file: &str) -> Value {
    let path = manifests().join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn seconds(value: &Value) -> u64 {
    let text = value.as_str().expect("a duration");
    text.strip_suffix('s').expect("seconds").parse().unwrap()
}

#[rstest]
#[case("scheduler/kube-scheduler-config.yaml")]
#[case("scheduler/kube-scheduler-config-all-pods.yaml")]
#[case("scheduler/kube-scheduler-config-tls.yaml")]
#[case("components/second-scheduler/kube-scheduler-config.yaml")]
#[case("kind/kube-scheduler-config.yaml")]
fn follows_the_rules_of_the_api_and_of_the_extender(#[case] file: &str) {
    let config = parse(file);
    assert_eq!(config["kind"], "KubeSchedulerConfiguration");
    assert_eq!(
        config["percentageOfNodesToScore"], 100,
        "a cut list hides the few nodes that have something"
    );
    let extenders = config["extenders"].as_array().expect("a list");
    let mut managed = BTreeSet::new();
    let mut binders = 0;
    for extender in extenders {
        for verb in ["filterVerb", "prioritizeVerb", "preemptVerb", "bindVerb"] {
            let served = extender[verb].as_str();
            assert!(
                served.is_none_or(|name| VERBS.contains(&name)),
                "{verb}: {served:?} is not served"
            );
        }
        if extender["prioritizeVerb"].is_string() {
            assert!(extender["weight"].as_i64().expect("a weight") > 0);
        }
        if extender["bindVerb"].is_string() {
            binders += 1;
            assert_eq!(
                extender["ignorable"], false,
                "kube-scheduler would bind by itself, without a record"
            );
        }
        // The Binding's limit and a look at the pod, with their defaults.
        assert!(seconds(&extender["httpTimeout"]) > 3 + 1);
        assert_eq!(extender["nodeCacheCapable"], true);
        let secure = extender["urlPrefix"]
            .as_str()
            .unwrap()
            .starts_with("https:");
        assert_eq!(secure, extender["enableHTTPS"] == true);
        assert_eq!(
            secure,
            extender["tlsConfig"]["certFile"].is_string(),
            "TLS is only served to clients with a certificate"
        );
        for resource in extender["managedResources"]
            .as_array()
            .into_iter()
            .flatten()
        {
            assert_eq!(resource["ignoredByScheduler"], true);
            let name = resource["name"].as_str().unwrap();
            assert!(managed.insert(name.to_owned()), "{name} is in two entries");
        }
    }
    assert_eq!(binders, 1);
    let expected: BTreeSet<String> = managed_resources().map(str::to_owned).collect();
    assert_eq!(managed, expected);
}

/// kube-scheduler reads, completes and validates a configuration, builds its plugins and extenders, and writes it back. Where the
/// program is not built this says so; `make toolchain` builds it.
#[rstest]
#[case("scheduler/kube-scheduler-config.yaml")]
#[case("scheduler/kube-scheduler-config-all-pods.yaml")]
#[case("scheduler/kube-scheduler-config-tls.yaml")]
#[case("components/second-scheduler/kube-scheduler-config.yaml")]
fn kube_scheduler_accepts_it(#[case] file: &str) {
    let cache = std::env::var_os("KATALYST_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/katalyst-e2e"),
        PathBuf::from,
    );
    let program = cache.join("bin/kube-scheduler");
    if !program.exists() {
        eprintln!(
            "SKIPPED: {} is not built, so kube-scheduler has not judged {file}",
            program.display()
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        r#"{"apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]}"#,
    )
    .unwrap();
    let mut text = std::fs::read_to_string(manifests().join(file)).unwrap();
    if text.contains("__KUBECONFIG__") {
        text = text.replace("__KUBECONFIG__", &kubeconfig.display().to_string());
    } else {
        let path = kubeconfig.display();
        write!(text, "\nclientConnection:\n  kubeconfig: {path}\n").unwrap();
    }
    // The certificates' files are read when the extender's client is built.
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    for (name, pem) in [
        ("ca.crt", &certificate),
        ("tls.crt", &certificate),
        ("tls.key", &key.serialize_pem()),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        text = text.replace(
            &format!("/etc/katalyst/extender/{name}"),
            &path.display().to_string(),
        );
    }
    let (config, written) = (dir.path().join("config.yaml"), dir.path().join("out.yaml"));
    std::fs::write(&config, &text).unwrap();
    let output = Command::new(&program)
        .arg("--config")
        .arg(&config)
        .arg("--secure-port=0")
        .arg("--write-config-to")
        .arg(&written)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let completed: Value = serde_yaml::from_str(
        &std::fs::read_to_string(&written).unwrap_or_else(|error| panic!("{error}\n{log}")),
    )
    .unwrap();
    let asked: Value = serde_yaml::from_str(&text).unwrap();
    let prefixes = |config: &Value| -> Vec<String> {
        let entries = config["extenders"].as_array().into_iter().flatten();
        entries
            .map(|entry| entry["urlPrefix"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(prefixes(&completed), prefixes(&asked));
}

#[test]
fn the_second_scheduler_is_whole() {
    let config = parse("components/second-scheduler/kube-scheduler-config.yaml");
    let own = &config["profiles"][0]["schedulerName"];
    assert_eq!(own, "katalyst-scheduler");
    let rbac =
        std::fs::read_to_string(manifests().join("components/second-scheduler/rbac.yaml")).unwrap();
    let lease = config["leaderElection"]["resourceName"].as_str().unwrap();
    assert!(rbac.contains(&format!("resourceNames: [{lease}]")));
    let deployment = parse("components/second-scheduler/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    // Kubernetes' server images start nothing by themselves.
    assert_eq!(pod["containers"][0]["command"][0], "kube-scheduler");
    assert_eq!(
        pod["containers"][0]["args"][0],
        "--config=/etc/katalyst/kube-scheduler-config.yaml"
    );
    let component = parse("components/second-scheduler/kustomization.yaml");
    assert_eq!(
        component["configMapGenerator"][0]["name"],
        pod["volumes"][0]["configMap"]["name"]
    );
    assert!(component["configMapGenerator"][0]["files"][0] == "kube-scheduler-config.yaml");
}

//! The extender over TLS with client certificates, as `docs/extender.md` describes it, and certificates that are replaced while it runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::asked::{Ask, bound, milligpu, short};
use super::shapes::Machine;
use super::{Outcome, Scenario, Verdict, World, declared, extenders, scheduler};
use crate::cluster::RunDir;
use crate::kubectl::wait_for;
use crate::pki::{Authority, Identity, Pair, write_secret};
use crate::product;

const FLEET: &str = "tls";
const SECRET: &str = "katalyst-scheduler-extender-tls";
/// What `kube-scheduler-config-tls.yaml` names.
const SERVER: &str = "katalyst-scheduler-extender.katalyst-system.svc";
const FILES: &str = "/etc/katalyst/extender";
/// Kubelet's look at the Secret and the extender's look at the files, 10 s.
const RENEWED: Duration = Duration::from_secs(120);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "extender-by-tls",
        claim: "kube-scheduler asks the extender over TLS with a client certificate; replaced certificates take effect without a restart, and the old ones are refused",
        run: |world| {
            if world.breakable.is_none() {
                return Ok(Verdict::Skipped(
                    "the kube-scheduler of this cluster is not ours to configure".into(),
                ));
            }
            let outcome = declared::on(
                world,
                FLEET,
                vec![Machine::cards("tls-0", "tls", false)],
                run,
            );
            // The product as it is for the others.
            world.product.apply()?;
            world.product.wait_ready(Duration::from_secs(180))?;
            outcome
        },
    }]
}

/// An authority with a certificate of the extender and one of kube-scheduler.
struct Certificates {
    authority: Authority,
    server: Pair,
    client: Pair,
}

impl Certificates {
    fn new(name: &str) -> Result<Self, String> {
        let authority = Authority::new(name).map_err(|error| error.to_string())?;
        let issue =
            |identity: &Identity| authority.issue(identity).map_err(|error| error.to_string());
        let server = issue(&Identity {
            addresses: vec![SERVER.to_owned()],
            ..Identity::client("katalyst-scheduler-extender")
        })?;
        let client = issue(&Identity::client("system:kube-scheduler"))?;
        Ok(Self {
            authority,
            server,
            client,
        })
    }

    /// The extender's side.
    fn give_to_extender(&self, world: &World) -> Result<(), String> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": SECRET, "namespace": product::NAMESPACE},
            "stringData": {
                "tls.crt": self.server.certificate, "tls.key": self.server.key, "ca.crt": self.authority.certificate(),
            },
        });
        world
            .kubectl
            .apply(&secret.to_string())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// kube-scheduler's side, with this certificate of its own.
    fn give_to_scheduler(&self, client: &Pair, folder: &Path) -> Result<(), String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for (name, text) in [
            ("ca.crt", self.authority.certificate()),
            ("tls.crt", &client.certificate),
            ("tls.key", &client.key),
        ] {
            write_secret(&folder.join(name), text).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// The product with the component.
fn install(world: &World) -> Result<(), String> {
    world
        .product
        .apply_with(&world.root, "extender-tls", &json!({}))?;
    world.product.wait_ready(Duration::from_secs(180))
}

fn ask(name: &str) -> Ask {
    Ask::new(FLEET, name, &milligpu(250))
}

fn run(world: &World) -> Outcome {
    let first = Certificates::new("first authority")?;
    first.give_to_extender(world)?;
    install(world)?;
    let name = world.breakable.as_deref().unwrap_or_default();
    let folder = RunDir::for_cluster(name)
        .map_err(|error| error.to_string())?
        .file("extender-tls");
    first.give_to_scheduler(&first.client, &folder)?;
    let configuration = |text: String| text.replace(FILES, &folder.display().to_string());
    scheduler::configured(
        world,
        "kube-scheduler-config-tls.yaml",
        configuration,
        |world| asked_by_tls(world, &first, &folder),
    )
}

fn asked_by_tls(world: &World, first: &Certificates, folder: &Path) -> Outcome {
    ask("by-tls").bound(world)?;
    let second = Certificates::new("second authority")?;
    second.give_to_extender(world)?;
    let renewed = wait_for("certificates are renewed", RENEWED, || reloaded(world))?;
    // kube-scheduler reads its files once, at its start. It trusts the new certificate and shows its old one, which the extender refuses.
    second.give_to_scheduler(&first.client, folder)?;
    world.fault(&["restart", "kube-scheduler"])?;
    let refused = ask("by-old-certificate").refused(world, "remote error: tls: ")?;
    second.give_to_scheduler(&second.client, folder)?;
    world.fault(&["restart", "kube-scheduler"])?;
    bound(world, "by-old-certificate")?;
    ask("by-new-certificate").bound(world)?;
    Ok(Verdict::Shown(format!(
        "placed; {renewed}; with the old certificate: {}; placed with the new one",
        short(&refused)
    )))
}

/// Every replica has read new certificates, and none has started again.
fn reloaded(world: &World) -> Result<String, String> {
    let pods = extenders::pods(world)?;
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if pod["status"]["containerStatuses"][0]["restartCount"] != 0 {
            return Err(format!("{name} started again: {}", pod["status"]));
        }
        // Kubelet looks at a pod's Secrets when the pod changes, else once a minute.
        let touch = format!(
            "katalyst.local/looked-at={}",
            jiff::Timestamp::now().as_second()
        );
        world
            .kubectl
            .run(&[
                "-n",
                product::NAMESPACE,
                "annotate",
                "--overwrite",
                "pod",
                name,
                &touch,
            ])
            .map_err(|error| error.to_string())?;
        let metrics = extenders::get(world, name, "metrics")?;
        let reloads = metrics
            .lines()
            .find(|line| line.starts_with("katalyst_tls_reloads_total") && line.contains("\"ok\""))
            .and_then(|line| line.rsplit_once(' '))
            .map(|(_, count)| count.to_owned());
        if reloads.as_deref().is_none_or(|count| count == "0") {
            return Err(format!("{name} has not read them yet"));
        }
    }
    Ok(format!("{} replicas read new ones, no restart", pods.len()))
}

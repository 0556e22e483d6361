//! Devices of a pod's record, told by the pods themselves. The cards are stand-ins: character devices of the kernel (`/dev/zero`'s numbers) under the
//! names of NVIDIA and RDMA nodes, in a folder of the node that the agent sees as `/dev` (`manifests/overlays/local`).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::placement::{agent_get, lines, wait_hooked};
use super::pods;
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

/// Where the local overlay's agent sees device nodes.
const STAND_INS: &str = "/var/lib/katalyst-e2e/dev";
/// Numbers of `/dev/zero`.
const ZERO: &str = "c 1:5";
/// Time for kubelet's next try after a container that could not be created: it doubles up to this in the tests' time.
const NEXT_TRY: Duration = Duration::from_secs(120);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "devices-by-record",
        claim: "containers have the device nodes and environment of the record in their Binding, a claim beyond what is free is refused and told, and a card is free seconds after its pod",
        run: by_record,
    }]
}

/// Makes the stand-ins on a node, by a pod.
fn stand_ins(world: &World, node: &str) -> Result<(), String> {
    let name = "devices-maker";
    let make = "mkdir -p /dev-of-node/infiniband && cd /dev-of-node && \
        for node in nvidia0 nvidia1 infiniband/uverbs0; do [ -e $node ] || /bin/busybox mknod $node c 1 5 || exit 1; done; /bin/busybox ls -lR";
    let script = make.replace("mkdir", "/bin/busybox mkdir");
    let mut pod = pods::best_effort(name, Some(node), &script);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] =
        json!([{"name": "dev", "hostPath": {"path": STAND_INS, "type": "DirectoryOrCreate"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "dev", "mountPath": "/dev-of-node"}]);
    apply(world, &pod)?;
    wait_for("the stand-in devices", Duration::from_secs(120), || {
        match world.pod(name)?["status"]["phase"].as_str() {
            Some("Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}")),
        }
    })?;
    world.remove(name)
}

fn apply(world: &World, object: &Value) -> Result<(), String> {
    world
        .kubectl
        .apply(&object.to_string())
        .map(drop)
        .map_err(|e| e.to_string())
}

/// A record of so much of the first stand-in card; with the RDMA device where `with_nic`.
fn record(percent: u8, mib: u64, with_nic: bool) -> Value {
    let mut devices = json!({"gpus": [{
        "uuid": "GPU-stand-in-0", "index": 0, "percent": percent, "memoryMiB": mib, "devices": ["/dev/nvidia0"],
    }]});
    if with_nic {
        devices["nics"] = json!([{"name": "mlx5_0", "devices": ["/dev/infiniband/uverbs0"]}]);
    }
    json!({"containers": {"main": devices}})
}

/// Creates a pod that no scheduler looks at, and binds it as the extender does: the record comes with the Binding.
fn bind(world: &World, mut pod: Value, node: &str, record: &Value) -> Result<(), String> {
    let name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    pod["spec"]["schedulerName"] = json!("nobody");
    apply(world, &pod)?;
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"katalyst.kubewharf.io/device_allocation": record.to_string()},
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding");
    world
        .kubectl
        .feed(
            &["create", "--raw", &path, "-f", "-"],
            Some(&binding.to_string()),
        )
        .map(drop)
        .map_err(|e| e.to_string())
}

fn seen(name: &str, node: &str) -> Value {
    let resources = json!({"requests": {"cpu": "10m", "memory": "16Mi"}});
    pods::seen(name, node, &json!({}), &resources)
}

/// What a container with the record sees at its first instruction.
fn check_seen(world: &World, name: &str) -> Result<String, String> {
    let story = lines(world, name)?;
    let [line] = story.as_slice() else {
        return Err(format!("{name} saw {} things in turn", story.len()));
    };
    let (devices, env) = (&line.seen.devices, &line.seen.env);
    for (path, numbers) in [
        ("/dev/nvidia0", Some(ZERO)),
        ("/dev/infiniband/uverbs0", Some(ZERO)),
        ("/dev/nvidia1", None),
    ] {
        if devices.get(path).map(String::as_str) != numbers {
            return Err(format!("{name}: {path} should be {numbers:?}: {devices:?}"));
        }
    }
    let wanted = [
        ("NVIDIA_VISIBLE_DEVICES", "GPU-stand-in-0"),
        ("CUDA_DEVICE_MEMORY_LIMIT_0", "4096m"),
        ("CUDA_DEVICE_SM_LIMIT", "60"),
    ];
    for (key, value) in wanted {
        if env.get(key).map(String::as_str) != Some(value) {
            return Err(format!("{name}: {key} should be {value}: {env:?}"));
        }
    }
    Ok(wanted
        .map(|(key, value)| format!("{key}={value}"))
        .join(" "))
}

/// Waits for the last line that a script printed.
fn said(world: &World, name: &str) -> Result<String, String> {
    wait_for(&format!("{name} says"), Duration::from_secs(60), || {
        let text = world
            .kubectl
            .run(&["-n", NAMESPACE, "logs", name])
            .map_err(|e| e.to_string())?;
        let last = text.lines().last().map(str::to_owned);
        last.ok_or_else(|| "nothing yet".to_owned())
    })
}

/// Why a pod's container waits.
fn waits(world: &World, name: &str) -> Result<String, String> {
    let pod = world.pod(name)?;
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let text = waiting["message"].as_str().unwrap_or_default();
    if text.contains("held by") {
        Ok(format!(
            "{}: {text}",
            waiting["reason"].as_str().unwrap_or_default()
        ))
    } else {
        Err(format!("{}", pod["status"]["containerStatuses"]))
    }
}

/// Event, notice and metric of a refusal.
fn told(world: &World, node: &str, name: &str) -> Result<String, String> {
    let events = world.events(name, Some("DevicesRefused"))?;
    let event = events.first().map(String::as_str).unwrap_or_default();
    if !event.contains("held by") {
        return Err(format!("no event DevicesRefused of {name}: {events:?}"));
    }
    let cnr = world.product.cnr(node)?;
    let notices = &cnr["status"]["nodeMetricStatus"]["agent"]["notices"];
    if !notices
        .to_string()
        .contains(&format!("devices: pod {NAMESPACE}/{name}"))
    {
        return Err(format!("no notice in the report: {notices}"));
    }
    let metrics = agent_get(world, node, "metrics")?;
    let line = metrics
        .lines()
        .find(|line| {
            line.starts_with("katalyst_agent_device_refusals_total") && line.contains("held")
        })
        .ok_or("no metric of the refusal")?;
    Ok(format!("event, notice, {line}"))
}

fn by_record(world: &World) -> Outcome {
    if world.kind {
        return Ok(Verdict::Skipped(
            "the overlay for kind shows the agent no stand-in devices".into(),
        ));
    }
    let node = match world.machine_node()? {
        Some(node) => node,
        None => world.main_node()?,
    };
    wait_hooked(world, &node)?;
    stand_ins(world, &node)?;

    let (first, beside, beyond, after) = (
        "devices-first",
        "devices-beside",
        "devices-beyond",
        "devices-after",
    );
    bind(world, seen(first, &node), &node, &record(60, 4_096, true))?;
    world.wait_running(first)?;
    let environment = check_seen(world, first)?;

    // What fits beside it gets the card too, and can open it.
    let read = format!(
        "echo read $(/bin/busybox head -c 4 /dev/nvidia0 | /bin/busybox wc -c) bytes, sees $NVIDIA_VISIBLE_DEVICES; {}",
        pods::IDLE
    );
    let reader = pods::best_effort(beside, Some(&node), &read);
    bind(world, reader, &node, &record(40, 4_096, false))?;
    world.wait_running(beside)?;
    let line = said(world, beside)?;
    if line != "read 4 bytes, sees GPU-stand-in-0" {
        return Err(format!("{beside} said {line:?}"));
    }

    bind(world, seen(beyond, &node), &node, &record(10, 1, false))?;
    let refused = wait_for("the refusal", Duration::from_secs(60), || {
        waits(world, beyond)
    })?;
    let told = wait_for("the refusal is told", Duration::from_secs(60), || {
        told(world, &node, beyond)
    })?;

    let arguments = ["-n", NAMESPACE, "delete", "pod", first, "--wait=true"];
    world.kubectl.run(&arguments).map_err(|e| e.to_string())?;
    let gone = Instant::now();
    bind(world, seen(after, &node), &node, &record(50, 1, true))?;
    world.wait_running(after)?;
    let seconds = gone.elapsed().as_secs_f64();
    wait_for("the refused pod's turn", NEXT_TRY, || {
        let pod = world.pod(beyond)?;
        match pod["status"]["phase"].as_str() {
            Some("Running") => Ok(()),
            phase => Err(format!("{phase:?}: {}", pod["status"]["containerStatuses"])),
        }
    })?;
    for name in [beside, beyond, after] {
        world.remove(name)?;
    }
    Ok(Verdict::Shown(format!(
        "{node}: {environment}; beside it: {line}; beyond: {refused}; {told}; the next pod with the card ran {seconds:.1} s after the first was gone, then the refused one"
    )))
}

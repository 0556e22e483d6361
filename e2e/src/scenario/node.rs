//! The loop on one node: placed, held, squeezed, evicted; and what must not be touched.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pods::{self, IDLE};
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "placed-and-held",
            claim: "a reclaimed pod is placed through the extender and gets CPU and memory limits",
            run: placed_and_held,
        },
        Scenario {
            name: "limits-in-time",
            claim: "a new reclaimed pod has CPU and memory limits within 1 s of its first process",
            run: limits_in_time,
        },
        Scenario {
            name: "best-effort-untouched",
            claim: "a best-effort pod beside it, without the class, keeps no limit",
            run: best_effort_untouched,
        },
        Scenario {
            name: "parts-add-up",
            claim: "the limits of several reclaimed pods add up to no more than the ceiling and follow use",
            run: parts_add_up,
        },
        Scenario {
            name: "surge",
            claim: "when services need CPU the batch ceiling falls, and rises again afterwards",
            run: surge,
        },
        Scenario {
            name: "no-double-booking",
            claim: "pods that together exceed the offer are not placed together",
            run: no_double_booking,
        },
        Scenario {
            name: "malformed-annotation",
            claim: "a malformed annotation gives one clear message and costs nothing else",
            run: malformed_annotation,
        },
        Scenario {
            name: "wrong-class",
            claim: "a pod that asks for reclaimed resources without the class is told so",
            run: wrong_class,
        },
        Scenario {
            name: "vanished-cgroups",
            claim: "pods that come and go at once do not disturb the agent",
            run: vanished_cgroups,
        },
        Scenario {
            name: "eviction",
            claim: "when the offer stays below what is allocated a batch pod is evicted, with the reason in an event",
            run: eviction,
        },
    ]
}

fn apply(world: &World, pod: &Value) -> Result<(), String> {
    world
        .kubectl
        .apply(&pod.to_string())
        .map(drop)
        .map_err(|e| e.to_string())
}

/// A reclaimed pod that runs and is held; the pod.
pub(super) fn held(
    world: &World,
    name: &str,
    node: &str,
    millicpu: u64,
    script: &str,
) -> Result<Value, String> {
    world.wait_offer(node, millicpu)?;
    apply(
        world,
        &pods::reclaimed(name, Some(node), &millicpu.to_string(), "32Mi", script),
    )?;
    let pod = world.wait_running(name)?;
    wait_for(
        &format!("pod {name} is held"),
        Duration::from_secs(20),
        || {
            let limits = world.limits(&pod)?;
            if limits.millicpu.is_some() && limits.memory.is_some() {
                Ok(())
            } else {
                Err(format!("{limits:?}"))
            }
        },
    )?;
    Ok(pod)
}

fn placed_and_held(world: &World) -> Outcome {
    let node = world.main_node()?;
    world.wait_offer(&node, 200)?;
    apply(
        world,
        &pods::reclaimed("batch", Some(&node), "200", "32Mi", IDLE),
    )?;
    let pod = world.wait_running("batch")?;
    let seen = Instant::now();
    let limits = wait_for("limits", Duration::from_secs(15), || {
        let limits = world.limits(&pod)?;
        if limits.millicpu.is_some() && limits.memory.is_some() {
            Ok(limits)
        } else {
            Err(format!("{limits:?}"))
        }
    })?;
    let after = seen.elapsed();
    let record = pod["metadata"]["annotations"]["katalyst.kubewharf.io/reclaimed_allocation"]
        .as_str()
        .ok_or("the Binding carries no record of the allocation: the extender did not bind")?;
    if limits.memory != Some(32 << 20) {
        return Err(format!("memory limit {:?}, requested 32Mi", limits.memory));
    }
    let seen = format!(
        "limits {limits:?} at most {:.1} s after Running was seen; record {record}",
        after.as_secs_f64()
    );
    world.remove("batch")?;
    Ok(Verdict::Shown(seen))
}

/// Promise of the product, with and without a hook in the container runtime.
const LIMITS_WITHIN: Duration = Duration::from_secs(1);

fn limits_in_time(world: &World) -> Outcome {
    let mut seen = Vec::new();
    for (name, node) in [
        ("in-time", Some(world.main_node()?)),
        ("in-time-machine", world.machine_node()?),
    ] {
        let Some(node) = node else { continue };
        world.wait_offer(&node, 100)?;
        // A gate keeps the pod away from the scheduler until its UID is known and the watch on its group has begun.
        let mut pod = pods::reclaimed(name, Some(&node), "100", "32Mi", IDLE);
        if let Some(spec) = pod["spec"].as_object_mut() {
            let gate = json!([{"name": "katalyst.local/watched"}]);
            spec.insert("schedulingGates".into(), gate);
        }
        apply(world, &pod)?;
        let uid = world.pod(name)?["metadata"]["uid"]
            .as_str()
            .ok_or("a pod without uid")?
            .to_owned();
        let without = std::thread::scope(|scope| {
            let watch = scope.spawn(|| world.probe.unheld(&node, &uid));
            world
                .kubectl
                .run(&[
                    "-n",
                    NAMESPACE,
                    "patch",
                    "pod",
                    name,
                    "--type=json",
                    "-p",
                    r#"[{"op":"remove","path":"/spec/schedulingGates"}]"#,
                ])
                .map_err(|e| e.to_string())?;
            watch.join().map_err(|_| "the watch panicked".to_owned())?
        })?;
        if without > LIMITS_WITHIN {
            return Err(format!(
                "on {node} a process of the pod ran {without:?} without limits"
            ));
        }
        world.remove(name)?;
        seen.push(if without.is_zero() {
            format!("{node}: before the first process")
        } else {
            format!("{node}: {without:?} after it")
        });
    }
    Ok(Verdict::Shown(seen.join("; ")))
}

fn best_effort_untouched(world: &World) -> Outcome {
    let node = world.main_node()?;
    held(world, "neighbour", &node, 100, IDLE)?;
    apply(world, &pods::best_effort("plain", Some(&node), IDLE))?;
    let plain = world.wait_running("plain")?;
    // Several ticks of the agent pass between two reads of a kernel through the API.
    for _ in 0..3 {
        let limits = world.limits(&plain)?;
        if limits.millicpu.is_some() || limits.memory.is_some() {
            return Err(format!("the plain pod was limited: {limits:?}"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    world.remove("neighbour")?;
    world.remove("plain")?;
    Ok(Verdict::Shown("no limit on cpu or memory".into()))
}

fn parts_add_up(world: &World) -> Outcome {
    let node = world.main_node()?;
    let busy = held(world, "part-busy", &node, 100, &pods::busy(2))?;
    let idle = held(world, "part-idle", &node, 100, IDLE)?;
    let result = wait_for("the busy pod gets most", Duration::from_secs(60), || {
        let (a, b) = (
            world.limits(&busy)?.millicpu.unwrap_or(0),
            world.limits(&idle)?.millicpu.unwrap_or(0),
        );
        let ceiling = crate::product::count(&Value::String(
            world.product.cnr(&node)?["status"]["nodeMetricStatus"]["reclaimedCeiling"]["cpu"]
                .as_str()
                .unwrap_or("0")
                .replace('m', ""),
        ));
        if a > 2 * b && b > 0 {
            Ok((a, b, ceiling))
        } else {
            Err(format!("busy {a}m, idle {b}m, ceiling {ceiling}"))
        }
    })?;
    world.remove("part-busy")?;
    world.remove("part-idle")?;
    Ok(Verdict::Shown(format!(
        "busy {}m, idle {}m",
        result.0, result.1
    )))
}

fn surge(world: &World) -> Outcome {
    let node = world.main_node()?;
    let pod = held(world, "squeezed", &node, 200, &pods::busy(2))?;
    let before = wait_for("a ceiling worth squeezing", Duration::from_secs(60), || {
        let quota = world.limits(&pod)?.millicpu.unwrap_or(0);
        if quota >= 600 {
            Ok(quota)
        } else {
            Err(format!("quota {quota}m"))
        }
    })?;
    apply(
        world,
        &pods::service("surging", Some(&node), "1200m", &pods::busy(2)),
    )?;
    let during = wait_for("a lower ceiling", Duration::from_secs(60), || {
        let quota = world.limits(&pod)?.millicpu.unwrap_or(u64::MAX);
        if quota * 10 <= before * 7 {
            Ok(quota)
        } else {
            Err(format!("quota {quota}m, was {before}m"))
        }
    })?;
    world.remove("surging")?;
    let after = wait_for("the ceiling rises again", Duration::from_secs(120), || {
        let quota = world.limits(&pod)?.millicpu.unwrap_or(0);
        if quota * 10 >= before * 8 {
            Ok(quota)
        } else {
            Err(format!("quota {quota}m, was {before}m"))
        }
    })?;
    world.remove("squeezed")?;
    Ok(Verdict::Shown(format!(
        "quota {before}m, {during}m under the surge, {after}m after it"
    )))
}

fn no_double_booking(world: &World) -> Outcome {
    let node = world.main_node()?;
    let offered = world.wait_offer(&node, 300)?;
    // Four pods of two fifths of the offer each: two fit.
    let each = (offered * 2 / 5).to_string();
    let names = ["pair-0", "pair-1", "pair-2", "pair-3"];
    for name in names {
        apply(
            world,
            &pods::reclaimed(name, Some(&node), &each, "16Mi", IDLE),
        )?;
    }
    wait_for(
        "some run, the rest is told why not",
        Duration::from_secs(60),
        || {
            let mut placed = 0;
            let mut told = 0;
            for name in names {
                let pod = world.pod(name)?;
                placed += usize::from(pod["spec"]["nodeName"].is_string());
                told += usize::from(
                    pod["status"]["conditions"]
                        .to_string()
                        .contains("insufficient reclaimed_millicpu"),
                );
            }
            if placed >= 1 && placed + told == names.len() {
                Ok(())
            } else {
                Err(format!("{placed} placed, {told} told"))
            }
        },
    )?;
    let mut allocated = 0;
    for name in names {
        allocated += u64::from(world.pod(name)?["spec"]["nodeName"].is_string());
    }
    let total = allocated * (offered * 2 / 5);
    let now = crate::product::offered_millicpu(&world.product.cnr(&node)?);
    for name in names {
        world.remove(name)?;
    }
    if total > now.max(offered) {
        return Err(format!(
            "{allocated} pods of {each}m on an offer of {offered}m (now {now}m)"
        ));
    }
    Ok(Verdict::Shown(format!(
        "{allocated} of 4 pods of {each}m placed on an offer of {offered}m"
    )))
}

fn malformed_annotation(world: &World) -> Outcome {
    let node = world.main_node()?;
    let annotations = json!({
        "katalyst.kubewharf.io/qos_level": "reclaimed_coresss",
        "katalyst.kubewharf.io/memory_enhancement": "{not json",
    });
    apply(
        world,
        &pods::annotated("malformed", Some(&node), &annotations, &json!({})),
    )?;
    let malformed = world.wait_running("malformed")?;
    let notice = wait_for(
        "a notice that names the pod",
        Duration::from_secs(60),
        || {
            let notices =
                world.product.cnr(&node)?["status"]["nodeMetricStatus"]["agent"]["notices"].clone();
            let text = notices
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .find(|n| n.contains("malformed"))
                .map(str::to_owned);
            text.ok_or_else(|| format!("notices {notices}"))
        },
    )?;
    // The safest meaning of an unreadable class is a service: never limited.
    let limits = world.limits(&malformed)?;
    if limits.millicpu.is_some() {
        return Err(format!(
            "a pod with an unreadable class was limited: {limits:?}"
        ));
    }
    held(world, "well-formed", &node, 100, IDLE)?;
    world.remove("malformed")?;
    world.remove("well-formed")?;
    Ok(Verdict::Shown(notice))
}

fn wrong_class(world: &World) -> Outcome {
    let mut pod = pods::reclaimed("no-class", None, "100", "16Mi", IDLE);
    if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
        annotations.clear();
    }
    apply(world, &pod)?;
    let message = wait_for("a reason", Duration::from_secs(30), || {
        let pod = world.pod("no-class")?;
        let text = pod["status"]["conditions"].to_string();
        if text.contains("qos_level") {
            Ok(text)
        } else {
            Err(text)
        }
    })?;
    world.remove("no-class")?;
    Ok(Verdict::Shown(message.chars().take(200).collect()))
}

fn vanished_cgroups(world: &World) -> Outcome {
    let node = world.main_node()?;
    let restarts = |world: &World| -> Result<i64, String> {
        Ok(world
            .product_pods("katalyst-node-agent")?
            .iter()
            .filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64())
            .sum())
    };
    let before = restarts(world)?;
    world.wait_offer(&node, 100)?;
    for index in 0..6 {
        let name = format!("brief-{index}");
        apply(
            world,
            &pods::reclaimed(&name, Some(&node), "10", "8Mi", "exit 0"),
        )?;
    }
    wait_for("brief pods were placed", Duration::from_secs(60), || {
        let pods = world
            .kubectl
            .json(&["-n", NAMESPACE, "get", "pods"])
            .map_err(|e| e.to_string())?;
        let placed = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| {
                p["metadata"]["name"]
                    .as_str()
                    .is_some_and(|n| n.starts_with("brief-"))
                    && p["spec"]["nodeName"].is_string()
            })
            .count();
        if placed == 6 {
            Ok(())
        } else {
            Err(format!("{placed} of 6"))
        }
    })?;
    for index in 0..6 {
        world.remove(&format!("brief-{index}"))?;
    }
    held(world, "afterwards", &node, 100, IDLE)?;
    world.remove("afterwards")?;
    if restarts(world)? != before {
        return Err("the agent restarted".into());
    }
    Ok(Verdict::Shown(
        "six pods came and went; the next one is held, the agent did not restart".into(),
    ))
}

fn eviction(world: &World) -> Outcome {
    // On a virtual machine where there is one: its processors are its own, while the host's are also the emulators'.
    let node = match world.machine_node()? {
        Some(machine) => machine,
        None => world.main_node()?,
    };
    let offered = world.wait_offer(&node, 600)?;
    let request = offered * 4 / 5;
    held(world, "victim", &node, request, IDLE)?;
    apply(
        world,
        &pods::service("hungry", Some(&node), "8", &pods::busy(6)),
    )?;
    let event = wait_for(
        "the pod is evicted, with an event",
        Duration::from_secs(240),
        || {
            let told = world
                .events("victim", None)?
                .into_iter()
                .find(|message| message.contains("stayed below allocated"));
            let gone = world
                .pod("victim")
                .map_or(true, |pod| !pod["metadata"]["deletionTimestamp"].is_null());
            match (told, gone) {
                (Some(text), true) => Ok(text),
                (told, gone) => Err(format!(
                    "event {told:?}, gone {gone}, status {}",
                    world
                        .product
                        .cnr(&node)
                        .map(|c| c["status"]["reclaim"].to_string())
                        .unwrap_or_default()
                )),
            }
        },
    )?;
    world.remove("hungry")?;
    world.remove("victim")?;
    Ok(Verdict::Shown(event))
}

//! Requests in each dialect.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::placement::machine::Scope;

fn read(
    annotations: &[(&str, &str)],
    containers: &[&[(&'static str, &'static str)]],
) -> Result<PodRequest, RequestError> {
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let containers: Vec<ContainerSource<'_>> = containers
        .iter()
        .map(|resources| ContainerSource {
            name: "main",
            role: Role::App,
            resources: resources.to_vec(),
            guaranteed: false,
        })
        .collect();
    PodRequest::read(&PodSource {
        annotations: &annotations,
        containers: &containers,
        tolerations: &[],
        stated: (None, None),
        overhead: (Millicpu::ZERO, Bytes::ZERO),
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
fn whole(cards: u8, at_least_mib: u32) -> Option<GpuRequest> {
    Some(GpuRequest {
        cards,
        amount: CardAmount::Whole { at_least_mib },
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
fn part(cards: u8, percent: u8, memory: CardMemory) -> Option<GpuRequest> {
    Some(GpuRequest {
        cards,
        amount: CardAmount::Part { percent, memory },
    })
}

use CardMemory::{Mib, Percent};

const CORE: &str = "vke.volcengine.com/mgpu-core";
const CORE_MEMORY: &str = "vke.volcengine.com/mgpu-memory";
const COUNT: &str = "nvidia.com/gpu";
const GPU_CORES: &str = "nvidia.com/gpucores";
const GPU_MEM: &str = "nvidia.com/gpumem";
const GPU_MEM_PERCENT: &str = "nvidia.com/gpumem-percentage";

#[rstest]
#[case::nothing(&[("cpu", "2")], None)]
#[case::half(&[(keys::MILLIGPU, "500")], part(1, 50, Percent(50)))]
#[case::a_percent_and_a_mebibyte(&[(keys::MILLIGPU, "10"), (keys::GPU_MEMORY, "1Mi")], part(1, 1, Mib(1)))]
#[case::two_cards(&[(keys::MILLIGPU, "2k")], whole(2, 0))]
#[case::a_large_card(&[(keys::MILLIGPU, "1000"), (keys::GPU_MEMORY, "40Gi")], whole(1, 40_960))]
#[case::memory_alone(&[(keys::GPU_MEMORY, "8Gi")], part(1, 0, Mib(8_192)))]
#[case::none(&[(keys::MILLIGPU, "0")], None)]
#[case::volcengine(&[(CORE, "30"), (CORE_MEMORY, "8192")], part(1, 30, Mib(8_192)))]
#[case::volcengine_whole(&[(CORE, "400")], whole(4, 0))]
#[case::hami_whole(&[(COUNT, "2")], whole(2, 0))]
#[case::hami_share(&[(COUNT, "2"), (GPU_MEM, "3000"), (GPU_CORES, "30")], part(2, 30, Mib(3_000)))]
#[case::hami_memory_only(&[(COUNT, "1"), (GPU_MEM, "3000")], part(1, 0, Mib(3_000)))]
#[case::hami_percent(&[(GPU_MEM_PERCENT, "25")], part(1, 0, Percent(25)))]
#[case::hami_mebibytes_win(&[(GPU_MEM_PERCENT, "25"), (GPU_MEM, "100")], part(1, 0, Mib(100)))]
#[case::hami_zero_is_unset(&[(COUNT, "1"), (GPU_MEM_PERCENT, "0")], whole(1, 0))]
#[case::hami_all_cores(&[(COUNT, "1"), (GPU_CORES, "100"), (GPU_MEM, "3000")], whole(1, 3_000))]
#[case::hami_cores_alone(&[(COUNT, "1"), (GPU_CORES, "20")], part(1, 20, Percent(100)))]
#[case::hami_no_cards(&[(COUNT, "0"), (GPU_MEM, "10")], None)]
fn one_table_for_all_dialects(
    #[case] resources: &[(&'static str, &'static str)],
    #[case] expected: Option<GpuRequest>,
) {
    let request = read(&[], &[resources]).unwrap();
    assert_eq!(request.containers[0].gpus, expected);
}

#[rstest]
#[case::part_of_several(&[(keys::MILLIGPU, "1500")], keys::MILLIGPU, "1500")]
#[case::part_of_a_percent(&[(keys::MILLIGPU, "5")], keys::MILLIGPU, "5")]
#[case::part_of_a_mebibyte(&[(keys::MILLIGPU, "500"), (keys::GPU_MEMORY, "1000")], keys::GPU_MEMORY, "1000")]
#[case::too_many(&[(keys::MILLIGPU, "65k")], keys::MILLIGPU, "65000")]
#[case::no_number(&[(keys::MILLIGPU, "half")], keys::MILLIGPU, "half")]
#[case::volcengine_memory_alone(&[(CORE_MEMORY, "100")], CORE_MEMORY, "100")]
#[case::volcengine_whole_with_memory(&[(CORE, "100"), (CORE_MEMORY, "100")], CORE_MEMORY, "100")]
#[case::hami_too_much(&[(COUNT, "1"), (GPU_CORES, "101")], GPU_CORES, "101")]
#[case::mixed(&[(COUNT, "1"), (CORE, "50")], COUNT, CORE)]
#[case::network_cards(&[(keys::RDMA_NIC, "65")], keys::RDMA_NIC, "65")]
fn an_error_names_resource_and_value(
    #[case] resources: &[(&'static str, &'static str)],
    #[case] resource: &str,
    #[case] value: &str,
) {
    let error = read(&[], &[resources]).unwrap_err().to_string();
    for part in ["main", resource, value] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn shares_are_spread_over_several_cards() {
    let spread = |annotation: (&str, &str), resources: &[(&'static str, &'static str)]| {
        read(&[annotation], &[&[("cpu", "1")], resources]).map(|pod| pod.containers[1].gpus)
    };
    let ours = (keys::DEVICE_ENHANCEMENT, r#"{"gpu_cards": "2"}"#);
    let theirs = ("vke.volcengine.com/container-multiple-gpu", "0,4");
    let half = [(keys::MILLIGPU, "1000"), (keys::GPU_MEMORY, "20Gi")];
    assert_eq!(spread(ours, &half), Ok(part(2, 50, Mib(10_240))));
    assert_eq!(
        spread(theirs, &[(CORE, "120"), (CORE_MEMORY, "4096")]),
        Ok(part(4, 30, Mib(1_024)))
    );
    assert!(
        spread(ours, &[(keys::MILLIGPU, "30")]).is_err(),
        "1.5 percent each"
    );
    assert!(
        spread(ours, &[(keys::MILLIGPU, "2020")]).is_err(),
        "more than the card"
    );
}

#[test]
fn wishes_of_a_pod() {
    let wishes = r#"{"gpu_models": "H100, a100", "gpu_uuids_excluded": "GPU-1", "gpu_rdma_affinity": "required:switch",
        "rdma_affinity": "preferred:root", "nvlink": "required", "rdma_rails": "0-1,3", "rail_order": "true"}"#;
    let request = read(&[(keys::DEVICE_ENHANCEMENT, wishes)], &[]).unwrap();
    assert!(request.cards.accepts("NVIDIA A100-SXM4", "GPU-2"));
    assert!(!request.cards.accepts("NVIDIA A100-SXM4", "GPU-1"));
    assert!(!request.cards.accepts("Tesla T4", "GPU-2"));
    let near = |scope, required| Some(Near { scope, required });
    assert_eq!(
        request.affinity,
        Affinity {
            gpu_nic: near(Scope::Switch, true),
            gpus: None,
            nics: near(Scope::Root, false),
            nvlink: Some(true),
            rails: Some(Mask::one(0).with(1).with(3)),
            rail_order: true,
        }
    );
    let hami = read(
        &[
            ("nvidia.com/use-gputype", "A100"),
            ("nvidia.com/numa-bind", "true"),
        ],
        &[],
    )
    .unwrap();
    assert!(!hami.cards.accepts("H100", ""));
    assert_eq!(hami.affinity.gpus, near(Scope::Numa, true));
}

#[rstest]
#[case(r#"{"gpu_card": "2"}"#, "gpu_card")]
#[case(r#"{"gpu_cards": "0"}"#, "gpu_cards")]
#[case(r#"{"gpu_cards": "main=65"}"#, "gpu_cards")]
#[case(r#"{"gpu_affinity": "always:numa"}"#, "gpu_affinity")]
#[case(r#"{"gpu_affinity": "rack"}"#, "gpu_affinity")]
#[case(r#"{"nvlink": "yes"}"#, "nvlink")]
#[case(r#"{"rdma_rails": "64"}"#, "rdma_rails")]
#[case(r#"{"rail_order": "1"}"#, "rail_order")]
#[case(r#"{"gpu_models": ","}"#, "gpu_models")]
#[case(r#"["gpu_models"]"#, "device_enhancement")]
fn a_wish_that_means_nothing_is_named(#[case] wishes: &str, #[case] named: &str) {
    let error = read(&[(keys::DEVICE_ENHANCEMENT, wishes)], &[]).unwrap_err();
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn a_placed_pod_counts_whatever_is_wrong_with_it() {
    let annotations = BTreeMap::from([(keys::DEVICE_ENHANCEMENT.to_owned(), "[]".to_owned())]);
    let containers = [ContainerSource {
        name: "main",
        role: Role::App,
        resources: vec![("memory", "much"), ("cpu", "2"), (keys::MILLIGPU, "7")],
        guaranteed: false,
    }];
    let (request, errors) = PodRequest::read_placed(&PodSource {
        annotations: &annotations,
        containers: &containers,
        tolerations: &[],
        stated: (None, None),
        overhead: (Millicpu::ZERO, Bytes::ZERO),
    });
    assert_eq!((request.cpu.get(), errors.len()), (2_000, 3), "{errors:?}");
}

proptest! {
    #[test]
    fn any_value_gets_an_answer(key in 0_usize..RESOURCES.len(), value in "\\PC{0,12}", number in any::<u64>(), wishes in "\\PC{0,40}", cards in any::<u8>()) {
        let annotations = BTreeMap::from([
            (keys::DEVICE_ENHANCEMENT.to_owned(), format!(r#"{{"gpu_cards":"{cards}"}}"#)),
            ("nvidia.com/use-gputype".to_owned(), wishes.clone()),
            ("vke.volcengine.com/container-multiple-gpu".to_owned(), wishes),
        ]);
        let number = number.to_string();
        for text in [&value, &number] {
            let containers = [ContainerSource {
                name: "main",
                role: Role::App,
                resources: vec![(RESOURCES[key].name, text)],
                guaranteed: true,
            }];
            let (request, _) = PodRequest::read_placed(&PodSource {
                annotations: &annotations,
                containers: &containers,
                tolerations: &[],
                stated: (None, None),
                overhead: (Millicpu::ZERO, Bytes::ZERO),
            });
            if let Some(gpus) = request.containers[0].gpus {
                prop_assert!((1..=64).contains(&gpus.cards));
                if let CardAmount::Part { percent, .. } = gpus.amount {
                    prop_assert!(percent <= 100);
                }
            }
        }
    }
}

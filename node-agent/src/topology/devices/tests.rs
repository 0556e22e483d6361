//! Devices read back from trees of `/sys`.

use katalyst_core::{topology::devices::Nearness, units::Bytes};

use super::*;
use crate::topology::{
    self,
    tree::{BRIDGE, ETHERNET, GPU, Spec, Tree, eight_gpus},
};

fn devices(tree: &Tree, facts: &BTreeMap<PciAddress, GpuFacts>) -> (Devices, Vec<Note>) {
    let (machine, _) = topology::read(tree.root());
    read(tree.root(), &machine, facts)
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn eight_gpus_and_eight_cards_behind_four_switches() {
    let (found, notes) = devices(&eight_gpus(), &BTreeMap::new());
    assert_eq!(
        (
            found.gpus.len(),
            found.nics.len(),
            found.rdma.len(),
            found.switches.len()
        ),
        (8, 8, 8, 4)
    );
    let gpu = &found.gpus[2];
    assert_eq!(gpu.place.address, address("0000:33:00.0"));
    assert_eq!(gpu.place.switch(), Some(address("0000:31:00.0")));
    assert_eq!(
        (gpu.uuid.as_deref(), gpu.minor, gpu.memory),
        (Some("GPU-2"), Some(2), None)
    );
    assert_eq!(gpu.place.numa, Some(0));
    assert_eq!(found.gpus[4].place.numa, Some(1));

    let nearness: Vec<Nearness> = found
        .rdma
        .iter()
        .map(|rdma| gpu.place.nearness(&rdma.place))
        .collect();
    assert_eq!(nearness[2..4], [Nearness::Switch; 2]);
    assert_eq!(nearness[0..2], [Nearness::Numa; 2]);
    assert_eq!(nearness[4..8], [Nearness::System; 4]);

    let rdma = &found.rdma[0];
    assert_eq!(rdma.name, "mlx5_0");
    assert_eq!(rdma.ports[0].megabits, Some(400_000));
    assert!(rdma.ports[0].active);
    let nic = &found.nics[7];
    assert_eq!(nic.interfaces[0].name, "eth7");
    assert_eq!(nic.interfaces[0].megabits, Some(400_000));
    assert_eq!(notes.len(), 8, "memory without a library: {notes:?}");
}

#[test]
fn a_librarys_facts_go_before_the_drivers() {
    let facts = BTreeMap::from([(
        address("0000:13:00.0"),
        GpuFacts {
            memory: Some(Bytes::new(80 << 30)),
            model: Some("H100".to_owned()),
            links: BTreeMap::from([(address("0000:14:00.0"), 18)]),
            ..GpuFacts::default()
        },
    )]);
    let (found, notes) = devices(&eight_gpus(), &facts);
    let gpu = &found.gpus[0];
    assert_eq!(gpu.memory, Some(Bytes::new(80 << 30)));
    assert_eq!(gpu.model.as_deref(), Some("H100"));
    assert_eq!(gpu.uuid.as_deref(), Some("GPU-0"), "the driver fills gaps");
    assert_eq!(gpu.links[&address("0000:14:00.0")], 18);
    assert_eq!(notes.len(), 7);
}

#[test]
fn what_is_no_gpu_and_no_card() {
    let tree = Tree::machine(&Spec::default());
    // The display of a management controller, a virtual function, a card that is down, a virtio card, a function without its files.
    tree.function("pci0000:00", "0000:00:02.0", "0x030000", "0x1a03", -1);
    let virtual_function = tree.function("pci0000:00", "0000:00:03.1", ETHERNET, "0x15b3", -1);
    tree.file(&format!("{virtual_function}/physfn/class"), "");
    let down = tree.function("pci0000:00", "0000:00:03.0", ETHERNET, "0x15b3", -1);
    tree.file(&format!("{down}/net/eth0/operstate"), "down\n")
        .file(&format!("{down}/net/eth0/speed"), "-1\n")
        .file(&format!("{down}/sriov_numvfs"), "1\n");
    let virtio = tree.function("pci0000:00", "0000:00:04.0", ETHERNET, "0x1af4", -1);
    tree.file(&format!("{virtio}/virtio1/net/eth1/operstate"), "up\n");
    let odd = tree.function("pci0000:00", "0000:00:05.0", GPU, "0x10de", -1);
    tree.file(&format!("{odd}/class"), "third\n");
    tree.function("pci0000:00", "0000:00:06.0", BRIDGE, "0x8086", -1);

    let (found, notes) = devices(&tree, &BTreeMap::new());
    assert_eq!((found.gpus.len(), found.rdma.len()), (0, 0));
    assert_eq!(found.nics.len(), 2);
    assert_eq!(found.nics[0].virtual_functions, 1);
    assert_eq!(
        (
            found.nics[0].interfaces[0].up,
            found.nics[0].interfaces[0].megabits
        ),
        (false, None)
    );
    assert_eq!(found.nics[1].interfaces[0].name, "eth1");
    assert_eq!(
        found.nics[1].place.numa,
        Some(0),
        "the only node there is, where the firmware is silent"
    );
    assert!(found.switches.is_empty());
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].text.contains("third"), "{notes:?}");
}

#[test]
fn amdgpu_tells_memory_without_a_library() {
    let tree = Tree::machine(&Spec::default());
    let dir = tree.function("pci0000:00", "0000:00:02.0", "0x120000", "0x1002", 0);
    tree.file(&format!("{dir}/mem_info_vram_total"), "206141652992\n")
        .file(&format!("{dir}/unique_id"), "5b1c07e0d1f2a3b4\n");
    let (found, notes) = devices(&tree, &BTreeMap::new());
    assert_eq!(found.gpus[0].memory, Some(Bytes::new(206_141_652_992)));
    assert_eq!(found.gpus[0].uuid.as_deref(), Some("5b1c07e0d1f2a3b4"));
    assert_eq!(notes, []);
}

#[test]
fn without_a_pci_bus_there_is_a_note() {
    let (found, notes) = devices(&Tree::machine(&Spec::default()), &BTreeMap::new());
    assert!(found.is_empty());
    assert_eq!(notes.len(), 1);
}

//! GPUs: which functions are GPUs, and what is known of each.
//!
//! A function is a GPU when its base class is display (03) or processing accelerator (12) and its vendor makes GPUs that batch work uses; the display
//! of a management controller is none. What the tree does not tell is asked of, in this order:
//!
//! 1. the vendor's library ([`GpuLibrary`]; NVML in builds that can load libraries): UUID, model, memory, minor number, NVLink;
//! 2. the driver's text, which needs no library: `/proc/driver/nvidia/gpus/ADDRESS/information` (model, UUID, minor number), and amdgpu's
//!    `mem_info_vram_total`, `unique_id`, `product_name` beside the function's other files.

use std::{collections::BTreeMap, path::Path};

use katalyst_core::{
    topology::devices::{Gpu, PciAddress},
    units::Bytes,
};

use super::pci::Function;
use crate::{
    cgroup::file,
    kernel::{number, nvidia},
    topology::Found,
};

pub(crate) const SUBJECT: &str = "topology: GPU";
const DISPLAY: u32 = 0x03;
const ACCELERATOR: u32 = 0x12;
const NVIDIA: u16 = 0x10de;
const AMD: u16 = 0x1002;
const INTEL: u16 = 0x8086;

/// What a library or a driver says of one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuFacts {
    /// Identity of the card.
    pub uuid: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// Direct links to other GPUs: how many to each.
    pub links: BTreeMap<PciAddress, u32>,
}

/// A vendor's library that knows GPUs. Asked seldom: it opens device nodes, and what it says changes with drivers only.
pub trait GpuLibrary: Send + Sync {
    /// Every GPU it knows. `Err` says in one line why it knows none: no driver is the ordinary case.
    fn gpus(&self) -> Result<BTreeMap<PciAddress, GpuFacts>, String>;
}

/// For builds and machines without a library.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLibrary;

impl GpuLibrary for NoLibrary {
    fn gpus(&self) -> Result<BTreeMap<PciAddress, GpuFacts>, String> {
        Err(
            "this build cannot load GPU libraries (it is static); memory and links of NVIDIA GPUs are unknown"
                .to_owned(),
        )
    }
}

/// The library of this build: NVML where shared libraries can be loaded.
pub fn library() -> Box<dyn GpuLibrary> {
    #[cfg(all(feature = "nvml", not(target_feature = "crt-static")))]
    {
        Box::new(super::nvml::NvmlLibrary)
    }
    #[cfg(not(all(feature = "nvml", not(target_feature = "crt-static"))))]
    {
        Box::new(NoLibrary)
    }
}

pub(super) fn is_gpu(function: &Function) -> bool {
    matches!(function.base_class(), DISPLAY | ACCELERATOR)
        && matches!(function.vendor, NVIDIA | AMD | INTEL)
        && !function.is_virtual
}

pub(super) fn read(
    root: &Path,
    function: &Function,
    facts: &BTreeMap<PciAddress, GpuFacts>,
    notes: &mut Found,
) -> Gpu {
    let address = function.place.address;
    let library = facts.get(&address).cloned().unwrap_or_default();
    let driver = match function.vendor {
        NVIDIA => of_nvidia_driver(root, address),
        AMD => of_amdgpu(&function.dir),
        _ => GpuFacts::default(),
    };
    let memory = library.memory.or(driver.memory);
    if memory.is_none() {
        notes.add(
            SUBJECT,
            format!("memory of {address} is unknown; it is reported without"),
        );
    }
    Gpu {
        place: function.place.clone(),
        vendor: function.vendor,
        device: function.device,
        uuid: library.uuid.or(driver.uuid),
        model: library.model.or(driver.model),
        memory,
        minor: library.minor.or(driver.minor),
        links: library.links,
    }
}

fn of_nvidia_driver(root: &Path, address: PciAddress) -> GpuFacts {
    let path = root.join(format!("proc/driver/nvidia/gpus/{address}/information"));
    let information = file::read(&path)
        .map(|text| nvidia::parse_information(&text))
        .unwrap_or_default();
    GpuFacts {
        uuid: information.uuid,
        model: information.model,
        minor: information.minor,
        ..GpuFacts::default()
    }
}

fn of_amdgpu(dir: &Path) -> GpuFacts {
    let word = |name: &str| {
        let text = file::read(&dir.join(name)).ok()?;
        let text: String = text.trim().chars().take(nvidia::TEXT).collect();
        (!text.is_empty()).then_some(text)
    };
    GpuFacts {
        uuid: word("unique_id"),
        model: word("product_name"),
        memory: file::read(&dir.join("mem_info_vram_total"))
            .ok()
            .and_then(|text| number::parse(&text))
            .map(Bytes::new),
        ..GpuFacts::default()
    }
}

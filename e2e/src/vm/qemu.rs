//! The emulator's command line that makes a machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::VmError;
use super::machine::{Accelerator, Machine};

/// The files a machine runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The ELF kernel.
    pub kernel: PathBuf,
    /// The initial file system.
    pub initramfs: PathBuf,
    /// The root disk. Written to: it belongs to this machine alone and survives its power-off.
    pub root_disk: PathBuf,
    /// The disk with the machine's own files (a tar archive).
    pub seed_disk: PathBuf,
    /// Where the console is logged; appended to at each start.
    pub console: PathBuf,
    /// Further output channels, by name: the guest finds the port by the name, the host appends to the file.
    pub ports: Vec<(String, PathBuf)>,
}

/// The arguments of QEMU (without the program) that run `machine` with `files`.
///
/// # Errors
/// When the machine's description contradicts itself.
pub fn arguments(machine: &Machine, files: &Files) -> Result<Vec<OsString>, VmError> {
    machine.check()?;
    let mut argv = Arguments::default();
    argv.pair("-name", machine.name.clone());
    match machine.accelerator {
        Accelerator::Tcg => argv
            .pair("-accel", "tcg,thread=multi")
            .pair("-cpu", EMULATED_CPU),
        Accelerator::Kvm => argv.pair("-accel", "kvm").pair("-cpu", "host"),
    };
    argv.pair("-machine", "q35")
        .pair("-m", format!("{}M", machine.memory_mib()));
    let (sockets, cores, threads) = machine.topology();
    argv.pair(
        "-smp",
        format!(
            "{},sockets={sockets},cores={cores},threads={threads}",
            machine.cpus()
        ),
    );
    numa(machine, &mut argv);
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        argv.0.push(flag.into());
    }
    argv.pair("-display", "none");
    argv.pair("-kernel", &files.kernel)
        .pair("-initrd", &files.initramfs)
        .pair(
            "-append",
            format!("{KERNEL_COMMAND_LINE} psi={}", u8::from(machine.psi)),
        );
    argv.pair(
        "-chardev",
        with_path("file,id=console,append=on,path=", &files.console),
    )
    .pair("-serial", "chardev:console");
    // The host's page cache outlives the emulator, so an unflushed disk still survives the machine's power-off.
    argv.pair(
        "-drive",
        with_path(
            "if=none,id=root,format=raw,cache=unsafe,file=",
            &files.root_disk,
        ),
    );
    argv.pair("-device", "virtio-blk-pci,drive=root");
    argv.pair(
        "-drive",
        with_path(
            "if=none,id=seed,format=raw,readonly=on,file=",
            &files.seed_disk,
        ),
    );
    argv.pair("-device", "virtio-blk-pci,drive=seed");
    argv.pair("-device", "virtio-serial-pci");
    for (name, path) in &files.ports {
        argv.pair(
            "-chardev",
            with_path(&format!("file,id=port-{name},append=on,path="), path),
        );
        argv.pair(
            "-device",
            format!("virtserialport,chardev=port-{name},name={name}"),
        );
    }
    if let Some(network) = &machine.network {
        // Locally administered, and unique within the network because the address is.
        let [_, b, c, d] = network.address.octets();
        argv.pair(
            "-netdev",
            format!("tap,id=net,ifname={},script=no,downscript=no", network.tap),
        );
        argv.pair(
            "-device",
            format!("virtio-net-pci,netdev=net,mac=52:54:00:{b:02x}:{c:02x}:{d:02x}"),
        );
    }
    Ok(argv.0)
}

/// An old model: the features of newer ones (protection keys, five-level page tables, wide registers to save at each switch) make
/// emulation a quarter slower. It has hyper-threading and every instruction of the x86-64-v2 level.
const EMULATED_CPU: &str = "Nehalem";

/// - `panic=-1` with `-no-reboot` ends the emulator when the kernel fails.
/// - `maxcpus=1`: the initial file system's init starts the other processors, and says why.
/// - `tsc=reliable`: the emulated counter is the host's; the kernel's check of it only notices that the host was busy.
/// - `no_timer_check`: at boot the kernel counts timer ticks for some milliseconds and panics without them ("IO-APIC + timer doesn't work!"),
///   which is what it sees on a busy host.
/// - `mitigations=off`: the guest runs only what the tests bring, and emulated indirect branches are dear.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 maxcpus=1 tsc=reliable no_timer_check mitigations=off nokaslr audit=0 nowatchdog";

fn numa(machine: &Machine, argv: &mut Arguments) {
    let mut first_cpu = 0;
    for (index, node) in machine.numa.iter().enumerate() {
        argv.pair(
            "-object",
            format!(
                "memory-backend-ram,id=memory{index},size={}M",
                node.memory_mib
            ),
        );
        let cpus = match node.cpus {
            0 => String::new(),
            1 => format!(",cpus={first_cpu}"),
            count => format!(",cpus={first_cpu}-{}", first_cpu + count - 1),
        };
        first_cpu += node.cpus;
        argv.pair(
            "-numa",
            format!("node,nodeid={index}{cpus},memdev=memory{index}"),
        );
    }
    for from in 0..machine.numa.len() {
        for to in from + 1..machine.numa.len() {
            argv.pair(
                "-numa",
                format!(
                    "dist,src={from},dst={to},val={}",
                    machine.distance(from, to)
                ),
            );
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, option: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(option.into());
        self.0.push(value.into());
        self
    }
}

/// An option that ends with a path. QEMU doubles commas inside a value.
fn with_path(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path.to_string_lossy().replace(',', ",,"));
    text
}

#[cfg(test)]
#[path = "qemu_tests.rs"]
mod tests;

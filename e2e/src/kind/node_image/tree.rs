//! Turns a Debian tree into the tree of a kind node, as kind's own Dockerfiles do (`images/base/Dockerfile` of its module):
//! kind's files, no units but those that a node needs, container runtime, kubelet, network plugins.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};

use super::super::tool::Tool;

/// Configuration files with Linux-wide settings would change the machine below: namespaces do not hold these keys.
const MACHINE_WIDE: [&str; 3] = ["fs.protected", "kernel.", "-kernel."];

/// What goes into a tree.
pub(super) struct Parts<'a> {
    /// The Debian tree, a tar file.
    pub(super) rootfs: &'a Path,
    /// `images/base/files` of kind's source.
    pub(super) kind_files: &'a Path,
    /// Folder of built programs.
    pub(super) binaries: &'a Path,
    /// Kubernetes version, such as `v1.36.3`.
    pub(super) version: &'a str,
    /// Reference of the pod sandbox image.
    pub(super) pause: &'a str,
}

/// Makes the tree in the folder `root`, replacing what is there.
pub(super) fn build(root: &Path, parts: &Parts<'_>) -> anyhow::Result<()> {
    super::remove_tree(root)?;
    create(root)?;
    Tool::new("tar")
        .arg("-C")
        .arg(root)
        .arg("-xpf")
        .arg(parts.rootfs)
        .arg("--exclude=./dev/*")
        .within(Duration::from_secs(60 * 5))
        .run()?;
    Tool::new("cp")
        .args(["-r", "--no-preserve=mode,ownership"])
        .arg(parts.kind_files.join("etc"))
        .arg(parts.kind_files.join("kind"))
        .arg(root)
        .run()?;
    let scripts = root.join("kind/bin");
    for script in entries(&scripts)? {
        mode(&script, 0o755)?;
    }
    for script in ["entrypoint", "clean-install"] {
        install(
            &parts.kind_files.join("usr/local/bin").join(script),
            &root.join("usr/local/bin").join(script),
        )?;
    }
    units(root)?;
    programs(root, parts.binaries)?;
    configuration(root, parts)
}

fn units(root: &Path) -> anyhow::Result<()> {
    let system = root.join("lib/systemd/system");
    for folder in ["multi-user", "local-fs", "basic"] {
        remove_where(&system.join(format!("{folder}.target.wants")), |_| true)?;
    }
    remove_where(&system.join("sysinit.target.wants"), |name| {
        name == "systemd-tmpfiles-setup.service"
    })?;
    remove_where(&system.join("sockets.target.wants"), |name| {
        name.contains("udev") || name.contains("initctl")
    })?;
    let local = root.join("etc/systemd/system");
    for folder in entries(&local)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wants"))
    {
        remove_where(&folder, |_| true)?;
    }
    write(
        &local.join("reject-unknown-services.service"),
        include_str!("files/reject-unknown-services.service"),
    )?;
    let wants = local.join("multi-user.target.wants");
    create(&wants)?;
    for unit in [
        "kubelet",
        "containerd",
        "undo-mount-hacks",
        "reject-unknown-services",
    ] {
        let unit = format!("{unit}.service");
        link(&format!("/etc/systemd/system/{unit}"), &wants.join(unit))?;
    }
    for masked in ["systemd-binfmt.service", "console-getty.service"] {
        link("/dev/null", &local.join(masked))?;
    }
    if !root.join("sbin/init").exists() {
        link("/usr/lib/systemd/systemd", &root.join("usr/sbin/init"))?;
    }
    append(&root.join("etc/systemd/journald.conf"), "ReadKMsg=no\n")
}

fn programs(root: &Path, binaries: &Path) -> anyhow::Result<()> {
    let groups: [(&str, &[&str]); 4] = [
        (
            "usr/local/bin",
            &["containerd", "containerd-shim-runc-v2", "ctr"],
        ),
        ("usr/local/sbin", &["runc"]),
        ("usr/bin", &["kubelet", "kubectl", "kubeadm"]),
        ("opt/cni/bin", &["host-local", "loopback", "ptp", "portmap"]),
    ];
    for (folder, names) in groups {
        create(&root.join(folder))?;
        for name in names {
            install(&binaries.join(name), &root.join(folder).join(name))?;
        }
    }
    let crictl = root.join("usr/local/bin/crictl");
    write(&crictl, include_str!("files/crictl"))?;
    mode(&crictl, 0o755)
}

fn configuration(root: &Path, parts: &Parts<'_>) -> anyhow::Result<()> {
    for folder in [
        "kind/manifests",
        "etc/kubernetes/manifests",
        "etc/cni/net.d",
        "var/lib/kubelet",
    ] {
        create(&root.join(folder))?;
    }
    write(&root.join("kind/version"), parts.version)?;
    write(
        &root.join("kind/manifests/default-cni.yaml"),
        include_str!("files/default-cni.yaml"),
    )?;
    write(
        &root.join("etc/containerd/cni.conflist.template"),
        include_str!("files/cni.conflist.template"),
    )?;
    let containerd = root.join("etc/containerd/config.toml");
    let config = read(&containerd)?;
    write(
        &containerd,
        &(containerd_config(&config, parts.pause)? + include_str!("files/containerd-cni.toml")),
    )?;
    let spec = Tool::new(parts.binaries.join("ctr"))
        .args(["oci", "spec"])
        .run()?;
    write(
        &root.join("etc/containerd/cri-base.json"),
        &base_spec(&spec)?,
    )?;
    let sysctl = root.join("usr/lib/sysctl.d");
    remove_where(&sysctl, |name| name == "50-pid-max.conf")?;
    for file in entries(&sysctl)? {
        let text = read(&file)?;
        write(&file, &without_machine_wide(&text))?;
    }
    Ok(())
}

/// kind's containerd configuration for a machine without `CAP_SYS_RESOURCE` (a score can then not be lowered), with the
/// sandbox image that this image holds.
fn containerd_config(kind: &str, pause: &str) -> anyhow::Result<String> {
    let mut seen = (false, false);
    let lines: Vec<String> = kind
        .lines()
        .map(|line| match line.trim_start() {
            "restrict_oom_score_adj = false" => {
                seen.0 = true;
                "  restrict_oom_score_adj = true".to_owned()
            }
            text if text.starts_with("sandbox_image = ") => {
                seen.1 = true;
                format!("  sandbox_image = \"{pause}\"")
            }
            _ => line.to_owned(),
        })
        .collect();
    ensure!(
        seen == (true, true),
        "kind's containerd configuration has another form: no sandbox_image or restrict_oom_score_adj"
    );
    Ok(lines.join("\n") + "\n")
}

/// containerd's default container with kind's hook, and without resource limits, which would otherwise be raised in vain.
fn base_spec(spec: &str) -> anyhow::Result<String> {
    let mut spec: serde_json::Value =
        serde_json::from_str(spec).context("`ctr oci spec` printed no JSON")?;
    if let Some(process) = spec
        .get_mut("process")
        .and_then(|process| process.as_object_mut())
    {
        process.remove("rlimits");
    }
    let object = spec
        .as_object_mut()
        .context("`ctr oci spec` printed no object")?;
    object.insert(
        "hooks".into(),
        serde_json::json!({"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}),
    );
    Ok(spec.to_string())
}

fn without_machine_wide(text: &str) -> String {
    let is_kept = |line: &&str| !MACHINE_WIDE.iter().any(|prefix| line.starts_with(prefix));
    text.split_inclusive('\n').filter(is_kept).collect()
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let paths: Result<Vec<_>, _> = list.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.with_context(|| format!("list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn remove_where(folder: &Path, is_unwanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for path in entries(folder)? {
        if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(&is_unwanted)
        {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn install(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    mode(to, 0o755)
}

fn mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

fn create(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

fn link(target: &str, path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    symlink(target, path).with_context(|| format!("link {} to {target}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let old = read(path)?;
    write(path, &(old + text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_gets_the_sandbox_image_and_keeps_the_rest() {
        let kind = "version = 2\n  sandbox_image = \"x/pause:1\"\n  # c\n  restrict_oom_score_adj = false\n";
        let expected = "version = 2\n  sandbox_image = \"y/pause:2\"\n  # c\n  restrict_oom_score_adj = true\n";
        assert_eq!(containerd_config(kind, "y/pause:2").unwrap(), expected);
        assert!(containerd_config("version = 9\n", "p").is_err());
    }

    #[test]
    fn base_spec_has_the_hook_and_no_limits() {
        let spec = base_spec(r#"{"process":{"rlimits":[1],"cwd":"/"}}"#).unwrap();
        assert_eq!(
            spec,
            r#"{"hooks":{"createContainer":[{"path":"/kind/bin/mount-product-files.sh"}]},"process":{"cwd":"/"}}"#
        );
    }

    #[test]
    fn settings_of_the_whole_machine_go() {
        let text = "# kernel.x stays as a comment\nkernel.sysrq = 1\n-kernel.core = 2\nfs.protected_fifos = 1\nnet.ipv4.a = 1\n";
        assert_eq!(
            without_machine_wide(text),
            "# kernel.x stays as a comment\nnet.ipv4.a = 1\n"
        );
    }
}

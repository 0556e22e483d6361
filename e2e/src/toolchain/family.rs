//! The program families, their packages and their build flags.
//!
//! One Go module a family, because their dependency sets disagree. Versions and checksums are in
//! `toolchain/FAMILY/go.mod` and `go.sum`; what is here is only how to build.

use std::path::{Path, PathBuf};

/// One program of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Go package of the `main` function.
    pub package: &'static str,
    /// File name in the cache.
    pub output: &'static str,
}

/// Programs that are built together from one Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Name, and folder below `toolchain/`.
    pub name: &'static str,
    /// Folder below the cache's programs, for a second version of what another family builds; else empty.
    pub folder: &'static str,
    /// What is built.
    pub programs: &'static [Program],
    /// Linker flags.
    pub ldflags: &'static str,
    /// Build tags, separated by commas.
    pub tags: &'static str,
    /// Whether C code is part of it.
    pub cgo: bool,
}

/// The Kubernetes release of the families below, as its programs report it.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

const KUBERNETES_LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36 \
    -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3";

const fn program(package: &'static str, output: &'static str) -> Program {
    Program { package, output }
}

const fn pure(name: &'static str, programs: &'static [Program], ldflags: &'static str) -> Family {
    Family {
        name,
        folder: "",
        programs,
        ldflags,
        tags: "",
        cgo: false,
    }
}

/// Another version of a family's programs, in a folder of its own name. Only built when asked for by name.
const fn older(name: &'static str, programs: &'static [Program], ldflags: &'static str) -> Family {
    Family {
        folder: name,
        ..pure(name, programs, ldflags)
    }
}

/// Every family, in the order in which they are built; the older versions last.
pub const FAMILIES: &[Family] = &[
    pure(
        "kubernetes",
        &[
            program("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            program(
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "kube-controller-manager",
            ),
            program("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            program("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            program("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            program("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
            program("k8s.io/kubernetes/cmd/kubeadm", "kubeadm"),
        ],
        KUBERNETES_LDFLAGS,
    ),
    pure(
        "etcd",
        &[program("go.etcd.io/etcd/server/v3", "etcd")],
        "-s -w",
    ),
    pure(
        "containerd",
        &[
            program(
                "github.com/containerd/containerd/v2/cmd/containerd",
                "containerd",
            ),
            program(
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "containerd-shim-runc-v2",
            ),
            program("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        "-s -w -X github.com/containerd/containerd/v2/version.Version=2.4.2",
    ),
    Family {
        name: "runc",
        folder: "",
        programs: &[program("github.com/opencontainers/runc", "runc")],
        ldflags: "-s -w -linkmode external -extldflags -static -X main.version=1.5.2",
        // Without the seccomp tag every pod sandbox fails.
        tags: "seccomp,osusergo,netgo",
        cgo: true,
    },
    pure(
        "cni",
        &[
            program(
                "github.com/containernetworking/plugins/plugins/ipam/host-local",
                "host-local",
            ),
            program(
                "github.com/containernetworking/plugins/plugins/main/bridge",
                "bridge",
            ),
            program(
                "github.com/containernetworking/plugins/plugins/main/loopback",
                "loopback",
            ),
            program(
                "github.com/containernetworking/plugins/plugins/main/ptp",
                "ptp",
            ),
            program(
                "github.com/containernetworking/plugins/plugins/meta/portmap",
                "portmap",
            ),
        ],
        "-s -w",
    ),
    pure(
        "kwok",
        &[program("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
        "-s -w",
    ),
    pure("kind", &[program("sigs.k8s.io/kind", "kind")], "-s -w"),
    pure("coredns", &[program(".", "coredns")], "-s -w"),
    older(
        "containerd-1.7",
        &[
            program(
                "github.com/containerd/containerd/cmd/containerd",
                "containerd",
            ),
            program(
                "github.com/containerd/containerd/cmd/containerd-shim-runc-v2",
                "containerd-shim-runc-v2",
            ),
            program("github.com/containerd/containerd/cmd/ctr", "ctr"),
        ],
        "-s -w -X github.com/containerd/containerd/version.Version=1.7.35",
    ),
    older(
        "containerd-2.1",
        &[
            program(
                "github.com/containerd/containerd/v2/cmd/containerd",
                "containerd",
            ),
            program(
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "containerd-shim-runc-v2",
            ),
            program("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        "-s -w -X github.com/containerd/containerd/v2/version.Version=2.1.9",
    ),
];

impl Family {
    /// Whether it is built only when asked for by name.
    pub const fn is_extra(&self) -> bool {
        !self.folder.is_empty()
    }

    /// Its programs, relative to the cache's folder of programs.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        (self.programs.iter()).map(|program| Path::new(self.folder).join(program.output))
    }

    /// Arguments of `go` that build this family into `bin`.
    pub fn build_arguments(&self, bin: &str) -> Vec<String> {
        // A single program may be named differently from its package; several are named by go.
        let bin = Path::new(bin).join(self.folder);
        let output = match self.programs {
            [one] => bin.join(one.output),
            _ => bin.join(""),
        };
        let output = output.display().to_string();
        let mut arguments = vec![
            "build".to_owned(),
            "-trimpath".to_owned(),
            "-buildvcs=false".to_owned(),
            "-ldflags".to_owned(),
            self.ldflags.to_owned(),
        ];
        if !self.tags.is_empty() {
            arguments.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        arguments.extend(["-o".to_owned(), output]);
        arguments.extend(
            self.programs
                .iter()
                .map(|program| program.package.to_owned()),
        );
        arguments
    }
}

/// The family called `name`.
pub fn by_name(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_programs_are_named_by_their_package() {
        for family in FAMILIES.iter().filter(|family| family.programs.len() > 1) {
            for program in family.programs {
                assert_eq!(program.package.rsplit('/').next(), Some(program.output));
            }
        }
    }

    #[test]
    fn outputs_are_unique() {
        let mut outputs: Vec<_> = FAMILIES.iter().flat_map(Family::files).collect();
        outputs.sort_unstable();
        let before = outputs.len();
        outputs.dedup();
        assert_eq!(outputs.len(), before);
    }

    #[test]
    fn single_program_gets_its_own_file_name() {
        let arguments = by_name("etcd").unwrap().build_arguments("/b");
        assert!(arguments.contains(&"/b/etcd".to_owned()), "{arguments:?}");
    }

    #[test]
    fn another_version_gets_a_folder_and_is_built_on_demand_only() {
        let family = by_name("containerd-1.7").unwrap();
        let arguments = family.build_arguments("/b");
        assert!(
            arguments.contains(&"/b/containerd-1.7/".to_owned()),
            "{arguments:?}"
        );
        let usual = by_name("containerd").unwrap();
        assert_eq!((family.is_extra(), usual.is_extra()), (true, false));
    }

    #[test]
    fn kubernetes_version_is_linked_in() {
        let family = by_name("kubernetes").unwrap();
        assert!(
            family
                .ldflags
                .contains(&format!("gitVersion={KUBERNETES_VERSION}"))
        );
    }
}

//! Uninstalling: by the `restore` command, or by itself when the agent's DaemonSet was deleted.
//!
//! An agent that merely restarts must leave running pods' limits alone, so the end of the process says nothing. What says "uninstall" is
//! that the DaemonSet is gone or going, which the agent asks for when it is told to stop. An API server that refuses what it granted
//! at the start (the role or the account was deleted first, as `kubectl delete -k` does) says the same, with one exception: the account of a pod
//! that was deleted by force is refused too, while everything else stands. Such a pod is gone from the list of the node's pods before it is told to
//! stop, and a pod of an uninstall is still there. A server that does not answer says nothing.

use std::{path::Path, process::ExitCode, time::Duration};

use clap::ValueEnum;
use k8s_openapi::api::apps::v1::DaemonSet;
use katalyst_runtime::Clients;
use kube::Api;

use crate::{
    args::Args,
    cgroup::{DetectError, Hierarchy},
    chain,
    hold::{RecordError, Records, Restored, restore_all},
};

/// The last stage of a stop is short; see the chassis.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// How long a restore waits for pages that are being moved.
const MOVES_LIMIT: Duration = Duration::from_secs(3);

/// When the process puts values back as it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestoreOnExit {
    /// Only by the `restore` command.
    Never,
    /// When the DaemonSet is gone or going.
    Uninstall,
    /// At every end.
    Always,
}

/// A restore could not begin or could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No cgroups.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// No records.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// Puts everything back. `stand_down`: also tell an agent that still runs to stop writing.
pub fn restore(root: &Path, state_dir: &Path, stand_down: bool) -> Result<Restored, RestoreError> {
    let hierarchy = Hierarchy::detect(root)?;
    let _lock = Records::lock(state_dir)?;
    if stand_down {
        Records::stand_down(state_dir)?;
    }
    let _moves = Records::lock_memory_within(state_dir, MOVES_LIMIT);
    let (mut records, _) = Records::load(state_dir)?;
    crate::reflex::forget_peaks(state_dir);
    Ok(restore_all(&hierarchy, &mut records)?)
}

/// The `restore` command.
pub fn restore_command(args: &Args) -> ExitCode {
    match restore(&args.node.root, &args.node.state_dir, true) {
        Ok(restored) => {
            println!(
                "restored {} files of {} pods",
                restored.files, restored.pods
            );
            for problem in &restored.problems {
                eprintln!("not restored: {}", chain(problem));
            }
            if restored.problems.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("not restored: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The DaemonSet, asked for at the start and at the end.
#[derive(Clone)]
pub struct Installation {
    api: Api<DaemonSet>,
    name: String,
    granted: bool,
}

impl Installation {
    /// Asks once, to learn whether the API server lets this agent see its DaemonSet. Never fails: without an answer there is no automatic restore.
    pub async fn probe(clients: &Clients, name: &str) -> Self {
        let api: Api<DaemonSet> = Api::namespaced(clients.unretried.clone(), &clients.namespace);
        let granted = matches!(
            tokio::time::timeout(ASK_LIMIT, api.get_metadata(name)).await,
            Ok(Ok(_))
        );
        if !granted {
            tracing::info!(
                daemonset = name,
                "not visible: deleting it will not put cgroup values back; run `restore` instead"
            );
        }
        Self {
            api,
            name: name.to_owned(),
            granted,
        }
    }

    /// Whether the product is being uninstalled. `own_pod_stands`: this agent's pod is still known to the API server.
    pub async fn is_being_removed(&self, own_pod_stands: bool) -> bool {
        if !self.granted {
            return false;
        }
        match tokio::time::timeout(ASK_LIMIT, self.api.get_metadata(&self.name)).await {
            Ok(Ok(object)) => object.metadata.deletion_timestamp.is_some(),
            Ok(Err(kube::Error::Api(status))) => match status.code {
                401 => own_pod_stands,
                code => matches!(code, 403 | 404),
            },
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

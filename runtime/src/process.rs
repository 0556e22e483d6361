//! What a component receives from the chassis.

use std::net::SocketAddr;

use axum::Router;
use prometheus_client::metrics::gauge::Gauge;

use crate::{
    BoxError, Clients, Events, Health, Leader, Metrics, Tasks,
    admin::{self, AdminError, DebugState, Sources},
    client::ClientError,
    flags::{AdminArgs, ClientArgs, LeaseArgs},
    lease::{self, LeaseConfig, LeaseError},
    logging::LogControl,
};

/// Which program this is.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// Name in logs, metrics, the user agent and the default lease, for example `katalyst-controllers`.
    pub name: &'static str,
    /// Version, normally `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// Where the admin server listens unless a flag says otherwise.
    pub admin_addr: SocketAddr,
}

/// The shared parts of one running process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which program this is.
    pub component: Component,
    /// Its tasks, and their stop.
    pub tasks: Tasks,
    /// Its liveness and readiness.
    pub health: Health,
    /// Its metrics.
    pub metrics: Metrics,
    /// What `/debug/state` shows.
    pub state: DebugState,
    /// Its log filter.
    pub log: LogControl,
}

impl Process {
    /// A process with nothing in it. [`crate::main_with`] makes one; tests make their own, with
    /// [`LogControl::detached`].
    pub fn new(component: Component, log: LogControl) -> Self {
        Self {
            component,
            tasks: Tasks::new(),
            health: Health::new(),
            metrics: Metrics::new(component.name, component.version),
            state: DebugState::default(),
            log,
        }
    }

    /// The admin routes alone, for tests with `router.oneshot(request)`.
    pub fn admin_router(&self) -> Router {
        let Self {
            component,
            tasks: _,
            health,
            metrics,
            state,
            log,
        } = self.clone();
        admin::router(Sources {
            component,
            health,
            metrics,
            state,
            log,
        })
    }

    /// Listens, and serves the admin routes and `own` from one port until the stop. Returns the bound address.
    ///
    /// Call it first, so that probes are answered while the caches fill. A path in `own` that the admin routes have
    /// too is a programming error and panics at start (axum's rule for merging).
    pub async fn serve_admin(
        &self,
        args: &AdminArgs,
        own: Router,
    ) -> Result<SocketAddr, AdminError> {
        let addr = args.addr.unwrap_or(self.component.admin_addr);
        let listener = admin::bind(addr).await?;
        let bound = listener
            .local_addr()
            .map_err(|source| AdminError::Bind { addr, source })?;
        tracing::info!(address = %bound, "admin server listens");
        let router = self.admin_router().merge(own);
        let serving = admin::serve(listener, router, self.tasks.stopping());
        self.tasks.spawn("admin server", serving);
        Ok(bound)
    }

    /// Connects to the API server as this component. No request is sent yet.
    pub async fn connect(&self, args: &ClientArgs) -> Result<Clients, ClientError> {
        let Component { name, version, .. } = self.component;
        Clients::connect(args, &format!("{name}/{version}"), &self.metrics).await
    }

    /// Starts sending Kubernetes Events in this component's name.
    pub fn events(&self, clients: &Clients) -> Events {
        Events::start(self, clients)
    }

    /// Joins the leader election and returns the view on it. Losing leadership ends the process, exit code non-zero:
    /// what this process believed may be outdated by then, and a fresh start is the simple way back.
    ///
    /// With `--leader-elect=false` the returned view always leads.
    pub fn elect(&self, clients: &Clients, args: &LeaseArgs) -> Result<Leader, LeaseError> {
        let gauge = self
            .metrics
            .gauge("leader", "1 while this process leads, else 0");
        let leader = if args.leader_elect {
            let mut rng = rand::make_rng::<rand::rngs::StdRng>();
            let config =
                LeaseConfig::from_args(args, self.component.name, &clients.namespace, &mut rng)?;
            let (elector, leader) = lease::elector(clients.unretried.clone(), config, rng);
            self.tasks
                .spawn_last("lease", elector.run(self.tasks.finishing()));
            leader
        } else {
            Leader::always()
        };
        let shown = leader.clone();
        self.state.provide("lease", move || shown.describe());
        self.tasks.spawn(
            "lease gauge",
            report(leader.clone(), gauge, self.tasks.stopping()),
        );
        Ok(leader)
    }
}

async fn report(
    mut leader: Leader,
    gauge: Gauge,
    stopping: tokio_util::sync::CancellationToken,
) -> Result<(), BoxError> {
    loop {
        gauge.set(i64::from(leader.is_current()));
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = leader.changed() => {}
        }
    }
}

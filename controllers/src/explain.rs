//! `katalyst-controllers explain NODE`: why a node offers what it offers, in one table.

mod table;

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use katalyst_crds::node::CustomNodeResource;
use katalyst_runtime::client::install_crypto;
use katalyst_runtime::{Clients, Metrics};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};

use crate::COMPONENT;
use crate::args::ExplainArgs;
use crate::causes::with_causes;

pub use table::render;

/// Prints the table, or one line that says why there is none.
pub fn run(args: &ExplainArgs) -> ExitCode {
    install_crypto();
    match explain(args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {}", COMPONENT.name, with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn explain(args: &ExplainArgs) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(async {
        let user_agent = format!("{}/{} explain", COMPONENT.name, COMPONENT.version);
        let clients = Clients::connect(&args.client, &user_agent, &Metrics::new(COMPONENT.name, COMPONENT.version)).await?;
        let api: Api<DynamicObject> = Api::all_with(clients.unretried, &ApiResource::erase::<CustomNodeResource>(&()));
        let object = api
            .get_opt(&args.node)
            .await
            .with_context(|| format!("read CustomNodeResource {}", args.node))?
            .ok_or_else(|| anyhow!("there is no CustomNodeResource {}: no such node, or the controllers do not run", args.node))?;
        Ok(render(&args.node, &object.data, Timestamp::now())?)
    })
}

//! An OCI runtime that becomes runc after removing what the machine's capability bounding set cannot grant. See
//! [`katalyst_e2e::kind::oci_runtime`].

use std::process::ExitCode;

use katalyst_e2e::kind::oci_runtime;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let error = oci_runtime::become_runtime(&arguments);
    eprintln!("katalyst-runc: {error}");
    // As a shell answers for a command that cannot be executed.
    ExitCode::from(126)
}

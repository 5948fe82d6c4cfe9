//! Generates the code of the admin API from its `.proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    compile_protos()
}

/// The admin API: messages, client and server. `protox` reads the file, so no `protoc` is needed.
fn compile_protos() -> Result<(), Box<dyn Error>> {
    const ROOT: &str = "proto";
    const ADMIN: &str = "ilagate/admin/v1/admin.proto";
    println!("cargo:rerun-if-changed={ROOT}/{ADMIN}");
    let descriptors = protox::compile([ADMIN], [ROOT])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

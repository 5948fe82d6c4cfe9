//! Generates the code that the crate includes from `OUT_DIR`: the admin API, and the bindings of DPDK.

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    dpdk::bind()?;
    compile_protos()
}

/// Generates messages, clients and servers of the operators' APIs and of the authority's protocol. `protox` reads the files, so
/// that no `protoc` is needed.
fn compile_protos() -> Result<(), Box<dyn Error>> {
    const ROOT: &str = "proto";
    const FILES: [&str; 3] =
        ["ilagate/admin/v1/admin.proto", "ilagate/manage/v1/manage.proto", "ilagate/nva/v1/nva.proto"];
    FILES.iter().for_each(|file| println!("cargo::rerun-if-changed={ROOT}/{file}"));
    let descriptors = protox::compile(FILES, [ROOT])?;
    // Mappings are shared between the messages of all sessions, and not copied.
    let build = tonic_prost_build::configure().bytes(".ilagate.nva.v1");
    // The page in the browser is told the same as operators are.
    build.type_attribute(".ilagate.manage.v1", "#[derive(serde::Serialize)]").compile_fds(descriptors)?;
    Ok(())
}

/// Generates the bindings of DPDK: pkg-config gives the flags, bindgen the types and functions. Inline functions are
/// called through wrappers that bindgen writes and `cc` compiles.
#[cfg(feature = "dpdk")]
mod dpdk {
    use std::env;
    use std::error::Error;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const HEADER: &str = "dpdk-config/bindings.h";
    const OLDEST: &str = "22.11";

    const FUNCTIONS: &[&str] = &[
        "ilagate_errno",
        "fflush",
        "fopencookie",
        "rte_dev_probe",
        "rte_dev_remove",
        "rte_eal_cleanup",
        "rte_eal_init",
        "rte_eth_allmulticast_enable",
        "rte_eth_dev_adjust_nb_rx_tx_desc",
        "rte_eth_dev_close",
        "rte_eth_dev_configure",
        "rte_eth_dev_default_mac_addr_set",
        "rte_eth_dev_get_port_by_name",
        "rte_eth_dev_info_get",
        "rte_eth_dev_set_mtu",
        "rte_eth_dev_socket_id",
        "rte_eth_dev_start",
        "rte_eth_dev_stop",
        "rte_eth_link_get_nowait",
        "rte_eth_macaddr_get",
        "rte_eth_promiscuous_enable",
        "rte_eth_rx_burst",
        "rte_eth_rx_queue_setup",
        "rte_eth_stats_get",
        "rte_eth_tx_burst",
        "rte_eth_tx_queue_setup",
        "rte_eth_xstats_get",
        "rte_eth_xstats_get_names",
        "rte_lcore_id",
        "rte_log_cur_msg_loglevel",
        "rte_mempool_avail_count",
        "rte_mempool_free",
        "rte_openlog_stream",
        "rte_pktmbuf_alloc",
        "rte_pktmbuf_free_bulk",
        "rte_pktmbuf_pool_create",
        "rte_thread_register",
        "rte_thread_unregister",
        "rte_version",
    ];
    const CONSTANTS: &[&str] = &["ILAGATE_.*", "RTE_PKTMBUF_HEADROOM", "RTE_LOG_.*", "RTE_ETH_MQ_RX_.*"];

    pub(super) fn bind() -> Result<(), Box<dyn Error>> {
        println!("cargo::rerun-if-changed={HEADER}");
        println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
        let flags = flags()?;
        let out = PathBuf::from(env::var("OUT_DIR")?);
        let header = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(HEADER);
        let wrappers = out.join("dpdk_inline.c");
        generate(&flags, &header, &wrappers, &out.join("dpdk.rs"))?;
        compile(&flags, &wrappers);
        // The linker needs the libraries after the wrappers, which use them.
        library(true)?;
        Ok(())
    }

    /// Finds libdpdk; `link` also tells cargo to link it.
    fn library(link: bool) -> Result<pkg_config::Library, String> {
        pkg_config::Config::new()
            .atleast_version(OLDEST)
            .cargo_metadata(link)
            .env_metadata(link)
            .probe("libdpdk")
            .map_err(|error| {
                format!(
                    "libdpdk {OLDEST} or newer is needed: apt install libdpdk-dev pkg-config (or build with \
                     --no-default-features, without the data plane)\n{error}"
                )
            })
    }

    /// The compiler flags, exactly as pkg-config gives them. DPDK's structure layouts depend on them.
    fn flags() -> Result<Vec<String>, Box<dyn Error>> {
        library(false)?;
        let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
        let output = Command::new(program).args(["--cflags", "libdpdk"]).output()?;
        Ok(String::from_utf8(output.stdout)?.split_whitespace().map(String::from).collect())
    }

    fn generate(
        flags: &[String],
        header: &Path,
        wrappers: &Path,
        bindings: &Path,
    ) -> Result<(), Box<dyn Error>> {
        let mut builder = bindgen::Builder::default()
            .header(header.display().to_string())
            .clang_args(flags)
            .rust_edition(bindgen::RustEdition::Edition2024)
            .default_enum_style(bindgen::EnumVariation::Consts)
            .prepend_enum_name(false)
            .generate_comments(false)
            .layout_tests(true)
            .derive_default(true)
            .wrap_static_fns(true)
            .wrap_static_fns_path(wrappers);
        for name in FUNCTIONS {
            builder = builder.allowlist_function(name);
        }
        for name in CONSTANTS {
            builder = builder.allowlist_var(name);
        }
        // bindgen panics when it finds no libclang.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let generated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
        std::panic::set_hook(hook);
        let generated = generated.map_err(|panic| {
            let cause = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            format!(
                "bindgen does not run: apt install clang libclang-dev (or set LIBCLANG_PATH, or build with \
                 --no-default-features, without the data plane)\n{cause}"
            )
        })?;
        generated
            .map_err(|error| format!("DPDK's headers do not parse: apt install clang libdpdk-dev\n{error}"))?
            .write_to_file(bindings)?;
        Ok(())
    }

    /// Compiles the wrappers with optimisation in every profile, because packets pass through them.
    fn compile(flags: &[String], wrappers: &Path) {
        let mut build = cc::Build::new();
        for flag in flags {
            build.flag(flag);
        }
        build.file(wrappers).opt_level(3).warnings(false).compile("ilagate_dpdk_inline");
    }
}

//! Checks before DPDK starts that the machine has what DPDK needs. An error names the value, the place and a remedy.
//!
//! Safe code: it reads `/proc`, `/sys` and file locks, and changes nothing.

use super::eal::{EalConfig, Memory};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::sched_getaffinity;
use nix::unistd::{AccessFlags, Pid, access, geteuid};
use std::fs;
use std::path::{Path, PathBuf};

/// What the machine lacks, with a remedy in the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// No such core, or this process may not use it.
    #[error(
        "core {core} is not available to this process, which may use {allowed:?}; choose one of these, or widen the cpuset of the service or container"
    )]
    Core {
        /// The core asked for.
        core: u32,
        /// Cores that this process may use.
        allowed: Vec<u32>,
    },
    /// There are no hugepages at all.
    #[error(
        "no hugepages of {size_kib} KiB are reserved, {needed_mib} MiB are needed: sysctl vm.nr_hugepages={pages} (or hugepages={pages} on the kernel's command line; or run without hugepages)"
    )]
    NoHugepages {
        /// Size of one page in KiB.
        size_kib: u64,
        /// Memory asked for, in MiB.
        needed_mib: u64,
        /// Number of pages for that memory.
        pages: u64,
    },
    /// There are hugepages, but not enough free ones.
    #[error(
        "{free_mib} MiB of hugepages are free, {needed_mib} MiB are needed: sysctl vm.nr_hugepages={pages}, lower memory_mib, or see who holds the others (grep -l hugepages /proc/[0-9]*/maps)"
    )]
    FewHugepages {
        /// Free memory in hugepages, in MiB.
        free_mib: u64,
        /// Memory asked for, in MiB.
        needed_mib: u64,
        /// Number of pages to reserve so that it fits.
        pages: u64,
    },
    /// hugetlbfs is not mounted, or not at the configured directory.
    #[error("hugetlbfs is not mounted{at}: mkdir -p {dir} && mount -t hugetlbfs nodev {dir}", at = if *.asked { format!(" at {}", .dir.display()) } else { String::new() }, dir = .dir.display())]
    NoHugetlbfs {
        /// The directory where it should be mounted.
        dir: PathBuf,
        /// Whether the configuration names the directory.
        asked: bool,
    },
    /// hugetlbfs is mounted, but this user may not write to it.
    #[error("{dir} is not writable for user {uid}: run as root, or mount it with -o uid={uid}", dir = .dir.display())]
    HugetlbfsDenied {
        /// Its mount point.
        dir: PathBuf,
        /// The user of this process.
        uid: u32,
    },
    /// Another process uses the node's name.
    #[error("process {pid} runs dpdk under the name {name:?} ({file} is locked): stop it, or give this node another name", file = .file.display())]
    NameInUse {
        /// The node's name.
        name: String,
        /// The other process.
        pid: i32,
        /// Its lock.
        file: PathBuf,
    },
    /// The node's name cannot be part of a file's name.
    #[error("node name {0:?} is no file name: use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// This user may not write to the directory of DPDK's runtime files.
    #[error("{dir} is not writable for user {uid}: run as root, or set RUNTIME_DIRECTORY (systemd: RuntimeDirectory=)", dir = .dir.display())]
    RuntimeDirectory {
        /// The directory.
        dir: PathBuf,
        /// The user of this process.
        uid: u32,
    },
    /// No such PCI device.
    #[error("pci device {0} does not exist: see lspci -D, and write the address in full as in 0000:3b:00.1")]
    NoPciDevice(String),
    /// The PCI device is bound to a kernel driver that DPDK cannot use, or to none.
    #[error("pci device {address} is bound to {driver}: dpdk-devbind.py --bind=vfio-pci {address}")]
    PciDriver {
        /// Its address.
        address: String,
        /// The kernel's driver, or "no driver".
        driver: String,
    },
    /// The device node of VFIO does not exist.
    #[error(
        "/dev/vfio/vfio is not there: modprobe vfio-pci (without an IOMMU also: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode)"
    )]
    NoVfio,
    /// No such network interface.
    #[error(
        "network interface {interface} for device {device} does not exist: see ip link, and the network namespace of this process"
    )]
    NoInterface {
        /// Its name.
        interface: String,
        /// The device string.
        device: String,
    },
    /// The kernel has no interface of such a name.
    #[error("interface name {interface} of device {device} has {bytes} bytes, the kernel takes 1 to 15; choose another one", bytes = .interface.len())]
    InterfaceName {
        /// The name.
        interface: String,
        /// The device string.
        device: String,
    },
    /// There is no sysfs.
    #[error("/sys/class/net is not there, in which interfaces are looked up: mount -t sysfs sysfs /sys")]
    NoSysfs,
    /// This process may not do what the device needs.
    #[error(
        "device {device} needs {capability}, which this process lacks: run as root, or grant it (systemd: AmbientCapabilities={capability}, and CapabilityBoundingSet)"
    )]
    Capability {
        /// The device string.
        device: String,
        /// The capability.
        capability: &'static str,
    },
    /// This process may not open enough files.
    #[error("device {device} needs {needed} more open files, this process has {open} of {limit}: ulimit -n {way_out} (systemd: LimitNOFILE={way_out})", way_out = .open + .needed + 64)]
    Files {
        /// The device string.
        device: String,
        /// Files that the device opens.
        needed: u64,
        /// Files that are open.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// A file that a device needs cannot be opened.
    #[error("device {device} needs {path}: {why}; {way_out}", path = .path.display())]
    File {
        /// The device string.
        device: String,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        why: String,
        /// What may help.
        way_out: &'static str,
    },
    /// A Unix socket has too long a path.
    #[error("socket {path} of device {device} has {bytes} bytes, the kernel takes 107; choose a shorter path", path = .path.display(), bytes = .path.as_os_str().len())]
    SocketPath {
        /// The device string.
        device: String,
        /// The path.
        path: PathBuf,
    },
}

/// Kernel drivers that DPDK works with: three that hand over the whole device, and three whose device DPDK shares
/// with the kernel.
const PCI_DRIVERS: [&str; 6] = ["vfio-pci", "igb_uio", "uio_pci_generic", "mlx5_core", "mlx4_core", "gve"];

/// Checks everything that DPDK's start needs.
pub(super) fn check(config: &EalConfig) -> Result<(), Refusal> {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if config.name.is_empty() || config.name.starts_with(['-', '.']) || !config.name.chars().all(usable) {
        return Err(Refusal::Name(config.name.clone()));
    }
    cores(&allowed_cores(), config.control_cores.iter().chain(&config.worker_cores))?;
    if let Memory::Huge(dir) = &config.memory {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        hugepages(Path::new("/sys/kernel/mm/hugepages"), &mounts, dir.as_deref(), config.memory_mib.into())?;
    }
    name(&runtime_directory(), &config.name)?;
    for address in &config.pci {
        pci(Path::new("/sys/bus/pci/devices"), address)?;
    }
    Ok(())
}

/// The cores that this process may use.
pub(super) fn allowed_cores() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return vec![0] };
    (0..nix::sched::CpuSet::count())
        .filter(|&core| set.is_set(core).unwrap_or(false))
        .map(|c| c as u32)
        .collect()
}

fn cores<'a>(allowed: &[u32], mut wanted: impl Iterator<Item = &'a u32>) -> Result<(), Refusal> {
    match wanted.find(|core| !allowed.contains(core)) {
        Some(&core) => Err(Refusal::Core { core, allowed: allowed.to_vec() }),
        None => Ok(()),
    }
}

fn hugepages(sys: &Path, mounts: &str, asked: Option<&Path>, needed_mib: u64) -> Result<(), Refusal> {
    let mounts: Vec<(&Path, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (dir, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "hugetlbfs").then_some((Path::new(dir), options))
        })
        .collect();
    let size_kib = |options: &str| -> u64 {
        let size = options.split(',').find_map(|option| option.strip_prefix("pagesize=")).unwrap_or("2M");
        let number = size.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']).parse().unwrap_or(2u64);
        match size.chars().last() {
            Some('K' | 'k') => number,
            Some('G' | 'g') => number << 20,
            _ => number << 10,
        }
    };
    let mount = mounts.iter().find(|(dir, _)| asked.is_none_or(|asked| asked == *dir));
    let size_kib = mount.map_or(2048, |(_, options)| size_kib(options));
    let count = |name: &str| -> u64 {
        let file = sys.join(format!("hugepages-{size_kib}kB")).join(name);
        fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let (reserved, free) = (count("nr_hugepages"), count("free_hugepages"));
    let pages = (needed_mib << 10).div_ceil(size_kib);
    if reserved == 0 {
        return Err(Refusal::NoHugepages { size_kib, needed_mib, pages });
    }
    let Some((dir, _)) = mount else {
        let dir = asked.unwrap_or(Path::new("/dev/hugepages")).to_owned();
        return Err(Refusal::NoHugetlbfs { dir, asked: asked.is_some() });
    };
    if free < pages {
        let free_mib = (free * size_kib) >> 10;
        return Err(Refusal::FewHugepages { free_mib, needed_mib, pages: reserved + pages - free });
    }
    if access(*dir, AccessFlags::W_OK).is_err() {
        return Err(Refusal::HugetlbfsDenied { dir: dir.to_path_buf(), uid: geteuid().as_raw() });
    }
    Ok(())
}

/// The directory of DPDK's runtime files, by DPDK's own rule.
fn runtime_directory() -> PathBuf {
    if let Some(dir) = std::env::var_os("RUNTIME_DIRECTORY") {
        return PathBuf::from(dir).join("dpdk");
    }
    if geteuid().is_root() {
        return "/var/run/dpdk".into();
    }
    PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap_or("/tmp".into())).join("dpdk")
}

fn name(runtime: &Path, name: &str) -> Result<(), Refusal> {
    let parent = runtime.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if access(parent, AccessFlags::W_OK).is_err() {
        return Err(Refusal::RuntimeDirectory { dir: parent.to_owned(), uid: geteuid().as_raw() });
    }
    let file = runtime.join(name).join("config");
    let Ok(config) = fs::File::options().read(true).write(true).open(&file) else { return Ok(()) };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&config, FcntlArg::F_GETLK(&mut lock)) {
        Ok(_) if lock.l_type != libc::F_UNLCK as libc::c_short => {
            Err(Refusal::NameInUse { name: name.to_owned(), pid: lock.l_pid, file })
        }
        _ => Ok(()),
    }
}

fn pci(devices: &Path, address: &str) -> Result<(), Refusal> {
    let address = address.split(',').next().unwrap_or(address);
    let device = devices.join(address);
    if address.is_empty() || !device.exists() {
        return Err(Refusal::NoPciDevice(address.to_owned()));
    }
    let driver = fs::read_link(device.join("driver")).ok();
    let driver =
        driver.as_deref().and_then(Path::file_name).map_or("no driver".into(), |name| name.to_string_lossy());
    if !PCI_DRIVERS.contains(&&*driver) {
        return Err(Refusal::PciDriver { address: address.to_owned(), driver: driver.into_owned() });
    }
    if driver == "vfio-pci" && !Path::new("/dev/vfio/vfio").exists() {
        return Err(Refusal::NoVfio);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn pages(dir: &Path, reserved: u32, free: u32) {
        let dir = dir.join("hugepages-2048kB");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("nr_hugepages"), format!("{reserved}\n")).unwrap();
        fs::write(dir.join("free_hugepages"), format!("{free}\n")).unwrap();
    }

    #[test]
    fn hugepage_errors_carry_value_and_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = format!("nodev {} hugetlbfs rw,relatime,pagesize=2M 0 0\n", dir.path().display());
        let text = |mounts: &str, asked: Option<&Path>, mib| {
            hugepages(dir.path(), mounts, asked, mib).map_err(|refusal| refusal.to_string())
        };
        assert!(text("", None, 512).unwrap_err().contains("sysctl vm.nr_hugepages=256"));
        pages(dir.path(), 100, 50);
        assert!(text("", None, 64).unwrap_err().contains("mount -t hugetlbfs nodev /dev/hugepages"));
        let elsewhere = text(&mounted, Some(Path::new("/mnt/h")), 64).unwrap_err();
        assert!(elsewhere.contains("not mounted at /mnt/h"), "{elsewhere}");
        let few = text(&mounted, None, 120).unwrap_err();
        assert!(
            few.contains("100 MiB") && few.contains("120 MiB") && few.contains("nr_hugepages=110"),
            "{few}"
        );
        assert_eq!(text(&mounted, None, 100), Ok(()));
        assert_eq!(text(&mounted, Some(dir.path()), 100), Ok(()));
    }

    #[test]
    fn cores_and_names_are_checked() {
        assert!(cores(&[0, 1], [0, 1].iter()).is_ok());
        let far = cores(&[0, 1], [1, 7].iter()).unwrap_err();
        assert_eq!(far, Refusal::Core { core: 7, allowed: vec![0, 1] });
        let bad = EalConfig { name: "a/b".into(), ..EalConfig::default() };
        assert_eq!(check(&bad), Err(Refusal::Name("a/b".into())));
    }

    #[test]
    fn pci_devices_must_exist_and_be_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pci(dir.path(), "0000:3b:00.1"), Err(Refusal::NoPciDevice("0000:3b:00.1".into())));
        let device = dir.path().join("0000:3b:00.1");
        fs::create_dir(&device).unwrap();
        let unbound = pci(dir.path(), "0000:3b:00.1,dv_flow_en=0").unwrap_err().to_string();
        assert!(
            unbound.contains("no driver") && unbound.contains("--bind=vfio-pci 0000:3b:00.1"),
            "{unbound}"
        );
        symlink("/sys/bus/pci/drivers/ixgbe", device.join("driver")).unwrap();
        assert!(pci(dir.path(), "0000:3b:00.1").unwrap_err().to_string().contains("bound to ixgbe"));
        fs::remove_file(device.join("driver")).unwrap();
        symlink("/sys/bus/pci/drivers/mlx5_core", device.join("driver")).unwrap();
        assert_eq!(pci(dir.path(), "0000:3b:00.1"), Ok(()));
    }
}

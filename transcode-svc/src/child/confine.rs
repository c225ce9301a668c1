//! The child gives up what it does not need, before it touches any media.
//!
//! Owns the two lists: which files are left (Landlock) and which system calls are not (seccomp). Called on the first
//! thread while there is no other: both pass from a thread to those that it starts. What the kernel does not offer is
//! logged, and the rest is done all the same. No clock.
//!
//! # What is left
//! Reading and mapping what GStreamer and the drivers are made of; graphics devices and shared memory, to read and
//! write; the socket to the parent. No secrets: neither a user's files nor other processes' environments.
//!
//! # What is not
//! Networks and other processes' sockets, new processes and programs, tracing, signals to others, new name spaces,
//! and `io_uring`, through which the others could be asked for.

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, apply_filter,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Said by the parent to a child that shall confine itself.
pub(super) const VARIABLE: &str = "TRANSCODE_CHILD_CONFINED";

/// Bytes of a file (memory that is shared is one, too) that a child may write.
const FILE_SIZE: u64 = 256 << 20;

/// Added to the thousandths of memory by which the kernel chooses what it kills when there is none left: the child
/// goes before the worker.
const SACRIFICE: &str = "500";

/// Whole folders that programs and libraries are in, and what the kernel tells of the machine.
const READ: [&str; 19] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/sys",
    "/run/opengl-driver",
    "/run/udev/data",
    "/run/nvidia",
    "/proc/self",
    "/proc/sys",
    "/proc/driver",
    "/proc/device-tree",
    "/proc/asound",
    "/snap",
];

/// Files of that kind, one by one: beside them lie secrets.
const READ_FILES: [&str; 27] = [
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/proc/filesystems",
    "/proc/devices",
    "/proc/modules",
    "/proc/loadavg",
    "/proc/uptime",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/machine-id",
    "/etc/drirc",
    "/etc/glvnd",
    "/etc/OpenCL",
    "/etc/vulkan",
    "/etc/egl",
    "/etc/nv_tegra_release",
    "/etc/nvidia-container-runtime",
    "/etc/alternatives",
    "/etc/os-release",
];

/// Devices to read and write, by how their names in `/dev` begin: those that decode, scale and encode, and those
/// without anything behind them.
const DEVICES: [&str; 26] = [
    "nvidia",
    "nvhost",
    "nvmap",
    "nvgpu",
    "tegra",
    "dri",
    "video",
    "media",
    "v4l",
    "dma_heap",
    "kfd",
    "mali",
    "rga",
    "mpp_service",
    "vpu",
    "galcore",
    "accel",
    "dxg",
    "shm",
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "host1x",
    "nvsciipc",
];

/// Variables that name folders or files which GStreamer and the loader look into.
const PATHS: [&str; 12] = [
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "GST_PRESET_PATH",
    "GST_REGISTRY",
    "GST_REGISTRY_1_0",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LIBVA_DRIVERS_PATH",
    "LIBGL_DRIVERS_PATH",
    "GBM_BACKENDS_PATH",
];

/// Give up what is not needed, where the parent says so. Nothing may run in this process yet.
pub(super) fn confine() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    // Raising it needs no right.
    let sacrificed = std::fs::write("/proc/self/oom_score_adj", SACRIFICE);
    told("the kernel's order of sacrifice", sacrificed);
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    told("the limit on core dumps", setrlimit(Resource::Core, limit(0)));
    told("the limit on the size of files", setrlimit(Resource::Fsize, limit(FILE_SIZE)));
    match files() {
        Ok(status) => match status.ruleset {
            RulesetStatus::NotEnforced => log::warn!(
                "this kernel has no Landlock: the graph's process can read and write what its user can; with \
                 Linux 5.13 and `lsm=landlock,…` it could not"
            ),
            status => log::debug!("files: {status:?}"),
        },
        Err(error) => told("which files are left (Landlock)", Err::<(), _>(error)),
    }
    told("which system calls are left (seccomp)", calls());
}

/// One line where something is not to be had.
fn told<E: std::fmt::Display>(what: &str, done: Result<(), E>) {
    if let Err(error) = done {
        log::warn!("the graph's process is not confined as it should be: {what}: {error}");
    }
}

fn files() -> Result<RestrictionStatus, RulesetError> {
    // The newest rules that are known here; an older kernel keeps those that it knows.
    let abi = ABI::V6;
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::AbstractUnixSocket)?
        .scope(Scope::Signal)?
        .create()?
        // What is not there is left out.
        .add_rules(path_beneath_rules(read(), AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(devices(), AccessFs::from_all(abi)))?
        .restrict_self()
}

/// What may be read.
fn read() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = READ.iter().chain(&READ_FILES).map(PathBuf::from).collect();
    let variable = |name: &&str| std::env::var_os(name);
    let listed = PATHS.iter().filter_map(variable);
    paths.extend(listed.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()));
    paths.extend(std::env::current_exe());
    // GStreamer's own folders of a user: plugins, and what is known of them.
    let home = |variable: &str, below: &str| {
        let set = std::env::var_os(variable).map(PathBuf::from);
        set.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(below)))
    };
    for (variable, below) in [("XDG_DATA_HOME", ".local/share"), ("XDG_CACHE_HOME", ".cache")] {
        paths.extend(home(variable, below).map(|path| path.join("gstreamer-1.0")));
    }
    // An empty entry of a list is the working directory for some.
    paths.retain(|path| path.is_absolute());
    paths
}

/// What may be read and written.
fn devices() -> Vec<PathBuf> {
    let fits =
        |name: &OsStr| name.to_str().is_some_and(|name| DEVICES.iter().any(|known| name.starts_with(known)));
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    entries.filter(|entry| fits(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// Rules of a filter: by number, each with the conditions under which it holds; none: always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn calls() -> Result<(), seccompiler::Error> {
    let own = u64::from(std::process::id());
    let mut refused = Rules::new();
    for call in REFUSED {
        refused.insert(call, Vec::new());
    }
    let is = |argument, op, value| Condition::new(argument, Length::Dword, op, value);
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    let datagram = || is(1, Op::MaskedEq(0xf), u64::from(libc::SOCK_DGRAM.unsigned_abs()));
    // CUDA makes a local socket for itself. Datagrams need no connection to reach others.
    refused.insert(
        libc::SYS_socket,
        vec![SeccompRule::new(vec![is(0, Op::Ne, unix)?])?, SeccompRule::new(vec![datagram()?])?],
    );
    refused.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![datagram()?])?]);
    // A thread is no process.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is(0, Op::MaskedEq(thread), 0)?])?]);
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        refused.insert(call, vec![SeccompRule::new(vec![is(0, Op::Ne, own)?])?]);
    }
    refused
        .insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is(0, Op::Ne, 0)?, is(0, Op::Ne, own)?])?]);
    // "There is no such call": libraries know the older ones, whose arguments can be looked at.
    let absent: Rules = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
    apply(absent, libc::ENOSYS)?;
    apply(refused, libc::EACCES)
}

fn apply(mut rules: Rules, error: i32) -> Result<(), seccompiler::Error> {
    if cfg!(target_arch = "x86_64") {
        // The same calls under their other numbers (x32).
        let others: Vec<_> = rules.iter().map(|(call, rules)| (call | 0x4000_0000, rules.clone())).collect();
        rules.extend(others);
    }
    let arch = std::env::consts::ARCH.try_into().map_err(seccompiler::Error::Backend)?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(error.unsigned_abs()), arch)
            .and_then(seccompiler::BpfProgram::try_from)
            .map_err(seccompiler::Error::Backend)?;
    apply_filter(&filter)
}

/// Calls that a library gets around without.
const ABSENT: [i64; 4] =
    [libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Calls that nobody needs who makes segments.
const REFUSED: [i64; if cfg!(target_arch = "x86_64") { 46 } else { 42 }] = [
    // Others, near and far.
    libc::SYS_connect,
    libc::SYS_tkill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_getfd,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    // New processes and programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // Name spaces, mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_sethostname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

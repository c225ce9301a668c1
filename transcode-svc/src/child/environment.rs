//! What of the parent's environment a child sees: what a media library needs, nothing else.
//!
//! A list of what may pass, not of what may not: keys of stores go by many names. Knows names only,
//! never values, but for what the child's memory allocator is told where nobody has told it anything.

use std::ffi::OsString;

/// Passed by name.
const NAMES: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

/// Passed by how they begin: GStreamer, GLib, the loader, locales, graphics and video drivers, Rust's
/// own switches, and coverage.
const PREFIXES: [&str; 23] = [
    "GST_",
    "G_DEBUG",
    "G_MESSAGES_",
    "G_SLICE",
    "GLIBC_",
    "MALLOC_",
    "ORC_",
    "LD_",
    "LC_",
    "XDG_",
    "RUST_",
    "LIBVA_",
    "VDPAU_",
    "VAAPI_",
    "LIBGL_",
    "MESA_",
    "EGL_",
    "__EGL_",
    "CUDA_",
    "NVIDIA_",
    "ASAN_",
    "LLVM_PROFILE_",
    // Elements under vendors' names, for tests.
    "TRANSCODE_STANDINS",
];

/// What glibc's allocator is told (`mallopt(3)`), where the parent's environment does not say it.
///
/// A graph has some twenty threads, and what one allocates another frees: with an arena for each, as is
/// the default, much is held in holes. Four do not make them wait. Giving pictures back to the system
/// one by one (`MALLOC_MMAP_THRESHOLD_`) would save some 15 MB more, for 2 to 5 % of the CPU.
const ALLOCATOR: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "4")];

/// Whether a variable of that name is passed on.
fn passes(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// This process's environment, as a child sees it.
pub(super) fn for_child() -> Vec<(OsString, OsString)> {
    let told = ALLOCATOR.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let told = told.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let passed = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passes));
    told.chain(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_is_told_once_and_what_the_parent_says_counts() {
        let told = for_child();
        for (name, value) in ALLOCATOR {
            let found: Vec<_> =
                told.iter().filter(|(told, _)| told == name).map(|(_, value)| value).collect();
            let wanted = std::env::var_os(name).unwrap_or_else(|| value.into());
            assert_eq!(found, [&wanted], "{name}");
        }
    }

    #[test]
    fn credentials_do_not_pass_and_what_a_graph_needs_does() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "AWS_SESSION_TOKEN",
            "TRANSCODE_STORE_SECRET",
            "TRANSCODE_CONFIG",
            "S3_KEY",
            "WASABI_SECRET",
            "REDIS_URL",
            "HTTPS_PROXY",
            "DATABASE_URL",
        ] {
            assert!(!passes(name), "{name}");
        }
        for name in
            ["PATH", "HOME", "GST_PLUGIN_PATH", "GST_REGISTRY", "RUST_LOG", "LD_LIBRARY_PATH", "LC_ALL"]
        {
            assert!(passes(name), "{name}");
        }
    }
}

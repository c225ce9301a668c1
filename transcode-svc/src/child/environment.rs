//! What of the parent's environment a child sees: what a media library needs, nothing else.
//!
//! A list of what may pass, not of what may not: keys of stores go by many names. Knows names only,
//! never values.

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

/// Whether a variable of that name is passed on.
fn passes(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// This process's environment, as a child sees it.
pub(super) fn for_child() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! The stand-ins as a plugin file, for a binary that does not know of them.
//!
//! Owns: finding the built plugin and the environment that makes a child process load it. Must not know: boards'
//! elements.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::board::{BOARDS_VARIABLE, Board, FAULTS_VARIABLE};

const FILE: &str = "libtranscode_standins.so";

/// The plugin that was built together with the running test: beside it or one folder up.
///
/// # Errors
///
/// There is none: the crate was built without its `cdylib`.
pub fn plugin_file() -> io::Result<PathBuf> {
    let exe = env::current_exe()?;
    exe.ancestors()
        .skip(1)
        .take(2)
        .flat_map(|folder| [folder.join(FILE), folder.join("deps").join(FILE)])
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let text = format!("no {FILE} near {}: run `cargo build -p transcode-standins`", exe.display());
            io::Error::new(io::ErrorKind::NotFound, text)
        })
}

/// The environment of a child process that shall find the board's stand-ins: the plugin is put into `folder`,
/// which must be there, and GStreamer keeps its registry there, away from the user's. `faults` as in
/// `TRANSCODE_STANDINS_FAULT` (`nvh264enc:error@200`), empty for none.
///
/// # Errors
///
/// The plugin cannot be found or put into the folder.
pub fn child_environment(
    boards: &[Board],
    faults: &str,
    folder: &Path,
) -> io::Result<Vec<(&'static str, OsString)>> {
    let plugin = folder.join(FILE);
    if !plugin.exists() {
        fs::copy(plugin_file()?, &plugin)?;
    }
    let boards: Vec<_> = boards.iter().map(ToString::to_string).collect();
    Ok(vec![
        ("GST_PLUGIN_PATH", folder.as_os_str().to_owned()),
        ("GST_REGISTRY", folder.join("registry.bin").into_os_string()),
        (BOARDS_VARIABLE, boards.join(",").into()),
        (FAULTS_VARIABLE, faults.into()),
    ])
}

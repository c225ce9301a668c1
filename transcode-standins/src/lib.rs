//! Stand-ins for the vendors' GStreamer elements: their names, pads, memory features, property names, types,
//! ranges, defaults and enum nicks, with GStreamer's own software inside. Tests only.
//!
//! Owns: everything that makes a graph written for a board run on a machine without the board, and fail where the
//! board would fail. Must not know: Transcode. See the crate's `README.md` for what they promise and what not.
//!
//! ```
//! use transcode_standins::{Board, register};
//!
//! register(Board::NvidiaT4)?;
//! # Ok::<(), transcode_standins::Error>(())
//! ```
#![forbid(unsafe_code)]

use std::fmt;

use gstreamer as gst;

mod board;
mod convert;
mod decoder;
mod element;
mod encoder;
mod fault;
mod gate;
mod mischief;
mod nal;
mod plugin;
mod relabel;
mod table;

pub use board::{BOARDS_VARIABLE, Board, FAULTS_VARIABLE, JetPack, from_environment, register};
pub use fault::{Fault, clear_faults, open_sessions, set_fault};
pub use mischief::MISCHIEF_VARIABLE;
pub use plugin::{child_environment, plugin_file};

/// Why a stand-in cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A table does not say what it should.
    Table(String),
    /// GStreamer refused something.
    Gst(String),
    /// A board or a fault was named that does not exist.
    Text(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(text) | Self::Gst(text) | Self::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// One line for each row of the tables: version, element, property, and where it was read (file and line).
///
/// # Errors
///
/// A table that does not parse.
pub fn citations() -> Result<Vec<String>, Error> {
    table::citations()
}

/// As a plugin: what the environment names, found by a binary that does not know of it.
fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // GStreamer keeps what a plugin registered; these variables make it look again when they change.
    plugin.add_dependency_simple(
        Some(&format!("{BOARDS_VARIABLE}:{FAULTS_VARIABLE}")),
        None::<&str>,
        None::<&str>,
        gst::PluginDependencyFlags::empty(),
    );
    board::from_environment_in(Some(plugin)).map_err(|err| glib::bool_error!("{err}"))?;
    Ok(())
}

/// What GStreamer looks for in a plugin's file; the macro documents nothing of what it writes.
#[allow(missing_docs, unreachable_pub)]
mod exported {
    use gstreamer as gst;

    use super::plugin_init;

    gst::plugin_define!(
        transcode_standins,
        "Stand-ins for vendors' elements, chosen by TRANSCODE_STANDINS",
        plugin_init,
        env!("CARGO_PKG_VERSION"),
        "MIT/X11",
        "transcode-standins",
        "transcode-standins",
        "https://example.invalid/transcode"
    );
}

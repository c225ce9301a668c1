//! The boards: which elements a machine of a kind has, and under which version of the vendor's software.
//!
//! Owns: the lists, their text form, registering. Must not know: what an element does.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use gstreamer as gst;

use crate::table::{self, Key};
use crate::{Error, element, fault};

/// NVIDIA's software for Jetson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JetPack {
    /// JetPack 5: L4T R35, GStreamer 1.16.
    Five,
    /// JetPack 6: L4T R36, GStreamer 1.20.
    Six,
}

/// A machine whose elements can be stood in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// Jetson Orin Nano: decodes and scales, has no encoder.
    JetsonOrinNano(JetPack),
    /// A Jetson that encodes too: Xavier, Orin NX, AGX Orin.
    JetsonNvenc(JetPack),
    /// T4 (g4dn), and as it L4 and A10: decodes, scales, encodes.
    NvidiaT4,
    /// A T4 under a GStreamer later than 1.22: nvcudah264enc has the presets p1 to p7; no older nvh264enc.
    NvidiaLater,
    /// A100, H100, H200: decodes (AV1 too) and scales, has no encoder.
    NvidiaDataCentre,
    /// A T4 on which libnvrtc is missing: no cudaconvert, cudascale, cudaconvertscale.
    NvidiaNoNvrtc,
    /// Intel or AMD with VA-API.
    Va,
    /// Intel with VA-API and oneVPL.
    Qsv,
    /// A Mac.
    VideoToolbox,
}

impl JetPack {
    fn table(self) -> &'static str {
        match self {
            Self::Five => "l4t-r35",
            Self::Six => "l4t-r36",
        }
    }
}

impl Board {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::JetsonOrinNano(JetPack::Five),
        Self::JetsonOrinNano(JetPack::Six),
        Self::JetsonNvenc(JetPack::Five),
        Self::JetsonNvenc(JetPack::Six),
        Self::NvidiaT4,
        Self::NvidiaLater,
        Self::NvidiaDataCentre,
        Self::NvidiaNoNvrtc,
        Self::Va,
        Self::Qsv,
        Self::VideoToolbox,
    ];

    /// The names of the elements that this board has.
    pub fn elements(self) -> Vec<&'static str> {
        self.keys().into_iter().map(|key| key.0).collect()
    }

    fn keys(self) -> Vec<Key> {
        const NV: &str = "nvcodec-1.22.0";
        const VA: &str = "va-1.22.0";
        let mut keys: Vec<Key> = match self {
            Self::JetsonOrinNano(jetpack) | Self::JetsonNvenc(jetpack) => {
                vec![("nvv4l2decoder", jetpack.table()), ("nvvidconv", jetpack.table())]
            }
            Self::NvidiaT4 | Self::NvidiaLater | Self::NvidiaDataCentre | Self::NvidiaNoNvrtc => {
                ["nvh264dec", "nvh265dec", "nvvp9dec", "nvmpeg2videodec", "cudaupload", "cudadownload"]
                    .map(|name| (name, NV))
                    .to_vec()
            }
            Self::VideoToolbox => {
                ["vtdec_hw", "vtenc_h264_hw"].map(|name| (name, "applemedia-1.22.0")).to_vec()
            }
            Self::Va | Self::Qsv => {
                ["vah264dec", "vah265dec", "vavp9dec", "vaav1dec", "vampeg2dec", "vapostproc", "vah264enc"]
                    .map(|name| (name, VA))
                    .to_vec()
            }
        };
        if self == Self::Qsv {
            keys.push(("qsvh264enc", "qsv-1.22.0"));
        }
        if let Self::JetsonNvenc(jetpack) = self {
            keys.push(("nvv4l2h264enc", jetpack.table()));
        }
        if matches!(self, Self::NvidiaT4 | Self::NvidiaLater | Self::NvidiaDataCentre) {
            keys.extend([("cudaconvert", NV), ("cudascale", NV), ("cudaconvertscale", NV)]);
        }
        if matches!(self, Self::NvidiaT4 | Self::NvidiaNoNvrtc) {
            keys.extend([("nvh264enc", NV), ("nvcudah264enc", NV)]);
        }
        if self == Self::NvidiaLater {
            keys.push(("nvcudah264enc", "nvcodec-1.24"));
        }
        if self == Self::NvidiaDataCentre {
            keys.push(("nvav1dec", NV));
        }
        keys
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = |jetpack: &JetPack| if *jetpack == JetPack::Five { 5 } else { 6 };
        match self {
            Self::JetsonOrinNano(jetpack) => write!(f, "jetson-orin-nano:{}", generation(jetpack)),
            Self::JetsonNvenc(jetpack) => write!(f, "jetson-nvenc:{}", generation(jetpack)),
            Self::NvidiaT4 => f.write_str("nvidia-t4"),
            Self::NvidiaLater => f.write_str("nvidia-later"),
            Self::NvidiaDataCentre => f.write_str("nvidia-data-centre"),
            Self::NvidiaNoNvrtc => f.write_str("nvidia-no-nvrtc"),
            Self::Va => f.write_str("va"),
            Self::Qsv => f.write_str("qsv"),
            Self::VideoToolbox => f.write_str("video-toolbox"),
        }
    }
}

impl FromStr for Board {
    type Err = Error;

    /// As `Display` writes them; a Jetson without a number is of JetPack 6.
    fn from_str(text: &str) -> Result<Self, Error> {
        let whole = if text.starts_with("jetson-") && !text.contains(':') {
            format!("{text}:6")
        } else {
            text.into()
        };
        Self::ALL.into_iter().find(|board| board.to_string() == whole).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
            Error::Text(format!("board `{text}` is not known: {}", all.join(", ")))
        })
    }
}

/// What is registered in this process.
static REGISTERED: Mutex<Vec<Key>> = Mutex::new(Vec::new());

/// Registers the board's elements in this process, beside those of boards registered before.
///
/// # Errors
///
/// An element of the same name is registered in another version: a process has one JetPack, one nvcodec.
pub fn register(board: Board) -> Result<(), Error> {
    register_in(board, None)
}

pub(crate) fn register_in(board: Board, plugin: Option<&gst::Plugin>) -> Result<(), Error> {
    // A plugin is loaded in the midst of that.
    if plugin.is_none() {
        gst::init().map_err(|err| Error::Gst(err.to_string()))?;
    }
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = board.keys();
    if let Some((known, _)) = registered
        .iter()
        .flat_map(|known| keys.iter().map(move |key| (known, key)))
        .find(|(known, key)| known.0 == key.0 && known != key)
    {
        return Err(Error::Text(format!(
            "{} is registered as of {}: a process has one version of it; run {board} in another",
            known.0, known.1
        )));
    }
    for key in keys {
        if !registered.contains(&key) {
            element::register(table::entry(key)?, plugin)?;
            registered.push(key);
        }
    }
    Ok(())
}

/// The variable that names the boards, with commas between: `jetson-orin-nano:6`, `nvidia-t4,va`.
pub const BOARDS_VARIABLE: &str = "TRANSCODE_STANDINS";

/// The variable that names the faults, with commas between: `nvh264enc:error@200`.
pub const FAULTS_VARIABLE: &str = "TRANSCODE_STANDINS_FAULT";

/// Registers the boards and sets the faults that the environment names; nothing where it names none.
///
/// # Errors
///
/// A board or a fault that is not known; two boards that exclude each other.
pub fn from_environment() -> Result<Vec<Board>, Error> {
    from_environment_in(None)
}

pub(crate) fn from_environment_in(plugin: Option<&gst::Plugin>) -> Result<Vec<Board>, Error> {
    if let Ok(text) = std::env::var(FAULTS_VARIABLE) {
        for (element, fault) in fault::parse_list(&text)? {
            fault::set_fault(&element, fault);
        }
    }
    let Ok(text) = std::env::var(BOARDS_VARIABLE) else { return Ok(Vec::new()) };
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let boards: Vec<Board> = names.map(str::parse).collect::<Result<_, _>>()?;
    for board in &boards {
        register_in(*board, plugin)?;
    }
    Ok(boards)
}

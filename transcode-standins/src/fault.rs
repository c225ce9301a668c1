//! Faults: how a stand-in is told to misbehave, and the bookkeeping of sessions.
//!
//! Owns: the text form of a fault, the process-wide list of faults, the count of open encode sessions.
//! Must not know: GStreamer.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::Error;

/// What goes wrong. Frames are counted from 0 in each element, in the order in which pictures come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error message and a failing flow at this frame, a moment after it has come.
    Error {
        /// The frame at which.
        at: u64,
    },
    /// Nothing comes out any more from this frame on; no message.
    Stall {
        /// The frame at which.
        at: u64,
    },
    /// Pictures of this frame and later are all green (every byte 0), as from a driver that lost its surfaces.
    Green {
        /// The first green frame.
        at: u64,
    },
    /// Pictures of this frame and later have no colours: both chroma planes are at their middle.
    Grey {
        /// The first grey frame.
        at: u64,
    },
    /// No more than this many sessions of the element at once in this process: the next fails to open.
    Sessions {
        /// How many open.
        at_most: u32,
    },
    /// The interval of IDR pictures and every request for one are ignored: one IDR picture, the first.
    IgnoreGop,
    /// The element cannot reach READY: the device does not open.
    DieAtReady,
    /// What `TRANSCODE_STANDINS_MISCHIEF` says is tried at this frame, once in a process.
    Mischief {
        /// The frame at which.
        at: u64,
    },
    /// The element takes memory, gigabytes of it, at this frame.
    Hog {
        /// The frame at which.
        at: u64,
    },
}

impl FromStr for Fault {
    type Err = Error;

    /// `error@N`, `stall@N`, `green@N`, `grey@N`, `sessions@N`, `mischief@N`, `hog@N`, `ignore-gop`,
    /// `die-at-ready`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (word, number) = match text.split_once('@') {
            Some((word, number)) => (word, Some(number)),
            None => (text, None),
        };
        let bad = || {
            Error::Text(format!(
                "fault `{text}` is not understood: error@N, stall@N, green@N, grey@N, sessions@N, mischief@N, hog@N, ignore-gop or die-at-ready"
            ))
        };
        let n = || number.and_then(|n| n.parse::<u64>().ok()).ok_or_else(bad);
        match word {
            "error" => Ok(Self::Error { at: n()? }),
            "stall" => Ok(Self::Stall { at: n()? }),
            "green" => Ok(Self::Green { at: n()? }),
            "grey" => Ok(Self::Grey { at: n()? }),
            "sessions" => Ok(Self::Sessions { at_most: n()?.try_into().map_err(|_| bad())? }),
            "mischief" => Ok(Self::Mischief { at: n()? }),
            "hog" => Ok(Self::Hog { at: n()? }),
            "ignore-gop" if number.is_none() => Ok(Self::IgnoreGop),
            "die-at-ready" if number.is_none() => Ok(Self::DieAtReady),
            _ => Err(bad()),
        }
    }
}

/// Element → fault; several may be set for one element.
static FAULTS: Mutex<Vec<(String, Fault)>> = Mutex::new(Vec::new());

/// Open sessions: one name an open encoder.
static SESSIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes every element of this name misbehave from now on (elements that run already keep what they had).
pub fn set_fault(element: &str, fault: Fault) {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).push((element.to_owned(), fault));
}

/// Forgets all faults.
pub fn clear_faults() {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

pub(crate) fn of(element: &str) -> Vec<Fault> {
    let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    faults.iter().filter(|(name, _)| name == element).map(|(_, fault)| *fault).collect()
}

/// Reads `nvh264enc:error@200,nvh264dec:stall@3`.
pub(crate) fn parse_list(text: &str) -> Result<Vec<(String, Fault)>, Error> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (element, fault) = part.split_once(':').ok_or_else(|| {
                Error::Text(format!("fault `{part}` names no element: write nvh264enc:error@200"))
            })?;
            Ok((element.to_owned(), fault.parse()?))
        })
        .collect()
}

/// Opens a session, or says how many are open already.
pub(crate) fn open_session(element: &str, at_most: Option<u32>) -> Result<(), usize> {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let open = sessions.iter().filter(|name| *name == element).count();
    if at_most.is_some_and(|most| open >= most as usize) {
        return Err(open);
    }
    sessions.push(element.to_owned());
    Ok(())
}

pub(crate) fn close_session(element: &str) {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = sessions.iter().position(|name| name == element) {
        sessions.swap_remove(at);
    }
}

/// How many encode sessions of this element are open in this process.
pub fn open_sessions(element: &str) -> usize {
    let sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.iter().filter(|name| *name == element).count()
}

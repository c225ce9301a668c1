//! What workers say of themselves: how far each job is, and who they are.
//!
//! Plain data, written with each renewal of a lease and read by whoever shows the fleet.

use crate::job::JobId;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the work on a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// In per cent of what this attempt has to do, 0 to 100.
    pub percent: u8,
    /// What is being done.
    #[serde(default)]
    pub stage: Stage,
    /// Seconds of media a second of wall time, in hundredths; 0 while there is no figure yet.
    #[serde(default)]
    pub speed_percent: u32,
    /// Seconds of wall time until the end at this speed; absent while there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_to_go: Option<u64>,
    /// The platform that makes it; empty before one was chosen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// By rung, best first; empty before it was planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<Playable>,
}

/// How much of a rung can be played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Playable {
    /// The rung.
    pub rung: String,
    /// Segments from the beginning without a gap.
    pub playable: u32,
    /// Segments in all; absent where the source does not tell its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u32>,
}

/// What is being done for a job. JSON: lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The source is looked at and the plan made.
    #[default]
    Probe,
    /// Segments are made.
    Encode,
    /// MP4 files are packaged from them.
    Package,
    /// The last playlists are written.
    Publish,
}

impl Stage {
    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Encode => "encode",
            Self::Package => "package",
            Self::Publish => "publish",
        }
    }
}

impl Progress {
    /// So many per cent, and nothing else is known.
    pub fn at(percent: u8) -> Self {
        Self { percent, ..Self::default() }
    }
}

/// A worker, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerCard {
    /// Its name, another for each worker of a fleet: `clubhouse-1`.
    pub name: String,
    /// The machine.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// The platform that it uses: `software`, `nvidia`, `jetson`; empty before the first job.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Since when it runs.
    #[schemars(with = "u64")]
    pub started: Timestamp,
    /// When it last said so; the ledger fills it in.
    #[schemars(with = "u64")]
    pub seen: Timestamp,
    /// The job in its hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub job: Option<JobId>,
    /// Since when it has it, or has none.
    #[schemars(with = "u64")]
    pub since: Timestamp,
    /// It takes nothing more and goes as soon as its job is done or handed over.
    #[serde(default)]
    pub stopping: bool,
}

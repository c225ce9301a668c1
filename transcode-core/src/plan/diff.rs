//! Differences between two plans.
/// One value that differs between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `rungs.720p.video.bitrate`.
    pub path: String,
    /// The value in the first plan, as text; `None` where it has none.
    pub left: Option<String>,
    /// The value in the second plan.
    pub right: Option<String>,
}

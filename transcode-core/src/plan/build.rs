//! Puts a plan together.
use super::Plan;
use crate::error::Error;
use crate::media::MediaInfo;
use crate::platform::Platform;
use crate::spec::JobSpec;

/// The plan for `spec` of the source that `info` describes, on `platform`.
///
/// # Errors
/// [`Error::Input`] where the source has nothing to encode, [`Error::Config`] where the request
/// does not fit it.
pub fn plan(info: &MediaInfo, spec: &JobSpec, platform: &Platform) -> Result<Plan, Error> {
    let _ = (spec, platform);
    Err(Error::Input { uri: info.source.uri.clone(), reason: "planning is not written yet".to_owned() })
}

//! `transcode platforms`: what can be named with `--platform`.

use crate::engine::platforms::{SOFTWARE, load};
use transcode_core::Error;
use transcode_core::platform::{Platform, builtin_platforms};

/// One line each, or one of them as a file.
pub(super) fn show(name: Option<&str>) -> Result<String, Error> {
    let Some(name) = name else {
        let lines = builtin_platforms().map(|name| {
            let platform = Platform::builtin(name)?;
            Ok(format!("{name:<13} {}\n", platform.description))
        });
        return lines.collect();
    };
    let platform = match load(&[name.to_owned()])?.into_iter().next_back() {
        Some(candidate) => candidate.platform,
        None => Platform::builtin(SOFTWARE)?,
    };
    toml::to_string(&platform).map_err(|error| Error::Config {
        what: format!("platform {name}"),
        reason: format!("it cannot be written as TOML: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        let text = show(Some("software")).expect("shown");
        assert_eq!(
            Platform::parse("shown", &text).expect("read again"),
            Platform::builtin("software").expect("built in")
        );
    }
}

//! Platforms by name or path, in the order in which they are to be tried.

use super::profiles::{is_path, read_file};
use transcode_core::Error;
use transcode_core::platform::{Platform, builtin_platforms};

/// What `auto` stands for: the platforms that are tried, best first.
const AUTO: [&str; 1] = ["software"];

/// The platforms that the command line names, best first; never empty.
pub(super) fn load(names: &[String]) -> Result<Vec<Platform>, Error> {
    let mut platforms: Vec<Platform> = Vec::new();
    for name in names {
        let found = match name.as_str() {
            "auto" => AUTO.iter().map(|name| Platform::builtin(name)).collect::<Result<Vec<_>, _>>()?,
            path if is_path(path) => vec![Platform::parse(path, &read_file("platform", path)?)?],
            name => vec![Platform::builtin(name)?],
        };
        platforms.extend(found);
    }
    Ok(platforms)
}

/// The platform that is used: the first. Names after it are for when it cannot work here.
pub(super) fn first(names: &[String]) -> Result<Platform, Error> {
    load(names)?.into_iter().next().ok_or_else(|| Error::Config {
        what: "--platform".to_owned(),
        reason: "no platform is named; write auto or a name from `transcode platforms`".to_owned(),
    })
}

/// `transcode platforms`: one line each, or one of them as a file.
pub(super) fn show(name: Option<&str>) -> Result<String, Error> {
    let Some(name) = name else {
        let lines = builtin_platforms().map(|name| {
            let platform = Platform::builtin(name)?;
            Ok(format!("{name:<10} {}\n", platform.description))
        });
        return lines.collect();
    };
    let platform = first(&[name.to_owned()])?;
    toml::to_string(&platform).map_err(|error| Error::Config {
        what: format!("platform {name}"),
        reason: format!("it cannot be written as TOML: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn auto_is_the_software_platform_today() {
        assert_eq!(first(&names(&["auto"])).expect("a platform").name, "software");
        assert_eq!(load(&names(&["software", "auto"])).expect("platforms").len(), 2);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let text = show(Some("software")).expect("shown");
        assert_eq!(
            Platform::parse("shown", &text).expect("read again"),
            Platform::builtin("software").expect("built in")
        );
    }

    #[test]
    fn an_unknown_platform_is_refused_with_the_names_that_exist() {
        let error = first(&names(&["nonsense"])).expect_err("refused").to_string();
        assert!(error.contains("software"), "{error}");
    }
}

//! What AWS's own tools read: their variables and their shared files.
//!
//! Owns the names and the files' format (sections in brackets, `key = value` lines), as far as keys,
//! region and endpoint go. What needs a program or a browser to get keys (`credential_process`, SSO)
//! is not read.

use super::layer::Layer;
use super::{Secret, Variables};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use transcode_core::Error;

/// The variables, most specific name first, with the setting that each stands for.
const NAMES: [(&str, &str); 7] = [
    ("AWS_ENDPOINT_URL_S3", "endpoint"),
    ("AWS_ENDPOINT_URL", "endpoint"),
    ("AWS_REGION", "region"),
    ("AWS_DEFAULT_REGION", "region"),
    ("AWS_ACCESS_KEY_ID", "access-key-id"),
    ("AWS_SECRET_ACCESS_KEY", "secret-access-key"),
    ("AWS_SESSION_TOKEN", "session-token"),
];

/// The Redis workers' variables for their store.
const LYVE: [(&str, &str); 4] = [
    ("LYVE_ENDPOINT", "endpoint"),
    ("LYVE_REGION", "region"),
    ("LYVE_ACCESS_KEY", "access-key-id"),
    ("LYVE_SECRET_KEY", "secret-access-key"),
];

/// What the `AWS_*` variables say.
pub(super) fn layer(variables: &Variables) -> Result<Layer, Error> {
    said(&NAMES, variables)
}

/// What the `LYVE_*` variables say.
pub(super) fn lyve(variables: &Variables) -> Result<Layer, Error> {
    said(&LYVE, variables)
}

fn said(names: &[(&str, &str)], variables: &Variables) -> Result<Layer, Error> {
    let mut layer = Layer::default();
    let mut done = Vec::new();
    for &(name, key) in names {
        let Some(value) = variables.get(name).filter(|value| !value.is_empty()) else { continue };
        if done.contains(&key) {
            continue;
        }
        layer.set(key, value).map_err(|reason| Error::Config { what: name.to_owned(), reason })?;
        done.push(key);
    }
    Ok(layer)
}

/// What the profile in AWS's shared files says. A profile that is named has to be there.
pub(super) fn profile(variables: &Variables, directory: &Path) -> Result<Layer, Error> {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let named = set("AWS_PROFILE");
    let profile = named.map_or("default", String::as_str);
    let path = |variable: &str, file: &str| {
        let path = set(variable).map(PathBuf::from);
        path.or_else(|| set("HOME").map(|home| Path::new(home).join(".aws").join(file)))
    };
    let read = |path: Option<PathBuf>| {
        let text = path.and_then(|path| std::fs::read_to_string(directory.join(path)).ok());
        sections(&text.unwrap_or_default())
    };
    let mut keys = read(path("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    let mut settings = read(path("AWS_CONFIG_FILE", "config"));
    let section = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
    let keys = keys.remove(profile);
    let settings = settings.remove(&section);
    if let (Some(name), None, None) = (named, &keys, &settings) {
        return Err(Error::Config {
            what: "AWS_PROFILE".to_owned(),
            reason: format!("there is no profile `{name}` in AWS's credentials and config files"),
        });
    }
    let (mut keys, mut settings) = (keys.unwrap_or_default(), settings.unwrap_or_default());
    let mut take = |name: &str| keys.remove(name).or_else(|| settings.remove(name));
    let endpoint = take("endpoint_url").map(|text| text.parse()).transpose();
    Ok(Layer {
        access_key_id: take("aws_access_key_id"),
        secret_access_key: take("aws_secret_access_key").map(Secret::new),
        session_token: take("aws_session_token").map(Secret::new),
        region: take("region"),
        endpoint: endpoint.map_err(|reason| Error::Config {
            what: format!("endpoint_url of AWS profile {profile}"),
            reason,
        })?,
        ..Layer::default()
    })
}

/// Sections by name, each with its keys. Lines that are indented belong to the key above and to
/// services this program does not use; they are passed over.
fn sections(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = None;
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#', ';'])) {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let name = name.0.split_whitespace().collect::<Vec<_>>().join(" ");
            found.entry(name.clone()).or_default();
            section = Some(name);
        } else if let (Some((key, value)), Some(section)) = (line.split_once('='), &section) {
            let keys = found.entry(section.clone()).or_default();
            keys.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    found
}

//! What to make of an object that was created, by its key; and what messages leave to the configuration.
//!
//! Owns the rules, their order and the guard against a loop: what we store ourselves makes a store tell
//! of objects too.

use super::Unreadable;
use super::own::{Webhook, WebhookShape};
use serde::{Deserialize, Serialize};

/// What messages leave to the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The bucket of messages that name none (`LYVE_BUCKET`); `None`: their keys are keys of the store.
    pub bucket: Option<String>,
    /// Who is told where a message names nobody (`WEBHOOK_URL`).
    pub webhook_url: Option<String>,
    /// For created objects. The first that fits decides.
    pub objects: Vec<Rule>,
}

/// One rule: which objects, and what is made of them.
///
/// ```
/// # use transcode_svc::job::Rule;
/// let rule: Rule = toml::from_str(r#"
///     prefix = "uploads/"
///     suffix = ".mp4"
///     profile = "match"
///     output-prefix = "hls/"
/// "#)?;
/// // uploads/2026/game.mp4 → hls/2026/game/output.m3u8
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Only objects of this bucket; absent = of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// How their keys begin; empty fits all.
    #[serde(default)]
    pub prefix: String,
    /// How their keys end, whatever the case: `.mp4`; empty fits all.
    #[serde(default)]
    pub suffix: String,
    /// Whether anything is made of them.
    #[serde(default)]
    pub action: Action,
    /// The profile. `match` unless something else is said: one rendition, `output.m3u8`.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// The bucket of the output; absent = the object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bucket: Option<String>,
    /// Takes the place of `prefix` in the destination; the rest of the key follows, without its extension.
    #[serde(default)]
    pub output_prefix: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A job.
    #[default]
    Transcode,
    /// Nothing, and nobody is told.
    Ignore,
}

fn default_profile() -> String {
    "match".to_owned()
}

/// What the rules say of one object.
pub(super) enum Verdict {
    Make { profile: String, destination: String },
    Leave { why: String },
}

impl Rules {
    /// Whether the rules can work: none may take its own output for input.
    ///
    /// # Errors
    /// Which rule, and what to change.
    pub fn check(&self) -> Result<(), String> {
        for (at, rule) in self.objects.iter().enumerate() {
            if rule.action == Action::Transcode
                && rule.same_bucket()
                && rule.prefix.starts_with(&rule.output_prefix)
            {
                return Err(format!(
                    "rule {} (prefix \"{}\"): its output would lie above or beside its input (output-prefix \"{}\"), and \
                     each output would be taken for a new input; choose another output-prefix or output-bucket",
                    at + 1,
                    rule.prefix,
                    rule.output_prefix
                ));
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, bucket: &str, key: &str) -> Result<Verdict, Unreadable> {
        if let Some(rule) = self.objects.iter().find(|rule| rule.made(bucket, key)) {
            return Ok(Verdict::Leave {
                why: format!("s3://{bucket}/{key} lies where the rule for `{}` puts its output", rule.prefix),
            });
        }
        let rule = self
            .objects
            .iter()
            .find(|rule| rule.fits(bucket, key))
            .ok_or_else(|| Unreadable::NoRule { bucket: bucket.to_owned(), key: key.to_owned() })?;
        if rule.action == Action::Ignore {
            let why = format!("the rule for `{}` ignores s3://{bucket}/{key}", rule.prefix);
            return Ok(Verdict::Leave { why });
        }
        let rest = key.strip_prefix(&rule.prefix).unwrap_or(key);
        let stem = match rest.rfind(['.', '/']) {
            Some(dot) if rest[dot..].starts_with('.') && dot > 0 && !rest[..dot].ends_with('/') => {
                &rest[..dot]
            }
            _ => rest,
        };
        let output_bucket = rule.output_bucket.as_deref().unwrap_or(bucket);
        let destination = format!("s3://{output_bucket}/{}{stem}", rule.output_prefix);
        Ok(Verdict::Make { profile: rule.profile.clone(), destination })
    }

    pub(super) fn webhook(&self) -> Option<Webhook> {
        self.webhook_url.clone().map(|url| Webhook { url, shape: WebhookShape::RedisWorker })
    }
}

impl Rule {
    fn fits(&self, bucket: &str, key: &str) -> bool {
        let ending = key.len().checked_sub(self.suffix.len()).and_then(|at| key.get(at..));
        self.bucket.as_deref().is_none_or(|own| own == bucket)
            && key.starts_with(&self.prefix)
            && ending.is_some_and(|ending| ending.eq_ignore_ascii_case(&self.suffix))
    }

    /// Whether an object lies where this rule puts what it makes.
    fn made(&self, bucket: &str, key: &str) -> bool {
        let into = self.output_bucket.as_deref().or(self.bucket.as_deref());
        self.action == Action::Transcode
            && into.is_none_or(|into| into == bucket)
            && !(self.output_prefix.is_empty() && self.same_bucket())
            && key.starts_with(&self.output_prefix)
    }

    fn same_bucket(&self) -> bool {
        match (&self.bucket, &self.output_bucket) {
            (Some(from), Some(to)) => from == to,
            // Objects of any bucket are let in, so also those of the output's.
            (None, Some(_)) | (_, None) => true,
        }
    }
}

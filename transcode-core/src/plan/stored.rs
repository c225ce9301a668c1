//! A plan as a file: `plan.json`.

use super::{PLAN_VERSION, Plan};
use crate::error::Error;
use serde_json::Value;

impl Plan {
    /// The plan as JSON, indented, keys in a fixed order, with a newline at the end: the same plan
    /// always gives the same text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a plan's keys are text");
        text.push('\n');
        text
    }

    /// The plan in the bytes of a `plan.json`.
    ///
    /// # Errors
    /// [`Error::Config`] where it is no plan, or one of another [`PLAN_VERSION`]: a plan decides
    /// everything, so it is never half understood.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Config { what: "the stored plan".to_owned(), reason };
        let tree: Value = serde_json::from_slice(bytes).map_err(|error| {
            wrong(format!("it is not JSON ({error}); make it again, with --overwrite where output is there"))
        })?;
        match tree.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(PLAN_VERSION) => {}
            Some(version) => {
                return Err(wrong(format!(
                    "it has version {version}, this program reads version {PLAN_VERSION}; finish the job \
                     with the program that planned it, or plan it again with --overwrite"
                )));
            }
            None => return Err(wrong("it has no version, so it is not a plan of this program".to_owned())),
        }
        serde_json::from_value(tree).map_err(|error| wrong(format!("it cannot be read: {error}")))
    }
}

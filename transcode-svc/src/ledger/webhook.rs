//! The outbox: what is said about a job, and when it is said again.
//!
//! Owns the bodies and the schedule; sending is somebody else's. A notice is written together with the
//! state it tells of, sent at least once, always with the same id, and in order for each job.

use super::policy::Policy;
use super::record::{Notice, NoticeState, Record};
use crate::job::{JobId, WebhookShape};
use crate::time::Timestamp;
use serde_json::json;
use std::time::Duration;

/// A webhook to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The job it tells of.
    pub job: JobId,
    /// The `webhook-id` header.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// What is posted: JSON.
    pub body: String,
    /// How often it was sent before.
    pub tries: u32,
}

/// What came of sending a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It was taken (2xx).
    Yes,
    /// It was not; it is tried again.
    No {
        /// What was answered, or why nothing was.
        reason: String,
        /// The answer's Retry-After: not before that.
        retry_after: Option<Duration>,
    },
    /// The receiver is gone for good (410).
    Gone,
}

impl Record {
    /// Put the message about the record's final state into the outbox.
    pub(super) fn tell(&mut self, now: Timestamp) {
        let Some(webhook) = &self.job.webhook else { return };
        let body = match webhook.shape {
            WebhookShape::RedisWorker => json!({
                "job_id": self.id,
                "status": self.state.contract(),
                "outputs": self.outputs,
                "error": self.error,
            }),
            WebhookShape::Transcode => json!({
                "type": format!("job.{}", self.state),
                "timestamp": now.to_string(),
                "data": {
                    "id": self.id,
                    "status": self.state,
                    "created": self.created.to_string(),
                    "attempts": self.attempts,
                    "outputs": self.outputs,
                    "error": self.error,
                },
            }),
        };
        // A full stop is the separator of what is signed, and may not be in an id.
        let id = format!("msg_{}_{}", self.id.as_str().replace('.', "_"), self.outbox.len() + 1);
        let (url, body) = (webhook.url.clone(), body.to_string());
        self.outbox.push(Notice { id, url, body, tries: 0, last: None, state: NoticeState::Due(now) });
    }

    pub(super) fn take_notice(&mut self, now: Timestamp, hold: Duration) -> Option<Outgoing> {
        let first = self.outbox.iter_mut().find(|notice| matches!(notice.state, NoticeState::Due(_)))?;
        if matches!(first.state, NoticeState::Due(at) if at > now) {
            return None;
        }
        first.state = NoticeState::Due(now + hold);
        let Notice { id, url, body, tries, .. } = first.clone();
        Some(Outgoing { job: self.id.clone(), id, url, body, tries })
    }

    pub(super) fn notice_sent(
        &mut self,
        id: &str,
        delivered: Delivered,
        now: Timestamp,
        policy: &Policy,
    ) -> Option<NoticeState> {
        let waiting = |notice: &&mut Notice| notice.id == id && matches!(notice.state, NoticeState::Due(_));
        let notice = self.outbox.iter_mut().find(waiting)?;
        notice.tries += 1;
        if let Delivered::No { reason, .. } = &delivered {
            notice.last = Some(reason.clone());
        }
        notice.state = match delivered {
            Delivered::Yes => NoticeState::Delivered(now),
            Delivered::Gone => NoticeState::GivenUp("the receiver is gone (410)".to_owned()),
            Delivered::No { reason, retry_after } => {
                let tries = usize::try_from(notice.tries).unwrap_or(usize::MAX);
                match policy.webhook.get(tries.saturating_sub(1)) {
                    Some(wait) => NoticeState::Due(now + retry_after.map_or(*wait, |after| after.max(*wait))),
                    None => NoticeState::GivenUp(format!("{} tries, the last: {reason}", notice.tries)),
                }
            }
        };
        Some(notice.state.clone())
    }

    /// Have it sent once more, as if it had never been; whether there is one of that id.
    pub(super) fn redeliver(&mut self, id: &str, now: Timestamp) -> bool {
        let Some(notice) = self.outbox.iter_mut().find(|notice| notice.id == id) else { return false };
        notice.tries = 0;
        notice.state = NoticeState::Due(now);
        true
    }
}

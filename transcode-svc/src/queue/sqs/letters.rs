//! Dead letters in SQS: those that were laid aside here, and those that SQS moved by itself.
//!
//! Owns the attributes that say why. SQS shows no message without handing it out: a look through the queue receives
//! them all, for a minute, and lets them go again.

use super::hold::{self, Attributes};
use super::{Priority, SENT, SqsQueue, attribute, name, priority};
use crate::queue::{DeadLetter, QueueError};
use crate::time::{Clock as _, SystemClock, Timestamp};
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry as Change, Message};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// How long a look hides what it has seen, in seconds.
const LOOK: i32 = 60;

/// A look ends after so many letters; whoever has more of them uses SQS' own tools.
const MOST: usize = 1_000;

/// SQS takes and gives so many at once.
const BATCH: usize = 10;

/// A message has so many attributes at most.
const ATTRIBUTES: usize = 10;

/// Characters of a reason that are kept: it counts to the message's size.
const REASON: usize = 1_024;

const OURS: [&str; 3] = ["TranscodeReason", "TranscodeLine", "TranscodeBuried"];

/// The attributes of a dead letter.
pub(super) fn addressed(mut attributes: Attributes, line: Priority, reason: &str) -> Attributes {
    let shown: String = reason.chars().filter(|c| !c.is_control()).take(REASON).collect();
    let reason = if shown.trim().is_empty() { "no reason was given" } else { &shown };
    let at = SystemClock.now().millis().to_string();
    // Where there is no room for ours, the producer's go: the reason is what somebody looks for.
    let too_many = (attributes.len() + OURS.len()).saturating_sub(ATTRIBUTES);
    let dropped: Vec<String> = attributes.keys().take(too_many).cloned().collect();
    dropped.iter().for_each(|name| drop(attributes.remove(name)));
    attributes.extend(
        OURS.into_iter().zip([reason, name(line), &at]).filter_map(|(name, text)| attribute(name, text)),
    );
    attributes
}

/// FNV-1a of a message's id, in the 53 bits that every reader of JSON keeps.
fn number(message: &Message) -> u64 {
    let id = message.message_id.as_deref().unwrap_or_default();
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash >> 11
}

fn letter(message: &Message) -> DeadLetter {
    let none = Attributes::new();
    let attributes = message.message_attributes.as_ref().unwrap_or(&none);
    let text = |name: &str| hold::text(attributes, name);
    let system = |name| message.attributes.as_ref().and_then(|all| all.get(&name));
    let millis =
        text("TranscodeBuried").or(system(SENT).map(String::as_str)).and_then(|text| text.parse().ok());
    let reason = text("TranscodeReason").unwrap_or("SQS moved it here: it was received too often");
    DeadLetter {
        number: number(message),
        priority: text("TranscodeLine").or(text("Priority")).and_then(priority).unwrap_or_default(),
        body: message.body.clone().unwrap_or_default(),
        reason: reason.to_owned(),
        at: Timestamp::from_millis(millis.unwrap_or_default()),
    }
}

impl SqsQueue {
    pub(super) fn letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let Some(dead) = self.lines()?.dead else { return Ok(Vec::new()) };
        // All of them, up to a bound: SQS gives them in no order.
        let seen = self.look(&dead, |_| false, |_| Ok(()))?;
        let mut letters: Vec<_> = seen.iter().map(letter).collect();
        letters.sort_by_key(|letter| (letter.at, letter.number));
        letters.truncate(limit);
        Ok(letters)
    }

    pub(super) fn revived(&self, wanted: u64) -> Result<bool, QueueError> {
        let lines = self.lines()?;
        let Some(dead) = lines.dead.clone() else { return Ok(false) };
        let mut found = false;
        let is_it = |message: &Message| number(message) == wanted;
        self.look(&dead, is_it, |message| {
            let letter = letter(message);
            let mut attributes = message.message_attributes.clone().unwrap_or_default();
            attributes.retain(|name, _| !OURS.contains(&name.as_str()));
            let failed = |refusal| self.failed("revive a dead letter", refusal);
            self.send(lines.queue(letter.priority), &letter.body, attributes, Duration::ZERO)
                .map_err(failed)?;
            let handle = message.receipt_handle.clone().unwrap_or_default();
            let request = self.api.client.delete_message().queue_url(&dead).receipt_handle(handle);
            self.api.call(request.send()).map_err(failed)?;
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    /// Receive the letters, up to the first for which `is_it`, do `work` with that one, and let the others go.
    fn look(
        &self,
        dead: &str,
        is_it: impl Fn(&Message) -> bool,
        work: impl FnOnce(&Message) -> Result<(), QueueError>,
    ) -> Result<Vec<Message>, QueueError> {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = BTreeMap::new();
        let found = self.receive_letters(dead, &is_it, &mut seen);
        let hit = seen.iter().find(|(_, message)| is_it(message)).map(|(id, _)| id.clone());
        let worked = match hit.and_then(|id| seen.remove(&id)) {
            Some(message) => work(&message),
            None => Ok(()),
        };
        let seen: Vec<_> = seen.into_values().collect();
        for some in seen.chunks(BATCH) {
            let entry = |(n, message): (usize, &Message)| {
                let handle = message.receipt_handle.clone().unwrap_or_default();
                Change::builder().id(n.to_string()).receipt_handle(handle).visibility_timeout(0).build().ok()
            };
            let entries = some.iter().enumerate().filter_map(entry).collect();
            let request = self.api.client.change_message_visibility_batch().queue_url(dead);
            // Else they come back by themselves, a minute later.
            let _tried = self.api.call(request.set_entries(Some(entries)).send());
        }
        found.and(worked).map(|()| seen)
    }

    fn receive_letters(
        &self,
        dead: &str,
        is_it: impl Fn(&Message) -> bool,
        seen: &mut BTreeMap<String, Message>,
    ) -> Result<(), QueueError> {
        let there = self.counts(dead)?[0];
        while seen.len() < MOST {
            // A short poll may miss some; where the count says that there are no more, that is good enough.
            let wait = i32::from((seen.len() as u64) < there);
            let request = self.api.client.receive_message().queue_url(dead).max_number_of_messages(10);
            let request = request.wait_time_seconds(wait).visibility_timeout(LOOK);
            let request = request.message_attribute_names("All").message_system_attribute_names(SENT);
            let failed = |refusal| self.failed("list its dead letters", refusal);
            let found = self.api.call(request.send()).map_err(failed)?.messages.unwrap_or_default();
            let done = found.is_empty() || found.iter().any(&is_it);
            seen.extend(
                found.into_iter().map(|message| (message.message_id.clone().unwrap_or_default(), message)),
            );
            if done {
                break;
            }
        }
        Ok(())
    }
}

//! A plan in words, for a terminal.

use super::report::{per_second, seconds};
use super::{AudioRung, Plan, VideoRung};
use crate::spec::{RateControl, Tune};
use std::fmt::Write;

/// The first column, in letters.
const LABEL: usize = 10;

impl Plan {
    /// The plan in words: what is read, the timeline, a table of the rungs, and the report.
    /// Plain text of at most about 110 columns, with a newline at the end.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        let mut line = |label: &str, text: String| {
            let _infallible = writeln!(out, "{label:LABEL$}{text}");
        };
        line("source", self.source.uri.clone());
        line("input", self.input_text());
        line("profile", self.profile.clone());
        line("timeline", self.timeline_text());
        line("chunks", self.chunks_text());
        if let Some(thumbnail) = &self.thumbnail {
            let at = self.timeline.rate.time_of(thumbnail.frame);
            line("thumbnail", format!("{} at {}", thumbnail.size, seconds(at)));
        }
        out.push('\n');
        out.push_str(&table(&self.rows()));
        if !self.report.notes.is_empty() {
            out.push('\n');
            for note in &self.report.notes {
                let _infallible = writeln!(out, "- {note}");
            }
        }
        out
    }

    fn input_text(&self) -> String {
        let container = match serde_json::to_value(self.input.container) {
            Ok(serde_json::Value::String(key)) => key,
            _ => String::new(),
        };
        let mut parts = vec![container];
        if let Some(video) = &self.input.video {
            parts.push(format!("{} {} ({})", video.codec, video.size, video.pad));
        }
        if let Some(audio) = &self.input.audio {
            parts.push(format!("{} ({})", audio.codec, audio.pad));
        }
        parts.join(", ")
    }

    fn timeline_text(&self) -> String {
        let timeline = &self.timeline;
        let what = if self.input.video.is_some() { "pictures" } else { "AAC packets" };
        let length = timeline.rate.time_of(u64::from(timeline.segment_slots));
        let from = seconds(timeline.start);
        let segment = format!("{} {what} ({})", timeline.segment_slots, seconds(length));
        let rate = per_second(timeline.rate);
        match (timeline.expected_duration(), timeline.expected_segments()) {
            (Some(duration), Some(1)) if !timeline.open_ended => {
                format!("{} from {from}, {rate} {what} a second, in one segment", seconds(duration))
            }
            (Some(duration), Some(segments)) => {
                let about = if timeline.open_ended { "about " } else { "" };
                let duration = seconds(duration);
                format!(
                    "{about}{duration} from {from}, {rate} {what} a second, in {about}{segments} segments of {segment}"
                )
            }
            _ => format!("unknown length from {from}, {rate} {what} a second, in segments of {segment}"),
        }
    }

    fn chunks_text(&self) -> String {
        let counts: Vec<usize> = self.chunks.iter().map(|chunk| chunk.segments().len()).collect();
        match (counts.as_slice(), counts.iter().max()) {
            ([_], _) | (_, None) => "one".to_owned(),
            (_, Some(1)) => format!("{} of one segment", counts.len()),
            (_, Some(longest)) => format!("{} of up to {longest} segments", counts.len()),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let has_video = self.input.video.is_some();
        let head: &[&str] = if has_video {
            &[
                "rung",
                "size",
                "scaled from",
                "video",
                "rate control",
                "encoder",
                "H.264",
                "key frames",
                "audio",
            ]
        } else {
            &["rung", "audio"]
        };
        rows.push(head.iter().map(|text| (*text).to_owned()).collect());
        for rung in &self.rungs {
            let mut row = vec![rung.name.clone()];
            row.extend(rung.video.as_ref().map(|video| self.video_cells(video)).into_iter().flatten());
            row.push(rung.audio.as_ref().map_or_else(|| "none".to_owned(), sound));
            rows.push(row);
        }
        rows
    }

    fn video_cells(&self, video: &VideoRung) -> Vec<String> {
        let control = match video.rate_control {
            RateControl::Abr => "average".to_owned(),
            RateControl::Cbr => format!("constant, {} buffer", seconds(video.vbv)),
            RateControl::CappedCrf { crf } => format!("crf {crf} below it, {} buffer", seconds(video.vbv)),
        };
        let mut encoder = format!("{:?}", video.preset).to_lowercase();
        if video.tune != Tune::None {
            encoder.push('+');
            encoder.push_str(&format!("{:?}", video.tune).to_lowercase());
        }
        if video.tuning.values().any(|text| !text.is_empty()) {
            encoder.push_str("+tuning");
        }
        let level = format!("{} {}.{}", video.profile, video.level / 10, video.level % 10);
        vec![
            video.size.to_string(),
            video.scale_from.clone().unwrap_or_else(|| "source".to_owned()),
            video.bitrate.to_string(),
            control,
            encoder,
            level,
            seconds(self.timeline.rate.time_of(u64::from(video.gop))),
        ]
    }
}

fn sound(audio: &AudioRung) -> String {
    let channels = if audio.channels == 1 { "mono" } else { "stereo" };
    format!("{} {channels} {} Hz", audio.bitrate, audio.sample_rate)
}

/// Columns side by side, each as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let width = *width;
            let _infallible = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

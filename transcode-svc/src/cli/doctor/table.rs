//! The findings as a person reads them: a few lines on the machine, a table of platforms, a sentence.
//!
//! Pure: findings in, text out. Figures are rounded for reading.

use super::findings::{Findings, MachineFindings, PlatformFindings};
use transcode_core::trial;

/// All of it, with a newline at the end.
pub(super) fn table(findings: &Findings) -> String {
    let mut text = head(findings);
    text.push('\n');
    let (shown, folded) = folded(findings);
    text.push_str(&platforms(&shown));
    for line in shown.iter().flat_map(|found| remarks(found)) {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(first) = folded.first() {
        let names: Vec<&str> = folded.iter().map(|found| found.name.as_str()).collect();
        text.push_str(&format!(
            "not here: {}, as there is no device for them; what one needs: transcode doctor --platform {}\n",
            names.join(", "),
            first.name
        ));
    }
    let auto = if findings.auto.is_empty() { "nothing".to_owned() } else { findings.auto.join(", ") };
    text.push_str(&format!("\n--platform auto uses: {auto}\n{}\n", findings.summary));
    text
}

/// The platforms that get a line each, and those that one line is enough for: on a machine with nothing but
/// a CPU nobody waits for a GPU's, unless that is all that was asked for.
fn folded(findings: &Findings) -> (Vec<&PlatformFindings>, Vec<&PlatformFindings>) {
    let all = findings.platforms.iter();
    let bare = !findings.machine.devices.has_accelerator() && all.clone().any(|found| found.present);
    all.partition(|found| found.present || !bare)
}

fn head(findings: &Findings) -> String {
    let machine = &findings.machine;
    let MachineFindings { devices, .. } = machine;
    let mut rows = vec![
        (
            "transcode",
            format!("{}, GStreamer {}, Linux {}", findings.program, findings.gstreamer, devices.kernel),
        ),
        ("cores", cores(machine)),
        ("memory", memory(machine)),
    ];
    if let Some(state) = &machine.state {
        let free = machine.disk_free.map(|free| format!("{} free, ", size(free))).unwrap_or_default();
        rows.push(("disk", format!("{free}findings are kept in {}", state.display())));
    }
    if let Some(board) = &devices.board {
        rows.push(("board", board.clone()));
    }
    let seen: Vec<String> = devices.drivers.iter().chain(&devices.nodes).cloned().collect();
    rows.push(("devices", if seen.is_empty() { "none beside the CPU".to_owned() } else { seen.join(", ") }));
    if let Some(note) = &findings.registry.note {
        rows.push(("plugins", note.clone()));
    }
    if let Some(store) = &findings.store {
        let clock = match (store.skew, &store.error) {
            (Some(-2..=2), _) => "the clocks agree".to_owned(),
            (Some(skew), _) => {
                let advice =
                    if skew.unsigned_abs() > 300 { "; stores refuse that: set this clock" } else { "" };
                let direction = if skew > 0 { "ahead of" } else { "behind" };
                format!("this clock is {} s {direction} the store's{advice}", skew.unsigned_abs())
            }
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        rows.push(("store", format!("{}: {clock}", store.address)));
    }
    rows.into_iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

fn cores(machine: &MachineFindings) -> String {
    let quota = machine.cpu_quota.map(|quota| format!(", the control group allows {quota:.2} of their time"));
    format!("{} of {} may be used{}", machine.cores_allowed, machine.cores, quota.unwrap_or_default())
}

fn memory(machine: &MachineFindings) -> String {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    let limit = machine.memory_limit.map(|limit| format!(", the control group allows {}", size(limit)));
    format!("{} free of {}{}", known(machine.memory_free), known(machine.memory), limit.unwrap_or_default())
}

/// Decimal, as disks and stores count.
fn size(bytes: u64) -> String {
    if bytes < 1_000_000_000 {
        format!("{:.0} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}

const HEAD: [&str; 6] = ["platform", "works", "decodes", "1080p30", "sessions", "largest"];

fn platforms(all: &[&PlatformFindings]) -> String {
    let rows: Vec<[String; 6]> =
        std::iter::once(HEAD.map(ToOwned::to_owned)).chain(all.iter().map(|found| row(found))).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(found: &PlatformFindings) -> [String; 6] {
    let works = match (found.present, found.passed, found.set_aside) {
        (false, _, _) => "not here",
        (_, false, _) => "no",
        (_, _, Some(_)) => "set aside",
        _ => "yes",
    };
    let none = || "-".to_owned();
    let good = found.pairs.iter().filter(|pair| pair.why.is_none());
    let titles: Vec<&str> = good
        .filter_map(|pair| trial::clips().iter().find(|clip| clip.name == pair.clip))
        .map(|clip| clip.title)
        .collect();
    [
        found.name.clone(),
        works.to_owned(),
        if titles.is_empty() { none() } else { titles.join(", ") },
        found.speed.map_or_else(none, |speed| format!("{speed:.1}×")),
        found.sessions.map_or_else(none, |sessions| match sessions {
            8.. => "8 or more".to_owned(),
            some => some.to_string(),
        }),
        found.encodes.clone().or_else(|| found.decodes.clone()).unwrap_or_else(none),
    ]
}

/// What stands below the table: what is missing, what failed.
fn remarks(found: &PlatformFindings) -> Vec<String> {
    let name = &found.name;
    let mut lines = Vec::new();
    if !found.present {
        lines.push(format!("{name}: {}", crate::engine::platforms::list(&found.missing)));
    }
    for pair in &found.pairs {
        if let Some(why) = &pair.why {
            let title =
                trial::clips().iter().find(|clip| clip.name == pair.clip).map_or("?", |clip| clip.title);
            lines.push(format!("{name}: {title} failed: {why}"));
        }
    }
    if let Some(left) = found.set_aside {
        lines.push(format!(
            "{name}: failed too often and is left out for {} min more; --retry uses it again at once",
            left.div_ceil(60)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_for_reading() {
        assert_eq!((size(999_000_000), size(8_320_000_000)), ("999 MB".to_owned(), "8.3 GB".to_owned()));
    }

    #[test]
    fn the_columns_stand_below_each_other() {
        let text = platforms(&[]);
        assert_eq!(text, "platform  works  decodes  1080p30  sessions  largest\n");
    }
}

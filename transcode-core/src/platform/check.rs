//! What a platform file's shape cannot say: terms that must all be there, sections that must fit each
//! other. Reasons begin with the line, as those of the reader do.

use super::schema::{MappedProperty, Memory, Pictures, Platform, Step};
use crate::media::Rotation;
use crate::spec::is_name;

/// Every rotation that pictures can be turned by.
const ROTATIONS: [Rotation; 7] = [
    Rotation::Clockwise90,
    Rotation::Half,
    Rotation::Clockwise270,
    Rotation::Mirror,
    Rotation::MirrorClockwise90,
    Rotation::MirrorHalf,
    Rotation::MirrorClockwise270,
];

/// Check; `text` is the file's, for the lines.
pub(super) fn check(platform: &Platform, text: &str) -> Result<(), String> {
    let wrong = |table: &str, reason: String| Err(located(text, table, &reason));
    if !is_name(&platform.name) {
        let reason = format!("name `{}`: a name is 1 to 32 letters, digits, - or _", platform.name);
        return wrong("name", reason);
    }
    for (codec, decoders) in &platform.decode {
        let Some((last, earlier)) = decoders.split_last() else {
            return wrong(
                "decode",
                format!("codec `{codec}` has no decoder: name one, or leave the codec out"),
            );
        };
        if last.optional {
            let reason =
                format!("the last decoder of `{codec}` is optional: one that is always there must follow");
            return wrong(&format!("[decode.{codec}]"), reason);
        }
        if let Some(bare) = earlier.iter().find(|decoder| decoder.element.is_none()) {
            let reason = format!("a decoder of `{codec}` has no element and is not the last ({bare:?})");
            return wrong(&format!("[decode.{codec}]"), reason);
        }
    }
    let Some((first, others)) = platform.pictures.split_first() else {
        return wrong("[pictures]", "there is no [[pictures]]: say where pictures live".to_owned());
    };
    if let Some(other) = others.iter().find(|other| other.instead.is_none()) {
        let reason = format!(
            "the way in {} memory comes after another and does not say why it is taken: `instead` is missing",
            other.memory
        );
        return wrong("[pictures]", reason);
    }
    for pictures in std::iter::once(first).chain(others) {
        self::pictures(pictures, platform).or_else(|(table, reason)| wrong(&table, reason))?;
    }
    encoder(platform).or_else(|(table, reason)| wrong(&table, reason))
}

type Wrong = (String, String);

fn pictures(pictures: &Pictures, platform: &Platform) -> Result<(), Wrong> {
    let wrong = |step: &str, reason: String| Err((format!("[pictures.{step}]"), reason));
    for (name, step) in pictures.steps() {
        let elsewhere = step.memory.clone().unwrap_or_else(|| pictures.memory.clone());
        if elsewhere != pictures.memory
            && !(elsewhere.is_system() && pictures.upload.is_some() && pictures.download.is_some())
        {
            let reason = format!(
                "`{}` works in {elsewhere} memory and pictures live in {}: that takes system memory on one \
                 side, an `upload` and a `download`",
                step.element, pictures.memory
            );
            return wrong(name, reason);
        }
        if step.direction.is_some() != (name == "flip") {
            return wrong(name, "`direction` belongs to flip, and flip needs it".to_owned());
        }
    }
    if let Some(direction) = &pictures.flip.direction {
        if let Some(missing) = ROTATIONS.iter().find(|rotation| !direction.values.contains_key(rotation)) {
            return wrong(
                "flip",
                format!("direction has no word for {missing:?}; one is needed for each rotation"),
            );
        }
        property_is_named("flip", direction).map_err(|reason| ("[pictures.flip]".to_owned(), reason))?;
    }
    let built_in = |step: &Step| step.element == Pictures::BUILT_IN;
    if built_in(&pictures.scale) && !(pictures.memory.is_system() && pictures.format == "I420") {
        let reason = format!(
            "the built-in scaler takes I420 in system memory, and pictures are {} in {}",
            pictures.format, pictures.memory
        );
        return wrong("scale", reason);
    }
    if let Some((name, _)) = pictures.steps().find(|(name, step)| *name != "scale" && built_in(step)) {
        return wrong(name, "only `scale` has a built-in element".to_owned());
    }
    let decoded_elsewhere =
        platform.decode.values().flatten().any(|decoder| decoder.memory != pictures.memory);
    if decoded_elsewhere {
        let missing = match &pictures.memory {
            Memory::System => ("download", pictures.download.is_none()),
            Memory::Device(_) => ("upload", pictures.upload.is_none()),
        };
        if missing.1 {
            let reason = format!("some decoder's pictures lie elsewhere: `{}` is needed", missing.0);
            return wrong(missing.0, reason);
        }
    }
    if !pictures.memory.is_system() && pictures.download.is_none() {
        let reason =
            "pictures live on a device: `download` is needed for the preview and the checks".to_owned();
        return wrong("download", reason);
    }
    to_encoder(pictures, platform)
}

/// The way from the pictures to the encoder.
fn to_encoder(pictures: &Pictures, platform: &Platform) -> Result<(), Wrong> {
    let encode = &platform.encode;
    let same_memory = encode.memory.contains(&pictures.memory);
    let same_format = encode.format.contains(&pictures.format);
    let step = if encode.memory.contains(&Memory::System) { &pictures.download } else { &pictures.upload };
    let moves = !same_memory && step.is_some();
    let converts = step.as_ref().is_some_and(|step| step.transfers);
    if (same_memory && same_format) || (moves && (same_format || converts)) {
        return Ok(());
    }
    let names = |list: Vec<String>| list.join(", ");
    Err((
        "[encode]".to_owned(),
        format!(
            "`{}` takes {} in {} and pictures are {} in {}: nothing here moves or converts them",
            encode.element,
            names(encode.format.iter().cloned().collect()),
            names(encode.memory.iter().map(ToString::to_string).collect()),
            pictures.format,
            pictures.memory
        ),
    ))
}

fn encoder(platform: &Platform) -> Result<(), Wrong> {
    let encode = &platform.encode;
    let wrong = |table: &str, reason: String| Err((table.to_owned(), reason));
    if !encode.bitrate.unit.is_rate() || encode.max_bitrate.as_ref().is_some_and(|rate| !rate.unit.is_rate())
    {
        return wrong("[encode]", "a bit rate is spelt in bit/s or kbit/s".to_owned());
    }
    if encode.vbv.as_ref().is_some_and(|vbv| vbv.unit.is_rate()) {
        return wrong("[encode]", "a buffer (vbv) is spelt in ms, bit or kbit".to_owned());
    }
    if !platform.encode_audio.bitrate.unit.is_rate() {
        return wrong("[encode-audio]", "a bit rate is spelt in bit/s or kbit/s".to_owned());
    }
    if encode.sessions == Some(0) {
        return wrong("[encode]", "sessions is 0: at least one, or leave it out".to_owned());
    }
    property_is_named("preset", &encode.preset).or_else(|reason| wrong("[encode.preset]", reason))?;
    property_is_named("tune", &encode.tune).or_else(|reason| wrong("[encode.tune]", reason))?;
    if let Some(profile) = &encode.profile {
        property_is_named("profile", profile).or_else(|reason| wrong("[encode.profile]", reason))?;
    }
    let words = encode.rate_control.values.values().flatten();
    if encode.rate_control.property.is_none() && words.into_iter().any(|word| !word.is_empty()) {
        let reason = "rate control has words and no property that takes them".to_owned();
        return wrong("[encode.rate-control]", reason);
    }
    Ok(())
}

/// Words need a property that takes them.
fn property_is_named<T: Ord>(what: &str, mapped: &MappedProperty<T>) -> Result<(), String> {
    let says_something = mapped.values.values().flatten().any(|word| !word.is_empty());
    if mapped.property.is_none() && says_something {
        return Err(format!("{what} has words and no property that takes them"));
    }
    Ok(())
}

/// The reason with the line of the table that it is about; the file's first line of its kind.
fn located(text: &str, table: &str, reason: &str) -> String {
    let bare = table.trim_start_matches('[').trim_end_matches(']');
    let is_it = |line: &str| {
        let line = line.trim_start();
        let head = line.trim_start_matches('[');
        let named = head.strip_prefix(bare).is_some_and(|rest| rest.starts_with([']', ' ', '=', '.']));
        if table.starts_with('[') { line.starts_with('[') && named } else { named }
    };
    match text.lines().position(is_it) {
        Some(at) => format!("line {}: {reason}", at + 1),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOFTWARE: &str = include_str!("../../../pipelines/platforms/software.toml");

    fn refused(from: &str, to: &str) -> String {
        assert!(SOFTWARE.contains(from), "{from}");
        let text = SOFTWARE.replacen(from, to, 1);
        Platform::parse("a.toml", &text).expect_err("refused").to_string()
    }

    fn line_of(part: &str) -> usize {
        SOFTWARE.lines().position(|line| line.contains(part)).expect("it is there") + 1
    }

    #[test]
    fn unknown_keys_units_and_terms_are_refused_with_their_line_and_what_is_allowed() {
        for (from, to, allowed) in [
            ("[encode]\n", "[encode]\nbitrat = 1\n", "`bitrate`"),
            ("unit = \"kbit/s\"", "unit = \"kilobit\"", "`kbit/s`"),
            ("family = \"x264\"", "family = \"x265\"", "`nvenc`"),
            ("memory = \"system\"", "memory = \"CUDA\"", "memory:CUDAMemory"),
            ("ultrafast = \"ultrafast\"", "quick = \"ultrafast\"", "`superfast`"),
        ] {
            let error = refused(from, to);
            assert!(error.contains("a.toml") && error.contains("line "), "{error}");
            assert!(error.contains(allowed), "{allowed}: {error}");
        }
    }

    #[test]
    fn sections_that_do_not_fit_each_other_are_refused_with_their_line() {
        let error = refused("element = \"videoconvert\"", "element = \"built-in\"");
        assert!(error.contains(&format!("line {}", line_of("[pictures.convert]"))), "{error}");
        let error = refused("memory = \"system\"", "memory = \"memory:CUDAMemory\"");
        assert!(error.contains("built-in scaler"), "{error}");
        let error = refused("clockwise90 = \"90r\", ", "");
        assert!(error.contains("Clockwise90"), "{error}");
        let error = refused("unit = \"ms\"", "unit = \"bit/s\"");
        assert!(error.contains("a buffer (vbv)"), "{error}");
        let error = refused("format = \"I420\"\nbitrate", "format = \"NV12\"\nbitrate");
        assert!(error.contains("x264enc` takes NV12"), "{error}");
        let error = refused("name = \"software\"", "name = \"bare cpu\"");
        assert!(error.contains("line 3: name `bare cpu`"), "{error}");
    }
}

//! Golden graphs: what each platform makes of one plan, as DOT text in `tests/golden/graphs`, reviewed
//! as diffs. `TRANSCODE_BLESS=1` writes them again.

use super::clips::job;
use super::{child, on_every_board};
use std::path::PathBuf;
use transcode_core::platform::builtin_platforms;
use transcode_core::{Platform, describe, missing, not_installed};

#[test]
fn graphs_are_those_that_were_reviewed() {
    drop(super::clips::file("hevc-4k-10-bit"));
    drop(super::clips::file("rotated"));
    on_every_board("graphs::child_describes");
    compare(&Platform::builtin("software").unwrap(), "software");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_describes() {
    let board = std::env::var(transcode_standins::BOARDS_VARIABLE).unwrap();
    compare(&child(), &board.replace(':', "-"));
}

fn compare(platform: &Platform, board: &str) {
    for clip in ["hevc-4k-10-bit", "rotated"] {
        let (_, plan) = job(clip, platform);
        let text = describe(&plan, platform).unwrap_or_else(|error| panic!("{}", error.chain()));
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/graphs");
        let path = folder.join(format!("{}.{board}.{clip}.dot", platform.name));
        if std::env::var_os("TRANSCODE_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        let line = stored.lines().zip(text.lines()).find(|(left, right)| left != right);
        assert!(
            stored == text,
            "{}: {line:?}; look at `TRANSCODE_BLESS=1 cargo test -p transcode-core --test platforms graphs` and `git diff`",
            path.display()
        );
    }
}

#[test]
fn every_platform_names_what_is_missing_here_with_what_brings_it() {
    for name in builtin_platforms() {
        let platform = Platform::builtin(name).unwrap();
        let required = missing(&platform).unwrap();
        let missing = not_installed(&platform).unwrap();
        let encoder = missing.iter().find(|element| element.element == platform.encode.element);
        let own = ["jetson-nvenc", "nvidia", "va", "qsv", "videotoolbox"].contains(&name);
        assert_eq!(encoder.is_some(), own, "{name}: {missing:?}");
        if let Some(encoder) = encoder {
            let package = platform.package_of(&encoder.element).unwrap();
            assert!(encoder.required && encoder.package == package, "{encoder:?}");
        }
        assert_eq!(required.is_empty(), name == "software", "{name}: {required:?}");
    }
}

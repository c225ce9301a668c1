//! What the tests share: clips, and odd files made by `ffmpeg`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A clip of the repository, or one that `scripts/media` has fetched.
pub(crate) fn clip(name: &str) -> PathBuf {
    let kept = root().join("tests/media").join(name);
    if kept.exists() {
        return kept;
    }
    let fetched = root().join(".cache/media").join(name);
    assert!(fetched.exists(), "the clip {name} is not there: run scripts/media");
    fetched
}

/// A folder for made files; gone with the value.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Make `name` with ffmpeg; `arguments` come before the output, words apart by spaces.
    pub(crate) fn ffmpeg(&self, arguments: &str, name: &str) -> PathBuf {
        let path = self.file(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y"]).args(arguments.split_whitespace()).arg(&path);
        let output = command.output().expect("ffmpeg starts");
        assert!(
            output.status.success(),
            "ffmpeg {arguments} {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        path
    }
}

/// What ffprobe says: one value a line, in the order of the fields in the file's streams.
pub(crate) fn ffprobe(path: &Path, streams: &str, entries: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", streams, "-show_entries", entries])
        .args(["-of", "default=noprint_wrappers=1:nokey=1"])
        .arg(path)
        .output()
        .expect("ffprobe starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

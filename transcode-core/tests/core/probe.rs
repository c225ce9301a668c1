//! Probing real clips and odd ones. What can be is held against ffprobe.

use crate::support::{Folder, clip, ffprobe};
use std::path::Path;
use std::sync::Arc;
use transcode_core::media::{Container, DynamicRange, MediaInfo, Rotation, Scan, SourceIdentity};
use transcode_core::platform::Platform;
use transcode_core::probe::{describe, probe};
use transcode_core::source::{FileSource, Source, SourceError};
use transcode_core::units::MediaTime;
use transcode_core::{Cancel, Error};

/// A test picture and a tone.
const BOTH: &str =
    "-f lavfi -i testsrc2=size=320x240:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000";

fn software() -> Platform {
    Platform::builtin("software").unwrap()
}

fn look(path: &Path) -> Result<MediaInfo, Error> {
    probe(Arc::new(FileSource::open(path)?), &software(), &Cancel::new())
}

fn found(path: &Path) -> MediaInfo {
    look(path).unwrap_or_else(|error| panic!("{}: {}", path.display(), error.chain()))
}

/// The one line that a source is refused with.
fn refused(path: &Path) -> String {
    match look(path) {
        Err(error @ Error::Input { .. }) => {
            let line = error.chain();
            assert!(!line.contains('\n'), "one line: {line}");
            line
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn close(a: MediaTime, b: f64, tolerance: f64) -> bool {
    (a.as_secs_f64() - b).abs() <= tolerance
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// The size, rate, pictures and length of an MP4's video are what ffprobe says.
fn agrees_with_ffprobe(path: &Path) {
    let video = &found(path).video[0];
    let told = ffprobe(path, "v:0", "stream=codec_name,width,height,r_frame_rate,duration,nb_frames");
    let [codec, width, height, rate, duration, pictures] = told.as_slice() else { panic!("{told:?}") };
    let ours = (video.codec.as_str(), video.coded.to_string());
    assert_eq!(ours, (codec.as_str(), format!("{width}x{height}")), "{}", path.display());
    assert_eq!(format!("{}/{}", video.frame_rate.num(), video.frame_rate.den()), *rate);
    assert_eq!(video.pictures.map(|pictures| pictures.to_string()).as_deref(), Some(pictures.as_str()));
    assert!(close(video.duration.unwrap(), number(duration), 0.000_001), "{:?} {duration}", video.duration);
    assert!(!video.variable_rate);
}

#[test]
fn a_cameras_clips_are_what_ffprobe_says() {
    for name in ["gopro-karma.mp4", "gopro-max-hero.mp4"] {
        let path = clip(name);
        agrees_with_ffprobe(&path);
        let info = found(&path);
        assert_eq!(info.container, Container::Mp4);
        let keys =
            ffprobe(&path, "v:0", "packet=flags").iter().filter(|flags| flags.starts_with('K')).count();
        assert_eq!(info.video[0].key_frames.as_ref().unwrap().count, keys as u64);
        let audio = &info.audio[0];
        assert_eq!(
            (audio.codec.as_str(), audio.sample_rate, audio.layout.as_str()),
            ("aac", 48_000, "stereo")
        );
        assert_eq!(audio.language.as_deref(), Some("eng"));
        let others: Vec<&str> = info.other.iter().map(|other| other.kind.as_str()).collect();
        assert_eq!(others, ["tmcd", "gpmd", "fdsc"]);
        assert_eq!(info.truncated, None);
        // Its header says full range in the bitstream and nothing in the container.
        assert_eq!(info.video[0].colour.colorimetry, "1:3:5:1");
    }
}

#[test]
fn fetched_clips_are_what_ffprobe_says() {
    for name in ["big-buck-bunny-1080p.mp4", "bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4"] {
        agrees_with_ffprobe(&clip(name));
    }
    let narrow = &found(&clip("carphone_pristine.mp4")).video[0];
    assert_eq!((narrow.pixel_aspect, narrow.display.to_string().as_str()), ((128, 117), "193x144"));
}

#[test]
fn an_edit_list_brings_the_first_picture_to_zero() {
    let info = found(&clip("big-buck-bunny-1080p.mp4"));
    let (video, audio) = (&info.video[0], &info.audio[0]);
    assert_eq!(video.edits[0].media_time, MediaTime::new(1, 12));
    assert_eq!((video.start, video.duration), (MediaTime::ZERO, MediaTime::new(30, 1)));
    assert_eq!(audio.edits[0].media_time, MediaTime::new(1_024, 48_000));
    assert_eq!((audio.start, audio.layout.as_str(), audio.channels), (MediaTime::ZERO, "5.1", 6));
    assert_eq!(video.key_frames.as_ref().unwrap().longest_gap, 250);
}

#[test]
fn an_empty_edit_delays_the_first_picture() {
    let folder = Folder::new();
    let karma = clip("gopro-karma.mp4");
    let inputs = format!("-itsoffset 1.5 -i {0} -i {0} -map 0:v -map 1:a -c copy", karma.display());
    let info = found(&folder.ffmpeg(&inputs, "late.mp4"));
    assert_eq!((info.video[0].start, info.audio[0].start), (MediaTime::new(3, 2).unwrap(), MediaTime::ZERO));
    assert_eq!(info.duration, info.video[0].duration.map(|duration| duration + info.video[0].start));
}

#[test]
fn the_same_stream_is_the_same_in_every_container() {
    let folder = Folder::new();
    let copy = format!("-i {} -map 0:v -map 0:a -c copy", clip("gopro-karma.mp4").display());
    let fragments = format!("{copy} -movflags frag_keyframe+empty_moov+default_base_moof");
    for (arguments, name, container) in [
        (&copy, "a.mov", Container::QuickTime),
        (&copy, "a.mkv", Container::Matroska),
        (&copy, "a.ts", Container::MpegTs),
        (&copy, "a.flv", Container::Flv),
        (&copy, "a.avi", Container::Avi),
        (&fragments, "fragments.mp4", Container::Mp4),
    ] {
        let path = folder.ffmpeg(arguments, name);
        let info = found(&path);
        assert_eq!(info.container, container);
        let (video, audio) = (&info.video[0], &info.audio[0]);
        assert_eq!((video.codec.as_str(), video.profile.as_deref()), ("h264", Some("main")), "{name}");
        assert_eq!(video.frame_rate.to_string(), "30000/1001", "{name}");
        assert!(!video.variable_rate && video.scan == Scan::Progressive, "{name}");
        assert_eq!((audio.codec.as_str(), audio.channels, audio.sample_rate), ("aac", 2, 48_000), "{name}");
        assert!(
            close(video.duration.unwrap(), 362.0 * 1_001.0 / 30_000.0, 0.002),
            "{name}: {:?}",
            video.duration
        );
        // An AVI's first audio chunk and FLV's last one are a packet shorter or longer.
        assert!(close(audio.duration.unwrap(), 12.075, 0.025), "{name}: {:?}", audio.duration);
        let told = |streams: &str| number(&ffprobe(&path, streams, "stream=start_time")[0]);
        let apart = video.start.as_secs_f64() - audio.start.as_secs_f64();
        assert!((apart - (told("v:0") - told("a:0"))).abs() < 0.002, "{name}: {apart}");
        if matches!(container, Container::Matroska | Container::MpegTs | Container::QuickTime) {
            assert_eq!(audio.language.as_deref(), Some("eng"), "{name}");
        }
        assert_eq!(found(&path), info, "{name}: a second look sees the same");
    }
}

#[test]
fn a_long_stream_is_entered_near_its_end() {
    let folder = Folder::new();
    let source = format!("-stream_loop 4 -i {} -map 0:v -map 0:a -c copy", clip("gopro-karma.mp4").display());
    for name in ["long.mkv", "long.ts"] {
        let path = folder.ffmpeg(&source, name);
        let counted = Arc::new(Counting { inner: FileSource::open(&path).unwrap(), bytes: 0.into() });
        let info = probe(counted.clone(), &software(), &Cancel::new()).unwrap();
        let end = |streams: &str| {
            let packets = ffprobe(&path, streams, "packet=pts_time");
            packets.iter().filter_map(|time| time.parse().ok()).fold(0f64, f64::max)
        };
        let first = number(&ffprobe(&path, "v:0", "stream=start_time")[0]);
        let expected = end("v:0") - first + 1_001.0 / 30_000.0;
        let video = &info.video[0];
        assert!(close(video.duration.unwrap(), expected, 0.003), "{name}: {:?} {expected}", video.duration);
        let read = counted.bytes.load(std::sync::atomic::Ordering::SeqCst);
        assert!(read < info.source.size / 2, "{name}: {read} of {} bytes were read", info.source.size);
    }
}

struct Counting {
    inner: FileSource,
    bytes: std::sync::atomic::AtomicU64,
}

impl Source for Counting {
    fn identity(&self) -> SourceIdentity {
        self.inner.identity()
    }
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        self.bytes.fetch_add(buffer.len() as u64, std::sync::atomic::Ordering::SeqCst);
        self.inner.read_at(offset, buffer, cancel)
    }
}

#[test]
fn other_codecs_have_the_names_of_the_platform_file() {
    let folder = Folder::new();
    let platform = software();
    for (codecs, name, video, audio) in [
        ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus", "a.webm", "vp9", "opus"),
        ("-c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis", "b.webm", "vp8", "vorbis"),
        ("-c:v mpeg4 -c:a libmp3lame", "a.avi", "mpeg4", "mp3"),
        ("-c:v msmpeg4 -c:a ac3", "b.avi", "msmpeg4", "ac3"),
        ("-c:v mpeg2video -c:a mp2", "a.ts", "mpeg2", "mp3"),
        ("-c:v mpeg2video -c:a mp2 -f vob", "a.mpg", "mpeg2", "mp3"),
        ("-c:v prores -c:a pcm_s16le", "a.mov", "prores", "pcm"),
        ("-c:v mjpeg -c:a alac", "b.mov", "mjpeg", "alac"),
        ("-c:v libtheora -c:a libvorbis", "a.ogv", "theora", "vorbis"),
        ("-c:v libx265 -preset ultrafast -x265-params log-level=error -c:a eac3", "a.mkv", "hevc", "eac3"),
        ("-c:v rawvideo -pix_fmt yuv420p -c:a flac", "b.mkv", "raw", "flac"),
    ] {
        let path = folder.ffmpeg(&format!("{BOTH} -t 3 {codecs}"), name);
        let info = found(&path);
        let track = &info.video[0];
        assert_eq!((track.codec.as_str(), info.audio[0].codec.as_str()), (video, audio), "{name}");
        assert!(platform.decode.contains_key(video) && platform.decode_audio.contains_key(audio), "{name}");
        assert_eq!(track.coded.to_string(), "320x240", "{name}");
        assert_eq!((track.frame_rate.to_string().as_str(), track.variable_rate), ("25", false), "{name}");
        assert_eq!((info.audio[0].channels, info.audio[0].sample_rate), (1, 48_000), "{name}");
        assert!(close(track.duration.unwrap(), 3.0, 0.041), "{name}: {:?}", track.duration);
    }
}

#[test]
fn coarse_clocks_do_not_make_a_rate_variable() {
    let folder = Folder::new();
    for rate in ["24000/1001", "30000/1001", "60000/1001", "24", "30"] {
        let source =
            format!("-f lavfi -i testsrc2=size=160x120:rate={rate} -t 4 -c:v libx264 -preset veryfast");
        for name in ["a.mkv", "a.flv", "a.ts", "a.mp4"] {
            let video = &found(&folder.ffmpeg(&source, name)).video[0];
            assert_eq!((video.frame_rate.to_string().as_str(), video.variable_rate), (rate, false), "{name}");
        }
    }
}

#[test]
fn a_variable_rate_is_told_with_the_rate_most_pictures_keep() {
    let folder = Folder::new();
    // Every fifth picture is missing, but for every seventh.
    let made =
        [BOTH, "-t 3 -vf select='mod(n,5)+not(mod(n,7))' -fps_mode vfr -c:v libx264 -c:a aac"].join(" ");
    let first = folder.ffmpeg(&made, "a.mp4");
    for path in [&folder.ffmpeg(&format!("-i {} -c copy", first.display()), "a.mkv"), &first] {
        let video = &found(path).video[0];
        assert_eq!(
            (video.frame_rate.to_string().as_str(), video.variable_rate),
            ("25", true),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_turned_picture_is_shown_turned() {
    let folder = Folder::new();
    let karma = clip("gopro-karma.mp4");
    for degrees in ["90", "180", "270"] {
        let made = format!("-i {} -t 1 -map 0:v -c copy -metadata:s:v rotate={degrees}", karma.display());
        let path = folder.ffmpeg(&made, "turned.mp4");
        let video = &found(&path).video[0];
        // ffprobe counts anticlockwise.
        let rotation = match ffprobe(&path, "v:0", "stream_side_data=rotation")[0].as_str() {
            "-90" => Rotation::Clockwise90,
            "90" => Rotation::Clockwise270,
            "180" | "-180" => Rotation::Half,
            other => panic!("ffprobe says {other}"),
        };
        assert_eq!(video.rotation, rotation);
        let upright = if rotation == Rotation::Half { "854x480" } else { "480x854" };
        assert_eq!(
            (video.coded.to_string().as_str(), video.display.to_string().as_str()),
            ("854x480", upright)
        );
    }
}

#[test]
fn high_dynamic_range_is_told_from_the_bitstream_or_the_container() {
    let folder = Folder::new();
    let picture =
        "-f lavfi -i testsrc2=size=320x240:rate=25 -t 1 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le";
    let tags = "-color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc";
    let hlg = folder.ffmpeg(&format!("{picture} -x265-params log-level=error {tags} -tag:v hvc1"), "hlg.mp4");
    let params = "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc";
    let pq = folder.ffmpeg(&format!("{picture} -x265-params {params}"), "pq.mkv");
    for (path, kind, name) in [(hlg, DynamicRange::Hlg, "bt2100-hlg"), (pq, DynamicRange::Pq, "bt2100-pq")] {
        let video = &found(&path).video[0];
        assert_eq!((video.colour.range_kind, video.colour.colorimetry.as_str()), (kind, name));
        assert_eq!(
            (video.bit_depth, video.chroma.as_str(), video.profile.as_deref()),
            (10, "4:2:0", Some("main-10"))
        );
    }
}

#[test]
fn fields_are_told_from_pictures() {
    let folder = Folder::new();
    for (codec, name) in [
        ("mpeg2video -flags +ilme+ildct -top 1 -c:a mp2", "a.ts"),
        ("libx264 -flags +ilme+ildct -x264opts tff=1 -c:a aac", "b.ts"),
        ("libx264 -flags +ilme+ildct -x264opts tff=1 -c:a aac", "b.mp4"),
    ] {
        let video = &found(&folder.ffmpeg(&format!("{BOTH} -t 3 -c:v {codec}"), name)).video[0];
        assert_ne!(video.scan, Scan::Progressive, "{name}");
        assert_eq!((video.frame_rate.to_string().as_str(), video.variable_rate), ("25", false), "{name}");
    }
}

#[test]
fn sound_alone_is_described_and_its_cover_left_out() {
    let folder = Folder::new();
    let tone = "-f lavfi -i sine=frequency=440:sample_rate=44100 -t 4 -ac 2";
    let cover = folder.ffmpeg("-f lavfi -i testsrc2=size=64x64 -frames:v 1", "cover.jpg");
    for (codec, name, container, known) in [
        ("-c:a aac -metadata:s:a:0 language=deu", "a.m4a", Container::Mp4, "aac"),
        ("-c:a libmp3lame", "a.mp3", Container::Mp3, "mp3"),
        ("-c:a flac", "a.flac", Container::Flac, "flac"),
        ("-c:a pcm_s16le", "a.wav", Container::Wav, "pcm"),
        ("-c:a libvorbis", "a.ogg", Container::Ogg, "vorbis"),
        ("-c:a aac -f adts", "a.aac", Container::Adts, "aac"),
        ("-c:a libopus -ar 48000", "a.mka", Container::Matroska, "opus"),
    ] {
        let path = folder.ffmpeg(&format!("{tone} {codec}"), name);
        let info = found(&path);
        assert_eq!((info.container, info.video.len(), info.audio.len()), (container, 0, 1), "{name}");
        let audio = &info.audio[0];
        assert_eq!((audio.codec.as_str(), audio.layout.as_str()), (known, "stereo"), "{name}");
        // Encoders pad the last packet; without an edit list that is heard.
        let exact = matches!(container, Container::Flac | Container::Wav | Container::Mp4);
        let tolerance = if exact { 0.000_1 } else { 0.06 };
        assert!(close(info.duration.unwrap(), 4.0, tolerance), "{name}: {:?}", info.duration);
        assert_eq!(audio.language.as_deref(), (name == "a.m4a").then_some("deu"), "{name}");
        if matches!(container, Container::Mp4 | Container::Mp3 | Container::Flac) {
            let with = format!("-i {} -i {} -map 0 -map 1 -c copy", path.display(), cover.display());
            let path =
                folder.ffmpeg(&format!("{with} -disposition:v attached_pic"), &format!("cover-{name}"));
            let info = found(&path);
            assert_eq!((info.video.len(), info.audio.len()), (0, 1), "{name} with a cover");
        }
    }
}

#[test]
fn odd_sizes_and_missing_sound_are_no_fault() {
    let folder = Folder::new();
    for size in ["1:1", "3:5", "321:241"] {
        let made = format!(
            "-f lavfi -i testsrc2=size=64x64:rate=25 -t 1 -vf scale={size},setsar=1 -pix_fmt yuv444p -c:v libx264"
        );
        let info = found(&folder.ffmpeg(&made, "odd.mp4"));
        assert_eq!(info.audio.len(), 0);
        assert_eq!(info.video[0].display.to_string(), size.replace(':', "x"));
        assert_eq!(info.video[0].chroma, "4:4:4");
    }
}

#[test]
fn a_codec_that_cannot_be_decoded_here_is_described_all_the_same() {
    let folder = Folder::new();
    let mut platform = software();
    platform.decode.remove("h264");
    let source = FileSource::open(clip("gopro-karma.mp4")).unwrap();
    let info = probe(Arc::new(source), &platform, &Cancel::new()).unwrap();
    assert_eq!((info.video[0].codec.as_str(), info.video[0].coded.to_string().as_str()), ("h264", "854x480"));
    let path = folder.ffmpeg(&format!("{BOTH} -t 2 -c:v wmv2 -c:a pcm_s16le"), "a.avi");
    assert_eq!(found(&path).video[0].codec, "wmv2");
}

#[test]
fn a_file_cut_in_the_middle_says_how_far_it_plays() {
    let folder = Folder::new();
    let bunny = clip("big-buck-bunny-1080p.mp4");
    let whole = folder.ffmpeg(&format!("-i {} -c copy -movflags +faststart", bunny.display()), "whole.mp4");
    let bytes = std::fs::read(&whole).unwrap();
    assert_eq!(found(&whole).truncated, None);
    let cut = folder.write("cut.mp4", &bytes[..12_000_000]);
    let info = found(&cut);
    let truncated = info.truncated.clone().unwrap();
    assert_eq!(truncated.missing_bytes, bytes.len() as u64 - 12_000_000);
    let described = transcode_core::probe::describe(&info);
    assert_eq!(described.matches("cut off").count(), 1, "{described}");
    // Every picture before that time is whole in the file, and the one at it is not.
    let places = ffprobe(&whole, "v:0", "packet=pts_time,size,pos");
    let (mut before, mut at_or_after) = (0, 0);
    for packet in places.chunks_exact(3) {
        let (time, size, place) = (number(&packet[0]), number(&packet[1]), number(&packet[2]));
        let inside = size + place <= 12_000_000.0;
        if time < truncated.playable.as_secs_f64() - 0.001 {
            assert!(inside, "the picture at {time} s is missing");
            before += 1;
        } else if inside {
            at_or_after += 1;
        }
    }
    assert_eq!(before, truncated.playable.ticks(24));
    assert!(at_or_after < 24, "{at_or_after} whole pictures were given up");
}

#[test]
fn a_file_without_its_header_is_refused_with_the_reason() {
    let folder = Folder::new();
    let bytes = std::fs::read(clip("gopro-karma.mp4")).unwrap();
    let line = refused(&folder.write("cut.mp4", &bytes[..3_000_000]));
    assert!(line.contains("the header (moov) is missing: the recording was not finished"), "{line}");
}

/// The place and length of the payload of a box, inside a range of bytes.
fn payload(
    bytes: &[u8],
    inside: std::ops::Range<usize>,
    name: &[u8],
    nth: usize,
) -> Option<std::ops::Range<usize>> {
    let mut at = inside.start;
    let mut seen = 0;
    while at + 8 <= inside.end {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if &bytes[at + 4..at + 8] == name {
            if seen == nth {
                return Some(at + 8..at + size);
            }
            seen += 1;
        }
        at += size.max(8);
    }
    None
}

/// Take every sample out of the tables of a track.
fn empty_track(bytes: &mut [u8], track: usize) {
    let moov = payload(bytes, 0..bytes.len(), b"moov", 0).unwrap();
    let mut inside = payload(bytes, moov, b"trak", track).unwrap();
    for name in [b"mdia", b"minf", b"stbl"] {
        inside = payload(bytes, inside, name, 0).unwrap();
    }
    for (name, count_at) in
        [(b"stts", 4), (b"ctts", 4), (b"stss", 4), (b"stsc", 4), (b"stco", 4), (b"stsz", 8)]
    {
        if let Some(table) = payload(bytes, inside.clone(), name, 0) {
            bytes[table.start + count_at..table.start + count_at + 4].fill(0);
        }
    }
}

#[test]
fn an_empty_track_is_left_out_and_an_empty_file_refused() {
    let folder = Folder::new();
    let mut bytes = std::fs::read(clip("gopro-karma.mp4")).unwrap();
    empty_track(&mut bytes, 1);
    let info = found(&folder.write("silent.mp4", &bytes));
    assert_eq!((info.video.len(), info.audio.len()), (1, 0));
    assert!(info.remarks.iter().any(|remark| remark.contains("empty")), "{:?}", info.remarks);
    empty_track(&mut bytes, 0);
    let line = refused(&folder.write("nothing.mp4", &bytes));
    assert!(line.contains("its tracks are empty"), "{line}");
}

#[test]
fn what_is_no_media_is_refused_before_a_demuxer_sees_it() {
    let folder = Folder::new();
    for (name, bytes, what) in [
        ("upload.mp4", &b"#EXTM3U\n#EXTINF:6,\nfile:///etc/passwd\n"[..], "an HLS playlist"),
        ("empty.mp4", b"", "empty (0 bytes)"),
        ("notes.mkv", b"not a video", "a text"),
        ("show.mov", b"<smil><video src='http://127.0.0.1/'/></smil>", "a SMIL"),
    ] {
        let line = refused(&folder.write(name, bytes));
        assert!(line.contains(what) && line.contains(name), "{line}");
    }
}

#[test]
fn garbage_behind_a_magic_is_refused_and_never_hangs() {
    let folder = Folder::new();
    // Bytes without a pattern, always the same.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let frames = |header: &[u8], length: usize| -> Vec<u8> {
        let mut frame = header.to_vec();
        frame.resize(length, 0xaa);
        frame.repeat(2)
    };
    let packets: Vec<u8> = (0..188 * 6).map(|at| if at % 188 == 0 { 0x47 } else { 0x3c }).collect();
    for (name, magic) in [
        ("mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2".to_vec()),
        ("moov.mp4", b"\0\0\0\x10ftypisom\0\0\0\0\0\0\x20\0moov\0\0\0\x6cmvhd".to_vec()),
        ("mkv", b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska\x18\x53\x80\x67".to_vec()),
        ("webm", b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm\x18\x53\x80\x67".to_vec()),
        ("ts", packets),
        ("mpg", b"\0\0\x01\xba\x44\0\x04\0\x04\x01".to_vec()),
        ("avi", b"RIFF\0\x40\0\0AVI LIST".to_vec()),
        ("wav", b"RIFF\0\x40\0\0WAVEfmt ".to_vec()),
        ("flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec()),
        ("ogg", b"OggS\0\x02".to_vec()),
        ("flac", b"fLaC\0\0\0\x22".to_vec()),
        ("mp3", frames(b"\xff\xfb\x90\0", 417)),
        ("aac", frames(&[0xff, 0xf1, 0x4c, 0x80, 100 >> 3, (100 & 7) << 5 | 0x1f, 0xfc], 100)),
    ] {
        let rest: Vec<u8> = (0..100_000).map(|_| noise()).collect();
        let path = folder.write(&format!("noise.{name}"), &[magic, rest].concat());
        match look(&path) {
            Err(error @ Error::Input { .. }) => assert!(!error.chain().contains('\n'), "{}", error.chain()),
            // A frame or two in the magic are a stream, if a short one.
            Ok(info) => {
                assert!(matches!(info.container, Container::Mp3 | Container::Adts), "{name}: {info:?}")
            }
            Err(error) => panic!("{name}: {:?} {}", error.kind(), error.chain()),
        }
    }
}

/// Fails, or waits for ever, from some byte on.
struct Broken {
    inner: FileSource,
    from: u64,
    waits: bool,
}

impl Source for Broken {
    fn identity(&self) -> SourceIdentity {
        self.inner.identity()
    }
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if offset + (buffer.len() as u64) < self.from {
            return self.inner.read_at(offset, buffer, cancel);
        }
        while self.waits && !cancel.sleep(std::time::Duration::from_secs(60)) {}
        if self.waits {
            return Err(SourceError::Cancelled);
        }
        Err(SourceError::Unavailable {
            uri: self.identity().uri,
            offset,
            reason: "the store is gone".to_owned(),
        })
    }
}

#[test]
fn a_store_that_fails_is_not_called_a_bad_video() {
    let folder = Folder::new();
    let path = folder.ffmpeg(&format!("{BOTH} -t 3 -c:v libx264 -c:a aac"), "a.ts");
    for from in [0, 20_000] {
        let source = Broken { inner: FileSource::open(&path).unwrap(), from, waits: false };
        let result = probe(Arc::new(source), &software(), &Cancel::new());
        assert!(matches!(result, Err(Error::Source(SourceError::Unavailable { .. }))), "{from}: {result:?}");
    }
}

#[test]
fn a_look_that_waits_for_its_store_stops_when_told_to() {
    let folder = Folder::new();
    let path = folder.ffmpeg(&format!("{BOTH} -t 3 -c:v libx264 -c:a aac"), "a.ts");
    for from in [0, 20_000] {
        let source = Broken { inner: FileSource::open(&path).unwrap(), from, waits: true };
        let cancel = Cancel::new();
        let stopper = cancel.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            stopper.cancel();
        });
        let result = probe(Arc::new(source), &software(), &cancel);
        thread.join().unwrap();
        assert!(matches!(result, Err(Error::Interrupted)), "{from}: {result:?}");
    }
}

#[test]
fn a_summary_is_for_people() {
    let text = describe(&found(&clip("gopro-karma.mp4")));
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "  MP4, 0:12.079, 4.1 MB",
            "  video 1: h264 (main), 854x480, 29.970 fps, 8 bit 4:2:0, 1:3:5:1, 362 pictures, 46 key frames, \
             at most 8 apart, edit list",
            "  audio 1: aac, stereo, 48000 Hz, eng",
            "  not used: tmcd, gpmd, fdsc",
        ]
    );
}

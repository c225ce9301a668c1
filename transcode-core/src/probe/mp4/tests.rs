use super::*;
use crate::probe::sniff::tests::Bytes;
use proptest::prelude::*;

fn clip(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../tests/media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn movie(bytes: Vec<u8>) -> Result<Movie, String> {
    read(&Bytes(bytes), &Cancel::new()).map_err(|error| error.chain())
}

/// Where the payload of the header lies in a file.
fn header_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let (offset, length) = find_header(&Bytes(bytes.to_vec()), &Cancel::new()).unwrap();
    let offset = usize::try_from(offset).unwrap();
    offset..offset + usize::try_from(length).unwrap()
}

#[test]
fn a_cameras_header_is_understood() {
    let movie = movie(clip("gopro-karma.mp4")).unwrap();
    assert!(!movie.fragmented && movie.remarks.is_empty(), "{:?}", movie.remarks);
    let handlers: Vec<&[u8; 4]> = movie.tracks.iter().map(|track| &track.format).collect();
    assert_eq!(handlers, [b"avc1", b"mp4a", b"tmcd", b"gpmd", b"fdsc"]);
    let video = &movie.tracks[0];
    let samples = video.samples.as_ref().unwrap();
    assert_eq!((video.rotation, video.language.as_deref()), (Some(Rotation::None), Some("eng")));
    assert_eq!(samples.count, 362);
    assert_eq!(samples.rate.map(|rate| rate.rate.to_string()).as_deref(), Some("30000/1001"));
    assert_eq!(samples.end - samples.start, MediaTime::new(362 * 1001, 30_000).unwrap());
}

#[test]
fn a_file_without_its_header_says_so() {
    let whole = clip("gopro-karma.mp4");
    let header = header_of(&whole);
    let before = movie(whole[..header.start - 8].to_vec()).unwrap_err();
    assert!(before.contains("the header (moov) is missing: the recording was not finished"), "{before}");
    let inside = movie(whole[..header.start + 1000].to_vec()).unwrap_err();
    assert!(inside.contains("the header (moov) is cut off"), "{inside}");
    let cut = movie(whole[..1_000_000].to_vec()).unwrap_err();
    assert!(cut.contains("the file ends at 1000000"), "{cut}");
    let damaged = [&whole[..32], &[0xff; 64], &whole[32..]].concat();
    assert!(movie(damaged).is_err());
}

#[test]
fn a_header_may_claim_no_more_than_is_read() {
    let mut bytes = Vec::new();
    put(&mut bytes, b"ftyp", b"isom\0\0\0\0");
    bytes.extend_from_slice(&[0, 0, 0, 1, b'm', b'o', b'o', b'v', 0, 0, 0, 1, 0, 0, 0, 0]);
    let error = movie(bytes).unwrap_err();
    assert!(error.contains("at most 256 MiB are read"), "{error}");
}

#[test]
fn quarter_turns_and_mirrors_are_told_from_the_matrix() {
    let matrix = |a: i32, b: i32, c: i32, d: i32| -> Vec<u8> {
        let one = 0x10000;
        [a * one, b * one, 0, c * one, d * one, 0, 640 * one, 0, 0x4000_0000]
            .into_iter()
            .flat_map(i32::to_be_bytes)
            .collect()
    };
    for (values, turned) in [
        ((1, 0, 0, 1), Some(Rotation::None)),
        ((0, 1, -1, 0), Some(Rotation::Clockwise90)),
        ((-1, 0, 0, -1), Some(Rotation::Half)),
        ((0, -1, 1, 0), Some(Rotation::Clockwise270)),
        ((-1, 0, 0, 1), Some(Rotation::Mirror)),
        ((1, 0, 0, -1), Some(Rotation::MirrorHalf)),
        ((1, 1, -1, 1), None),
    ] {
        let (a, b, c, d) = values;
        assert_eq!(rotation(&matrix(a, b, c, d)), turned, "{values:?}");
    }
}

#[test]
fn languages_have_three_letters_or_none() {
    assert_eq!(language(0x15c7).as_deref(), Some("eng"));
    assert_eq!(language(0x10b5).as_deref(), Some("deu"));
    assert_eq!(language(0x55c4), None, "und");
    assert_eq!(language(0).as_deref(), Some("eng"));
    assert_eq!(language(0x7fff), None);
}

#[test]
fn our_tables_agree_with_the_boxes_of_every_clip() {
    for name in ["gopro-karma.mp4", "gopro-max-hero.mp4"] {
        let bytes = clip(name);
        let header = header_of(&bytes);
        let moov = &bytes[header];
        let whole = movie(bytes.clone()).unwrap();
        for (track, (_, trak)) in whole.tracks.iter().zip(boxes(moov).filter(|(name, _)| name == b"trak")) {
            let stsz = find_path(trak, &[b"mdia", b"minf", b"stbl", b"stsz"]).unwrap();
            let counted = track.samples.as_ref().map(|samples| samples.count);
            assert_eq!(counted, be32(stsz, 8).map(u64::from), "{name} track {}", track.id);
        }
    }
}

/// A clip with its header before a stub of its media, so that a mutation is cheap.
fn header_only() -> Vec<u8> {
    let bytes = clip("gopro-karma.mp4");
    let header = header_of(&bytes);
    let mut out = Vec::new();
    put(&mut out, b"ftyp", b"isom\0\0\0\0");
    put(&mut out, b"moov", &bytes[header]);
    put(&mut out, b"mdat", &[0; 64]);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_change_of_a_header_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        static HEADER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(header_only);
        let mut bytes = HEADER.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _movie_or_error = movie(bytes);
    }

    #[test]
    fn no_length_of_a_box_makes_it_panic(
        which in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![0u32, 1, 7, 8, 9, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
        shift in 0usize..24,
    ) {
        static PLACES: std::sync::LazyLock<(Vec<u8>, Vec<usize>)> = std::sync::LazyLock::new(|| {
            let bytes = header_only();
            let names: [&[u8]; 14] = [
                b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts", b"stsz", b"stco", b"stsc", b"stss", b"ctts",
                b"elst", b"mdhd", b"tkhd",
            ];
            let places = (4..bytes.len() - 4).filter(|at| names.contains(&&bytes[*at..*at + 4])).map(|at| at - 4);
            (bytes.clone(), places.collect())
        });
        let (bytes, places) = &*PLACES;
        let mut bytes = bytes.clone();
        // The length itself, or a number behind it: versions, counts, first rows.
        let at = places[which.index(places.len())] + shift / 4 * 4;
        if at + 4 <= bytes.len() {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let _movie_or_error = movie(bytes);
    }

    #[test]
    fn no_cut_makes_it_panic(length in any::<prop::sample::Index>()) {
        let bytes = header_only();
        let _movie_or_error = movie(bytes[..length.index(bytes.len())].to_vec());
    }
}

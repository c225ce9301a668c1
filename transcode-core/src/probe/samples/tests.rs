use super::*;
use crate::units::FrameRate;

fn seconds(num: i64, den: u32) -> MediaTime {
    MediaTime::new(num, den).unwrap()
}

fn row(duration: u64, media_time: i64) -> Row {
    Row { duration, media_time: (media_time >= 0).then_some(media_time) }
}

/// A track's tables as a box, read as in earnest.
#[derive(Default)]
struct Tables {
    stts: Vec<(u32, u32)>,
    ctts: Vec<(u32, i32)>,
    stss: Option<Vec<u32>>,
    stsc: Vec<(u32, u32)>,
    stco: Vec<u32>,
}

impl Tables {
    fn read(&self) -> mp4parse::Track {
        use crate::probe::boxes::put;
        let full = |rows: usize, body: Vec<u32>| -> Vec<u8> {
            let head = [0u32, u32::try_from(rows).unwrap()];
            head.into_iter().chain(body).flat_map(u32::to_be_bytes).collect()
        };
        let mut stbl = Vec::new();
        put(
            &mut stbl,
            b"stts",
            &full(self.stts.len(), self.stts.iter().flat_map(|(c, d)| [*c, *d]).collect()),
        );
        if !self.ctts.is_empty() {
            let body =
                self.ctts.iter().flat_map(|(count, offset)| [*count, offset.cast_unsigned()]).collect();
            put(&mut stbl, b"ctts", &full(self.ctts.len(), body));
        }
        if let Some(stss) = &self.stss {
            put(&mut stbl, b"stss", &full(stss.len(), stss.clone()));
        }
        put(
            &mut stbl,
            b"stsc",
            &full(self.stsc.len(), self.stsc.iter().flat_map(|(c, n)| [*c, *n, 1]).collect()),
        );
        put(&mut stbl, b"stco", &full(self.stco.len(), self.stco.clone()));
        let wrap = |name: &[u8; 4], inner: &[u8]| {
            let mut out = Vec::new();
            put(&mut out, name, inner);
            out
        };
        let mdia = wrap(b"mdia", &wrap(b"minf", &wrap(b"stbl", &stbl)));
        let moov = wrap(b"moov", &wrap(b"trak", &mdia));
        let media = mp4parse::read_mp4(&mut moov.as_slice()).unwrap();
        media.tracks.into_iter().next().unwrap()
    }

    fn understood(&self, sizes: &Sizes<'_>, edits: &[Row], file: u64) -> Samples {
        let presentation = Presentation::new(edits, 1_000, 24_000);
        let mut remarks = Vec::new();
        Samples::understand(&self.read(), sizes, &presentation, file, &mut remarks, 1).unwrap()
    }
}

/// 48 pictures at 24 a second, in four chunks of twelve, ten bytes each, shown two pictures late.
fn two_seconds() -> Tables {
    Tables {
        stts: vec![(48, 1_000)],
        ctts: vec![(1, 2_000), (47, 2_000)],
        stss: Some(vec![1, 25]),
        stsc: vec![(1, 12)],
        stco: vec![100, 300, 500, 700],
    }
}

const TEN: Sizes<'static> = Sizes::Equal { size: 10, count: 48 };

#[test]
fn an_edit_list_takes_back_what_reordering_delays() {
    let plain = two_seconds().understood(&TEN, &[], 10_000);
    assert_eq!((plain.start, plain.end), (seconds(1, 12), seconds(25, 12)));
    let edited = two_seconds().understood(&TEN, &[row(2_000, 2_000)], 10_000);
    assert_eq!((edited.start, edited.end), (MediaTime::ZERO, seconds(2, 1)));
    assert_eq!(
        edited.rate.map(|rate| (rate.rate, rate.variable)),
        FrameRate::new(24, 1).map(|rate| (rate, false))
    );
    assert_eq!(edited.keys, KeyFrames { count: 2, longest_gap: 24 });
    assert_eq!(edited.lost, None);
}

#[test]
fn an_empty_edit_delays_and_a_short_one_cuts() {
    let late = two_seconds().understood(&TEN, &[row(1_500, -1), row(2_000, 2_000)], 10_000);
    assert_eq!((late.start, late.end), (seconds(3, 2), seconds(7, 2)));
    let cut = two_seconds().understood(&TEN, &[row(500, 14_000)], 10_000);
    assert_eq!((cut.start, cut.end), (MediaTime::ZERO, seconds(1, 2)));
    let twice = two_seconds().understood(&TEN, &[row(500, 2_000), row(250, 26_000)], 10_000);
    assert_eq!((twice.start, twice.end), (MediaTime::ZERO, seconds(3, 4)));
    let to_the_end = two_seconds().understood(&TEN, &[row(0, 2_000)], 10_000);
    assert_eq!(to_the_end.end, seconds(2, 1));
}

#[test]
fn a_tick_of_the_movies_clock_is_rounding() {
    // 2 s less one picture in 24000 ticks would be 1.958333 s; the list says 1.958.
    let tables = Tables { stts: vec![(47, 1_000)], stsc: vec![(1, 47)], stco: vec![0], ..Tables::default() };
    let samples = tables.understood(&Sizes::Equal { size: 1, count: 47 }, &[row(1_958, 0)], 1_000);
    assert_eq!(samples.end, seconds(47, 24));
}

#[test]
fn what_lies_beyond_the_end_of_the_file_is_lost() {
    // The third chunk begins at 500: 525 bytes hold its first two pictures whole.
    let samples = two_seconds().understood(&TEN, &[row(2_000, 2_000)], 525);
    assert_eq!(samples.lost, Some(Lost { bytes: 820 - 525, from: seconds(26, 24) }));
    let none = two_seconds().understood(&TEN, &[row(2_000, 2_000)], 50);
    assert_eq!(none.lost, Some(Lost { bytes: 770, from: MediaTime::ZERO }));
    let listed: Vec<u8> = std::iter::repeat_n(10u32, 48).flat_map(u32::to_be_bytes).collect();
    let samples = two_seconds().understood(&Sizes::Listed(&listed), &[row(2_000, 2_000)], 525);
    assert_eq!(samples.lost, Some(Lost { bytes: 820 - 525, from: seconds(26, 24) }));
    assert_eq!(two_seconds().understood(&TEN, &[], 820).lost, None);
}

#[test]
fn a_picture_decoded_late_and_shown_early_counts_when_lost() {
    // Decoded I P B B, shown I B B P; the last of them is missing: 1 of 4 pictures is sure.
    let tables = Tables {
        stts: vec![(4, 1_000)],
        ctts: vec![(1, 1_000), (1, 3_000), (2, 0)],
        stsc: vec![(1, 4)],
        stco: vec![0],
        ..Tables::default()
    };
    let samples = tables.understood(&Sizes::Equal { size: 10, count: 4 }, &[row(167, 1_000)], 25);
    assert_eq!(samples.lost.map(|lost| lost.from), Some(seconds(1, 24)));
}

#[test]
fn tables_that_disagree_are_remarked_on() {
    let presentation = Presentation::new(&[], 1_000, 24_000);
    let mut remarks = Vec::new();
    let sizes = Sizes::Equal { size: 10, count: 40 };
    let samples = Samples::understand(&two_seconds().read(), &sizes, &presentation, 10_000, &mut remarks, 7);
    assert_eq!(samples.map(|samples| samples.count), Some(40));
    assert!(remarks[0].contains("track 7") && remarks[0].contains("48"), "{remarks:?}");
}

#[test]
fn key_frames_are_counted_with_the_way_to_the_end() {
    let keys = |stss: Option<Vec<u32>>| keys(&Tables { stss, ..two_seconds() }.read(), 48);
    assert_eq!(keys(Some(vec![1])), KeyFrames { count: 1, longest_gap: 48 });
    assert_eq!(keys(Some(vec![30, 1, 1, 99, 0])), KeyFrames { count: 2, longest_gap: 29 });
    assert_eq!(keys(None), KeyFrames { count: 48, longest_gap: 1 });
    assert_eq!(keys(Some(vec![])), KeyFrames { count: 0, longest_gap: 0 });
}

#[test]
fn hostile_counts_cost_nothing() {
    let tables = Tables {
        stts: vec![(u32::MAX, u32::MAX); 3],
        ctts: vec![(u32::MAX, i32::MIN), (u32::MAX, i32::MAX)],
        stsc: vec![(1, u32::MAX)],
        stco: vec![u32::MAX; 3],
        stss: None,
    };
    let sizes = Sizes::Equal { size: u32::MAX, count: u64::from(u32::MAX) };
    let samples = tables.understood(&sizes, &[row(u64::MAX, i64::MAX), row(u64::MAX, 0)], 5);
    assert_eq!(samples.count, u64::from(u32::MAX));
}

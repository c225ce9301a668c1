//! Headers of films that nobody has to store: any rate, length, order of pictures, sizes up to
//! hundreds of gigabytes; read back by a parser that did not write them.

use super::aac;
use super::avc::{Avc, ParameterSets};
use super::header::{Clocks, Head, Pictures, Sound};
use super::progressive::{self, Layout};
use super::tables::Tables;
use crate::plan::Plan;
use crate::playlist::Avc as Codec;
use crate::segment::{AudioFormat, Sps};
use crate::units::{FrameRate, Resolution};
use proptest::prelude::*;

fn plan(rate: (u32, u32), segment: u32, slots: u64) -> Plan {
    let stored = include_bytes!("../../tests/golden/film-1080p24.json");
    let mut plan = Plan::from_json(stored).expect("a plan");
    plan.timeline.rate = FrameRate::new(rate.0, rate.1).expect("a rate");
    plan.timeline.segment_slots = segment;
    plan.timeline.slots = slots;
    plan
}

fn avc() -> Avc {
    let sets = ParameterSets { sps: vec![0x67, 77, 0, 40, 1], pps: vec![vec![0x68, 1]] };
    let sps = Sps {
        avc: Codec { profile: 77, constraints: 0, level: 40 },
        chroma: 1,
        bit_depth: 8,
        reference_frames: 1,
        progressive: true,
        size: Resolution::new(1_920, 1_080).expect("a size"),
        pixel_aspect: None,
        colour: None,
        rate: None,
        fixed_rate: true,
    };
    Avc { sets, sps }
}

/// A film whose pictures have these sizes and shifts, over and over, and all its packets.
fn film<'a>(plan: &'a Plan, sizes: &[u32], shifts: &[i16]) -> Tables<'a> {
    let rung = &plan.rungs[0];
    let audio = rung.audio.as_ref().expect("sound");
    let slots = plan.timeline.slots;
    let mut tables = Tables::new(plan, rung, plan.timeline.segment_count());
    tables.pictures = sizes.iter().copied().cycle().take(slots as usize).collect();
    tables.shifts = shifts.iter().copied().cycle().take(slots as usize).collect();
    tables.packets = (0..audio.packets_before(&plan.timeline, slots) as u32).map(|n| 100 + n % 300).collect();
    tables.avc = Some(avc());
    tables.format = Some(AudioFormat { object_type: 2, sample_rate: audio.sample_rate, channels: 2 });
    tables
}

fn laid_out(plan: &Plan, tables: &Tables<'_>, gop: u32) -> Layout {
    let rung = &plan.rungs[0];
    let head = Head {
        clocks: Clocks::new(plan, rung),
        video: tables.avc.as_ref().map(|avc| Pictures {
            avc,
            count: tables.pictures.len() as u64,
            delay: tables.delay(),
        }),
        audio: tables.format.zip(rung.audio.as_ref()).map(|(format, rung)| Sound {
            format,
            rung,
            count: tables.packets.len() as u64,
            priming: aac::PRIMING,
        }),
    };
    progressive::layout(&head, tables, gop).expect("a layout")
}

/// Where a track's samples are, by its tables.
fn places(track: &mp4parse::Track) -> Vec<(u64, u64)> {
    let (stsc, stsz) = (track.stsc.as_ref().expect("stsc"), track.stsz.as_ref().expect("stsz"));
    let mut sizes = stsz.sample_sizes.iter();
    let mut entries = stsc.samples.iter().peekable();
    let (mut found, mut samples) = (Vec::new(), 0);
    for (chunk, offset) in (1u32..).zip(track.stco.as_ref().expect("stco").offsets.iter()) {
        if let Some(entry) = entries.next_if(|entry| entry.first_chunk == chunk) {
            samples = entry.samples_per_chunk;
        }
        let mut at = *offset;
        for size in sizes.by_ref().take(samples as usize) {
            found.push((at, u64::from(*size)));
            at += u64::from(*size);
        }
    }
    assert!(sizes.next().is_none() && entries.next().is_none(), "every sample is in a chunk");
    found
}

/// The samples of both tracks stand behind the header without a gap, up to the end.
fn tiles(layout: &Layout) -> mp4parse::MediaContext {
    let large = layout.total > u64::from(u32::MAX);
    let frame = if layout.head[layout.head.len() - 4..] == *b"mdat" { 8 } else { 16 };
    let (header, mdat) = layout.head.split_at(layout.head.len() - frame);
    let parsed = mp4parse::read_mp4(&mut &*header).expect("a header");
    let mut all: Vec<_> = parsed.tracks.iter().flat_map(places).collect();
    all.sort_unstable();
    let end = all.iter().fold(layout.head.len() as u64, |end, (at, size)| {
        assert_eq!(*at, end, "no gap and no overlap");
        at + size
    });
    assert_eq!(end, layout.total);
    let payload = layout.total - layout.head.len() as u64;
    let stated = if frame == 16 {
        u64::from_be_bytes(mdat[8..].try_into().expect("eight bytes"))
    } else {
        u64::from(u32::from_be_bytes(mdat[..4].try_into().expect("four bytes")))
    };
    assert_eq!(stated, payload + frame as u64);
    assert!(frame == 16 || !large || payload < 1 << 32);
    parsed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_of_any_film_are_where_the_header_says(
        rate in prop::sample::select(vec![(24, 1), (25, 1), (30_000, 1_001), (60, 1), (15, 2), (1, 1)]),
        gops in 1u32..5,
        gop in 1u32..70,
        slots in 1u64..4_000,
        sizes in prop::collection::vec(0u32..2_000_000, 1..20),
        shifts in prop::collection::vec(-3i16..8, 1..9),
    ) {
        let plan = plan(rate, gops * gop, slots);
        let tables = film(&plan, &sizes, &shifts);
        let parsed = tiles(&laid_out(&plan, &tables, gop));
        let (video, audio) = (&parsed.tracks[0], &parsed.tracks[1]);
        let clocks = Clocks::new(&plan, &plan.rungs[0]);
        let shown = video.edited_duration.expect("an edit").0;
        prop_assert_eq!(
            u128::from(shown) * u128::from(rate.0),
            u128::from(slots) * u128::from(rate.1) * u128::from(clocks.movie),
            "the length is exact"
        );
        let heard = audio.edited_duration.expect("an edit").0;
        prop_assert_eq!(heard * u64::from(clocks.audio), tables.packets.len() as u64 * 1_024 * u64::from(clocks.movie));
        let shifted: Vec<i64> = video.ctts.iter().flat_map(|ctts| ctts.samples.iter()).flat_map(|entry| {
            // This parser takes every offset as signed; ours are not.
            let mp4parse::TimeOffsetVersion::Version1(offset) = entry.time_offset else { panic!("unsigned") };
            assert!(offset >= 0, "no picture is shown before it is decoded");
            let count = entry.sample_count as usize;
            std::iter::repeat_n(i64::from(offset) / i64::from(clocks.picture) - i64::from(tables.delay()), count)
        }).collect();
        let expected: Vec<i64> = tables.shifts.iter().map(|shift| i64::from(*shift)).collect();
        prop_assert!(shifted == expected || (shifted.is_empty() && expected.iter().all(|shift| *shift == 0)));
    }
}

#[test]
fn a_file_above_4_gib_has_64_bit_offsets_and_a_large_mdat() {
    // Two hours of 60 pictures a second, at 200 kB each: 86 GB.
    let plan = plan((60, 1), 360, 432_000);
    let layout = laid_out(&plan, &film(&plan, &[200_000], &[0]), 60);
    assert!(layout.total > 86_000_000_000);
    assert!(layout.head.windows(4).any(|name| name == b"co64"));
    tiles(&layout);
    // And one just below it has 32.
    let small = film(&plan, &[100], &[0]);
    let layout = laid_out(&plan, &small, 60);
    assert!(layout.head.windows(4).any(|name| name == b"stco"));
    tiles(&layout);
}

#[test]
fn a_day_of_film_has_64_bit_times() {
    // 24 h at 29.97 and 48 kHz: 240 000 ticks a second of the movie's clock pass 32 bits after 5 h.
    let plan = plan((30_000, 1_001), 180, 2_589_410);
    let parsed = tiles(&laid_out(&plan, &film(&plan, &[1], &[2, 0, -2]), 60));
    let shown = parsed.tracks[0].edited_duration.expect("an edit").0;
    assert_eq!(shown, 2_589_410 * 1_001 * 8);
    assert!(shown > u64::from(u32::MAX));
}

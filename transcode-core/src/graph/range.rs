//! Samples of the full range brought to the limited one, in place.
//!
//! Between YUV formats of one matrix GStreamer's converter does not look at the range (1.22,
//! gst-libs/gst/video/video-converter.c): what an action camera stores with 0 to 255 would come out as it
//! is and be called 16 to 235, black and white crushed. So it is done here, before the converter. Knows planes
//! in system memory, of 8 to 12 bits a sample; packed pictures, which no decoder gives, are left alone.

use gst_video::{VideoColorRange, VideoColorimetry, VideoFormat, VideoInfo};
use gstreamer as gst;
use gstreamer_video as gst_video;

/// Whether pictures like these are brought to the limited range here.
pub(super) fn is_ours(info: &VideoInfo) -> bool {
    info.colorimetry().range() == VideoColorRange::Range0_255
        && matches!(
            info.format(),
            VideoFormat::I420
                | VideoFormat::Yv12
                | VideoFormat::Nv12
                | VideoFormat::Nv21
                | VideoFormat::Y42b
                | VideoFormat::Y41b
                | VideoFormat::Y444
                | VideoFormat::I42010le
                | VideoFormat::I42210le
                | VideoFormat::Y44410le
                | VideoFormat::I42012le
                | VideoFormat::I42212le
                | VideoFormat::Y44412le
                | VideoFormat::P01010le
        )
}

/// The same colours in the limited range.
pub(super) fn limited(colours: &VideoColorimetry) -> VideoColorimetry {
    let range = VideoColorRange::Range16_235;
    VideoColorimetry::new(range, colours.matrix(), colours.transfer(), colours.primaries())
}

/// The picture in the limited range, in a buffer of its own where others hold it. `None` where it cannot be mapped.
pub(super) fn limit(mut buffer: gst::Buffer, info: &VideoInfo) -> Option<gst::Buffer> {
    let format = info.format_info();
    let (depth, shift) = (*format.depth().first()?, *format.shift().first()?);
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info).ok()?;
    for plane in 0..info.n_planes() {
        // Every row with its padding: it is all one run of samples.
        let samples = frame.plane_data_mut(plane).ok()?;
        match (plane, depth) {
            (0, 8) => samples.iter_mut().for_each(luma),
            (_, 8) => samples.iter_mut().for_each(chroma),
            (0, _) => deep(samples, shift, |sample| deep_luma(sample, depth)),
            (_, _) => deep(samples, shift, |sample| deep_chroma(sample, depth)),
        }
    }
    drop(frame);
    Some(buffer)
}

/// 0 to 255 become 16 to 235 (ITU-T H.264, E.2.1, `video_full_range_flag`).
fn luma(sample: &mut u8) {
    *sample = 16 + ((u32::from(*sample) * 219 * 257 + 32_768) >> 16) as u8;
}

/// 0 to 255 become 16 to 240, around 128.
fn chroma(sample: &mut u8) {
    *sample = (((i32::from(*sample) - 128) * 224 * 257 + 32_768 + (128 << 16)) >> 16) as u8;
}

/// Every little-endian sample, which lies `shift` bits above the lowest.
fn deep(samples: &mut [u8], shift: u32, change: impl Fn(u32) -> u32) {
    for bytes in samples.chunks_exact_mut(2) {
        let sample = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        bytes.copy_from_slice(&((change(sample >> shift) << shift) as u16).to_le_bytes());
    }
}

/// As [`luma`], of `depth` bits a sample.
fn deep_luma(sample: u32, depth: u32) -> u32 {
    let most = (1 << depth) - 1;
    (16 << (depth - 8)) + (sample.min(most) * (219 << (depth - 8)) + most / 2) / most
}

/// As [`chroma`], of `depth` bits a sample: 1 to the most become what is around the middle.
fn deep_chroma(sample: u32, depth: u32) -> u32 {
    let (most, middle) = ((1i64 << depth) - 1, 1i64 << (depth - 1));
    let away = (i64::from(sample).min(most) - middle) * (224 << (depth - 8));
    (middle + (2 * away + most).div_euclid(2 * most)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_the_nearest_of_the_limited_range() {
        for sample in 0..=255u8 {
            let (mut y, mut c) = (sample, sample);
            luma(&mut y);
            chroma(&mut c);
            let wanted = 16.0 + f64::from(sample) * 219.0 / 255.0;
            assert!((f64::from(y) - wanted).abs() <= 0.51, "{sample}: {y}, not {wanted}");
            let wanted = 128.0 + (f64::from(sample) - 128.0) * 224.0 / 255.0;
            assert!((f64::from(c) - wanted).abs() <= 0.51, "{sample}: {c}, not {wanted}");
        }
        for (depth, sample) in
            [10, 12].into_iter().flat_map(|depth| (0..1u32 << depth).map(move |s| (depth, s)))
        {
            let (steps, most) = (f64::from(1 << (depth - 8)), f64::from((1 << depth) - 1));
            let wanted = steps * (16.0 + f64::from(sample) * 219.0 / most);
            let y = deep_luma(sample, depth);
            assert!((f64::from(y) - wanted).abs() <= 0.51, "{sample} of {depth}: {y}, not {wanted}");
            let wanted = steps * (128.0 + (f64::from(sample) - steps * 128.0) * 224.0 / most);
            let c = deep_chroma(sample, depth);
            assert!((f64::from(c) - wanted).abs() <= 0.51, "{sample} of {depth}: {c}, not {wanted}");
        }
    }

    #[test]
    fn only_planes_of_the_full_range_are_ours() {
        crate::graph::init().unwrap();
        let info = |format, colours: &str| {
            let colours: VideoColorimetry = colours.parse().unwrap();
            VideoInfo::builder(format, 320, 240).colorimetry(&colours).build().unwrap()
        };
        assert!(is_ours(&info(VideoFormat::I420, "1:3:5:1")));
        assert!(is_ours(&info(VideoFormat::Nv12, "1:4:0:0")));
        assert!(!is_ours(&info(VideoFormat::I420, "bt709")));
        assert!(is_ours(&info(VideoFormat::P01010le, "1:7:0:7")));
        assert!(!is_ours(&info(VideoFormat::Yuy2, "1:3:5:1")), "packed");
        assert!(!is_ours(&info(VideoFormat::Gbr, "sRGB")), "has no limited range to go to");
    }
}

//! The resampler against the same filter in floating point.

use super::*;

/// Noise, gradients and edges, with something else between the rows.
fn picture(plane: &Plane) -> Vec<u8> {
    let mut noise = 7u32;
    let mut byte = |at: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (x, y) = (at % plane.stride, at / plane.stride);
        if x >= plane.width {
            return 255;
        }
        match (x / 16 + y / 16) % 3 {
            0 => (noise >> 24) as u8,
            1 => ((x + y) % 256) as u8,
            _ => 255 * u8::from((x + y) % 2 == 0),
        }
    };
    (0..plane.stride * plane.height).map(&mut byte).collect()
}

/// The same by the definition of the filter: edges repeated for left-sited planes, left out and made
/// up for otherwise.
fn exact(bytes: &[u8], from: &Plane, to: &Plane, siting: Siting) -> Vec<f64> {
    let margin = margin(siting) as i64;
    let side = |length: usize, of: usize, at: usize, margin: i64, shift: f64| -> Vec<(usize, f64)> {
        let scale = length as f64 / of as f64;
        let wide = scale.max(1.0);
        let centre = (at as f64 + 0.5) * scale - 0.5 + shift;
        let last = length as i64 - 1;
        let weights: Vec<(usize, f64)> = (-margin..=last + margin)
            .map(|pixel| (pixel.clamp(0, last) as usize, bicubic((pixel as f64 - centre) / wide)))
            .collect();
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.into_iter().map(|(pixel, weight)| (pixel, weight / sum)).collect()
    };
    let shift = if siting == Siting::Left { 0.25 * (1.0 - from.width as f64 / to.width as f64) } else { 0.0 };
    let mut found = Vec::new();
    for y in 0..to.height {
        let down = side(from.height, to.height, y, 0, 0.0);
        let tall: Vec<f64> = (0..from.width)
            .map(|x| down.iter().map(|(y, w)| w * f64::from(bytes[y * from.stride + x])).sum::<f64>())
            .map(|value| value.clamp(0.0, 255.0))
            .collect();
        found.extend((0..to.width).map(|x| {
            let across = side(from.width, to.width, x, margin, shift);
            across.iter().map(|(x, w)| w * tall[*x]).sum::<f64>().clamp(0.0, 255.0)
        }));
    }
    found
}

const SIZES: [((usize, usize), (usize, usize)); 11] = [
    ((96, 54), (64, 36)),
    ((96, 54), (43, 24)),
    ((64, 36), (32, 18)),
    ((97, 55), (41, 23)),
    ((64, 36), (64, 20)),
    ((64, 36), (40, 36)),
    ((9, 7), (2, 2)),
    ((16, 2), (8, 1)),
    ((30, 30), (45, 61)),
    ((120, 90), (20, 15)),
    ((1, 1), (1, 1)),
];

fn planes(from: (usize, usize), to: (usize, usize)) -> (Plane, Plane) {
    let from = Plane { width: from.0, height: from.1, stride: from.0 + 5 };
    (from, Plane { width: to.0, height: to.1, stride: to.0 + 3 })
}

#[test]
fn a_pixel_is_at_most_one_step_off_the_exact_one_and_rarely_that() {
    // Where it grows, weights above one are cut; no rung does.
    for (from, to) in SIZES.into_iter().filter(|(from, to)| to.0 <= from.0 && to.1 <= from.1) {
        let (from, to) = planes(from, to);
        let bytes = picture(&from);
        for siting in [Siting::Centre, Siting::Left] {
            let mut out = vec![77; to.stride * to.height];
            Resampler::default().plane(&bytes, &from, &mut out, &to, siting).unwrap();
            let pixels: Vec<u8> = out.chunks(to.stride).flat_map(|row| &row[..to.width]).copied().collect();
            let wanted = exact(&bytes, &from, &to, siting);
            let far = pixels.iter().zip(&wanted).map(|(is, exact)| (f64::from(*is) - exact).abs());
            let worst = far.clone().fold(0.0, f64::max);
            assert!(worst < 0.75, "{from:?} {to:?} {siting:?}: {worst}");
            let other = far.filter(|far| *far > 0.5).count();
            assert!(other * 10 <= pixels.len(), "{from:?} {to:?} {siting:?}: {other}");
            let between = out.chunks(to.stride).flat_map(|row| &row[to.width..]);
            assert!(between.copied().all(|byte| byte == 77), "nothing is written between rows");
        }
    }
}

#[test]
fn an_even_plane_stays_as_it_is() {
    for (from, to) in SIZES {
        let (from, to) = planes(from, to);
        for value in [0, 1, 16, 128, 235, 254, 255] {
            let mut out = vec![0; to.stride * to.height];
            let bytes = vec![value; from.stride * from.height];
            Resampler::default().plane(&bytes, &from, &mut out, &to, Siting::Left).unwrap();
            let mut pixels = out.chunks(to.stride).flat_map(|row| &row[..to.width]);
            assert!(pixels.all(|pixel| *pixel == value), "{from:?} {to:?} {value}");
        }
    }
}

#[test]
fn sizes_may_change_from_plane_to_plane() {
    let mut kept = Resampler::default();
    for _ in 0..2 {
        for (from, to) in SIZES {
            let (from, to) = planes(from, to);
            let bytes = picture(&from);
            let (mut one, mut other) = (vec![0; to.stride * to.height], vec![0; to.stride * to.height]);
            kept.plane(&bytes, &from, &mut one, &to, Siting::Left).unwrap();
            Resampler::default().plane(&bytes, &from, &mut other, &to, Siting::Left).unwrap();
            assert!(one == other, "{from:?} {to:?}");
        }
    }
}

#[test]
fn a_plane_that_is_smaller_than_it_says_is_refused() {
    let (whole, half) = (Plane { width: 8, height: 8, stride: 8 }, Plane { width: 4, height: 4, stride: 4 });
    let none = Plane { width: 0, height: 4, stride: 4 };
    let mut resampler = Resampler::default();
    assert!(resampler.plane(&[0; 63], &whole, &mut [0; 16], &half, Siting::Centre).is_none());
    assert!(resampler.plane(&[0; 64], &whole, &mut [0; 15], &half, Siting::Centre).is_none());
    assert!(resampler.plane(&[0; 64], &none, &mut [0; 16], &half, Siting::Centre).is_none());
}

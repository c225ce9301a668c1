//! Resamples one plane of bytes: bicubic, a little sharper than Catmull-Rom, columns first, then rows.
//!
//! A crate of its own so that it is compiled with all optimisations also where nothing else is: every
//! picture of every rung goes through it.
//!
//! Sixteen rows of the result are made at a time, so that what lies between stays in the processor's
//! cache. Both directions add up whole neighbours times one weight, which the compiler turns into SIMD
//! by itself: along columns neighbours lie side by side; for rows the sixteen are woven first, so that
//! one column of them lies together. Weights are worked out once for every pair of sizes. Knows planes,
//! nothing of pictures, caps or GStreamer. Sizes are pixels, which are bytes here.
//!
//! Numbers are fixed point in 16 bits: a pixel times 128, a weight times 32768, the upper half of their
//! product; so a sum counts in 64ths of a pixel's step. Each product is rounded down, which what a sum
//! begins with makes up for. The result is at most one step off the exact one, rarely (see the tests).
#![forbid(unsafe_code)]

/// Rows of the result made at a time.
const ROWS: usize = 16;

/// Rows that are woven in one go: what the compiler does with SIMD.
const QUAD: usize = 4;

/// Columns repeated on each side of a left-sited plane before it is resampled: half of the filter's
/// support at 4 : 1 and more, and the siting offset.
const MARGIN: usize = 12;

/// How far the filter reaches, in pixels of the smaller picture.
const REACH: f64 = 2.0;

/// C of the family: 0.5 is Catmull-Rom, 0.6 is what ffmpeg's scaler takes where nothing is asked for. Measured
/// in docs/decisions/0013.
const SHARPNESS: f64 = 0.6;

/// One, as a weight.
const ONE: f64 = 32768.0;

/// Of a sum, the bits below a pixel's step.
const BITS: u32 = 6;

/// How a plane lies in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next, at least `width`.
    pub stride: usize,
}

impl Plane {
    /// Whether so many bytes hold it. The last row may end with its last pixel.
    fn fits(&self, bytes: usize) -> bool {
        let Self { width, height, stride } = *self;
        width > 0 && height > 0 && stride >= width && bytes >= (height - 1) * stride + width
    }
}

/// Where in its cell a sample lies, horizontally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Siting {
    /// In the middle, as luma does.
    Centre,
    /// On the left luma sample, as chroma of half the width does in H.264 and MPEG-2: resampled with
    /// the offset that this asks for, so that colour does not wander off the luma.
    Left,
}

/// What each pixel of the result is made of, in one direction.
#[derive(Debug)]
struct Axis {
    /// Pixels that each is made of.
    taps: usize,
    /// The first of them.
    starts: Vec<usize>,
    /// Their weights, `taps` of them for every pixel.
    weights: Vec<i16>,
}

impl Axis {
    /// From `from` pixels, with `margin` more on both sides, to `to`; shifted by `offset` pixels.
    fn new(from: usize, to: usize, margin: usize, offset: f64) -> Self {
        let scale = from as f64 / to as f64;
        let wide = scale.max(1.0);
        let all = from + 2 * margin;
        let windows: Vec<_> =
            (0..to).map(|at| window(all, margin as f64 + offset + (at as f64 + 0.5) * scale, wide)).collect();
        let taps = windows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let mut axis = Self { taps, starts: Vec::with_capacity(to), weights: Vec::with_capacity(to * taps) };
        for (first, weights) in &windows {
            // Shorter ones, at the edges, get weights of zero, on the side where there are pixels.
            let start = (*first).min(all - taps);
            let before = first - start;
            axis.starts.push(start);
            axis.weights.resize(axis.weights.len() + before, 0);
            axis.weights.extend(fixed(weights));
            axis.weights.resize(axis.starts.len() * taps, 0);
        }
        axis
    }

    fn of(&self, at: usize) -> (usize, &[i16]) {
        (self.starts[at], &self.weights[at * self.taps..][..self.taps])
    }

    /// What a sum begins with: half a unit for every product, as each is rounded down.
    fn begin(taps: usize) -> i16 {
        i16::try_from(taps / 2).unwrap_or(i16::MAX)
    }
}

/// The pixels of `all` that one around `centre` is made of: the first, and their weights, which add up
/// to one.
fn window(all: usize, centre: f64, wide: f64) -> (usize, Vec<f64>) {
    let radius = REACH * wide;
    let first = ((centre - radius).floor().max(0.0) as usize).min(all - 1);
    let end = ((centre + radius).ceil() as usize).clamp(first + 1, all);
    let weight = |at: usize| bicubic((at as f64 + 0.5 - centre) / wide);
    let weights: Vec<f64> = (first..end).map(weight).collect();
    let nothing = |weight: &&f64| weight.abs() < 1e-9;
    let before = weights.iter().take_while(nothing).count().min(weights.len() - 1);
    let behind = weights.iter().skip(before + 1).rev().take_while(nothing).count();
    let weights = &weights[before..weights.len() - behind];
    let sum: f64 = weights.iter().sum();
    (first + before, weights.iter().map(|weight| weight / sum).collect())
}

/// Mitchell and Netravali's family with B = 0 (Reconstruction Filters in Computer Graphics, 1988): it goes
/// through its points, and C is how far it swings beside them.
fn bicubic(at: f64) -> f64 {
    let at = at.abs();
    if at < 1.0 {
        ((2.0 - SHARPNESS) * at - (3.0 - SHARPNESS)) * at * at + 1.0
    } else if at < REACH {
        SHARPNESS * (((5.0 - at) * at - 8.0) * at + 4.0)
    } else {
        0.0
    }
}

/// Weights in fixed point that add up to one exactly; what is left over goes to the largest. One above
/// one, as there is at the edges of a picture that grows, gives to the next what it cannot hold.
fn fixed(weights: &[f64]) -> Vec<i16> {
    let mut fixed: Vec<i32> = weights.iter().map(|weight| (weight * ONE).round() as i32).collect();
    let mut rest = ONE as i32 - fixed.iter().sum::<i32>();
    let mut order: Vec<usize> = (0..fixed.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(fixed[*at]));
    for at in order {
        let wanted = fixed[at] + rest;
        fixed[at] = wanted.clamp(i16::MIN.into(), i16::MAX.into());
        rest = wanted - fixed[at];
    }
    fixed.into_iter().map(|weight| i16::try_from(weight).unwrap_or(i16::MAX)).collect()
}

/// The two directions for one pair of sizes.
#[derive(Debug)]
struct Axes {
    from: (usize, usize),
    to: (usize, usize),
    siting: Siting,
    down: Axis,
    across: Axis,
}

/// Resamples planes and keeps the memory that this takes.
///
/// ```
/// use transcode_scale::{Plane, Resampler, Siting};
/// let (from, to) = (Plane { width: 4, height: 4, stride: 4 }, Plane { width: 2, height: 2, stride: 2 });
/// let mut out = [0; 4];
/// Resampler::default().plane(&[100; 16], &from, &mut out, &to, Siting::Centre);
/// assert_eq!(out, [100; 4]);
/// ```
#[derive(Debug, Default)]
pub struct Resampler {
    axes: Vec<Axes>,
    strip: Strip,
}

impl Resampler {
    /// Fill `out`, which is laid out as `to` says, from `bytes`, laid out as `from` says. `None` where
    /// a plane is smaller than it says, or empty.
    pub fn plane(
        &mut self,
        bytes: &[u8],
        from: &Plane,
        out: &mut [u8],
        to: &Plane,
        siting: Siting,
    ) -> Option<()> {
        if !from.fits(bytes.len()) || !to.fits(out.len()) {
            return None;
        }
        let sizes = ((from.width, from.height), (to.width, to.height));
        let same = |axes: &Axes| (axes.from, axes.to) == sizes && axes.siting == siting;
        if !self.axes.iter().any(same) {
            // Luma and chroma; other sizes than a moment ago replace them.
            self.axes.truncate(1);
            self.axes.insert(0, Axes::new(from, to, siting));
        }
        let axes = self.axes.iter().find(|axes| same(axes))?;
        let margin = margin(siting);
        let out = &mut out[..(to.height - 1) * to.stride + to.width];
        for (number, rows) in out.chunks_mut(to.stride * ROWS).enumerate() {
            let count = rows.len().div_ceil(to.stride);
            self.strip.columns(bytes, from, &axes.down, number * ROWS..number * ROWS + count);
            self.strip.weave(from.width, margin);
            self.strip.rows(&axes.across, to.width);
            self.strip.unweave(rows, to);
        }
        Some(())
    }
}

const fn margin(siting: Siting) -> usize {
    match siting {
        Siting::Centre => 0,
        Siting::Left => MARGIN,
    }
}

impl Axes {
    fn new(from: &Plane, to: &Plane, siting: Siting) -> Self {
        let offset = match siting {
            Siting::Centre => 0.0,
            Siting::Left => 0.25 * (1.0 - from.width as f64 / to.width as f64),
        };
        Self {
            from: (from.width, from.height),
            to: (to.width, to.height),
            siting,
            down: Axis::new(from.height, to.height, 0, 0.0),
            across: Axis::new(from.width, to.width, margin(siting), offset),
        }
    }
}

/// Sixteen rows of the result on their way.
#[derive(Debug, Default)]
struct Strip {
    /// The source's rows that they are made of, times 128.
    source: Vec<i16>,
    /// The sixteen at the source's width, times 128.
    tall: Vec<i16>,
    /// Four and four of them woven: one column of the four after the other.
    quads: Vec<[i16; QUAD]>,
    /// All of them woven, with margins.
    woven: Vec<[i16; ROWS]>,
    /// The same at the result's width, as bytes.
    narrow: Vec<[u8; ROWS]>,
    /// Four and four of them.
    bytes: Vec<[u8; QUAD]>,
}

impl Strip {
    /// The rows `wanted` of the result, at the source's width.
    fn columns(&mut self, bytes: &[u8], from: &Plane, down: &Axis, wanted: std::ops::Range<usize>) {
        let width = from.width;
        // Windows without their zeros may begin further on than the next one does.
        let starts = down.starts[wanted.clone()].iter();
        let (first, last) = starts.fold((usize::MAX, 0), |(low, high), at| (low.min(*at), high.max(*at)));
        self.source.resize((last + down.taps - first) * width, 0);
        let rows = bytes[first * from.stride..].chunks(from.stride);
        for (wide, row) in self.source.chunks_exact_mut(width).zip(rows) {
            wide.iter_mut().zip(row).for_each(|(wide, byte)| *wide = i16::from(*byte) << 7);
        }
        self.tall.resize(ROWS * width, 0);
        for (at, out) in wanted.zip(self.tall.chunks_exact_mut(width)) {
            let (start, weights) = down.of(at);
            column(&self.source[(start - first) * width..], weights, out);
        }
    }

    fn weave(&mut self, width: usize, margin: usize) {
        self.quads.resize(QUAD * width, [0; QUAD]);
        for (quads, rows) in self.quads.chunks_exact_mut(width).zip(self.tall.chunks_exact(QUAD * width)) {
            let [a, b, c, d] = quarters(rows, width);
            for ((((quad, a), b), c), d) in quads.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *quad = [*a, *b, *c, *d];
            }
        }
        self.woven.resize(width + 2 * margin, [0; ROWS]);
        let [a, b, c, d] = quarters(&self.quads, width);
        let inner = &mut self.woven[margin..margin + width];
        for ((((woven, a), b), c), d) in inner.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            woven[..QUAD].copy_from_slice(a);
            woven[QUAD..2 * QUAD].copy_from_slice(b);
            woven[2 * QUAD..3 * QUAD].copy_from_slice(c);
            woven[3 * QUAD..].copy_from_slice(d);
        }
        let (first, last) = (self.woven[margin], self.woven[margin + width - 1]);
        self.woven[..margin].fill(first);
        self.woven[margin + width..].fill(last);
    }

    fn rows(&mut self, across: &Axis, width: usize) {
        self.narrow.resize(width, [0; ROWS]);
        row(&self.woven, across, &mut self.narrow);
    }

    fn unweave(&mut self, out: &mut [u8], to: &Plane) {
        let (width, stride) = (to.width, to.stride);
        self.bytes.resize(QUAD * width, [0; QUAD]);
        let (a, rest) = self.bytes.split_at_mut(width);
        let (b, rest) = rest.split_at_mut(width);
        let (c, d) = rest.split_at_mut(width);
        for ((((woven, a), b), c), d) in self.narrow.iter().zip(a).zip(b).zip(c).zip(d) {
            a.copy_from_slice(&woven[..QUAD]);
            b.copy_from_slice(&woven[QUAD..2 * QUAD]);
            c.copy_from_slice(&woven[2 * QUAD..3 * QUAD]);
            d.copy_from_slice(&woven[3 * QUAD..]);
        }
        for (quads, rows) in self.bytes.chunks_exact(width).zip(out.chunks_mut(QUAD * stride)) {
            let mut rows = rows.chunks_mut(stride).map(|row| &mut row[..width]);
            match (rows.next(), rows.next(), rows.next(), rows.next()) {
                (Some(a), Some(b), Some(c), Some(d)) => {
                    for ((((quad, a), b), c), d) in quads.iter().zip(a).zip(b).zip(c).zip(d) {
                        (*a, *b, *c, *d) = (quad[0], quad[1], quad[2], quad[3]);
                    }
                }
                (a, b, c, _) => {
                    for (number, row) in [a, b, c].into_iter().enumerate() {
                        let row = row.into_iter().flatten();
                        row.zip(quads).for_each(|(byte, quad)| *byte = quad[number]);
                    }
                }
            }
        }
    }
}

/// Four parts of `length`.
fn quarters<T>(of: &[T], length: usize) -> [&[T]; QUAD] {
    std::array::from_fn(|at| &of[at * length..][..length])
}

/// A pixel times a weight, in 64ths.
#[inline(always)]
fn times(pixel: i16, weight: i16) -> i16 {
    ((i32::from(pixel) * i32::from(weight)) >> 16) as i16
}

/// A sum, back to a pixel times 128.
#[inline(always)]
fn pixel(sum: i16) -> i16 {
    sum.clamp(0, 255 << BITS) << 1
}

/// Calls `$known` with the number of taps as a constant where it is a usual one, for then the whole sum
/// stays in registers; otherwise `$any`.
macro_rules! by_taps {
    ($taps:expr, $known:ident($($argument:expr),*), $any:expr) => {
        match $taps {
            1 => $known::<1>($($argument),*),
            4 => $known::<4>($($argument),*),
            5 => $known::<5>($($argument),*),
            6 => $known::<6>($($argument),*),
            7 => $known::<7>($($argument),*),
            8 => $known::<8>($($argument),*),
            9 => $known::<9>($($argument),*),
            10 => $known::<10>($($argument),*),
            11 => $known::<11>($($argument),*),
            12 => $known::<12>($($argument),*),
            _ => $any,
        }
    };
}

/// One row of the result from rows of the source that follow each other.
fn column(source: &[i16], weights: &[i16], out: &mut [i16]) {
    by_taps!(weights.len(), column_of(source, weights, out), column_of_many(source, weights, out));
}

fn column_of<const TAPS: usize>(source: &[i16], weights: &[i16], out: &mut [i16]) {
    let width = out.len();
    let rows: [&[i16]; TAPS] = std::array::from_fn(|tap| &source[tap * width..][..width]);
    let weights: [i16; TAPS] = std::array::from_fn(|tap| weights[tap]);
    for (x, out) in out.iter_mut().enumerate() {
        let mut sum = Axis::begin(TAPS);
        for tap in 0..TAPS {
            sum = sum.wrapping_add(times(rows[tap][x], weights[tap]));
        }
        *out = pixel(sum);
    }
}

fn column_of_many(source: &[i16], weights: &[i16], out: &mut [i16]) {
    out.fill(Axis::begin(weights.len()));
    for (row, weight) in source.chunks_exact(out.len()).zip(weights) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum = sum.wrapping_add(times(*value, *weight)));
    }
    out.iter_mut().for_each(|sum| *sum = pixel(*sum));
}

/// One column of the result after the other, sixteen rows at once.
fn row(woven: &[[i16; ROWS]], across: &Axis, out: &mut [[u8; ROWS]]) {
    by_taps!(across.taps, row_of(woven, across, out), row_of_many(woven, across, out));
}

fn row_of<const TAPS: usize>(woven: &[[i16; ROWS]], across: &Axis, out: &mut [[u8; ROWS]]) {
    let weights = across.weights.chunks_exact(TAPS);
    for ((start, weights), out) in across.starts.iter().zip(weights).zip(out) {
        let columns = &woven[*start..][..TAPS];
        let mut sums = [Axis::begin(TAPS); ROWS];
        for tap in 0..TAPS {
            for (sum, value) in sums.iter_mut().zip(&columns[tap]) {
                *sum = sum.wrapping_add(times(*value, weights[tap]));
            }
        }
        *out = bytes(&sums);
    }
}

fn row_of_many(woven: &[[i16; ROWS]], across: &Axis, out: &mut [[u8; ROWS]]) {
    for (at, out) in out.iter_mut().enumerate() {
        let (start, weights) = across.of(at);
        let mut sums = [Axis::begin(weights.len()); ROWS];
        for (column, weight) in woven[start..].iter().zip(weights) {
            let sums = sums.iter_mut().zip(column);
            sums.for_each(|(sum, value)| *sum = sum.wrapping_add(times(*value, *weight)));
        }
        *out = bytes(&sums);
    }
}

#[inline(always)]
fn bytes(sums: &[i16; ROWS]) -> [u8; ROWS] {
    std::array::from_fn(|at| (sums[at].wrapping_add(1 << (BITS - 1)) >> BITS).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests;

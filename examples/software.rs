//! A ladder on a bare CPU: libav decodes, the built-in scaler scales, x264 encodes.
//!
//! `cargo run --release --example software -- film.mp4 out`
mod ladder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ladder::on(&["software"])
}

//! A ladder on a Jetson: the decoder and the scaler are the board's; the encoder too, where it has one
//! (Xavier, Orin NX, AGX Orin), else x264 (Orin Nano).
//!
//! `cargo run --release --example jetson -- film.mp4 out`
mod ladder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ladder::on(&["jetson-nvenc", "jetson"])
}

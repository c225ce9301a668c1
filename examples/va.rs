//! A ladder on Intel or AMD graphics, through VA-API.
//!
//! `cargo run --release --example va -- film.mp4 out`
mod ladder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ladder::on(&["va"])
}

//! A ladder on an NVIDIA card: everything in CUDA memory; x264 encodes where the card has no encoder (A100, H100).
//!
//! `cargo run --release --example nvidia -- film.mp4 out`
mod ladder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ladder::on(&["nvidia", "nvidia-decode"])
}

//! The GStreamer graph of one chunk. The one room that spells GStreamer's names.

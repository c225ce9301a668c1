//! Reads a finished MPEG-TS segment back, strictly, before it is stored.

//! The HTTP API: a real server on loopback, asked as its clients ask it.

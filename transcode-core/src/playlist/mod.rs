//! Playlists: text out of (plan, stored segments), nothing else.

use super::*;
use crate::media::SourceIdentity;

pub(in crate::probe) struct Bytes(pub(in crate::probe) Vec<u8>);

impl Source for Bytes {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: "memory:clip".to_owned(), size: self.size(), version: None }
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    /// Reads that stop short, as a network's may.
    fn read_at(&self, offset: u64, buffer: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        let from = self.0.len().min(usize::try_from(offset).unwrap());
        let read = buffer.len().min(self.0.len() - from).min(1000);
        buffer[..read].copy_from_slice(&self.0[from..from + read]);
        Ok(read)
    }
}

fn of(bytes: &[u8]) -> Result<Container, Error> {
    sniff(&Bytes(bytes.to_vec()), &Cancel::new())
}

fn refusal(bytes: &[u8]) -> String {
    match of(bytes) {
        Err(Error::Input { uri, reason }) => {
            assert_eq!(uri, "memory:clip");
            assert!(!reason.contains('\n'), "one line: {reason}");
            reason
        }
        other => panic!("{:?}… became {other:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(20)])),
    }
}

fn ftyp(brand: &[u8; 4]) -> Vec<u8> {
    [b"\0\0\0\x18ftyp".as_slice(), brand, b"\0\0\x02\0", b"isom", brand, b"\0\0\0\x08free"].concat()
}

fn ebml_of(doc_type: &str) -> Vec<u8> {
    let name = [&[0x42, 0x82, 0x80 | doc_type.len() as u8], doc_type.as_bytes()].concat();
    let body = [&[0x42u8, 0x86, 0x81, 1, 0xec, 0x81, 0][..], &name].concat();
    [&[0x1a, 0x45, 0xdf, 0xa3, 0x80 | body.len() as u8][..], &body, &[0x18, 0x53, 0x80, 0x67]].concat()
}

fn packets(length: usize, before: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0x55; before + length * count];
    (0..count).for_each(|packet| bytes[before + packet * length] = 0x47);
    bytes
}

pub(in crate::probe) fn mp3_frames() -> Vec<u8> {
    // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    let mut frame = vec![0u8; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    frame.repeat(3)
}

fn adts_frames() -> Vec<u8> {
    let mut frame = vec![0u8; 100];
    frame[..7].copy_from_slice(&[0xff, 0xf1, 0x4c, 0x80, 100 >> 3, (100 & 7) << 5 | 0x1f, 0xfc]);
    frame.repeat(3)
}

pub(in crate::probe) fn id3(length: u8) -> Vec<u8> {
    [&[b'I', b'D', b'3', 4, 0, 0, 0, 0, 0, length][..], &vec![b'x'; length.into()]].concat()
}

#[test]
fn containers_are_told_from_their_first_bytes() {
    let cases: Vec<(Vec<u8>, Container)> = vec![
        (ftyp(b"isom"), Container::Mp4),
        (ftyp(b"M4A "), Container::Mp4),
        (ftyp(b"qt  "), Container::QuickTime),
        (b"\0\0\0\x08wide\0\0\x20\0mdat".to_vec(), Container::QuickTime),
        (b"\0\0\x10\0moov\0\0\0\x6cmvhd".to_vec(), Container::QuickTime),
        (ebml_of("matroska"), Container::Matroska),
        (ebml_of("webm"), Container::WebM),
        (packets(188, 0, 20), Container::MpegTs),
        (packets(188, 77, 20), Container::MpegTs),
        (packets(192, 4, 20), Container::MpegTs),
        (packets(188, 0, 1), Container::MpegTs),
        (b"\0\0\x01\xba\x44\0\x04\0\x04\x01".to_vec(), Container::MpegPs),
        (b"RIFF\x10\0\0\0AVI LIST".to_vec(), Container::Avi),
        (b"RIFF\x10\0\0\0WAVEfmt ".to_vec(), Container::Wav),
        (b"RF64\xff\xff\xff\xffWAVEds64".to_vec(), Container::Wav),
        (b"FLV\x01\x05\0\0\0\x09".to_vec(), Container::Flv),
        (b"OggS\0\x02\0\0".to_vec(), Container::Ogg),
        (b"fLaC\0\0\0\x22".to_vec(), Container::Flac),
        (mp3_frames(), Container::Mp3),
        (adts_frames(), Container::Adts),
        ([id3(60), mp3_frames()].concat(), Container::Mp3),
        ([id3(60), vec![0; 30], mp3_frames()].concat(), Container::Mp3),
        ([id3(9), adts_frames()].concat(), Container::Adts),
        ([id3(9), b"fLaC\0\0\0\x22".to_vec()].concat(), Container::Flac),
    ];
    for (bytes, container) in cases {
        assert_eq!(of(&bytes).map_err(|error| error.chain()), Ok(container));
    }
}

#[test]
fn what_only_names_videos_is_refused_by_name() {
    for (text, what) in [
        ("#EXTM3U\n#EXT-X-VERSION:3\n", "an HLS playlist (#EXTM3U)"),
        ("\u{feff}#EXTM3U\n", "an HLS playlist (#EXTM3U)"),
        ("\n\n  #EXTM3U\n", "an HLS playlist (#EXTM3U)"),
        ("<smil><body/></smil>", "a SMIL presentation"),
        ("<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"/>", "a DASH manifest"),
        ("<?xml version='1.0'?><SmoothStreamingMedia/>", "a Smooth Streaming manifest"),
        ("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n", "a session description (SDP)"),
        ("[playlist]\nFile1=http://example.com/", "a playlist text"),
        ("https://example.com/video.mp4\n", "a text with an address"),
    ] {
        let reason = refusal(text.as_bytes());
        assert!(reason.contains(what), "{text}: {reason}");
        assert!(reason.contains("never fetched"), "{reason}");
        assert!(reason.contains("MPEG-TS"), "says what is allowed: {reason}");
    }
    let wide: Vec<u8> = "\u{feff}#EXTM3U\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(&wide).contains("HLS playlist"));
}

#[test]
fn everything_else_is_refused_with_what_it_looks_like() {
    for (bytes, what) in [
        (&b""[..], "empty (0 bytes)"),
        (b"x", "a text"),
        (b"set free the slaves of the box", "a text"),
        (b"just some notes\n", "a text"),
        ("Grüße aus Köln".as_bytes(), "a text"),
        (b"{\"a\": 1}", "JSON"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a store's error answer"),
        (b"<svg/>", "an XML text"),
        (b"WEBVTT\n", "subtitle"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04", "a ZIP"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "Windows Media"),
        (b"\0\0\0\x18styp", "a piece of a fragmented MP4"),
        (b"\0\0\0\x04ftyp", "damaged first box"),
        (b"\0\0\0\x01\x67\x42\0\x1e", "a bare H.264 stream"),
        (b"\0\0\0\x01\x40\x01\x0c\x01", "a bare HEVC stream"),
        (b"\0\0\x01\xb3\x14\0", "a bare MPEG video stream"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP picture"),
        (b"RIFF\x10\0", "nothing more"),
        (b"\x1a\x45\xdf\xa3\x85junk", "damaged Matroska"),
        (&[0; 4000], "nothing but zero bytes"),
        (b"\xde\xad\xbe\xef\x01\x02\x03\x04\x05", "unknown kind (it begins with de ad be ef"),
        (b"ID3\x04\0\0\0\0\0\x05xxxxx", "an ID3 tag without"),
    ] {
        let reason = refusal(bytes);
        assert!(reason.contains(what), "{what}: {reason}");
    }
    assert!(refusal(&ftyp(b"heic")).contains("still picture"));
    assert!(refusal(&ebml_of("other")).contains("type `other`"));
    assert!(refusal(&"long text ".repeat(5000).into_bytes()).contains("a text"));
    // A character cut in two by the length that is looked at.
    assert!(refusal(&["x".repeat(HEAD - 1).as_bytes(), "ü".as_bytes()].concat()).contains("a text"));
}

#[test]
fn a_sync_byte_here_and_there_is_no_transport_stream() {
    let mut bytes = packets(188, 0, 20);
    bytes[188 * 2] = 0;
    assert!(of(&bytes).is_err());
    assert!(of(&vec![0x46; 4000]).is_err());
}

#[test]
fn a_source_that_fails_is_not_called_a_bad_video() {
    struct Gone;
    impl Source for Gone {
        fn identity(&self) -> SourceIdentity {
            SourceIdentity { uri: "memory:gone".to_owned(), size: 10, version: None }
        }
        fn size(&self) -> u64 {
            10
        }
        fn read_at(&self, offset: u64, _: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
            Err(SourceError::Unavailable { uri: "memory:gone".to_owned(), offset, reason: "gone".to_owned() })
        }
    }
    assert!(matches!(sniff(&Gone, &Cancel::new()), Err(Error::Source(_))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _container_or_refusal = of(&bytes);
    }

    #[test]
    fn no_bytes_behind_a_magic_make_it_panic(
        magic in proptest::sample::select(vec![
            &b"ID3\x04\0\0\0\0\x02\0"[..], b"\x1a\x45\xdf\xa3", b"\xff\xfb", b"\xff\xf1", b"RIFF", b"\0\0\0\x18ftyp", b"\xff\xfe",
        ]),
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
    ) {
        let _container_or_refusal = of(&[magic, &bytes].concat());
    }
}

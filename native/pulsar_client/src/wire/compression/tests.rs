use super::*;
use proptest::prelude::*;

const CODECS: [Compression; 4] = [
    Compression::Lz4,
    Compression::Zlib,
    Compression::Zstd,
    Compression::Snappy,
];
const LIMIT: usize = 5 << 20;

fn text() -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog ".repeat(200)
}

#[test]
fn protocol_numbers_go_round() {
    for codec in CODECS.into_iter().chain([Compression::None]) {
        assert_eq!(
            Compression::from_proto(codec.to_proto() as i32).unwrap(),
            codec
        );
    }
    for unknown in [-1, 5, i32::MAX] {
        let error = Compression::from_proto(unknown).unwrap_err();
        assert!(matches!(error, CompressionError::UnknownType(n) if n == unknown));
    }
}

#[test]
fn compresses_and_restores() {
    for codec in CODECS {
        let small = codec.compress(&text()).unwrap();
        assert!(small.len() < text().len() / 4, "{codec:?} did not compress");
        assert_eq!(
            codec.decompress(&small, text().len(), LIMIT).unwrap(),
            text()
        );
    }
}

#[test]
fn decodes_known_streams() {
    // "aaaaaaaaaa" as zlib, zstd and snappy tools and a hand-made LZ4 block give it.
    let zlib = [0x78, 0x9c, 0x4b, 0x84, 0x03, 0x00, 0x14, 0xe1, 0x03, 0xcb];
    assert_eq!(
        Compression::Zlib.decompress(&zlib, 10, 10).unwrap(),
        b"aaaaaaaaaa"
    );
    let snappy = [0x0a, 0x00, 0x61, 0x22, 0x01, 0x00];
    assert_eq!(
        Compression::Snappy.decompress(&snappy, 10, 10).unwrap(),
        b"aaaaaaaaaa"
    );
    let lz4 = [0x10, b'a', 0x01, 0x00, 0x50, b'a', b'a', b'a', b'a', b'a'];
    assert_eq!(
        Compression::Lz4.decompress(&lz4, 10, 10).unwrap(),
        b"aaaaaaaaaa"
    );
    // A Zstandard frame of a single RLE block: ten times 'a'.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x0a, 0x53, 0x00, 0x00, b'a'];
    assert_eq!(
        Compression::Zstd.decompress(&zstd, 10, 10).unwrap(),
        b"aaaaaaaaaa"
    );
}

#[test]
fn reads_what_the_java_client_writes() {
    let raw = b"the quick brown fox jumps over the lazy dog ".repeat(4);
    for (codec, hex) in [
        (
            Compression::Lz4,
            "f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00816c617a79\
             20646f670d000f2c00685020646f6720",
        ),
        (
            Compression::Zlib,
            "789c2ac94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae7245655\
             2aa4e4a7833903ad16000000ffff",
        ),
        (
            Compression::Zstd,
            "28b52ffd24b0b50100b40274686520717569636b2062726f776e20666f78206a756d7073206f7665\
             7220746865206c617a7920646f670200fda90406c22c03ba07517f",
        ),
        (
            Compression::Snappy,
            "b0017874686520717569636b2062726f776e20666f78206a756d7073206f76657220011f1c6c617a\
             7920646f67050dfe2c00fe2c00",
        ),
    ] {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let data: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        assert_eq!(
            codec.decompress(&data, raw.len(), raw.len()).unwrap(),
            raw,
            "{codec:?}"
        );
        assert!(
            codec.decompress(&data, raw.len() - 1, raw.len()).is_err(),
            "{codec:?}"
        );
        assert!(
            codec.decompress(&data, raw.len() + 1, LIMIT).is_err(),
            "{codec:?}"
        );
    }
}

#[test]
fn a_bomb_and_a_lie_are_refused() {
    let raw = vec![0; 1 << 20];
    for codec in CODECS {
        let bomb = codec.compress(&raw).unwrap();
        for claim in [0, 1, raw.len() - 1, raw.len() + 1, LIMIT] {
            assert!(
                codec.decompress(&bomb, claim, LIMIT).is_err(),
                "{codec:?} {claim}"
            );
        }
        for claim in [raw.len(), LIMIT, usize::MAX] {
            let error = codec.decompress(&bomb, claim, raw.len() - 1).unwrap_err();
            assert!(
                matches!(error, CompressionError::TooLarge { .. }),
                "{codec:?} {claim}"
            );
        }
    }
    assert!(Compression::None
        .decompress(&raw, 0, raw.len() - 1)
        .is_err());
}

#[test]
fn a_damaged_zlib_checksum_is_refused() {
    let mut data = Compression::Zlib.compress(&text()).unwrap();
    *data.last_mut().unwrap() ^= 1;
    assert!(Compression::Zlib
        .decompress(&data, text().len(), LIMIT)
        .is_err());
}

#[test]
fn a_truncated_stream_is_refused() {
    for codec in CODECS {
        let data = codec.compress(&text()).unwrap();
        for len in 0..data.len() {
            if let Ok(out) = codec.decompress(&data[..len], text().len(), LIMIT) {
                // Nothing but the end of the stream is missing.
                assert!(codec == Compression::Zlib && out == text());
            }
        }
        assert!(codec
            .decompress(&data[..data.len() / 2], text().len(), LIMIT)
            .is_err());
    }
}

proptest! {
    #[test]
    fn round_trip(raw: Vec<u8>, repeat in 1usize..20) {
        let raw = raw.repeat(repeat);
        for codec in CODECS.into_iter().chain([Compression::None]) {
            let data = codec.compress(&raw).unwrap();
            prop_assert_eq!(&codec.decompress(&data, raw.len(), raw.len()).unwrap(), &raw);
        }
    }

    #[test]
    fn garbage_never_panics_and_never_lies(data: Vec<u8>, size in 0usize..4096) {
        for codec in CODECS {
            if let Ok(out) = codec.decompress(&data, size, 4096) {
                prop_assert_eq!(out.len(), size);
            }
        }
    }

    #[test]
    fn mutations_never_panic(at: prop::sample::Index, byte: u8) {
        for codec in CODECS {
            let mut data = codec.compress(&text()).unwrap();
            let at = at.index(data.len());
            data[at] = byte;
            if let Ok(out) = codec.decompress(&data, text().len(), LIMIT) {
                prop_assert_eq!(out.len(), text().len());
            }
        }
    }
}

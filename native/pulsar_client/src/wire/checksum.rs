//! CRC32C of an entry, as the broker computes and verifies it.

/// The CRC32C (Castagnoli) of the concatenation of `parts`.
///
/// Metadata and payload of an entry lie in separate buffers; taking them as parts saves the copy
/// that joining them would cost. Uses the CPU's CRC instructions where it has them.
#[must_use]
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    parts
        .iter()
        .fold(0, |crc, part| ::crc32c::crc32c_append(crc, part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit from the definition: reflected polynomial 0x82f63b78.
    fn reference(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0x82f6_3b78
                } else {
                    crc >> 1
                };
            }
        }
        !crc
    }

    #[test]
    fn known_answers() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[&[0u8; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xffu8; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[]), 0);
    }

    proptest! {
        #[test]
        fn parts_equal_the_whole(bytes: Vec<u8>, a: prop::sample::Index, b: prop::sample::Index) {
            let (i, j) = (a.index(bytes.len() + 1), b.index(bytes.len() + 1));
            let (i, j) = (i.min(j), i.max(j));
            prop_assert_eq!(crc32c(&[&bytes[..i], &bytes[i..j], &bytes[j..]]), reference(&bytes));
        }
    }
}

//! The two hashes that Pulsar clients route keys by.
//!
//! All clients must agree on them, or the messages of one key land on several partitions.

/// `String.hashCode` of Java over the key's UTF-16 units, made non-negative. The default of the
/// Java client.
#[must_use]
pub fn java_string_hash(key: &str) -> u32 {
    let hash = key.encode_utf16().fold(0u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    });
    hash & 0x7fff_ffff
}

/// MurmurHash3 (x86, 32 bits, seed 0) of the key's bytes, made non-negative.
#[must_use]
pub fn murmur3_32(key: &[u8]) -> u32 {
    let mut hash = 0u32;
    let mut blocks = key.chunks_exact(4);
    for block in &mut blocks {
        hash ^= scramble(little_endian(block));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    hash ^= scramble(little_endian(blocks.remainder()));
    // Every implementation takes the length modulo 2^32.
    hash ^= key.len() as u32;
    finish(hash) & 0x7fff_ffff
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

fn finish(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: u32 = 0x7fff_ffff;

    #[test]
    fn java_known_answers() {
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("hello"), 99_162_322);
        // Integer.MIN_VALUE in Java: the mask makes it 0, where a negation would overflow.
        assert_eq!(java_string_hash("polygenelubricants"), 0);
        // "Aa" and "BB" are the classic collision.
        assert_eq!(java_string_hash("Aa"), java_string_hash("BB"));
        // One character outside the BMP is two units: 0xd83d * 31 + 0xde00.
        assert_eq!(java_string_hash("\u{1f600}"), 0xd83d * 31 + 0xde00);
        assert_eq!(java_string_hash("\u{e9}"), 0xe9);
    }

    #[test]
    fn both_agree_with_the_java_client() {
        // `JavaStringHash.makeHash` and `Murmur3Hash32.makeHash` of the Java client 4.2.
        for (key, java, murmur) in [
            ("a", 97, 1_009_084_850),
            ("key1", 3_288_498, 462_881_061),
            ("key2", 3_288_499, 1_936_800_180),
            ("größe", 98_762_257, 1_674_810_943),
            ("\u{1f600}", 1_772_899, 1_051_995_898),
            ("polygenelubricants", 0, 1_101_602_400),
        ] {
            assert_eq!(
                (java_string_hash(key), murmur3_32(key.as_bytes())),
                (java, murmur),
                "{key}"
            );
        }
    }

    #[test]
    fn murmur_known_answers() {
        // The x86_32 variant with seed 0, as published test vectors give it.
        for (key, hash) in [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("hello", 0x248b_fa47),
            ("hello, world", 0x149b_bb7f),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ] {
            assert_eq!(murmur3_32(key.as_bytes()), hash & MASK, "{key}");
        }
        assert_eq!(murmur3_32(&[0xff; 4]), 0x7629_3b50);
        assert_eq!(murmur3_32(&[0x21, 0x43, 0x65, 0x87]), 0xf55b_516b & MASK);
        assert_eq!(murmur3_32(&[0x21, 0x43, 0x65]), 0x7e4a_8634);
        assert_eq!(murmur3_32(&[0x21, 0x43]), 0xa0f7_b07a & MASK);
        assert_eq!(murmur3_32(&[0x21]), 0x7266_1cf4);
        assert_eq!(murmur3_32(&[0; 4]), 0x2362_f9de);
    }

    proptest! {
        #[test]
        fn java_hash_follows_its_definition(units: Vec<char>) {
            let key: String = units.into_iter().collect();
            let utf16: Vec<u16> = key.encode_utf16().collect();
            let n = utf16.len();
            let mut sum = 0u32;
            for (i, unit) in utf16.iter().enumerate() {
                let power = 31u32.wrapping_pow((n - 1 - i) as u32);
                sum = sum.wrapping_add(u32::from(*unit).wrapping_mul(power));
            }
            prop_assert_eq!(java_string_hash(&key), sum & MASK);
        }

        #[test]
        fn never_negative_in_java(key: Vec<u8>) {
            prop_assert!(murmur3_32(&key) <= MASK);
            prop_assert!(java_string_hash(&String::from_utf8_lossy(&key)) <= MASK);
        }
    }
}

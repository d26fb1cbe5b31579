use super::*;
use proptest::prelude::*;
use prost::Message as _;
use pulsar::message::proto::{KeyValue, SingleMessageMetadata};

/// What prost must have read for `decode` to give `meta`.
fn agrees(meta: &SingleMetadata<'_>, prost: &SingleMessageMetadata) {
    assert_eq!(
        i32::try_from(meta.payload_size).unwrap(),
        prost.payload_size
    );
    assert_eq!(meta.partition_key, prost.partition_key.as_deref());
    assert_eq!(meta.key_b64, prost.partition_key_b64_encoded());
    assert_eq!(meta.null_partition_key, prost.null_partition_key());
    assert_eq!(meta.ordering_key, prost.ordering_key.as_deref());
    assert_eq!(meta.event_time, prost.event_time());
    assert_eq!(meta.sequence_id, prost.sequence_id);
    assert_eq!(meta.null_value, prost.null_value());
    assert_eq!(meta.compacted_out, prost.compacted_out());
    let expected: Vec<_> = prost
        .properties
        .iter()
        .map(|p| (p.key.as_str(), p.value.as_str()))
        .collect();
    assert_eq!(meta.properties.len(), expected.len());
    assert_eq!(meta.properties.is_empty(), expected.is_empty());
    assert_eq!(meta.properties.iter().collect::<Vec<_>>(), expected);
}

/// Both decoders take the bytes and read the same, or both refuse them.
fn compare(bytes: &[u8]) {
    match (decode(bytes), SingleMessageMetadata::decode(bytes)) {
        (Ok(ours), Ok(prost)) => agrees(&ours, &prost),
        (Err(SingleMetadataError::PayloadSize(size)), Ok(prost)) => {
            assert!(size < 0 && size == prost.payload_size);
        }
        (Err(_), Err(_)) => {}
        (ours, prost) => panic!("{bytes:02x?}: ours {ours:?}, prost {prost:?}"),
    }
}

fn nested_groups(depth: usize) -> Vec<u8> {
    let start = std::iter::repeat_n(20 << 3 | 3, depth);
    let end = std::iter::repeat_n(20 << 3 | 4, depth);
    let mut bytes = Vec::new();
    start
        .chain(end)
        .for_each(|key: u64| encode_varint(key, &mut bytes));
    bytes
}

#[test]
fn known_bytes() {
    // A message of 5 bytes with the key "k", as every client writes it.
    let mut buf = vec![9];
    let fields = SingleMetadataFields {
        payload_size: 5,
        partition_key: Some("k"),
        ..SingleMetadataFields::default()
    };
    encode(&mut buf, &fields);
    assert_eq!(buf, [9, 0, 0, 0, 5, 0x12, 1, b'k', 0x18, 5]);
    let meta = decode(&buf[5..]).unwrap();
    assert_eq!((meta.payload_size, meta.partition_key), (5, Some("k")));
}

#[test]
fn the_last_of_a_repeated_scalar_wins() {
    let bytes = [
        0x18, 1, 0x12, 1, b'a', 0x18, 7, 0x12, 1, b'b', 0x48, 1, 0x48, 0,
    ];
    let meta = decode(&bytes).unwrap();
    assert_eq!(
        (meta.payload_size, meta.partition_key, meta.null_value),
        (7, Some("b"), false)
    );
    compare(&bytes);
}

#[test]
fn groups_nest_as_deep_as_prost_allows() {
    for depth in [1, 98, 99, 100, 101, 150] {
        compare(&nested_groups(depth));
        let mut in_property = Vec::new();
        let groups = nested_groups(depth);
        put_bytes(&mut in_property, tag::PROPERTIES, &groups);
        compare(&in_property);
    }
    assert!(decode(&nested_groups(50)).is_ok());
    // A hundred thousand open groups must not exhaust the stack.
    assert!(decode(&nested_groups(100_000)).is_err());
}

#[test]
fn malformed_bytes_are_refused() {
    for bytes in [
        &[0x18][..],
        &[0x12, 2, b'a'],
        &[0x12, 1, 0xff],
        &[0x1a, 0],
        &[0x00],
        &[0x0c],
        &[0x0f],
        &[
            0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
        ],
        &[0x0a, 3, 0x0a, 2, b'a'],
        &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ] {
        assert!(decode(bytes).is_err(), "{bytes:02x?}");
        compare(bytes);
    }
}

#[test]
fn a_negative_payload_size_is_refused() {
    let meta = SingleMessageMetadata {
        payload_size: -1,
        ..Default::default()
    };
    assert!(matches!(
        decode(&meta.encode_to_vec()),
        Err(SingleMetadataError::PayloadSize(-1))
    ));
}

prop_compose! {
    fn metadata()(
        properties in prop::collection::vec((any::<String>(), any::<String>()), 0..4),
        partition_key: Option<String>,
        payload_size in 0i32..,
        flags: [bool; 4],
        event_time: u64,
        ordering_key: Option<Vec<u8>>,
        sequence_id: Option<u64>,
    ) -> SingleMessageMetadata {
        SingleMessageMetadata {
            properties: properties.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
            partition_key,
            payload_size,
            compacted_out: flags[0].then_some(true),
            event_time: (event_time != 0).then_some(event_time),
            partition_key_b64_encoded: flags[1].then_some(true),
            ordering_key,
            sequence_id,
            null_value: flags[2].then_some(true),
            null_partition_key: flags[3].then_some(true),
        }
    }
}

/// One field of any number and wire type, valid or not.
fn field() -> impl Strategy<Value = Vec<u8>> {
    (
        0u64..14,
        0u64..8,
        any::<u64>(),
        prop::collection::vec(any::<u8>(), 0..12),
    )
        .prop_map(|(number, wire, value, bytes)| {
            let mut field = Vec::new();
            encode_varint(number << 3 | wire, &mut field);
            match wire {
                0 => encode_varint(value, &mut field),
                1 => field.extend_from_slice(&value.to_le_bytes()),
                2 => {
                    encode_varint(bytes.len() as u64, &mut field);
                    field.extend_from_slice(&bytes);
                }
                5 => field.extend_from_slice(&value.to_le_bytes()[..4]),
                _ => {}
            }
            field
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reads_what_prost_writes(meta in metadata()) {
        agrees(&decode(&meta.encode_to_vec()).unwrap(), &meta);
    }

    #[test]
    fn writes_what_prost_writes(meta in metadata(), prefix: Vec<u8>) {
        let properties: Vec<_> =
            meta.properties.iter().map(|p| (p.key.clone(), p.value.clone())).collect();
        let fields = SingleMetadataFields {
            payload_size: meta.payload_size,
            partition_key: meta.partition_key.as_deref(),
            key_b64: meta.partition_key_b64_encoded(),
            null_partition_key: meta.null_partition_key(),
            ordering_key: meta.ordering_key.as_deref(),
            properties: &properties,
            event_time: meta.event_time(),
            sequence_id: meta.sequence_id,
            null_value: meta.null_value(),
            compacted_out: meta.compacted_out(),
        };
        let mut buf = prefix.clone();
        encode(&mut buf, &fields);
        let (size, written) = buf[prefix.len()..].split_at(4);
        prop_assert_eq!(&buf[..prefix.len()], &prefix[..]);
        prop_assert_eq!(u32::from_be_bytes(size.try_into().unwrap()) as usize, written.len());
        prop_assert_eq!(written, &meta.encode_to_vec()[..]);
    }

    #[test]
    fn agrees_on_fields_of_any_kind(fields in prop::collection::vec(field(), 0..6)) {
        compare(&fields.concat());
    }

    #[test]
    fn agrees_with_unknown_fields_between(meta in metadata(), extra in field(), at: prop::sample::Index) {
        let mut parts = vec![extra];
        let split = SingleMessageMetadata { properties: vec![], ..meta.clone() };
        parts.insert(at.index(2), split.encode_to_vec());
        parts.push(meta.encode_to_vec());
        compare(&parts.concat());
    }

    #[test]
    fn agrees_on_random_bytes(bytes: Vec<u8>) {
        compare(&bytes);
    }

    #[test]
    fn agrees_on_mutations(meta in metadata(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = meta.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        compare(&bytes);
        compare(&bytes[..cut.index(bytes.len())]);
    }
}

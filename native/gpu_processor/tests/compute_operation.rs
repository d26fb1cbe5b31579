//! Each operation against a naive reference, through the whole kernel.

// In a test, and in what it calls, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use gpu_processor::{Backend, DeviceInfo, MessageError, MessageErrorKind};
use harness::{compute_job, data, f32_bytes, f32_values, f64_bytes, f64_values, message, reply};
use proptest::prelude::*;
use serde_json::{json, Value};

fn device() -> DeviceInfo {
    DeviceInfo {
        id: 7,
        backend: Backend::Cpu,
        name: "test \"device\"".into(),
        architecture: "none".into(),
        memory_total: None,
    }
}

fn run(operation: &str, data: &[u8], parameters: Value) -> Result<Value, MessageError> {
    let job = compute_job();
    let mut outputs = job
        .kernel()
        .run_on_cpu(&device(), &[message(operation, data, parameters)]);
    assert_eq!(outputs.len(), 1);
    let output = outputs.remove(0);
    output.map(|bytes| reply(&Ok(bytes)))
}

fn shape(reply: &Value) -> Vec<u64> {
    let dimensions = reply["result"]["shape"].as_array().unwrap();
    dimensions
        .iter()
        .map(|dimension| dimension.as_u64().unwrap())
        .collect()
}

fn kind(result: Result<Value, MessageError>) -> MessageErrorKind {
    result.expect_err("refused").kind
}

fn multiply(m: usize, k: usize, n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for row in 0..m {
        for column in 0..n {
            c[row * n + column] = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
        }
    }
    c
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Integers so small that every partial sum of 40 products is exact in either precision.
fn integers(length: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-64_i32..=64).prop_map(f64::from), length)
}

fn matrices() -> impl Strategy<Value = (usize, usize, usize, Vec<f64>, Vec<f64>)> {
    (1_usize..40, 1_usize..40, 1_usize..40)
        .prop_flat_map(|(m, k, n)| (Just(m), Just(k), Just(n), integers(m * k), integers(k * n)))
}

fn finite(max: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-1e6_f32..1e6).prop_map(f64::from), 1..max)
}

proptest! {
    #[test]
    fn matrix_multiply_is_exact_on_integers((m, k, n, a, b) in matrices()) {
        let expected = multiply(m, k, n, &a, &b);
        let operands = [a, b].concat();
        let sizes = json!({"m": m, "k": k, "n": n, "precision": "float64"});
        let double = run("matrix_multiply", &f64_bytes(&operands), sizes).unwrap();
        prop_assert_eq!(f64_values(&data(&double)), expected.clone());
        prop_assert_eq!(shape(&double), vec![m as u64, n as u64]);

        let sizes = json!({"m": m, "k": k, "n": n});
        let single = run("matrix_multiply", &f32_bytes(&narrow(&operands)), sizes).unwrap();
        prop_assert_eq!(f32_values(&data(&single)), narrow(&expected));
        prop_assert_eq!(&single["result"]["type"], "float32");
    }

    #[test]
    fn matrix_multiply_keeps_the_stated_error_bound(
        values in prop::collection::vec(-1e3_f32..1e3, 2 * 24 * 24)
    ) {
        let n = 24;
        let reply = run("matrix_multiply", &f32_bytes(&values), json!({"matrix_size": n})).unwrap();
        let wide: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        let absolute: Vec<f64> = wide.iter().map(|value| value.abs()).collect();
        let exact = multiply(n, n, n, &wide[..n * n], &wide[n * n..]);
        let scale = multiply(n, n, n, &absolute[..n * n], &absolute[n * n..]);
        for ((got, exact), scale) in f32_values(&data(&reply)).iter().zip(exact).zip(scale) {
            let bound = n as f64 * f64::from(f32::EPSILON) * scale;
            prop_assert!((f64::from(*got) - exact).abs() <= bound);
        }
    }

    #[test]
    fn transpose_twice_is_the_same(rows in 1_usize..50, cols in 1_usize..50) {
        let values: Vec<f64> = (0..rows * cols).map(|value| value as f64).collect();
        let sizes = json!({"rows": rows, "cols": cols, "data_type": "float64"});
        let once = run("transpose", &f64_bytes(&values), sizes).unwrap();
        prop_assert_eq!(shape(&once), vec![cols as u64, rows as u64]);
        let turned = f64_values(&data(&once));
        for row in 0..rows {
            for col in 0..cols {
                prop_assert_eq!(turned[col * rows + row], values[row * cols + col]);
            }
        }
    }

    #[test]
    fn vector_operations_round_as_stated(a in finite(200), factor in -1e6_f64..1e6) {
        let b: Vec<f64> = a.iter().rev().map(|value| value * 0.5).collect();
        let pair = [a.clone(), b.clone()].concat();
        let (a32, b32) = (narrow(&a), narrow(&b));

        let sum = run("vector_add", &f32_bytes(&narrow(&pair)), json!({})).unwrap();
        let expected: Vec<f32> = a32.iter().zip(&b32).map(|(a, b)| a + b).collect();
        prop_assert_eq!(f32_values(&data(&sum)), expected);
        prop_assert_eq!(shape(&sum), vec![a.len() as u64]);

        let scaled = run("vector_scale", &f32_bytes(&a32), json!({"scalar": factor})).unwrap();
        let expected: Vec<f32> = a32.iter().map(|value| value * factor as f32).collect();
        prop_assert_eq!(f32_values(&data(&scaled)), expected);

        let dot = run("vector_dot", &f32_bytes(&narrow(&pair)), json!({})).unwrap();
        let mut expected = 0.0;
        for (a, b) in a32.iter().zip(&b32) {
            expected += f64::from(*a) * f64::from(*b);
        }
        prop_assert_eq!(f32_values(&data(&dot)), vec![expected as f32]);
        prop_assert_eq!(shape(&dot), Vec::<u64>::new());
    }

    #[test]
    fn reductions_follow_their_order(values in finite(200)) {
        let reduced = |op: &str| {
            let parameters = json!({"op": op, "precision": "float64"});
            let reply = run("reduce", &f64_bytes(&values), parameters).unwrap();
            assert_eq!(shape(&reply), Vec::<u64>::new());
            f64_values(&data(&reply))[0]
        };
        let mut sum = 0.0;
        let mut product = 1.0;
        for value in &values {
            sum += value;
            product *= value;
        }
        prop_assert_eq!(reduced("sum"), sum);
        prop_assert_eq!(reduced("mean"), sum / values.len() as f64);
        prop_assert_eq!(reduced("product").to_bits(), product.to_bits());
        prop_assert_eq!(reduced("min"), values.iter().copied().fold(f64::INFINITY, f64::min));
        prop_assert_eq!(reduced("max"), values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }
}

#[test]
fn float32_sums_are_accumulated_in_float64() {
    let mut values = vec![16_777_216.0_f32];
    values.extend([1.0; 1000]);
    let reply = run("reduce", &f32_bytes(&values), json!({"op": "sum"})).unwrap();
    assert_eq!(f32_values(&data(&reply)), [16_778_216.0]);
}

#[test]
fn extremes_propagate_nan_and_keep_the_first_of_equals() {
    let reduced = |op: &str, values: &[f32]| {
        let reply = run("reduce", &f32_bytes(values), json!({"op": op})).unwrap();
        f32_values(&data(&reply))[0]
    };
    for op in ["min", "max"] {
        assert!(reduced(op, &[1.0, f32::NAN, -5.0]).is_nan());
        assert!(reduced(op, &[f32::NAN, 1.0]).is_nan());
        assert_eq!(reduced(op, &[-0.0, 0.0]).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(reduced(op, &[0.0, -0.0]).to_bits(), 0.0_f32.to_bits());
    }
}

#[test]
fn reducing_nothing_has_a_value_only_where_it_is_defined() {
    for (op, expected) in [("sum", 0.0_f32), ("product", 1.0)] {
        let reply = run("reduce", &[], json!({"op": op})).unwrap();
        assert_eq!(f32_values(&data(&reply)), [expected]);
    }
    for op in ["min", "max", "mean"] {
        assert_eq!(
            kind(run("reduce", &[], json!({"op": op}))),
            MessageErrorKind::InvalidInput
        );
    }
}

#[test]
fn sha256_has_the_known_digest() {
    let reply = run("sha256", b"abc", Value::Null).unwrap();
    let hex: String = data(&reply)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(reply["result"]["type"], "bytes");
    assert_eq!(shape(&reply), [32]);
}

#[test]
fn the_reply_carries_ids_and_the_device_that_did_the_work() {
    let mut reply = run("vector_add", &f32_bytes(&[1.0, 2.0]), json!({})).unwrap();
    assert!(reply["processing_time_us"].take().is_u64());
    let expected = json!({
        "message_id": "message-1", "correlation_id": "c-1", "operation_type": "vector_add",
        "status": "ok", "gpu_device_id": "amd_rdna3_0",
        "device": {"id": 7, "backend": "cpu", "name": "test \"device\""},
        "result": {"type": "float32", "shape": [1], "data": "AABAQA=="},
        "processing_time_us": null
    });
    assert_eq!(reply, expected);
}

#[test]
fn a_message_without_correlation_id_gets_a_reply_without_one() {
    let payload = br#"{"message_id": "m", "operation_type": "sha256", "gpu_device_id": "0",
                       "input_data": [97, 98, 99], "user_id": "u"}"#;
    let outputs = compute_job()
        .kernel()
        .run_on_cpu(&device(), &[payload.as_slice().into()]);
    let reply = reply(&outputs[0]);
    assert!(reply.get("correlation_id").is_none());
    assert_eq!(data(&reply)[..2], [0xba, 0x78]);
}

#[test]
fn wrong_sizes_and_parameters_are_the_messages_own_errors() {
    use MessageErrorKind::{InvalidInput, InvalidParameter, TooLarge, UnknownOperation};
    for (operation, length, parameters, expected) in [
        ("matrix_divide", 8, json!({}), UnknownOperation),
        ("matrix_multiply", 8, json!({}), InvalidParameter),
        (
            "matrix_multiply",
            31,
            json!({"matrix_size": 2}),
            InvalidInput,
        ),
        (
            "matrix_multiply",
            36,
            json!({"matrix_size": 2}),
            InvalidInput,
        ),
        (
            "matrix_multiply",
            32,
            json!({"matrix_size": u64::MAX}),
            TooLarge,
        ),
        (
            "matrix_multiply",
            32,
            json!({"m": 1 << 20, "k": 1, "n": 1 << 20}),
            TooLarge,
        ),
        (
            "matrix_multiply",
            32,
            json!({"m": 1, "k": u64::MAX, "n": 1}),
            TooLarge,
        ),
        ("transpose", 12, json!({"rows": 2, "cols": 2}), InvalidInput),
        (
            "transpose",
            12,
            json!({"rows": 1_u64 << 62, "cols": 4}),
            TooLarge,
        ),
        ("vector_add", 12, json!({}), InvalidInput),
        ("vector_add", 7, json!({}), InvalidInput),
        ("vector_scale", 8, json!({}), InvalidParameter),
        (
            "vector_scale",
            8,
            json!({"scalar": 1e300}),
            InvalidParameter,
        ),
        (
            "vector_dot",
            8,
            json!({"precision": "float64"}),
            InvalidInput,
        ),
        ("reduce", 8, json!({"op": "median"}), InvalidParameter),
        (
            "reduce",
            8,
            json!({"op": "sum", "precision": "int32"}),
            InvalidParameter,
        ),
    ] {
        let result = run(operation, &vec![0; length], parameters.clone());
        assert_eq!(kind(result), expected, "{operation} {parameters}");
    }
}

/// A batch with one valid message among others that are broken at random.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let operations = prop::sample::select(vec![
        "matrix_multiply",
        "vector_add",
        "vector_scale",
        "vector_dot",
        "reduce",
        "transpose",
        "sha256",
        "other",
    ]);
    let values = prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(2),
        json!(-3),
        json!(u64::MAX),
        json!(1e308),
        json!("sum"),
        json!("float64"),
        json!([1]),
        json!({"m": 2}),
    ]);
    let keys = prop::sample::select(vec![
        "matrix_size",
        "m",
        "k",
        "n",
        "rows",
        "cols",
        "scalar",
        "op",
        "precision",
        "data_type",
    ]);
    let parameters = prop::collection::btree_map(keys.prop_map(str::to_owned), values, 0..6);
    let bytes = prop::collection::vec(any::<u8>(), 0..64);
    let whole = (operations, parameters, bytes).prop_map(|(operation, parameters, bytes)| {
        message(operation, &bytes, json!(parameters)).to_vec()
    });
    let mutated = (
        whole.clone(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(|(mut bytes, at, value, cut)| {
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = value;
            }
            bytes
        });
    let nested = (1_usize..5000).prop_map(|depth| vec![b'['; depth]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        nested,
        whole,
        mutated,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn anything_gives_one_output_and_leaves_its_neighbours_alone(
        mut payloads in prop::collection::vec(broken(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(payloads.len() + 1);
        payloads.insert(at, message("sha256", b"abc", json!({})).to_vec());
        let inputs: Vec<_> = payloads.into_iter().map(bytes::Bytes::from).collect();
        let outputs = compute_job().kernel().run_on_cpu(&device(), &inputs);
        prop_assert_eq!(outputs.len(), inputs.len());
        prop_assert_eq!(&data(&reply(&outputs[at]))[..2], &[0xba, 0x78]);
        for output in outputs {
            match output {
                Ok(bytes) => prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok()),
                Err(error) => prop_assert!(!error.message.is_empty()),
            }
        }
    }
}

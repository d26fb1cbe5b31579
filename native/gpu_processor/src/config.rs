//! The `gpu_processing` section of the configuration.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

use crate::invalid_option::InvalidOption;

const KEYS: &str = "enabled, gpu_device_ids, batch_size, processing_threads, \
                    memory_pool_size_mb, kernel_optimization";
const BATCH_SIZE: RangeInclusive<u64> = 1..=100_000;
const PROCESSING_THREADS: RangeInclusive<u64> = 0..=1024;
const MEMORY_POOL_SIZE_MB: RangeInclusive<u64> = 1..=1_048_576;
const MAX_DEVICES: usize = 64;

/// How messages are processed on compute devices.
///
/// Every key is optional. Unknown keys, wrong types and values out of range are refused with an
/// [`InvalidOption`] that names key, value and what is allowed, also when deserialized by serde.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct GpuProcessingConfig {
    /// Whether devices are started at all; default `true`. Without a GPU the CPU does the work.
    pub enabled: bool,
    /// The GPUs to use, by the index that their driver gives; default `[]`, which means all.
    /// Ids of GPUs that are not there are not an error: the CPU device is used and says so.
    pub gpu_device_ids: Vec<u32>,
    /// Messages in a full batch; default 1000.
    pub batch_size: usize,
    /// Threads that compute on the CPU device; default 0, which means one for each core.
    pub processing_threads: usize,
    /// Memory for batches on each device, in MiB; default 256. On the CPU device it bounds the
    /// input bytes of accepted batches: a submission beyond it is refused as a full queue.
    pub memory_pool_size_mb: u64,
    /// Whether a device may choose tuned variants of its kernels; default `true`. The CPU device
    /// has one variant of each.
    pub kernel_optimization: bool,
}

impl Default for GpuProcessingConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            gpu_device_ids: Vec::new(),
            batch_size: 1000,
            processing_threads: 0,
            memory_pool_size_mb: 256,
            kernel_optimization: true,
        }
    }
}

impl GpuProcessingConfig {
    /// Reads the section from a JSON object; absent keys and nulls mean the default.
    ///
    /// # Errors
    /// [`InvalidOption`] for the first key that is unknown or has a value that is not allowed.
    pub fn from_value(value: &Value) -> Result<Self, InvalidOption> {
        let mut config = Self::default();
        let entries = match value {
            Value::Null => return Ok(config),
            Value::Object(entries) => entries,
            other => {
                return Err(InvalidOption::new(
                    "gpu_processing",
                    other.clone(),
                    "a map of options",
                ))
            }
        };
        for (key, value) in entries {
            config.set(key, value)?;
        }
        Ok(config)
    }

    /// Checks values that were set by field instead of through [`Self::from_value`].
    ///
    /// # Errors
    /// [`InvalidOption`] for the first field whose value is not allowed.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        within("batch_size", &BATCH_SIZE, self.batch_size as u64)?;
        within(
            "processing_threads",
            &PROCESSING_THREADS,
            self.processing_threads as u64,
        )?;
        within(
            "memory_pool_size_mb",
            &MEMORY_POOL_SIZE_MB,
            self.memory_pool_size_mb,
        )?;
        check_device_ids(&self.gpu_device_ids)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), InvalidOption> {
        let unset = value.is_null();
        match key {
            "enabled" if !unset => self.enabled = boolean(key, value)?,
            "gpu_device_ids" if !unset => self.gpu_device_ids = device_ids(value)?,
            "batch_size" if !unset => self.batch_size = size(key, value, &BATCH_SIZE)?,
            "processing_threads" if !unset => {
                self.processing_threads = size(key, value, &PROCESSING_THREADS)?;
            }
            "memory_pool_size_mb" if !unset => {
                self.memory_pool_size_mb = integer(key, value, &MEMORY_POOL_SIZE_MB)?;
            }
            "kernel_optimization" if !unset => self.kernel_optimization = boolean(key, value)?,
            "enabled"
            | "gpu_device_ids"
            | "batch_size"
            | "processing_threads"
            | "memory_pool_size_mb"
            | "kernel_optimization" => {}
            unknown => {
                let allowed = format!("the keys {KEYS}");
                return Err(InvalidOption::new(unknown, value.clone(), allowed));
            }
        }
        Ok(())
    }
}

impl TryFrom<Value> for GpuProcessingConfig {
    type Error = InvalidOption;

    fn try_from(value: Value) -> Result<Self, InvalidOption> {
        Self::from_value(&value)
    }
}

fn boolean(key: &str, value: &Value) -> Result<bool, InvalidOption> {
    value
        .as_bool()
        .ok_or_else(|| InvalidOption::new(key, value.clone(), "true or false"))
}

fn integer(key: &str, value: &Value, range: &RangeInclusive<u64>) -> Result<u64, InvalidOption> {
    let refused = || InvalidOption::new(key, value.clone(), allowed_range(range));
    value
        .as_u64()
        .filter(|number| range.contains(number))
        .ok_or_else(refused)
}

fn size(key: &str, value: &Value, range: &RangeInclusive<u64>) -> Result<usize, InvalidOption> {
    let number = integer(key, value, range)?;
    usize::try_from(number)
        .map_err(|_| InvalidOption::new(key, value.clone(), allowed_range(range)))
}

fn within(key: &str, range: &RangeInclusive<u64>, number: u64) -> Result<(), InvalidOption> {
    if range.contains(&number) {
        Ok(())
    } else {
        Err(InvalidOption::new(key, number, allowed_range(range)))
    }
}

fn allowed_range(range: &RangeInclusive<u64>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

fn device_ids(value: &Value) -> Result<Vec<u32>, InvalidOption> {
    let refused = || InvalidOption::new("gpu_device_ids", value.clone(), device_ids_allowed());
    let items = value.as_array().ok_or_else(refused)?;
    let ids = items
        .iter()
        .map(|item| {
            item.as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(refused)
        })
        .collect::<Result<Vec<u32>, _>>()?;
    check_device_ids(&ids)?;
    Ok(ids)
}

fn check_device_ids(ids: &[u32]) -> Result<(), InvalidOption> {
    let repeated = ids
        .iter()
        .enumerate()
        .any(|(at, id)| ids[..at].contains(id));
    if ids.len() > MAX_DEVICES || repeated {
        return Err(InvalidOption::new(
            "gpu_device_ids",
            ids.to_vec(),
            device_ids_allowed(),
        ));
    }
    Ok(())
}

fn device_ids_allowed() -> String {
    format!(
        "a list of at most {MAX_DEVICES} different integers from 0 to {}",
        u32::MAX
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_valid_and_survive_a_round_trip() {
        let config = GpuProcessingConfig::default();
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<GpuProcessingConfig>(&text).unwrap(),
            config
        );
        assert_eq!(
            serde_json::from_str::<GpuProcessingConfig>("{}").unwrap(),
            config
        );
    }

    #[test]
    fn reads_every_key_and_takes_null_for_the_default() {
        let config = GpuProcessingConfig::from_value(&json!({
            "enabled": false, "gpu_device_ids": [0, 3], "batch_size": 10,
            "processing_threads": null, "memory_pool_size_mb": 64, "kernel_optimization": false
        }));
        let expected = GpuProcessingConfig {
            enabled: false,
            gpu_device_ids: vec![0, 3],
            batch_size: 10,
            processing_threads: 0,
            memory_pool_size_mb: 64,
            kernel_optimization: false,
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn refuses_with_key_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("enabled", json!("yes"), "true or false"),
            ("batch_size", json!(0), "1 to 100000"),
            ("batch_size", json!(2.5), "1 to 100000"),
            ("batch_size", json!("1000"), "1 to 100000"),
            ("processing_threads", json!(-1), "0 to 1024"),
            ("memory_pool_size_mb", json!(0), "1 to 1048576"),
            ("memory_pool_size_mb", json!(u64::MAX), "1 to 1048576"),
            ("gpu_device_ids", json!([1, 1]), "different integers"),
            (
                "gpu_device_ids",
                json!([4_294_967_296_u64]),
                "different integers",
            ),
            ("gpu_device_ids", json!(0), "different integers"),
            ("kernel_optimization", json!(1), "true or false"),
            ("batchsize", json!(5), "batch_size"),
        ] {
            let error = GpuProcessingConfig::from_value(&json!({ key: value.clone() }))
                .expect_err("a value that is not allowed");
            assert_eq!((error.key.as_str(), &error.value), (key, &value));
            assert!(error.allowed.contains(allowed), "{error}");
        }
    }

    #[test]
    fn serde_reports_the_same_text() {
        let error = serde_json::from_value::<GpuProcessingConfig>(json!({"batch_size": 0}));
        let text = error.expect_err("zero is out of range").to_string();
        assert!(
            text.contains("batch_size: 0 (allowed: an integer from 1 to 100000)"),
            "{text}"
        );
    }

    #[test]
    fn validate_checks_fields_set_by_hand() {
        let config = GpuProcessingConfig {
            processing_threads: 5000,
            ..Default::default()
        };
        assert_eq!(
            config.validate().expect_err("too many").key,
            "processing_threads"
        );
        let config = GpuProcessingConfig {
            gpu_device_ids: vec![2, 2],
            ..Default::default()
        };
        assert_eq!(
            config.validate().expect_err("repeated").key,
            "gpu_device_ids"
        );
    }
}

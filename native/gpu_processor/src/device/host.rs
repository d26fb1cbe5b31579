//! What the operating system tells about the host's own processor and memory.

use std::fs;
use std::thread;

/// The processor's product name, or its architecture where the system does not tell.
pub(super) fn processor_name() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| field(&text, "model name").map(str::to_owned))
        .unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH))
}

/// The host's memory in bytes.
pub(super) fn memory_total() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes: u64 = field(&text, "MemTotal")?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kibibytes.checked_mul(1024)
}

/// The number of threads that can run at the same time.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, value)| key.trim() == name && !value.trim().is_empty())
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_field_with_a_value() {
        let text = "model : 1\nmodel name\t: \nmodel name\t: Fast Chip: v2\nMemTotal:  12 kB";
        assert_eq!(field(text, "model name"), Some("Fast Chip: v2"));
        assert_eq!(field(text, "MemTotal"), Some("12 kB"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn there_is_always_a_name_and_a_core() {
        assert!(!processor_name().is_empty());
        assert!(cores() >= 1);
    }
}

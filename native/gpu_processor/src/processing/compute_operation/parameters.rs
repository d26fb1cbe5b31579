//! The `parameters` of a compute message.

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

use super::element::Precision;
use crate::message_error::{MessageError, MessageErrorKind};

const KNOWN: [&str; 10] = [
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
];

/// The parameters that some operation reads; all others are skipped without being stored.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    entries: Vec<(&'static str, Value)>,
}

impl Parameters {
    /// The element type: `precision`, or `data_type`, or `float32`.
    pub(super) fn precision(&self) -> Result<Precision, MessageError> {
        let read = |name| {
            self.get(name)
                .map(|value| parse_precision(name, value))
                .transpose()
        };
        match (read("precision")?, read("data_type")?) {
            (Some(one), Some(other)) if one != other => Err(invalid(
                "parameters.precision and parameters.data_type differ".to_owned(),
            )),
            (Some(precision), _) | (None, Some(precision)) => Ok(precision),
            (None, None) => Ok(Precision::Float32),
        }
    }

    /// The sizes of a matrix operation: each of `names`, or `matrix_size` for all of them.
    pub(super) fn sizes<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[usize; N], MessageError> {
        let named = names.iter().filter(|name| self.get(name).is_some()).count();
        match (self.get("matrix_size"), named) {
            (Some(value), 0) => Ok([parse_size("matrix_size", value)?; N]),
            (Some(_), _) => Err(invalid(format!(
                "parameters.matrix_size excludes parameters {}",
                names.join(", ")
            ))),
            (None, 0) => Err(invalid(format!(
                "parameters.matrix_size is missing (or give {})",
                names.join(", ")
            ))),
            (None, _) => {
                let mut sizes = [0; N];
                for (size, name) in sizes.iter_mut().zip(names) {
                    let value = self.get(name).ok_or_else(|| missing(name))?;
                    *size = parse_size(name, value)?;
                }
                Ok(sizes)
            }
        }
    }

    pub(super) fn number(&self, name: &'static str) -> Result<f64, MessageError> {
        let value = self.get(name).ok_or_else(|| missing(name))?;
        value
            .as_f64()
            .ok_or_else(|| refused(name, value, "a number"))
    }

    /// Looks a named choice up; `allowed` is the list of choices for the error.
    pub(super) fn choice<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, MessageError> {
        let value = self.get(name).ok_or_else(|| missing(name))?;
        value
            .as_str()
            .and_then(parse)
            .ok_or_else(|| refused(name, value, allowed))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

fn parse_precision(name: &str, value: &Value) -> Result<Precision, MessageError> {
    match value.as_str() {
        Some("float32") => Ok(Precision::Float32),
        Some("float64") => Ok(Precision::Float64),
        _ => Err(refused(name, value, "float32, float64")),
    }
}

fn parse_size(name: &str, value: &Value) -> Result<usize, MessageError> {
    value
        .as_u64()
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size > 0)
        .ok_or_else(|| refused(name, value, "an integer from 1"))
}

fn missing(name: &str) -> MessageError {
    invalid(format!("parameters.{name} is missing"))
}

fn refused(name: &str, value: &Value, allowed: &str) -> MessageError {
    invalid(format!(
        "parameters.{name} has a value that is not allowed ({allowed}): {value}"
    ))
}

fn invalid(message: String) -> MessageError {
    MessageError::new(MessageErrorKind::InvalidParameter, message)
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Parameters, E> {
        Ok(Parameters::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut parameters = Parameters::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Some(name) = KNOWN.into_iter().find(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if parameters.get(name).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
            let value: Value = map.next_value()?;
            if !value.is_null() {
                parameters.entries.push((name, value));
            }
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        serde_json::from_str(text).unwrap()
    }

    fn text<T: fmt::Debug>(result: Result<T, MessageError>) -> String {
        let error = result.expect_err("refused");
        assert_eq!(error.kind, MessageErrorKind::InvalidParameter);
        error.message
    }

    #[test]
    fn precision_has_a_synonym_and_a_default() {
        assert_eq!(parameters("{}").precision(), Ok(Precision::Float32));
        for text in [
            r#"{"precision": "float64"}"#,
            r#"{"data_type": "float64"}"#,
            r#"{"precision": "float64", "data_type": "float64", "other": [1, {"m": 2}]}"#,
            r#"{"precision": null, "data_type": "float64"}"#,
        ] {
            assert_eq!(
                parameters(text).precision(),
                Ok(Precision::Float64),
                "{text}"
            );
        }
        let differ = parameters(r#"{"precision": "float64", "data_type": "float32"}"#);
        assert!(text(differ.precision()).contains("differ"));
        let unknown = parameters(r#"{"precision": "int8"}"#);
        assert!(text(unknown.precision()).ends_with(r#"(float32, float64): "int8""#));
    }

    #[test]
    fn sizes_come_from_one_or_from_all_names() {
        let names = ["rows", "cols"];
        assert_eq!(parameters(r#"{"matrix_size": 3}"#).sizes(names), Ok([3, 3]));
        assert_eq!(
            parameters(r#"{"rows": 3, "cols": 4}"#).sizes(names),
            Ok([3, 4])
        );
        for (given, expected) in [
            (r#"{}"#, "matrix_size is missing (or give rows, cols)"),
            (r#"{"rows": 3}"#, "parameters.cols is missing"),
            (r#"{"matrix_size": 3, "rows": 3}"#, "excludes"),
            (r#"{"matrix_size": 0}"#, "(an integer from 1): 0"),
            (r#"{"matrix_size": -1}"#, "(an integer from 1): -1"),
            (r#"{"matrix_size": 2.0}"#, "(an integer from 1): 2.0"),
            (r#"{"matrix_size": "2"}"#, "(an integer from 1): \"2\""),
        ] {
            let error = text(parameters(given).sizes(names));
            assert!(error.contains(expected), "{given}: {error}");
        }
    }

    #[test]
    fn numbers_and_choices_name_the_parameter() {
        assert_eq!(parameters(r#"{"scalar": 2}"#).number("scalar"), Ok(2.0));
        assert_eq!(
            text(parameters("{}").number("scalar")),
            "parameters.scalar is missing"
        );
        assert!(text(parameters(r#"{"scalar": "2"}"#).number("scalar")).contains("(a number)"));
        let choice = |given: &str| {
            parameters(given).choice("op", "sum", |name| (name == "sum").then_some(1))
        };
        assert_eq!(choice(r#"{"op": "sum"}"#), Ok(1));
        assert!(text(choice(r#"{"op": "median"}"#)).contains("(sum): \"median\""));
        assert!(text(choice("{}")).contains("parameters.op is missing"));
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        assert!(serde_json::from_str::<Parameters>(r#"{"m": 1, "m": 2}"#).is_err());
    }
}

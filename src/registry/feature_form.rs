//! The written form of a feature: in the registry's log and in answers.

use regex::Regex;
use serde_json::Value as Json;

use crate::object::{About, Feature, FeatureStatus, Validation};
use larder_model::{DataType, Value};

/// A feature with its values as JSON, which get their meaning from the feature's type.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct FeatureForm {
    name: String,
    #[serde(rename = "type")]
    data_type: DataType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Json>,
    #[serde(default)]
    pii: bool,
    #[serde(default)]
    status: FeatureStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validate: Option<ValidationForm>,
    #[serde(flatten)]
    about: About,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct ValidationForm {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_null: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<Json>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
}

impl From<Feature> for FeatureForm {
    fn from(feature: Feature) -> Self {
        let validate = (!feature.validate.is_empty()).then(|| ValidationForm {
            not_null: feature.validate.not_null,
            min: feature.validate.min,
            max: feature.validate.max,
            allowed: feature.validate.allowed.map(|values| values.iter().map(Value::to_json).collect()),
            regex: feature.validate.regex.as_ref().map(|regex| written(regex).to_owned()),
            max_length: feature.validate.max_length,
        });
        FeatureForm {
            name: feature.name,
            data_type: feature.data_type,
            default: feature.default.map(|value| value.to_json()),
            pii: feature.pii,
            status: feature.status,
            validate,
            about: feature.about,
        }
    }
}

impl TryFrom<FeatureForm> for Feature {
    type Error = String;

    fn try_from(form: FeatureForm) -> Result<Self, String> {
        let read = |json: &Json| Value::from_json(json, &form.data_type);
        let validate = match &form.validate {
            None => Validation::default(),
            Some(rules) => Validation {
                not_null: rules.not_null,
                min: rules.min,
                max: rules.max,
                allowed: match &rules.allowed {
                    Some(values) => Some(values.iter().map(read).collect::<Result<_, _>>()?),
                    None => None,
                },
                regex: rules.regex.as_deref().map(whole).transpose()?,
                max_length: rules.max_length,
            },
        };
        Ok(Feature {
            default: form.default.as_ref().map(read).transpose()?,
            name: form.name,
            data_type: form.data_type,
            pii: form.pii,
            status: form.status,
            validate,
            about: form.about,
        })
    }
}

const BEFORE: &str = r"\A(?:";
const AFTER: &str = r")\z";

/// `pattern` so that only a whole string matches.
pub(super) fn whole(pattern: &str) -> Result<Regex, String> {
    // Alone first: `a)(b` is no pattern, but would be one between our brackets.
    let compiled = Regex::new(pattern).and_then(|_| Regex::new(&format!("{BEFORE}{pattern}{AFTER}")));
    compiled.map_err(|error| {
        format!("`{pattern}` is not a regular expression: {}", last_line(&error.to_string()))
    })
}

/// The pattern of [`whole`] as its author wrote it.
fn written(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix(BEFORE).and_then(|text| text.strip_suffix(AFTER)).unwrap_or(text)
}

/// The regex crate draws the pattern over several lines and says what is wrong in the last.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_string_only() {
        let regex = whole("a|bc").unwrap();
        assert!(regex.is_match("a") && regex.is_match("bc"));
        assert!(!regex.is_match("ac") && !regex.is_match("xbc") && !regex.is_match("a\n"));
        assert_eq!(written(&regex), "a|bc");
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["(", "a)(b", "[z-a]", "*"] {
            assert!(whole(pattern).unwrap_err().contains("is not a regular expression"), "{pattern}");
        }
    }

    #[test]
    fn a_feature_reads_back_as_it_is_written() {
        let feature = Feature {
            name: "temp".into(),
            data_type: DataType::Float32,
            default: Some(Value::Float32(0.1)),
            pii: true,
            status: FeatureStatus::Deprecated,
            validate: Validation {
                not_null: true,
                min: Some(-60.0),
                max: Some(1e300),
                allowed: Some(vec![Value::Float32(1.5), Value::Float32(f32::MIN_POSITIVE)]),
                regex: Some(whole("x+").unwrap()),
                max_length: Some(3),
            },
            about: About {
                description: "d".into(),
                owner: "o".into(),
                tags: [("k".into(), "v".into())].into(),
                project: None,
            },
        };
        let text = serde_json::to_string(&feature).unwrap();
        assert_eq!(serde_json::from_str::<Feature>(&text).unwrap(), feature);
    }
}

//! `time_unit` and `time_zone` of a request: how its times are written.

use crate::{error::Detail, http::Problem, model::TimeForm, serve::ServeError};

/// What a request says of its times; 422 where it is no unit, or no zone.
pub fn time_form(unit: Option<&str>, zone: Option<&str>) -> Result<TimeForm, Problem> {
    let wrong = |field: &str, reason: String| {
        ServeError::Request(vec![Detail { row: None, field: Some(field.to_owned()), reason }])
    };
    let time_unit = unit.map(str::parse).transpose();
    let time_zone = zone.map(str::parse).transpose();
    Ok(TimeForm {
        time_unit: time_unit.map_err(|error| wrong("time_unit", format!("{error}")))?,
        time_zone: time_zone.map_err(|error| wrong("time_zone", format!("{error}")))?,
    })
}

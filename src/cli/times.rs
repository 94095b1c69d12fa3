//! `--time-unit` and `--time-zone`: how times in a file are written.

use clap::Args;

use crate::model::{TimeForm, TimeUnit, TimeZone};

#[derive(Args, Debug, Clone, Copy, Default)]
pub struct TimeArgs {
    /// What numbers count that are times: s, ms, us or ns.
    #[arg(long, value_name = "UNIT")]
    time_unit: Option<TimeUnit>,
    /// The zone of times that are written without one: UTC or an IANA name.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<TimeZone>,
}

impl TimeArgs {
    pub fn form(&self) -> TimeForm {
        TimeForm { time_unit: self.time_unit, time_zone: self.time_zone }
    }

    /// The same for the query of a request.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let unit = self.time_unit.map(|unit| ("time_unit", unit.to_string()));
        let zone = self.time_zone.map(|zone| ("time_zone", zone.to_string()));
        unit.into_iter().chain(zone).collect()
    }
}

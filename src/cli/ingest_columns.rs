//! Which of a file's columns go into a table.

use serde_json::Value as Json;

use crate::{cli::CliError, format::did_you_mean, model::DataType};

/// One column that a table takes.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct TableColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: DataType,
    #[serde(default)]
    role: String,
}

/// The columns of a table, from the definition that the node gives of a feature view or source.
pub struct Columns(Vec<TableColumn>);

/// What becomes of columns that the table does not have.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Ignoring {
    /// Columns of the files to leave out, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore_columns: Vec<String>,
    /// Leave out all columns that the table does not have, also those that look like a slip of the pen; store rows also where
    /// a file has none of the table's features.
    #[arg(long, conflicts_with = "strict")]
    ignore_unknown: bool,
    /// Refuse files with columns that the table does not have, instead of leaving those columns out.
    #[arg(long)]
    strict: bool,
}

/// Columns of a file that are sent, and those that are left out though nobody said so.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Positions in the file.
    pub keep: Vec<usize>,
    pub left_out: Vec<String>,
}

impl Columns {
    pub fn of(definition: &Json) -> Result<Columns, CliError> {
        serde_json::from_value(definition["schema"].clone())
            .map(Columns)
            .map_err(|e| CliError::Failed(format!("the node's definition cannot be read: {e}")))
    }

    pub fn all(&self) -> &[TableColumn] {
        &self.0
    }

    /// Chooses among the names of a file's columns. Refuses what is probably a misspelt column of the table, and a file that
    /// would store rows without any value.
    pub fn choose(&self, names: &[&str], ignoring: &Ignoring) -> Result<Chosen, String> {
        let column = |name: &str| self.0.iter().find(|column| column.name == name);
        let (mut keep, mut left_out, mut values) = (Vec::new(), Vec::new(), false);
        for (at, name) in names.iter().enumerate() {
            if ignoring.ignore_columns.iter().any(|ignored| ignored == name) {
                continue;
            }
            match column(name) {
                Some(column) => {
                    values |= matches!(column.role.as_str(), "feature" | "column");
                    keep.push(at);
                }
                None => left_out.push((*name).to_owned()),
            }
        }
        // A column of the table that the file has is not what another of its columns means.
        let missing = || self.0.iter().map(|c| c.name.as_str()).filter(|name| !names.contains(name));
        let near = |name: &String| Some(format!("`{name}` for `{}`", did_you_mean(name.trim(), missing())?));
        let near: Vec<String> = left_out.iter().filter_map(near).collect();
        if !near.is_empty() && !ignoring.ignore_unknown {
            return Err(format!(
                "columns are probably misspelt: {}; rename them, or leave them out with --ignore-columns or --ignore-unknown",
                near.join(", ")
            ));
        }
        if !left_out.is_empty() && ignoring.strict {
            return Err(format!("the table has no column {}", left_out.join(", ")));
        }
        if !values && !names.is_empty() && !ignoring.ignore_unknown {
            let wanted = self.0.iter().filter(|c| matches!(c.role.as_str(), "feature" | "column"));
            let wanted: Vec<&str> = wanted.map(|c| c.name.as_str()).collect();
            return Err(format!(
                "has none of the table's columns {}; it has {}. Rows would be stored without any value; --ignore-unknown does so",
                wanted.join(", "),
                names.join(", ")
            ));
        }
        Ok(Chosen { keep, left_out })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns() -> Columns {
        let column = |name, data_type, role| json!({ "name": name, "type": data_type, "role": role });
        Columns::of(&json!({ "schema": [
            column("tailnum", "string", "join_key"),
            column("event_time", "timestamp", "event_time"),
            column("seats", "int64", "feature"),
            column("year", "int64", "feature"),
        ]}))
        .unwrap()
    }

    fn choose(names: &[&str], ignoring: &Ignoring) -> Result<Chosen, String> {
        columns().choose(names, ignoring)
    }

    #[test]
    fn near_misses_and_files_without_a_feature_are_refused() {
        let plain = Ignoring::default();
        let all = Ignoring { ignore_unknown: true, ..Ignoring::default() };
        let some = |names: &[&str]| Ignoring {
            ignore_columns: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Ignoring::default()
        };
        for near in ["seat", "Seats", "SEATS", "seats ", "saets"] {
            let error = choose(&["tailnum", "event_time", near, "year"], &plain).unwrap_err();
            assert!(error.contains(&format!("`{near}` for `seats`")), "{error}");
            let chosen = choose(&["tailnum", "event_time", near, "year"], &all).unwrap();
            assert_eq!(chosen, Chosen { keep: vec![0, 1, 3], left_out: vec![near.to_owned()] });
            let chosen = choose(&["tailnum", "event_time", near, "year"], &some(&[near])).unwrap();
            assert_eq!(chosen, Chosen { keep: vec![0, 1, 3], left_out: Vec::new() });
        }
        let error = choose(&["tailnum", "event_time", "engines"], &plain).unwrap_err();
        assert!(error.contains("none of the table's columns seats, year"), "{error}");
        assert!(choose(&["tailnum", "event_time"], &plain).is_err());
        assert_eq!(choose(&["tailnum", "event_time"], &all).unwrap().keep, [0, 1]);
        // What the table has is no slip of the pen, and neither is a column far from all of its own.
        let chosen = choose(&["tailnum", "event_time", "seats", "seat", "engines"], &plain).unwrap();
        assert_eq!(chosen.left_out, ["seat", "engines"]);
        let strict = Ignoring { strict: true, ..Ignoring::default() };
        let error = choose(&["tailnum", "event_time", "seats", "engines"], &strict).unwrap_err();
        assert_eq!(error, "the table has no column engines");
        assert_eq!(
            choose(&["tailnum", "event_time", "seats", "year"], &some(&["year"])).unwrap().keep,
            [0, 1, 2]
        );
        assert_eq!(choose(&[], &plain).unwrap().keep, Vec::<usize>::new(), "a file without rows and columns");
    }
}

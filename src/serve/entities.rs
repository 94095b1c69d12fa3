//! The entities of an online read: columns of join-key values, one per key column of the plan.

use crate::{
    error::Detail,
    model::{Value, encode_key_part},
    serve::{Plan, PlanGroup, ServeError},
};

/// Values of one request, column-wise: `columns[k][i]` is the i-th entity's value of the plan's k-th key column.
#[derive(Debug, Default)]
pub struct Entities {
    columns: Vec<Vec<Value>>,
    len: usize,
}

/// Details beyond this many are not collected: one bad column of a thousand entities says the same thing each time.
const MAX_DETAILS: usize = 100;

impl Entities {
    /// From rows (`[{"origin": "JFK"}, …]`); every key column must be there, with the right type. A null key is
    /// allowed: that entity has no value.
    pub fn from_rows(
        plan: &Plan,
        rows: &[serde_json::Map<String, serde_json::Value>],
    ) -> Result<Entities, ServeError> {
        let mut details = Vec::new();
        let mut columns: Vec<Vec<Value>> =
            plan.key_columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for (row, object) in rows.iter().enumerate() {
            for (key, column) in plan.key_columns.iter().zip(&mut columns) {
                match object.get(&key.name) {
                    Some(json) => column.push(read(json, key, row, &mut details)),
                    None => note(&mut details, Some(row), &key.name, missing(key)),
                }
            }
        }
        Self::checked(columns, rows.len(), details)
    }

    /// From columns (`{"origin": ["JFK", …]}`), all of one length.
    pub fn from_columns(
        plan: &Plan,
        given: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Entities, ServeError> {
        let mut details = Vec::new();
        let mut columns = Vec::with_capacity(plan.key_columns.len());
        let mut len = None;
        for key in &plan.key_columns {
            let Some(serde_json::Value::Array(values)) = given.get(&key.name) else {
                note(&mut details, Some(0), &key.name, missing(key));
                continue;
            };
            if *len.get_or_insert(values.len()) != values.len() {
                let reason =
                    format!("has {} values, the columns before it {}", values.len(), len.unwrap_or(0));
                note(&mut details, Some(0), &key.name, reason);
            }
            columns.push(
                values.iter().enumerate().map(|(row, json)| read(json, key, row, &mut details)).collect(),
            );
        }
        Self::checked(columns, len.unwrap_or(0), details)
    }

    fn checked(columns: Vec<Vec<Value>>, len: usize, details: Vec<Detail>) -> Result<Entities, ServeError> {
        if details.is_empty() { Ok(Entities { columns, len }) } else { Err(ServeError::Request(details)) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the entity's key in the group's view to `out`; false where a part of it is null.
    pub fn encode_key(
        &self,
        plan: &Plan,
        group: &PlanGroup,
        entity: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, ServeError> {
        out.clear();
        for &k in &group.keys {
            let (column, value) = (&plan.key_columns[k], &self.columns[k][entity]);
            if value.is_null() {
                return Ok(false);
            }
            encode_key_part(&column.name, &column.data_type, value, out).map_err(|error| {
                ServeError::Request(vec![Detail {
                    row: Some(entity as u64),
                    field: Some(column.name.clone()),
                    reason: error.to_string(),
                }])
            })?;
        }
        Ok(true)
    }
}

fn read(
    json: &serde_json::Value,
    key: &crate::serve::plan::KeyColumn,
    row: usize,
    details: &mut Vec<Detail>,
) -> Value {
    match Value::from_json(json, &key.data_type) {
        Ok(value) => value,
        Err(reason) => {
            note(details, Some(row), &key.name, reason);
            Value::Null
        }
    }
}

fn missing(key: &crate::serve::plan::KeyColumn) -> String {
    format!("the join key `{}` ({}) is missing", key.name, key.data_type)
}

pub(super) fn note(details: &mut Vec<Detail>, row: Option<usize>, field: &str, reason: String) {
    if details.len() < MAX_DETAILS {
        details.push(Detail { row: row.map(|row| row as u64), field: Some(field.to_owned()), reason });
    }
}

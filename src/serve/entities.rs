//! The entities of an online read: columns of join-key values, one per key column of the plan.

use crate::{
    error::Detail,
    model::{Value, encode_key_part},
    serve::{Plan, PlanGroup, ServeError},
};

/// Values of one request, read by [`Entities::from_json`], column-wise: `columns[k][i]` is the i-th entity's value of the plan's k-th key column.
#[derive(Debug, Default)]
pub struct Entities {
    columns: Vec<Vec<Value>>,
    len: usize,
}

/// Details beyond this many are not collected: one bad column of a thousand entities says the same thing each time.
const MAX_DETAILS: usize = 100;

impl Entities {
    pub(super) fn checked(
        columns: Vec<Vec<Value>>,
        len: usize,
        details: Vec<Detail>,
    ) -> Result<Entities, ServeError> {
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

pub(super) fn note(details: &mut Vec<Detail>, row: Option<usize>, field: &str, reason: String) {
    if details.len() < MAX_DETAILS {
        details.push(Detail { row: row.map(|row| row as u64), field: Some(field.to_owned()), reason });
    }
}

//! What a request reads, each thing once.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::SchemaRef;

use crate::{
    compute::window::Class,
    model::{ACCEPTED_AT, Column, SEQ},
    offline::{
        History, OfflineError,
        windows::{EventFilter, EventSeries},
    },
};

/// Different columns and filters of several series.
#[derive(Default)]
pub(super) struct Reads {
    pub columns: Vec<(Column, Class)>,
    pub filters: Vec<Arc<EventFilter>>,
}

/// A series by the places of its column and its filter in [`Reads`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesPlan {
    pub column: Option<usize>,
    pub filter: Option<usize>,
}

impl Reads {
    /// The place of a series; a new one only where it differs from all before.
    pub fn add(&mut self, table: &str, series: &EventSeries) -> Result<SeriesPlan, OfflineError> {
        let column = match &series.column {
            None => None,
            Some(column) => Some(match self.columns.iter().position(|(known, _)| known == column) {
                Some(at) => at,
                None => {
                    let class = Class::of(&column.data_type).ok_or_else(|| OfflineError::Schema {
                        table: table.to_owned(),
                        column: column.name.clone(),
                        reason: format!("nothing can be computed of {}", column.data_type),
                    })?;
                    self.columns.push((column.clone(), class));
                    self.columns.len() - 1
                }
            }),
        };
        let filter = series.filter.as_ref().map(|filter| {
            let known = self.filters.iter().position(|known| Arc::ptr_eq(known, filter));
            known.unwrap_or_else(|| {
                self.filters.push(Arc::clone(filter));
                self.filters.len() - 1
            })
        });
        Ok(SeriesPlan { column, filter })
    }

    /// The columns of the table to read.
    pub fn schema<'a>(
        &'a self,
        history: &'a History,
        keys: impl IntoIterator<Item = &'a Column>,
        seqs: bool,
        accepted: bool,
    ) -> Result<SchemaRef, OfflineError> {
        let mut names: BTreeSet<&str> = keys.into_iter().map(|key| key.name.as_str()).collect();
        names.insert(&history.layout.event_time);
        names.extend(self.columns.iter().map(|(column, _)| column.name.as_str()));
        names.extend(self.filters.iter().flat_map(|filter| &filter.columns).map(String::as_str));
        names.extend(seqs.then_some(SEQ).into_iter().chain(accepted.then_some(ACCEPTED_AT)));
        history.layout.project(&history.schema, &names.into_iter().collect::<Vec<_>>())
    }
}

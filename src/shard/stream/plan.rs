//! A spec made ready to be computed, against one version of its source's schema.

use crate::{
    compute::window::{
        Class,
        tiles::{Input, Layout, Measure},
    },
    expression::Expression,
    model::{Column, DataType, TableSchema},
    registry::filter_columns,
    shard::{ShardError, stream::StreamSpec},
};

pub struct StreamPlan {
    pub spec: StreamSpec,
    pub layout: Layout,
    /// The source's columns that an event keeps.
    pub columns: Vec<(Column, Class)>,
    /// Each distinct filter.
    pub filters: Vec<(String, Expression)>,
    /// The version of the source's schema that the filters were compiled for.
    pub source_version: u32,
}

impl StreamPlan {
    /// An error where the spec does not fit the schema; definitions are checked against it when they are applied.
    pub fn compile(spec: StreamSpec, source: &TableSchema) -> Result<StreamPlan, ShardError> {
        let mut columns: Vec<(Column, Class)> = Vec::new();
        let mut filters: Vec<(String, Expression)> = Vec::new();
        let mut measures = Vec::with_capacity(spec.aggregations.len());
        let unfit =
            |reason: String| ShardError::Damaged(format!("stream feature view `{}`: {reason}", spec.name));
        for aggregation in &spec.aggregations {
            let input = match (&aggregation.column, &aggregation.column_type) {
                (Some(name), Some(data_type)) => {
                    let class = Class::of(data_type).unwrap_or(Class::Bytes);
                    let column = match columns
                        .iter()
                        .position(|(known, _)| known.name == *name && known.data_type == *data_type)
                    {
                        Some(known) => known,
                        None => {
                            let column = Column { name: name.clone(), data_type: data_type.clone() };
                            columns.push((column, class));
                            columns.len() - 1
                        }
                    };
                    Some(Input { column, class })
                }
                _ => None,
            };
            let filter = match &aggregation.filter {
                None => None,
                Some(text) => Some(match filters.iter().position(|(known, _)| known == text) {
                    Some(known) => known,
                    None => {
                        let inputs = filter_inputs(source);
                        let filter = Expression::compile(text, &inputs, Some(&DataType::Bool))
                            .map_err(|error| unfit(format!("its filter `{text}`: {error}")))?;
                        filters.push((text.clone(), filter));
                        filters.len() - 1
                    }
                }),
            };
            measures.push(Measure {
                function: aggregation.function,
                input,
                filter,
                window: aggregation.window,
            });
        }
        if columns.len() > Layout::MAX_SLOTS || filters.len() > Layout::MAX_SLOTS {
            return Err(unfit(format!(
                "it uses {} columns and {} filters, at most {} of each can be kept",
                columns.len(),
                filters.len(),
                Layout::MAX_SLOTS
            )));
        }
        let classes = columns.iter().map(|(_, class)| *class).collect();
        Ok(StreamPlan {
            layout: Layout::new(classes, &measures),
            columns,
            filters,
            source_version: source.version,
            spec,
        })
    }
}

impl StreamPlan {
    /// The source's columns that keys, aggregates and filters are made of, each once.
    pub fn columns_used(&self) -> Vec<String> {
        let keys = self.spec.keys.iter().map(|key| &key.name);
        let inputs = self.columns.iter().map(|(column, _)| &column.name);
        let filtered = self.filters.iter().flat_map(|(_, filter)| filter.columns());
        let mut used: Vec<String> = Vec::new();
        for name in keys.chain(inputs).chain(filtered) {
            if !used.contains(name) {
                used.push(name.clone());
            }
        }
        used
    }
}

/// The columns that a filter may name: those of the source, and its event time.
pub fn filter_inputs(source: &TableSchema) -> Vec<Column> {
    filter_columns(&source.event_time, &source.columns)
}

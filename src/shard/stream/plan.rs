//! A spec made ready to be computed, against one version of its source's schema.

use crate::{
    compute::window::{
        Class,
        tiles::{Input, Layout, Measure},
    },
    expression::Expression,
    model::{Column, TableSchema},
    registry::{compile_filter, too_many},
    shard::{ShardError, stream::StreamSpec},
};

pub struct StreamPlan {
    pub spec: StreamSpec,
    pub layout: Layout,
    /// The source's columns that an event keeps.
    pub columns: Vec<Column>,
    /// Each distinct filter.
    pub filters: Vec<(String, Expression)>,
    /// The version of the source's schema that the filters were compiled for.
    pub source_version: u32,
}

impl StreamPlan {
    /// An error where the spec does not fit the schema; definitions are checked against it when they are applied.
    pub fn compile(spec: StreamSpec, source: &TableSchema) -> Result<StreamPlan, ShardError> {
        let mut columns: Vec<Column> = Vec::new();
        let class_of = |data_type| Class::of(data_type).unwrap_or(Class::Bytes);
        let mut filters: Vec<(String, Expression)> = Vec::new();
        let mut measures = Vec::with_capacity(spec.aggregations.len());
        let unfit =
            |reason: String| ShardError::Damaged(format!("stream feature view `{}`: {reason}", spec.name));
        if let Some(too_many) = too_many(&spec.aggregations) {
            return Err(unfit(too_many));
        }
        for aggregation in &spec.aggregations {
            let input = match (&aggregation.column, &aggregation.column_type) {
                (Some(name), Some(data_type)) => {
                    let wanted = Column { name: name.clone(), data_type: data_type.clone() };
                    let column = match columns.iter().position(|known| *known == wanted) {
                        Some(known) => known,
                        None => {
                            columns.push(wanted);
                            columns.len() - 1
                        }
                    };
                    let class = class_of(data_type);
                    Some(Input { column, class })
                }
                _ => None,
            };
            let filter = match &aggregation.filter {
                None => None,
                Some(text) => Some(match filters.iter().position(|(known, _)| known == text) {
                    Some(known) => known,
                    None => {
                        let filter = compile_filter(text, &source.event_time, &source.columns)
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
        let classes = columns.iter().map(|column| class_of(&column.data_type)).collect();
        Ok(StreamPlan {
            layout: Layout::new(classes, &measures),
            columns,
            filters,
            source_version: source.version,
            spec,
        })
    }

    /// The source's columns that keys, aggregates and filters are made of, each once.
    pub fn columns_used(&self) -> Vec<String> {
        let keys = self.spec.keys.iter().map(|key| &key.name);
        let inputs = self.columns.iter().map(|column| &column.name);
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

//! Aggregates of stream views at the times of a spine, from their sources' events.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray};

use crate::{
    compute::window::{Datum, Output},
    model::{Column, DataType, Timestamp, Value, one_nan},
    offline::{Aggregation, EventFilter, EventSeries, Grouping, SpineKeys, Watch, WindowJoin, window_join},
    registry::{Catalog, FeatureView, Source, Stream, compile_filter},
    serve::{
        LeakGuard, Reads, ServeError, Until,
        explain::EventLists,
        guard::{Leaks, WindowLeaks},
    },
    shard::DatumColumn,
};

/// Bytes of events that a request keeps at a time; where there are more, the source is read again.
const EVENT_BYTES: usize = 512 << 20;

/// What is asked of one stream view.
pub struct Asked<'a> {
    pub view: &'a FeatureView,
    /// The view's place among the groups of the request.
    pub group: usize,
    pub stream: &'a Stream,
    /// Features of the view.
    pub features: Vec<usize>,
    /// The entity of each row of the spine; an empty one has no events.
    pub keys: Vec<u8>,
    pub offsets: Vec<u32>,
}

/// When, and as known when.
#[derive(Clone, Copy)]
pub struct Moments<'a> {
    /// Of each row of the spine, µs.
    pub times: &'a [i64],
    pub known_at: Option<Timestamp>,
    /// Whether an event counts only once its source's availability lag has passed.
    pub lagged: bool,
    /// Up to which row each source is read.
    pub until: Option<&'a Until>,
    pub look: Look<'a>,
}

/// Who looks at the events behind the values.
#[derive(Clone, Copy)]
pub enum Look<'a> {
    Nobody,
    /// Counts what came too late, as its guard says.
    Leaks(&'a Leaks),
    /// Lists them.
    Events(&'a EventLists),
}

/// For each of `asked` a column for each of its features. Each source is read once for all of its views.
pub fn aggregate(
    reads: &Reads,
    catalog: &Catalog,
    asked: &[Asked<'_>],
    moments: Moments<'_>,
) -> Result<Vec<Vec<ArrayRef>>, ServeError> {
    let mut sources: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, one) in asked.iter().enumerate() {
        sources.entry(&one.stream.source).or_default().push(i);
    }
    let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); asked.len()];
    for (source, of_source) in sources {
        let source = catalog.source(source, None)?;
        let group: Vec<&Asked<'_>> = of_source.iter().map(|i| &asked[*i]).collect();
        for (i, joined) in of_source.into_iter().zip(of_one(reads, source, &group, moments)?) {
            columns[i] = joined;
        }
    }
    Ok(columns)
}

fn of_one(
    reads: &Reads,
    source: &Source,
    asked: &[&Asked<'_>],
    moments: Moments<'_>,
) -> Result<Vec<Vec<ArrayRef>>, ServeError> {
    let history = reads.table_history(&source.schema, moments.until)?;
    let mut filters: BTreeMap<&str, Arc<EventFilter>> = BTreeMap::new();
    let mut aggregations = Vec::with_capacity(asked.len());
    for one in asked {
        let wanted = one.features.iter().filter_map(|feature| one.stream.aggregations.get(*feature));
        let mut of_view = Vec::with_capacity(one.features.len());
        for aggregation in wanted {
            let filter = match &aggregation.filter {
                None => None,
                Some(text) => Some(match filters.get(text.as_str()) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let filter = Arc::new(compile(text, source, one.view)?);
                        filters.insert(text, Arc::clone(&filter));
                        filter
                    }
                }),
            };
            let column = aggregation.column.clone().zip(aggregation.column_type.clone());
            let column = column.map(|(name, data_type)| Column { name, data_type });
            of_view.push(Aggregation {
                events: EventSeries { column, filter },
                function: aggregation.function,
                window: aggregation.window,
            });
        }
        aggregations.push(of_view);
    }
    let groupings: Vec<Grouping<'_>> = asked
        .iter()
        .zip(&aggregations)
        .map(|(one, aggregations)| Grouping {
            keys: &one.view.schema.keys,
            spine: SpineKeys { bytes: &one.keys, offsets: &one.offsets },
            aggregations,
        })
        .collect();
    let guard = match moments.look {
        Look::Leaks(leaks) => leaks.guard,
        _ => LeakGuard::Off,
    };
    let counted = (!guard.is_off()).then(|| WindowLeaks::new(aggregations.iter().map(Vec::len)));
    let places = |asked: &&Asked<'_>| asked.features.iter().map(|feature| (asked.group, *feature)).collect();
    let listed = match moments.look {
        Look::Events(lists) => Some(lists.of(asked.iter().map(places).collect())),
        _ => None,
    };
    let counting = counted.as_ref().map(|watch| watch as &dyn Watch);
    let watch = counting.or(listed.as_ref().map(|watch| watch as &dyn Watch));
    let columns = window_join(&WindowJoin {
        history: &history,
        times: moments.times,
        groupings: &groupings,
        lag: if moments.lagged { source.availability_lag.micros() } else { 0 },
        known_at: moments.known_at.map(Timestamp::micros),
        by_then: guard.excludes(),
        watch,
        memory: EVENT_BYTES,
    })?;
    if let (Look::Leaks(leaks), Some(watch)) = (moments.look, counted) {
        for (grouping, one) in asked.iter().enumerate() {
            for (aggregation, &feature) in one.features.iter().enumerate() {
                let (within_lag, later) = watch.of(grouping, aggregation);
                leaks.add(one.group, feature, within_lag, if guard.counts_acceptance() { later } else { 0 });
            }
        }
    }
    Ok(columns)
}

fn compile(text: &str, source: &Source, view: &FeatureView) -> Result<EventFilter, ServeError> {
    let filter = compile_filter(text, &source.schema.event_time, &source.schema.columns)
        .map_err(|error| ServeError::Invalid(format!("the filter `{text}` of `{}`: {error}", view.name)))?;
    Ok(EventFilter { columns: filter.columns().to_vec(), mask: Box::new(move |batch| filter.mask(batch)) })
}

/// An aggregate as a value of the feature's type.
pub fn to_value(output: Output, data_type: &DataType) -> Value {
    match (output, data_type) {
        (Output::Int(n), DataType::Int64) => Value::Int64(n),
        (Output::Int(n), DataType::Int32) => i32::try_from(n).map_or(Value::Null, Value::Int32),
        (Output::Int(n), DataType::Timestamp) => Value::Timestamp(Timestamp::from_micros(n)),
        (Output::Int(n), DataType::Bool) => Value::Bool(n != 0),
        (Output::Float(x), DataType::Float64) => Value::Float64(one_nan(x)),
        (Output::Float(x), DataType::Float32) => Value::Float32(one_nan(x) as f32),
        (Output::Bytes(bytes), DataType::Bytes) => Value::Bytes(bytes),
        (Output::Bytes(bytes), DataType::String) => text(bytes).map_or(Value::Null, Value::String),
        (Output::Bytes(bytes), DataType::Json) => text(bytes).map_or(Value::Null, Value::Json),
        (Output::List(items), DataType::Array(item)) => {
            Value::Array(items.into_iter().map(|output| to_value(output, item)).collect())
        }
        _ => Value::Null,
    }
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// One value of a column that [`aggregate`] gave.
pub fn value_at(column: &ArrayRef, row: usize, data_type: &DataType) -> Value {
    if let (DataType::Array(item), Some(lists)) = (data_type, column.as_list_opt::<i32>()) {
        if lists.is_null(row) {
            return Value::Null;
        }
        let items = lists.value(row);
        return Value::Array((0..items.len()).map(|i| value_at(&items, i, item)).collect());
    }
    let output = DatumColumn::new(column).value(row).map_or(Output::Null, Datum::output);
    to_value(output, data_type)
}

//! The tables that a query sees: those of the catalog that have rows, and the newest version of each entity in them.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::TableProvider;

use crate::{
    model::{DELETED, Duration, TableSchema},
    offline::History,
    registry::{Catalog, LATEST},
    sql::{
        Inputs, SqlError,
        engine::scan::{HistoryTable, Rows},
        query::{Control, Scope},
    },
};

pub(super) struct Tables<'a> {
    catalog: &'a Catalog,
    read: Option<(&'a Inputs, &'a Scope, &'a Arc<Control>)>,
}

impl<'a> Tables<'a> {
    pub fn with_rows(
        catalog: &'a Catalog,
        inputs: &'a Inputs,
        scope: &'a Scope,
        control: &'a Arc<Control>,
    ) -> Tables<'a> {
        Tables { catalog, read: Some((inputs, scope, control)) }
    }

    /// For planning alone.
    pub fn without_rows(catalog: &'a Catalog) -> Tables<'a> {
        Tables { catalog, read: None }
    }

    pub fn get(&self, name: &str) -> Result<Arc<dyn TableProvider>, SqlError> {
        let found = find(self.catalog, name)?;
        let schema = found.columns();
        let rows = match self.read {
            None => None,
            Some((inputs, scope, control)) => {
                let table = inputs.offline.table(found.schema)?;
                let history = History::open(&table, inputs.tail.as_ref(), found.schema)?;
                Some(Rows {
                    history: Arc::new(history),
                    visible: scope.visible(&found.schema.name, found.lag.micros()),
                    control: Arc::clone(control),
                })
            }
        };
        let (table, event_time) = (name.to_owned(), found.schema.event_time.clone());
        Ok(Arc::new(HistoryTable { table, schema, event_time, latest: found.latest, rows }))
    }
}

struct Found<'a> {
    schema: &'a Arc<TableSchema>,
    /// Of the source, if it is one.
    lag: Duration,
    latest: bool,
}

impl Found<'_> {
    fn columns(&self) -> SchemaRef {
        let offline = self.schema.offline();
        match self.latest {
            false => Arc::clone(offline),
            true => {
                let kept = offline.fields().iter().filter(|field| field.name() != DELETED);
                Arc::new(Schema::new(kept.cloned().collect::<Vec<_>>()))
            }
        }
    }
}

fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<Found<'a>, SqlError> {
    if let Some(source) = catalog.sources.get(name) {
        return Ok(Found { schema: &source.schema, lag: source.availability_lag, latest: false });
    }
    let (of, latest) = match name.strip_suffix(LATEST) {
        Some(view) if !catalog.feature_views.contains_key(name) => (view, true),
        _ => (name, false),
    };
    match catalog.feature_views.get(of) {
        Some(view) if !view.offline => {
            Err(SqlError::query(format!("`{of}` keeps no history (offline = false), so it is no table")))
        }
        Some(view) if view.has_rows() => Ok(Found { schema: &view.schema, lag: Duration::ZERO, latest }),
        Some(view) => Err(SqlError::query(match view.stream() {
            Some(stream) => format!(
                "`{of}` is computed from the events of `{}` when it is asked for, and is no table; query the events",
                stream.source
            ),
            None => format!("`{of}` is computed when it is asked for, and is no table"),
        })),
        None => Err(unknown(catalog, name)),
    }
}

fn unknown(catalog: &Catalog, name: &str) -> SqlError {
    if catalog.sources.contains_key(name.strip_suffix(LATEST).unwrap_or_default()) {
        return SqlError::query(format!(
            "unknown table `{name}`; `{LATEST}` is for feature views, whose rows have keys"
        ));
    }
    let views = catalog.feature_views.values().filter(|view| view.has_rows() && view.offline);
    let names: BTreeSet<&String> = catalog.sources.keys().chain(views.map(|view| &view.name)).collect();
    let known: Vec<&str> = names.into_iter().map(String::as_str).take(20).collect();
    match known.is_empty() {
        true => SqlError::query(format!("unknown table `{name}`; nothing that has rows is defined yet")),
        false => SqlError::query(format!("unknown table `{name}`; known: {}", known.join(", "))),
    }
}

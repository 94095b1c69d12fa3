//! A compiled request: which rows to fetch for an entity and where in them each feature lies.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use arrow::{
    datatypes::{Field, Schema},
    error::ArrowError,
};

use crate::{
    model::{DataType, TableId, TableSchema, Value},
    registry::{Catalog, Feature, FeatureView, RequestColumn, Resolved, Stream},
    serve::{ArrowHead, Computation, Meters, ServeError, Wanted},
    shard::{Generation, Slot, StreamSet, slots},
};

/// Valid for one catalog; immutable and shared between requests.
#[derive(Debug)]
pub struct Plan {
    /// What it was compiled from.
    pub wanted: Wanted,
    pub registry_version: u64,
    /// The features' names in results, in the order asked for.
    pub names: Vec<String>,
    pub columns: Vec<PlanColumn>,
    pub groups: Vec<PlanGroup>,
    /// The request's columns that hold join keys, each once.
    pub key_columns: Vec<KeyColumn>,
    /// None where no on-demand feature is asked for.
    pub on_demand: Option<OnDemandPlan>,
    /// `names` as a JSON list, as every answer begins.
    pub names_json: String,
    /// The same for answers in Arrow; made when the first is asked for.
    arrow_head: OnceLock<ArrowHead>,
    pub meters: Meters,
}

/// What is computed once everything is looked up.
#[derive(Debug)]
pub struct OnDemandPlan {
    pub computation: Computation,
    /// What it takes of what was looked up.
    pub inputs: Vec<PlanColumn>,
}

#[derive(Debug, PartialEq)]
pub struct KeyColumn {
    pub name: String,
    pub data_type: DataType,
}

/// One lookup per entity: a view under one mapping of join keys.
#[derive(Debug)]
pub struct PlanGroup {
    pub view: Arc<FeatureView>,
    pub table: TableId,
    /// Positions in [`Plan::key_columns`], in the order of the view's join keys.
    pub keys: Vec<usize>,
    /// Microseconds.
    pub ttl: Option<i64>,
    /// Where a stream view's aggregates are; none for a view whose rows are written.
    pub stream: Option<StreamGroup>,
    /// For each version that may have written a row: the slots of the view's features in it.
    layouts: Vec<(u32, Vec<Option<Slot>>)>,
}

/// The window states that hold a stream view's aggregates: one, or while a definition changes an old and a new one.
#[derive(Debug)]
pub struct StreamGroup {
    pub parts: Vec<StreamPart>,
    /// Some aggregate is in no state, nor will be: of a version that nothing pins. History has to answer.
    pub from_history: bool,
}

#[derive(Debug)]
pub struct StreamPart {
    pub generation: Arc<Generation>,
    /// Features of the view …
    pub features: Vec<usize>,
    /// … and the measure of the generation that each is.
    pub measures: Vec<usize>,
}

impl StreamGroup {
    /// The `wanted` features of `view`, each from the newest state that has all of its events. Features that none has
    /// are left out.
    fn of(view: &FeatureView, stream: &Stream, streams: &StreamSet, wanted: &[usize]) -> StreamGroup {
        let mut parts: Vec<StreamPart> = Vec::new();
        let mut left: Vec<usize> = wanted.to_vec();
        for generation in streams.of_view(view.schema.table).filter(|generation| generation.is_ready()) {
            let mut part =
                StreamPart { generation: Arc::clone(generation), features: Vec::new(), measures: Vec::new() };
            left.retain(|&feature| {
                let measure = stream.aggregations.get(feature);
                let measure = measure.and_then(|wanted| generation.plan.spec.position(wanted));
                part.features.extend(measure.map(|_| feature));
                part.measures.extend(measure);
                measure.is_none()
            });
            if !part.features.is_empty() {
                parts.push(part);
            }
        }
        let coming = |feature: &usize| {
            let wanted = stream.aggregations.get(*feature);
            wanted.is_some_and(|wanted| {
                streams.of_view(view.schema.table).any(|g| g.plan.spec.position(wanted).is_some())
            })
        };
        // While there is no state at all, one is about to begin.
        let any = streams.of_view(view.schema.table).next().is_some();
        StreamGroup { parts, from_history: any && !left.iter().all(coming) }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// Looked up: positions in [`Plan::groups`] and in the features of the group's view.
    Group { group: usize, feature: usize },
    /// On demand: position in the steps of the plan's computation.
    Step(usize),
}

#[derive(Debug)]
pub struct PlanColumn {
    pub source: ValueSource,
    pub data_type: DataType,
    pub default: Option<Value>,
}

impl Plan {
    /// All views that it needs, each once or more.
    pub fn views(&self) -> impl Iterator<Item = &FeatureView> {
        let computed =
            self.on_demand.iter().flat_map(|on_demand| on_demand.computation.views.iter()).map(AsRef::as_ref);
        self.groups.iter().map(|group| group.view.as_ref()).chain(computed)
    }

    pub fn compile(catalog: &Catalog, streams: &StreamSet, wanted: &Wanted) -> Result<Plan, ServeError> {
        let resolved: Resolved = wanted.resolve(catalog)?;
        let mut key_columns: Vec<KeyColumn> = Vec::new();
        let mut groups = Vec::with_capacity(resolved.groups.len());
        // For each group that was resolved its place among those that are looked up.
        let mut places = vec![0; resolved.groups.len()];
        for (g, group) in resolved.groups.iter().enumerate() {
            let view = &group.view;
            if view.on_demand().is_some() {
                continue;
            }
            places[g] = groups.len();
            let mut keys = Vec::with_capacity(group.key_columns.len());
            for (name, key) in group.key_columns.iter().zip(&view.schema.keys) {
                keys.push(match key_columns.iter().position(|k| &k.name == name) {
                    Some(known) if key_columns[known].data_type == key.data_type => known,
                    Some(known) => {
                        return Err(ServeError::KeyTypes {
                            column: name.clone(),
                            first: key_columns[known].data_type.clone(),
                            second: key.data_type.clone(),
                            view: view.name.clone(),
                        });
                    }
                    None => {
                        key_columns.push(KeyColumn { name: name.clone(), data_type: key.data_type.clone() });
                        key_columns.len() - 1
                    }
                });
            }
            let table = view.schema.table;
            let stream =
                view.stream().map(|stream| StreamGroup::of(view, stream, streams, &resolved.looked_up(g)));
            let written: &[Arc<TableSchema>] = catalog.tables.get(&table).map_or(&[], Vec::as_slice);
            groups.push(PlanGroup {
                table,
                keys,
                stream,
                ttl: view.ttl.map(crate::model::Duration::micros),
                layouts: written.iter().map(|schema| (schema.version, slots(schema, &view.schema))).collect(),
                view: Arc::clone(view),
            });
        }
        let column = |group: usize, feature: usize| {
            let definition: &Feature = &resolved.groups[group].view.features[feature];
            PlanColumn {
                source: match resolved.computation.step(group, feature) {
                    Some(step) => ValueSource::Step(step),
                    None => ValueSource::Group { group: places[group], feature },
                },
                data_type: definition.data_type.clone(),
                default: definition.default.clone(),
            }
        };
        let columns = resolved.features.iter().map(|f| column(f.group, f.feature)).collect();
        let on_demand = (!resolved.computation.steps.is_empty()).then(|| OnDemandPlan {
            computation: Computation::new(&resolved),
            inputs: resolved.computation.inputs.iter().map(|(g, f)| column(*g, *f)).collect(),
        });
        let names: Vec<String> = resolved.features.iter().map(|f| f.name.clone()).collect();
        let computed = on_demand.iter().flat_map(|on_demand| &on_demand.computation.views);
        let views = groups.iter().map(|group: &PlanGroup| &group.view).chain(computed);
        Ok(Plan {
            meters: Meters::new(wanted.label(), views.map(|view| view.name.clone())),
            names_json: serde_json::json!(names).to_string(),
            arrow_head: OnceLock::new(),
            wanted: wanted.clone(),
            registry_version: catalog.version,
            names,
            columns,
            groups,
            key_columns,
            on_demand,
        })
    }

    /// The fields of an Arrow answer: a column per feature.
    pub fn arrow_fields(&self) -> impl Iterator<Item = Field> {
        let columns = self.names.iter().zip(&self.columns);
        columns.map(|(name, column)| Field::new(name, column.data_type.arrow(), true))
    }

    /// The metadata of an Arrow answer's schema.
    pub fn arrow_metadata(&self) -> HashMap<String, String> {
        HashMap::from([("registry_version".to_owned(), self.registry_version.to_string())])
    }

    /// What Arrow answers begin with that have the features and no more.
    pub fn arrow_head(&self) -> Result<&ArrowHead, ArrowError> {
        if let Some(head) = self.arrow_head.get() {
            return Ok(head);
        }
        let fields: Vec<Field> = self.arrow_fields().collect();
        let head = ArrowHead::new(Schema::new(fields).with_metadata(self.arrow_metadata()))?;
        Ok(self.arrow_head.get_or_init(|| head))
    }

    /// Columns that a request has to bring for on-demand features.
    pub fn request(&self) -> &[RequestColumn] {
        self.on_demand.as_ref().map_or(&[], |on_demand| &on_demand.computation.request)
    }

    /// The features of a group that are asked for, or that something is computed from.
    pub fn features_of(&self, group: usize) -> Vec<usize> {
        let inputs = self.on_demand.iter().flat_map(|on_demand| &on_demand.inputs);
        let sources = self.columns.iter().chain(inputs).map(|column| column.source);
        let features = sources.filter_map(|source| match source {
            ValueSource::Group { group: of, feature } if of == group => Some(feature),
            _ => None,
        });
        features.collect::<BTreeSet<usize>>().into_iter().collect()
    }
}

impl PlanGroup {
    /// Whether the plan was made when this version was known. Where not, the definitions have changed since.
    pub fn knows(&self, version: u32) -> bool {
        self.layouts.iter().any(|(known, _)| *known == version)
    }

    /// Where the view's feature lies in a row that `version` wrote; `None` where that version did not have it.
    pub fn slot(&self, version: u32, feature: usize) -> Option<&Slot> {
        let (_, slots) = self.layouts.iter().find(|(known, _)| *known == version)?;
        slots.get(feature)?.as_ref()
    }
}

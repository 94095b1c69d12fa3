//! A whole set of definitions: every object read, and what must hold between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    batch::LATEST,
    catalog::Catalog,
    definition::{Definitions, EntityDefinition, SourceDefinition},
    error::{ReferenceProblem, RegistryError},
    log::Record,
    parse::{
        batch::batch_feature_view,
        objects,
        on_demand::on_demand_feature_view,
        service::feature_service,
        stream::stream_feature_view,
        tree::{Node, Tree},
        view::{Known, feature_view},
        walk::{Fields, Report},
    },
    place::Place,
    project::{DEFAULT_PROJECT, Projects, place},
};
use larder_model::{DataType, TableId, check_name};

const ENTITY: &str = "entity";
const SOURCE: &str = "source";
const FEATURE_VIEW: &str = "feature_view";
const STREAM_FEATURE_VIEW: &str = "stream_feature_view";
const ON_DEMAND_FEATURE_VIEW: &str = "on_demand_feature_view";
const FEATURE_SERVICE: &str = "feature_service";
const PROJECT: &str = "project";
const BATCH_FEATURE_VIEW: &str = "batch_feature_view";
const KINDS: [&str; 7] = [
    ENTITY,
    SOURCE,
    FEATURE_VIEW,
    STREAM_FEATURE_VIEW,
    BATCH_FEATURE_VIEW,
    ON_DEMAND_FEATURE_VIEW,
    FEATURE_SERVICE,
];
/// On-demand features of all views: each is an expression to be compiled while the registry waits.
const MOST_EXPRESSIONS: usize = 10_000;

pub(super) fn read(roots: &[Tree], catalog: &Catalog, report: Report) -> Result<Definitions, RegistryError> {
    let documents: Vec<Document<'_>> =
        roots.iter().filter_map(|root| Document::open(root, &report)).collect();
    let own: Projects = documents.iter().map(|document| document.project.clone()).collect();
    let mut definitions = Definitions::of_others(catalog, &own);
    let declared = objects(&documents, &report, &mut definitions);
    let empty = || {
        KINDS.iter().all(|kind| documents.iter().all(|document| tables(&document.fields, kind).is_empty()))
    };
    if report.is_empty() && empty() {
        let nowhere = Place { file: "definitions".into(), line: None, path: None };
        let place = roots.first().map_or(&nowhere, |root| &root.place);
        report.add(place, "nothing is defined; an empty set of definitions would retire everything");
    }
    definitions.missed_by_others(&own).into_iter().for_each(|error| report.push(error));
    services(&definitions, &declared, &report);
    if report.is_empty() { Ok(definitions) } else { Err(report.into_error()) }
}

/// One file.
struct Document<'t> {
    fields: Fields<'t>,
    /// None: the default one.
    project: Option<String>,
}

impl<'t> Document<'t> {
    fn open(root: &'t Tree, report: &'t Report) -> Option<Document<'t>> {
        let keys = [&KINDS[..], &[PROJECT]].concat();
        let fields = Fields::open(root, "definitions", &keys, report)?;
        let project = match fields.get(PROJECT) {
            None => None,
            Some(tree) => {
                let name = fields.as_text(PROJECT, tree)?;
                fields.check(tree, check_name(name))?;
                Some(name.to_owned()).filter(|name| name != DEFAULT_PROJECT)
            }
        };
        Some(Document { fields, project })
    }
}

/// Names that are taken, whether or not their definitions are sound: each namespace's with the first place.
type Names = BTreeMap<String, Place>;

#[derive(Default)]
struct Declared {
    entities: Names,
    /// Feature views of all kinds and sources.
    tables: Names,
    services: Names,
}

impl Declared {
    /// What other projects define.
    fn of_others(others: &Definitions) -> Declared {
        let views = others.feature_views.iter().chain(others.on_demand.iter().map(|draft| &draft.view));
        let views = views.map(|view| (view.name.clone(), place(&view.about)));
        let sources = others.sources.iter().map(|source| (source.name.clone(), place(&source.about)));
        let entities = others.entities.iter().map(|entity| (entity.name.clone(), place(&entity.about)));
        let services =
            others.feature_services.iter().map(|service| (service.name.clone(), place(&service.about)));
        Declared {
            entities: entities.collect(),
            tables: views.chain(sources).collect(),
            services: services.collect(),
        }
    }
}

/// Reads all objects of all documents, entities before what uses them; `definitions` holds those of others.
fn objects(documents: &[Document<'_>], report: &Report, definitions: &mut Definitions) -> Declared {
    let mut declared = Declared::of_others(definitions);
    let all = |kind: &'static str| {
        documents.iter().flat_map(move |document| {
            tables(&document.fields, kind).iter().map(|tree| (tree, document.project.clone()))
        })
    };

    let known = |entity: &EntityDefinition| (entity.name.clone(), Some(entity.clone()));
    let mut entities: Known<EntityDefinition> = definitions.entities.iter().map(known).collect();
    let mut key_types = KeyTypes::new();
    definitions.entities.iter().for_each(|entity| same_key_types(entity, &mut key_types, None, report));
    for (tree, project) in all(ENTITY) {
        let mut entity = objects::entity(tree, report);
        if let Some(name) = declare(&mut declared.entities, tree, report) {
            if let Some(entity) = &mut entity {
                entity.about.project = project;
                same_key_types(entity, &mut key_types, Some(tree), report);
            }
            entities.insert(name, entity.clone());
            definitions.entities.extend(entity);
        }
    }
    let known = |source: &SourceDefinition| (source.name.clone(), Some(source.clone()));
    let mut sources: Known<SourceDefinition> = definitions.sources.iter().map(known).collect();
    for (tree, project) in all(SOURCE) {
        let mut source = objects::source(tree, report);
        if let Some(name) = declare_table(&mut declared.tables, tree, report) {
            if let Some(source) = &mut source {
                source.about.project = project;
            }
            sources.insert(name, source.clone());
            definitions.sources.extend(source);
        }
    }
    let views =
        all(FEATURE_VIEW).map(|(tree, project)| (tree, project, feature_view(tree, &entities, report)));
    let streams = all(STREAM_FEATURE_VIEW)
        .map(|(tree, project)| (tree, project, stream_feature_view(tree, &entities, &sources, report)));
    for (tree, project, view) in views.chain(streams) {
        if declare_table(&mut declared.tables, tree, report).is_some()
            && let Some(mut view) = view
        {
            view.about.project = project;
            definitions.feature_views.push(view);
        }
    }
    for (tree, project) in all(BATCH_FEATURE_VIEW) {
        let view = batch_feature_view(tree, &entities, report);
        if declare_table(&mut declared.tables, tree, report).is_some()
            && let Some((mut view, places)) = view
        {
            view.about.project = project;
            definitions.batch_places.insert(view.name.clone(), places);
            definitions.feature_views.push(view);
        }
    }
    for (tree, project) in all(ON_DEMAND_FEATURE_VIEW) {
        let draft = on_demand_feature_view(tree, report);
        if declare_table(&mut declared.tables, tree, report).is_some()
            && let Some(mut draft) = draft
        {
            draft.view.about.project = project;
            definitions.on_demand.push(draft);
        }
    }
    let expressions = definitions.on_demand.iter().map(|draft| draft.expressions.len()).sum::<usize>();
    if let Some(last) = definitions.on_demand.last().filter(|_| expressions > MOST_EXPRESSIONS) {
        let message = format!("{expressions} on-demand features; at most {MOST_EXPRESSIONS} are allowed");
        report.add(&last.place, message);
    }
    for (tree, project) in all(FEATURE_SERVICE) {
        let service = feature_service(tree, report);
        if declare(&mut declared.services, tree, report).is_some()
            && let Some((mut service, places)) = service
        {
            service.about.project = project;
            definitions.selection_places.insert(service.name.clone(), places);
            definitions.feature_services.push(service);
        }
    }
    declared
}

/// The tables of one kind, as `[[kind]]` lists them.
fn tables<'t>(document: &Fields<'t>, kind: &str) -> &'t [Tree] {
    match document.get(kind) {
        Some(Tree { node: Node::List(items), .. }) => items,
        Some(tree) => {
            let message =
                format!("`{kind}` must be a list of tables; write [[{kind}]], got {}", tree.node.kind());
            document.report.add(&tree.place, message);
            &[]
        }
        None => &[],
    }
}

fn name_of(tree: &Tree) -> Option<&str> {
    let Node::Table(members) = &tree.node else { return None };
    match &members.iter().find(|member| member.name == "name")?.value.node {
        Node::Text(name) => Some(name),
        _ => None,
    }
}

/// Takes the object's name; None where it has none, or where it is taken, which is reported.
fn declare(names: &mut Names, tree: &Tree, report: &Report) -> Option<String> {
    let name = name_of(tree)?;
    if let Some(taken) = names.get(name) {
        // Kinds are read one after the other: what is read first may be written second.
        let (first, second) = match taken.file == tree.place.file && taken.line > tree.place.line {
            true => (&tree.place, taken),
            false => (taken, &tree.place),
        };
        let message = match taken.line.is_none()
            && taken.path.is_none()
            && taken.file.starts_with("project `")
        {
            true => format!(
                "the name `{name}` is taken: it belongs to the {}; choose another name, or apply this file together with \
                 the files of that project, without `{name}` in them",
                taken.file
            ),
            false => format!("the name `{name}` is taken; it is first defined at {first}"),
        };
        report.add(second, message);
        return None;
    }
    names.insert(name.to_owned(), tree.place.clone());
    Some(name.to_owned())
}

/// [`declare`] for what has a table in SQL.
fn declare_table(names: &mut Names, tree: &Tree, report: &Report) -> Option<String> {
    if let Some(of) = name_of(tree).and_then(|name| name.strip_suffix(LATEST)) {
        let message = format!(
            "a name cannot end in `{LATEST}`: in SQL `{of}{LATEST}` is the table of the newest rows of the feature view `{of}`"
        );
        report.add(&tree.place, message);
    }
    declare(names, tree, report)
}

/// By name of a join key: its type, and the first entity that has it.
type KeyTypes = HashMap<String, (DataType, String)>;

/// Requests and spines address join keys by their names alone.
fn same_key_types(entity: &EntityDefinition, known: &mut KeyTypes, tree: Option<&Tree>, report: &Report) {
    for key in &entity.join_keys {
        let first = known.entry(key.name.clone());
        let (data_type, other) = first.or_insert_with(|| (key.data_type.clone(), entity.name.clone()));
        if let Some(tree) = tree.filter(|_| *data_type != key.data_type) {
            let message = format!(
                "entity `{}`: the join key `{}` is {} here but {data_type} in entity `{other}`; a name has one type",
                entity.name, key.name, key.data_type
            );
            report.add(&tree.place, message);
        }
    }
}

/// Checks services against these definitions alone.
///
/// A version is known to the registry only, and a feature that is missing may be one that is being dropped, which is
/// a conflict and not a slip of the pen: both are left to `plan`, the latter unless there are errors anyway.
fn services(definitions: &Definitions, declared: &Declared, report: &Report) {
    let hopeless = !report.is_empty();
    let mut catalog = Catalog::default();
    let entities = definitions.entities.iter().map(|d| Record::Entity { version: 1, definition: d.clone() });
    let sources = definitions.sources.iter().map(|d| Record::Source {
        version: 1,
        table: TableId(0),
        definition: d.clone(),
    });
    let views = definitions.feature_views.iter().map(|d| Record::FeatureView {
        version: 1,
        table: TableId(0),
        definition: d.clone(),
    });
    let mut unsound: BTreeSet<&str> = declared.tables.keys().map(String::as_str).collect();
    for record in entities.chain(sources).chain(views) {
        // A view whose entity is unknown is not added: that is told of already.
        let _ = catalog.add(&record);
    }
    unsound.retain(|name| !catalog.feature_views.contains_key(*name));
    for source in &definitions.sources {
        unsound.remove(source.name.as_str());
    }
    for (problem, error) in definitions.reference_errors(&catalog) {
        let told = match &problem {
            ReferenceProblem::View { view, .. } => unsound.contains(view.as_str()),
            ReferenceProblem::Version { .. } => true,
            ReferenceProblem::Feature { .. } => !hopeless,
            ReferenceProblem::Misused(_) => false,
        };
        if !told {
            report.push(error);
        }
    }
}

//! A whole set of definitions: every object read, and what must hold between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::TableId,
    registry::{
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
    },
};

const ENTITY: &str = "entity";
const SOURCE: &str = "source";
const FEATURE_VIEW: &str = "feature_view";
const STREAM_FEATURE_VIEW: &str = "stream_feature_view";
const ON_DEMAND_FEATURE_VIEW: &str = "on_demand_feature_view";
const FEATURE_SERVICE: &str = "feature_service";
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

pub(super) fn read(roots: &[Tree], report: Report) -> Result<Definitions, RegistryError> {
    let mut definitions = Definitions::default();
    let declared = objects(roots, &report, &mut definitions);
    if report.is_empty() && declared.is_empty() {
        let nowhere = Place { file: "definitions".into(), line: None, path: None };
        let place = roots.first().map_or(&nowhere, |root| &root.place);
        report.add(place, "nothing is defined; an empty set of definitions would retire everything");
    }
    services(&definitions, &declared, &report);
    if report.is_empty() { Ok(definitions) } else { Err(report.into_error()) }
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
    fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.tables.is_empty() && self.services.is_empty()
    }
}

/// Reads all objects of all documents, entities before what uses them.
fn objects(roots: &[Tree], report: &Report, definitions: &mut Definitions) -> Declared {
    let mut declared = Declared::default();
    let documents: Vec<Fields<'_>> =
        roots.iter().filter_map(|root| Fields::open(root, "definitions", &KINDS, report)).collect();
    let all = |kind: &'static str| documents.iter().flat_map(move |document| tables(document, kind));

    let mut entities: Known<EntityDefinition> = BTreeMap::new();
    for tree in all(ENTITY) {
        let entity = objects::entity(tree, report);
        if let Some(name) = declare(&mut declared.entities, tree, report) {
            if let Some(entity) = &entity {
                same_key_types(entity, &definitions.entities, tree, report);
            }
            entities.insert(name, entity.clone());
            definitions.entities.extend(entity);
        }
    }
    let mut sources: Known<SourceDefinition> = BTreeMap::new();
    for tree in all(SOURCE) {
        let source = objects::source(tree, report);
        if let Some(name) = declare(&mut declared.tables, tree, report) {
            sources.insert(name, source.clone());
            definitions.sources.extend(source);
        }
    }
    let views = all(FEATURE_VIEW).map(|tree| (tree, feature_view(tree, &entities, report)));
    let streams =
        all(STREAM_FEATURE_VIEW).map(|tree| (tree, stream_feature_view(tree, &entities, &sources, report)));
    for (tree, view) in views.chain(streams) {
        if declare(&mut declared.tables, tree, report).is_some() {
            definitions.feature_views.extend(view);
        }
    }
    for tree in all(BATCH_FEATURE_VIEW) {
        let view = batch_feature_view(tree, &entities, report);
        if declare(&mut declared.tables, tree, report).is_some()
            && let Some((view, places)) = view
        {
            definitions.batch_places.insert(view.name.clone(), places);
            definitions.feature_views.push(view);
        }
    }
    for tree in all(ON_DEMAND_FEATURE_VIEW) {
        let draft = on_demand_feature_view(tree, report);
        if declare(&mut declared.tables, tree, report).is_some() {
            definitions.on_demand.extend(draft);
        }
    }
    let expressions = definitions.on_demand.iter().map(|draft| draft.expressions.len()).sum::<usize>();
    if let Some(last) = definitions.on_demand.last().filter(|_| expressions > MOST_EXPRESSIONS) {
        let message = format!("{expressions} on-demand features; at most {MOST_EXPRESSIONS} are allowed");
        report.add(&last.place, message);
    }
    for tree in all(FEATURE_SERVICE) {
        let service = feature_service(tree, report);
        if declare(&mut declared.services, tree, report).is_some()
            && let Some((service, places)) = service
        {
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
        report.add(second, format!("the name `{name}` is taken; it is first defined at {first}"));
        return None;
    }
    names.insert(name.to_owned(), tree.place.clone());
    Some(name.to_owned())
}

/// Requests and spines address join keys by their names alone.
fn same_key_types(entity: &EntityDefinition, others: &[EntityDefinition], tree: &Tree, report: &Report) {
    for key in &entity.join_keys {
        for other in others {
            if let Some(theirs) = other.join_keys.iter().find(|k| k.name == key.name)
                && theirs.data_type != key.data_type
            {
                let message = format!(
                    "entity `{}`: the join key `{}` is {} here but {} in entity `{}`; a name has one type",
                    entity.name, key.name, key.data_type, theirs.data_type, other.name
                );
                report.add(&tree.place, message);
            }
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

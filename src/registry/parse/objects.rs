//! Entities and sources.

use crate::{
    definition::{EntityDefinition, SourceDefinition},
    object::SourceKind,
    parse::{
        tree::Tree,
        view::MOST_KEYS,
        walk::{Fields, Report, TIME_KEYS},
    },
    suggest::hint,
};
use larder_model::{Column, DataType, Duration, EVENT_TIME, check_name};

const JOIN_KEY_TYPES: [&str; 5] = ["string", "int64", "int32", "bool", "uuid"];
const EVENT_ID_TYPES: [DataType; 3] = [DataType::String, DataType::Int64, DataType::Int32];
const KINDS: [(&str, SourceKind); 4] = [
    ("push", SourceKind::Push),
    ("file", SourceKind::File),
    ("kafka", SourceKind::Kafka),
    ("postgres", SourceKind::Postgres),
];

pub(super) fn entity(tree: &Tree, report: &Report) -> Option<EntityDefinition> {
    let keys = ["name", "join_keys", "description", "owner", "tags"];
    let fields = Fields::open(tree, "entity", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let written = fields.required("join_keys", "[{ name = \"…\", type = \"string\" }]");
    let join_keys: Vec<Option<Column>> =
        fields.list("join_keys").iter().map(|tree| join_key(tree, &fields)).collect();
    if let Some(tree) = written
        && join_keys.is_empty()
    {
        fields.error(&tree.place, "an entity needs at least one join key");
    }
    if join_keys.len() > MOST_KEYS {
        let message = format!("`join_keys` has {} entries; at most {MOST_KEYS} are allowed", join_keys.len());
        fields.error(fields.place, message);
        return None;
    }
    let join_keys: Vec<Column> = join_keys.into_iter().collect::<Option<_>>()?;
    for (i, key) in join_keys.iter().enumerate() {
        if join_keys[..i].iter().any(|other| other.name == key.name) {
            fields.error(fields.place, format!("the join key `{}` is listed twice", key.name));
        }
    }
    (!join_keys.is_empty()).then_some(EntityDefinition { name: name?, join_keys, about })
}

fn join_key(tree: &Tree, entity: &Fields<'_>) -> Option<Column> {
    let fields = Fields::open(tree, &format!("{}, join key", entity.what), &["name", "type"], entity.report)?;
    let name = fields.name();
    let data_type =
        fields.required("type", "\"string\"").and_then(|tree| fields.data_type(tree, Some(&JOIN_KEY_TYPES)));
    if name.as_deref() == Some(EVENT_TIME) {
        fields.error(
            fields.place,
            format!("`{EVENT_TIME}` is the time column of every view; choose another name"),
        );
    }
    Some(Column { name: name?, data_type: data_type? })
}

pub(super) fn source(tree: &Tree, report: &Report) -> Option<SourceDefinition> {
    let keys = [
        "name",
        "kind",
        "event_time",
        "event_id",
        "availability_lag",
        "schema",
        "retention",
        TIME_KEYS[0],
        TIME_KEYS[1],
        "description",
        "owner",
        "tags",
    ];
    let fields = Fields::open(tree, "source", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let kind = fields.required("kind", "\"push\"").and_then(|tree| {
        let kind = fields.choice("kind", &KINDS)?;
        if kind != SourceKind::Push {
            let message = format!("`{kind}` sources are not yet supported by this version; only `push` is");
            fields.error(&tree.place, message);
        }
        Some(kind)
    });
    let event_time = match fields.get("event_time") {
        None => Some(EVENT_TIME.to_owned()),
        Some(tree) => fields
            .as_text("event_time", tree)
            .and_then(|text| fields.check(tree, check_name(text)).map(|()| text.to_owned())),
    };
    let availability_lag = fields.duration("availability_lag").unwrap_or(Duration::ZERO);
    let retention = fields.length("retention");
    let times = fields.times();
    let columns = event_time.as_deref().and_then(|event_time| columns(&fields, event_time));
    let event_id = fields.text("event_id");
    if let (Some(id), Some(columns), Some(tree)) = (&event_id, &columns, fields.get("event_id")) {
        match columns.iter().find(|column| column.name == *id) {
            None => {
                let hint = hint(id, columns.iter().map(|c| c.name.as_str()));
                fields.error(
                    &tree.place,
                    format!("`event_id` names the column `{id}`, which `schema` lacks{hint}"),
                );
            }
            Some(column) if !EVENT_ID_TYPES.contains(&column.data_type) => {
                let message = format!(
                    "`event_id` must be a string, int64 or int32 column; `{id}` is {}",
                    column.data_type
                );
                fields.error(&tree.place, message);
            }
            Some(_) => {}
        }
    }
    Some(SourceDefinition {
        name: name?,
        kind: kind?,
        event_time: event_time?,
        event_id,
        availability_lag,
        retention,
        times,
        columns: columns?,
        about,
    })
}

/// The columns of `schema` in their order, without the event time.
fn columns(fields: &Fields<'_>, event_time: &str) -> Option<Vec<Column>> {
    let schema = fields.required("schema", "{ column = \"string\" }")?;
    let mut columns = Vec::new();
    let mut sound = true;
    for member in fields.members("schema") {
        let named = fields.check(&member.value, check_name(&member.name));
        let data_type = fields.data_type(&member.value, None);
        match (named, data_type) {
            (Some(()), Some(DataType::Timestamp)) if member.name == event_time => {}
            (Some(()), Some(other)) if member.name == event_time => {
                fields.error(
                    &member.place,
                    format!("the event-time column `{event_time}` must be timestamp, not {other}"),
                );
                sound = false;
            }
            (Some(()), Some(data_type)) => columns.push(Column { name: member.name.clone(), data_type }),
            _ => sound = false,
        }
    }
    if sound && columns.is_empty() {
        fields.error(&schema.place, "`schema` needs at least one column besides the event time");
        sound = false;
    }
    sound.then_some(columns)
}

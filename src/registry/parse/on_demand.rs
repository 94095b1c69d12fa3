//! On-demand feature views: what a request brings, which features are used, what is computed of them.

use std::collections::BTreeMap;

use crate::{
    definition::{Draft, FeatureViewDefinition, OnDemandDefinition},
    object::{Feature, Validation},
    on_demand::Use,
    parse::{
        feature::{STATUS, default},
        tree::{Node, Tree},
        view::features,
        walk::{Fields, Report},
    },
    place::Place,
    reference::parse_reference,
};
use larder_model::{Column, TimeForm, check_name};

/// Features of one view, and what they may be computed from.
const MOST: usize = 200;

pub(super) fn on_demand_feature_view(tree: &Tree, report: &Report) -> Option<Draft> {
    let keys = ["name", "request", "uses", "feature", "description", "owner", "tags"];
    let fields = Fields::open(tree, "on-demand feature view", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let mut names = Names { fields: &fields, taken: BTreeMap::new() };
    let request = request(&fields, &mut names);
    let (uses, use_places) = uses(&fields, &mut names);
    fields.required("feature", "[{ name = \"…\", type = \"float64\", expression = \"…\" }]");
    let read = |tree: &Tree| feature(tree, &fields.what, report);
    let (features, expressions) = features(&fields, "feature", &[], read)?;
    let written = fields.list("feature").iter();
    for (feature, tree) in features.iter().zip(written) {
        names.take(&feature.name, "a feature of the view", &tree.place);
    }
    for (what, count) in
        [("request", request.len()), ("uses", fields.list("uses").len()), ("feature", features.len())]
    {
        if count > MOST {
            fields.error(fields.place, format!("`{what}` has {count} entries; at most {MOST} are allowed"));
        }
    }
    let (texts, places) = expressions.into_iter().unzip();
    Some(Draft {
        view: FeatureViewDefinition {
            name: name?,
            entities: Vec::new(),
            features,
            ttl: None,
            online: true,
            offline: true,
            retention: None,
            times: TimeForm::EXPLICIT,
            freshness_slo: None,
            stream: None,
            batch: None,
            on_demand: Some(OnDemandDefinition { request, uses, types: Vec::new(), expressions: texts }),
            about,
        },
        place: tree.place.clone(),
        uses: use_places,
        expressions: places,
    })
}

/// Names that expressions know: each stands for one thing.
struct Names<'f, 't> {
    fields: &'f Fields<'t>,
    taken: BTreeMap<String, &'static str>,
}

impl Names<'_, '_> {
    fn take(&mut self, name: &str, what: &'static str, place: &Place) {
        match self.taken.get(name) {
            None => {
                self.taken.insert(name.to_owned(), what);
            }
            Some(other) => self.fields.error(
                place,
                format!(
                    "in expressions `{name}` would be {other} and {what}; rename what is used: \
                     {{ feature = \"view:{name}\", as = \"…\" }}"
                ),
            ),
        }
    }
}

fn request(fields: &Fields<'_>, names: &mut Names<'_, '_>) -> Vec<Column> {
    let mut columns = Vec::new();
    for member in fields.members("request") {
        let named = fields.check(&member.value, check_name(&member.name));
        let data_type = fields.data_type(&member.value, None);
        if let (Some(()), Some(data_type)) = (named, data_type) {
            names.take(&member.name, "a column of the request", &member.place);
            columns.push(Column { name: member.name.clone(), data_type });
        }
    }
    columns
}

/// Each with where it is written.
fn uses(fields: &Fields<'_>, names: &mut Names<'_, '_>) -> (Vec<Use>, Vec<Place>) {
    let (mut uses, mut places) = (Vec::new(), Vec::new());
    for tree in fields.list("uses") {
        let Some(used) = used(tree, fields) else { continue };
        names.take(used.name(), "a feature that is used", &tree.place);
        uses.push(used);
        places.push(tree.place.clone());
    }
    (uses, places)
}

/// `"view:feature"`, `"view@3:feature"` or `{ feature = "view:feature", as = "…" }`.
fn used(tree: &Tree, view: &Fields<'_>) -> Option<Use> {
    let (reference, alias) = match &tree.node {
        Node::Text(reference) => (reference.as_str(), None),
        _ => {
            let what = format!("{}, uses", view.what);
            let fields = Fields::open(tree, &what, &["feature", "as"], view.report)?;
            let written = fields.required("feature", "\"view:feature\"")?;
            let alias = match fields.get("as") {
                None => None,
                Some(tree) => {
                    let alias = fields.as_text("as", tree)?;
                    fields.check(tree, check_name(alias))?;
                    Some(alias.to_owned())
                }
            };
            (fields.as_text("feature", written)?, alias)
        }
    };
    let selection = view.check(tree, parse_reference(reference))?;
    let Some(feature) = selection.features.into_iter().next() else {
        view.error(&tree.place, format!("`{reference}` names a whole view; write `{reference}:feature`"));
        return None;
    };
    Some(Use { view: selection.view, version: selection.version, feature, alias })
}

/// The feature, its expression and where that is written.
fn feature(tree: &Tree, view: &str, report: &Report) -> Option<(Feature, (String, Place))> {
    let keys = ["name", "type", "expression", "default", "description", "owner", "tags", "pii", "status"];
    let fields = Fields::open(tree, &format!("{view}, feature"), &keys, report)?;
    let name = fields.name();
    let data_type = fields.required("type", "\"float64\"").and_then(|tree| fields.data_type(tree, None));
    let about = fields.about();
    let pii = fields.flag("pii", false);
    let status = fields.choice("status", &STATUS).unwrap_or_default();
    let expression = fields
        .required("expression", "\"…\"")
        .and_then(|tree| Some((fields.as_text("expression", tree)?.to_owned(), tree.place.clone())));
    let data_type = data_type?;
    let default = default(&fields, &data_type);
    let feature =
        Feature { name: name?, data_type, default, pii, status, validate: Validation::default(), about };
    Some((feature, expression?))
}

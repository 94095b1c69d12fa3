//! What services ask of their callers, before and after a change of the views that they select.

use crate::{
    catalog::Catalog,
    changes::Breaking,
    object::{ObjectKind, Selection},
    reference::Resolved,
    resolve::resolve,
};

/// Where services go on selecting what they did, but on-demand views would have their requests bring more, or something
/// else.
pub(super) fn requests_that_break(current: &Catalog, next: &Catalog) -> Vec<Breaking> {
    let mut breaking = Vec::new();
    for (name, service) in &next.feature_services {
        let Some(before) = current.feature_services.get(name) else { continue };
        let kept: Vec<Selection> = service
            .selections
            .iter()
            .filter(|selection| before.selections.contains(selection))
            .cloned()
            .collect();
        let (Ok(before), Ok(after)) = (resolve(current, &kept), resolve(next, &kept)) else { continue };
        let request = |resolved: &Resolved| {
            let columns = resolved.computation.request.iter();
            columns.map(|asked| (asked.column.clone(), asked.view.clone())).collect::<Vec<_>>()
        };
        let (old, new) = (request(&before), request(&after));
        let mut breaks = |view: &str, field: &str, what: String| {
            breaking.push(Breaking {
                kind: ObjectKind::FeatureView,
                name: view.to_owned(),
                field: field.to_owned(),
                reason: format!(
                    "{what}, which requests for feature service `{name}` are not made for; give the new view a new \
                     name, or pin the old version in the service"
                ),
            });
        };
        for (column, view) in &new {
            match old.iter().find(|(old, _)| old.name == column.name) {
                None => breaks(view, &column.name, format!("`request` has the new column `{}`", column.name)),
                Some((old, _))
                    if old.data_type != column.data_type && !old.data_type.widens_to(&column.data_type) =>
                {
                    let (from, to) = (&old.data_type, &column.data_type);
                    breaks(
                        view,
                        &column.name,
                        format!(
                            "the column `{}` of `request` would be {to} and no longer {from}",
                            column.name
                        ),
                    );
                }
                Some(_) => {}
            }
        }
        for (column, view) in old.iter().filter(|(old, _)| !new.iter().any(|(new, _)| new.name == old.name)) {
            breaks(view, &column.name, format!("the column `{}` of `request` was dropped", column.name));
        }
        let known = before.join_keys();
        for key in after.join_keys().iter().filter(|key| !known.iter().any(|known| known.name == key.name)) {
            let computed = after.features.iter().map(|feature| &after.groups[feature.group].view);
            let view =
                computed.filter(|view| view.on_demand().is_some()).map(|view| view.name.clone()).next();
            breaks(&view.unwrap_or_default(), "uses", format!("a view of `uses` is keyed by `{}`", key.name));
        }
    }
    breaking
}

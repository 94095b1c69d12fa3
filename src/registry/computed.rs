//! What is computed of events at one catalog: more than the current definitions say, where older versions are pinned.

use std::collections::BTreeSet;

use crate::{
    catalog::Catalog,
    changes::Breaking,
    object::{FeatureView, ObjectKind},
    stream::{Aggregation, check_filter, too_many},
};

impl Catalog {
    /// Every aggregation that is computed for a stream feature view, each once: those of its current version, then those
    /// of older versions that services and on-demand views pin.
    pub fn computed(&self, view: &FeatureView) -> Vec<&Aggregation> {
        let mut versions = self.pinned_by_services(&view.name);
        versions.extend(self.pinned_by_on_demand(&view.name));
        let pinned = versions
            .into_iter()
            .filter_map(|version| self.feature_view_versions.get(&(view.name.clone(), version)));
        let current = self.feature_views.get(&view.name);
        let streams = current.into_iter().chain(pinned).filter_map(|view| view.stream());
        let mut computed: Vec<&Aggregation> = Vec::new();
        for aggregation in streams.flat_map(|stream| &stream.aggregations) {
            if !computed.contains(&aggregation) {
                computed.push(aggregation);
            }
        }
        computed
    }

    fn pinned_by_services(&self, view: &str) -> BTreeSet<u32> {
        let selections = self.feature_services.values().flat_map(|service| &service.selections);
        selections.filter(|selection| selection.view == view).filter_map(|s| s.version).collect()
    }

    /// By on-demand views, at the versions at which these are served.
    fn pinned_by_on_demand(&self, view: &str) -> BTreeSet<u32> {
        let mut versions = BTreeSet::new();
        let names = self.feature_views.values().filter(|view| view.on_demand().is_some());
        for current in names {
            let served = self.pinned_by_services(&current.name).into_iter();
            let served = served.filter_map(|v| self.feature_view_versions.get(&(current.name.clone(), v)));
            let uses = served.chain([current]).filter_map(|view| view.on_demand()).flat_map(|o| &o.uses);
            versions.extend(uses.filter(|used| used.view == view).filter_map(|used| used.version));
        }
        versions
    }

    /// Where pinned versions stand in the way: what they compute has to fit their source as it now is, and all that is
    /// computed for a view has to fit one state.
    pub(super) fn pins_that_break(&self) -> Vec<Breaking> {
        let mut breaking = Vec::new();
        for view in self.feature_views.values() {
            let Some(stream) = view.stream() else { continue };
            let mut breaks = |field: &str, reason: String| {
                let (kind, name) = (ObjectKind::FeatureView, view.name.clone());
                breaking.push(Breaking { kind, name, field: field.to_owned(), reason });
            };
            let computed = self.computed(view);
            let pinned = || computed.iter().filter(|one| !stream.aggregations.contains(one));
            if let Some(source) = self.table(&stream.source) {
                for filter in pinned().filter_map(|aggregation| aggregation.filter.as_ref()) {
                    if let Err(error) = check_filter(filter, &source.event_time, &source.columns) {
                        let reason = format!(
                            "an older version, which a service pins, has the filter `{filter}`; with the columns \
                             that source `{}` now has, {error}",
                            stream.source
                        );
                        breaks("filter", reason);
                    }
                }
            }
            if let Some(too_many) = too_many(computed.iter().copied()) {
                breaks("aggregation", format!("with older versions that services pin, {too_many}"));
            }
        }
        breaking
    }
}

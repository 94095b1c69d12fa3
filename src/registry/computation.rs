//! What has to be computed for the on-demand features of a request, and of what.

use std::{ops::Range, sync::Arc};

use crate::{
    error::ReferenceProblem,
    object::FeatureView,
    on_demand::Input,
    reference::{Group, ResolvedFeature},
    resolve::{Resolver, find_view},
    suggest::hint,
};
use larder_model::{Column, DataType};

/// Empty where no on-demand feature is asked for.
#[derive(Debug, Clone, Default)]
pub struct Computation {
    /// What each row of a request (or of a spine) has to bring beside its join keys; each column once.
    pub request: Vec<RequestColumn>,
    /// Features that are looked up because expressions name them, whether or not they are in the answer: the position in
    /// [`Resolved::groups`](crate::Resolved::groups), and in the features of the group's view. Each once.
    pub inputs: Vec<(usize, usize)>,
    /// Each after those that it needs; the features asked for are among them.
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RequestColumn {
    pub column: Column,
    /// The on-demand view that asks for it first.
    pub view: String,
}

/// One on-demand feature.
#[derive(Debug, Clone)]
pub struct Step {
    /// Position in [`Resolved::groups`](crate::Resolved::groups).
    pub group: usize,
    /// Position in the features of the group's view, which is an on-demand view.
    pub feature: usize,
    /// One for each column that the feature's expression reads, in their order.
    pub operands: Vec<Operand>,
}

/// Where a column of an expression comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Position in [`Computation::request`].
    Request(usize),
    /// Position in [`Computation::inputs`].
    Input(usize),
    /// Position in [`Computation::steps`].
    Step(usize),
}

impl Computation {
    /// The step that makes the feature.
    pub fn step(&self, group: usize, feature: usize) -> Option<usize> {
        self.steps.iter().position(|step| (step.group, step.feature) == (group, feature))
    }
}

/// Groups that only expressions need are made here, after those of all that is asked for: always by the views' own join
/// keys, whatever aliases the request has for the same views.
impl Resolver<'_> {
    /// Adds what the on-demand features among `features` need.
    pub(super) fn compute(&mut self, features: Range<usize>) -> Result<(), ReferenceProblem> {
        for i in features {
            let ResolvedFeature { group, feature, .. } = self.resolved.features[i];
            if self.resolved.groups[group].view.on_demand().is_some() {
                self.step(group, feature)?;
            }
        }
        Ok(())
    }

    /// The step for a feature of an on-demand view; those before it in its view are added first.
    fn step(&mut self, group: usize, feature: usize) -> Result<usize, ReferenceProblem> {
        if let Some(known) = self.resolved.computation.step(group, feature) {
            return Ok(known);
        }
        let view = Arc::clone(&self.resolved.groups[group].view);
        let mut needed = vec![false; feature + 1];
        needed[feature] = true;
        for own in (0..=feature).rev() {
            if needed[own] {
                for input in inputs(&view, own)? {
                    if let Input::Feature(before) = input {
                        needed[before] = true;
                    }
                }
            }
        }
        for own in (0..=feature).filter(|own| needed[*own]) {
            if self.resolved.computation.step(group, own).is_none() {
                let mut operands = Vec::new();
                for input in inputs(&view, own)? {
                    operands.push(self.operand(group, &view, input)?);
                }
                self.resolved.computation.steps.push(Step { group, feature: own, operands });
            }
        }
        Ok(self.resolved.computation.steps.len() - 1)
    }

    fn operand(
        &mut self,
        group: usize,
        view: &FeatureView,
        input: Input,
    ) -> Result<Operand, ReferenceProblem> {
        let missing = || ReferenceProblem::Misused(format!("`{}` is no on-demand view", view.name));
        let on_demand = view.on_demand().ok_or_else(missing)?;
        match input {
            Input::Request(position) => self.request(&view.name, &on_demand.request[position]),
            Input::Feature(own) => self.step(group, own).map(Operand::Step),
            Input::Use(position) => {
                let used = &on_demand.uses[position];
                let found = find_view(self.catalog, &used.view, used.version)?;
                let feature = found.features.iter().position(|feature| feature.name == used.feature);
                let feature = feature.ok_or_else(|| ReferenceProblem::Feature {
                    view: found.name.clone(),
                    feature: used.feature.clone(),
                    hint: hint(&used.feature, found.features.iter().map(|f| f.name.as_str())),
                })?;
                let group = self.plain_group(&found)?;
                if found.on_demand().is_some() {
                    return self.step(group, feature).map(Operand::Step);
                }
                let inputs = &mut self.resolved.computation.inputs;
                let known = inputs.iter().position(|input| *input == (group, feature));
                Ok(Operand::Input(known.unwrap_or_else(|| {
                    inputs.push((group, feature));
                    inputs.len() - 1
                })))
            }
        }
    }

    fn request(&mut self, view: &str, column: &Column) -> Result<Operand, ReferenceProblem> {
        let request = &mut self.resolved.computation.request;
        let Some(known) = request.iter().position(|known| known.column.name == column.name) else {
            request.push(RequestColumn { column: column.clone(), view: view.to_owned() });
            return Ok(Operand::Request(request.len() - 1));
        };
        let first = &request[known];
        if first.column.data_type == column.data_type {
            return Ok(Operand::Request(known));
        }
        let one = |view: &str, data_type: &DataType| format!("{data_type} for `{view}`");
        Err(ReferenceProblem::Misused(format!(
            "the request's column `{}` would have to be {} and {}",
            column.name,
            one(&first.view, &first.column.data_type),
            one(view, &column.data_type)
        )))
    }

    /// The group that looks the view up by its own join keys.
    fn plain_group(&mut self, view: &Arc<FeatureView>) -> Result<usize, ReferenceProblem> {
        let keys = &view.schema.keys;
        let plain = |group: &Group| {
            Arc::ptr_eq(&group.view, view) && group.key_columns.iter().zip(keys).all(|(c, k)| *c == k.name)
        };
        if let Some(known) = self.resolved.groups.iter().position(plain) {
            return Ok(known);
        }
        let key_columns: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
        self.check_columns(&view.name, &key_columns, keys).map_err(ReferenceProblem::Misused)?;
        self.resolved.groups.push(Group { view: Arc::clone(view), alias: view.name.clone(), key_columns });
        Ok(self.resolved.groups.len() - 1)
    }
}

/// What the columns of a feature's expression stand for, in their order.
fn inputs(view: &FeatureView, feature: usize) -> Result<Vec<Input>, ReferenceProblem> {
    let wrong = |reason: String| {
        let feature = &view.features[feature].name;
        ReferenceProblem::Misused(format!("the expression of `{}:{feature}`: {reason}", view.name))
    };
    let on_demand = view.on_demand().ok_or_else(|| wrong("there is none".to_owned()))?;
    let expression = on_demand.expression(feature).map_err(|error| wrong(error.to_string()))?;
    let input = |name: &String| on_demand.input(name).ok_or_else(|| wrong(format!("unknown name `{name}`")));
    expression.columns().iter().map(input).collect()
}

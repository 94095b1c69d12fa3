//! On-demand feature views: expressions over a request's columns and over features of other views.

use std::{fmt, sync::OnceLock};

use larder_expression::{Expression, ExpressionError};
use larder_model::{Column, DataType};

/// What an on-demand feature view computes, and of what. `expressions[i]` makes the view's `features[i]`; it may name what
/// the request brings, what the view uses, and the features before it.
pub struct OnDemand {
    /// Columns that each row of a request (or of a spine) has to bring.
    pub request: Vec<Column>,
    pub uses: Vec<Use>,
    /// Of the used features, when the view was built: a view that is used may be widened later.
    pub types: Vec<DataType>,
    pub expressions: Vec<String>,
    features: Vec<Column>,
    /// Made when it is first needed: a replay of the log passes by versions that nobody asks for.
    compiled: Vec<OnceLock<Result<Expression, ExpressionError>>>,
}

/// A feature of another view.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Use {
    pub view: String,
    /// Pinned, as in `view@3:feature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    pub feature: String,
    /// Its name in expressions, where that is not the feature's.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Use {
    /// As expressions name it.
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.feature)
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.view)?;
        if let Some(version) = self.version {
            write!(f, "@{version}")?;
        }
        write!(f, ":{}", self.feature)
    }
}

/// What a name in an expression stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Position in [`OnDemand::request`].
    Request(usize),
    /// Position in [`OnDemand::uses`].
    Use(usize),
    /// Position among the view's own features.
    Feature(usize),
}

impl OnDemand {
    /// `types[i]` is the type of `uses[i]`; `features[i]` is the name and type of what `expressions[i]` makes.
    pub fn new(
        request: Vec<Column>,
        uses: Vec<Use>,
        types: Vec<DataType>,
        expressions: Vec<String>,
        features: Vec<Column>,
    ) -> OnDemand {
        let compiled = expressions.iter().map(|_| OnceLock::new()).collect();
        OnDemand { request, uses, types, expressions, features, compiled }
    }

    /// What makes the view's `feature`-th feature. It compiled when the view was applied; an error means that another
    /// release of larder did that.
    pub fn expression(&self, feature: usize) -> Result<&Expression, &ExpressionError> {
        let compile = || {
            let made = &self.features[feature];
            Expression::compile(&self.expressions[feature], &self.inputs(feature), Some(&made.data_type))
        };
        self.compiled[feature].get_or_init(compile).as_ref()
    }

    /// What the `feature`-th expression may name.
    fn inputs(&self, feature: usize) -> Vec<Column> {
        let used = self.uses.iter().zip(&self.types);
        let used = used
            .map(|(used, data_type)| Column { name: used.name().to_owned(), data_type: data_type.clone() });
        let before = self.features[..feature].iter().cloned();
        self.request.iter().cloned().chain(used).chain(before).collect()
    }

    pub fn input(&self, name: &str) -> Option<Input> {
        let request = self.request.iter().position(|column| column.name == name).map(Input::Request);
        let used = || self.uses.iter().position(|used| used.name() == name).map(Input::Use);
        let own = || self.features.iter().position(|feature| feature.name == name).map(Input::Feature);
        request.or_else(used).or_else(own)
    }
}

impl fmt::Debug for OnDemand {
    /// Without what is compiled: it follows from the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand")
            .field("request", &self.request)
            .field("uses", &self.uses)
            .field("types", &self.types)
            .field("expressions", &self.expressions)
            .finish_non_exhaustive()
    }
}

//! Of an on-demand feature: its expression, and what it was computed from.

use serde_json::Value as Json;

#[derive(Debug, Clone, serde::Serialize)]
pub struct FromExpression {
    pub expression: String,
    /// What the expression names, in its order.
    pub inputs: Vec<ExpressionInput>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct ExpressionInput {
    /// As the expression names it.
    pub column: String,
    /// `request`, or the feature: `view:feature`.
    pub from: String,
    pub value: Json,
}

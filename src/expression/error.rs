//! Why a text is no expression, and where.

use std::fmt;

use larder_model::{
    DataType,
    error::{Code, Coded},
};

/// Line and character in the text, both from 1; zeros where that is not known.
pub(super) type Place = (u64, u64);

/// What is wrong with an expression, where, and what would be right. Shown on one line; [`ExpressionError::caret`] points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    pub reason: Reason,
    /// Line and character of the text, both from 1.
    pub at: Option<(u64, u64)>,
    /// That line of the text.
    line: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression has {found} bytes; at most {limit} are allowed")]
    TooLong { found: usize, limit: usize },
    #[error("the expression has more than {0} parts; split it into several")]
    TooLarge(usize),
    #[error(
        "the expression is nested deeper than {0} levels; split it into several, or use IN for a long OR"
    )]
    TooDeep(usize),
    #[error("{0}")]
    Syntax(String),
    #[error("{what} cannot be used in an expression{instead}")]
    NotAllowed { what: String, instead: &'static str },
    #[error("unknown column `{name}`{hint}")]
    UnknownColumn { name: String, hint: String },
    #[error("unknown function `{name}`{hint}")]
    UnknownFunction { name: String, hint: String },
    #[error("`{0}` is not deterministic: the same row has to give the same value online and in training")]
    NotDeterministic(String),
    #[error("`{0}` is an aggregate; an expression sees one row at a time (a stream feature view aggregates)")]
    Aggregate(String),
    /// Operands or arguments of types that do not fit.
    #[error("{0}")]
    Types(String),
    #[error("the expression is {found}, but {expected} is wanted; CAST(… AS {expected}) converts it")]
    ResultType { found: DataType, expected: DataType },
    #[error("this part fails for every row: {0}")]
    AlwaysFails(&'static str),
    #[error("the expression cannot be compiled ({0}); this is a defect of larder")]
    Internal(String),
}

impl ExpressionError {
    pub(super) fn new(reason: Reason, text: &str, at: Place) -> Self {
        let line = text.lines().nth(usize::try_from(at.0).unwrap_or(usize::MAX).saturating_sub(1));
        let at = (at.0 > 0 && at.1 > 0).then_some(at);
        Self { reason, at, line: line.unwrap_or_default().to_owned() }
    }

    /// The line in question and a caret below the place; nothing where no place is known.
    pub fn caret(&self) -> Option<String> {
        let (_, character) = self.at?;
        let before = usize::try_from(character - 1).ok()?;
        // Tabs stay, so that the caret is below its character however wide they are shown.
        let indent: String =
            self.line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        Some(format!("{}\n{indent}^", self.line))
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        match self.at {
            None => Ok(()),
            Some((1, character)) => write!(f, " (at character {character} of the expression)"),
            Some((line, character)) => {
                write!(f, " (at line {line}, character {character} of the expression)")
            }
        }
    }
}

impl std::error::Error for ExpressionError {}

impl Coded for ExpressionError {
    fn code(&self) -> Code {
        match self.reason {
            Reason::Internal(_) => Code::Internal,
            _ => Code::Invalid,
        }
    }
}

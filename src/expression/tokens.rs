//! The text as tokens, checked before the parser sees them: short, shallow, and nothing but what scalar expressions are
//! made of.
//!
//! sqlparser knows many dialects of all of SQL, and some of what it tries is tried again when it fails, which nests. So it
//! is given little to try: words that are columns or functions lose their meaning as keywords, and other keywords than
//! those of [`is_structural`] are refused.

use std::any::TypeId;

use sqlparser::{
    ast::Expr,
    dialect::Dialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError},
};

use crate::{
    expression::{
        error::{ExpressionError, Reason},
        functions::is_not_deterministic,
        lower::Refused,
    },
    model::Column,
};

/// The longest text of an expression, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// The most tokens of the text, and nodes of the tree.
pub const MAX_NODES: usize = 1000;
/// How deep an expression may nest: parentheses, operators, calls, CASE.
pub const MAX_DEPTH: usize = 64;

/// SQL's core.
#[derive(Debug)]
struct Scalars;

impl Dialect for Scalars {
    fn dialect(&self) -> TypeId {
        TypeId::of::<Self>()
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_'
    }

    /// A word that begins something is never tried again as a name.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        keyword != Keyword::NoKeyword
    }

    /// `EXTRACT(year FROM t)` where `year` is a column as well.
    fn allow_extract_custom(&self) -> bool {
        true
    }
}

/// The syntax tree of `text`.
pub(super) fn parse(text: &str, inputs: &[Column]) -> Result<Expr, ExpressionError> {
    if text.len() > MAX_LENGTH {
        let reason = Reason::TooLong { found: text.len(), limit: MAX_LENGTH };
        return Err(ExpressionError::new(reason, "", (0, 0)));
    }
    let tokens = Tokenizer::new(&Scalars, text).tokenize_with_location().map_err(|error| {
        let TokenizerError { message, location } = error;
        ExpressionError::new(Reason::Syntax(message), text, (location.line, location.column))
    })?;
    let tokens = checked(tokens, inputs).map_err(|(reason, at)| ExpressionError::new(reason, text, at))?;
    let mut parser =
        Parser::new(&Scalars).with_recursion_limit(MAX_DEPTH + 2).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|error| syntax(error, text))?;
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(parsed),
        other => {
            let reason = Reason::Syntax(format!("expected an operator or the end, found `{other}`"));
            Err(ExpressionError::new(reason, text, (next.span.start.line, next.span.start.column)))
        }
    }
}

/// The tokens without white space; words that are columns or functions are no keywords any more.
fn checked(tokens: Vec<TokenWithSpan>, inputs: &[Column]) -> Result<Vec<TokenWithSpan>, Refused> {
    let mut tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    if tokens.is_empty() {
        return Err((Reason::Empty, (0, 0)));
    }
    let mut depth = 0_usize;
    for i in 0..tokens.len() {
        let at = (tokens[i].span.start.line, tokens[i].span.start.column);
        if i == MAX_NODES {
            return Err((Reason::TooLarge(MAX_NODES), at));
        }
        let before = i.checked_sub(1).map(|before| tokens[before].token.clone());
        let call = tokens.get(i + 1).is_some_and(|next| next.token == Token::LParen);
        match &mut tokens[i].token {
            Token::LParen => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err((Reason::TooDeep(MAX_DEPTH), at));
                }
            }
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword => {}
            Token::Word(word) if is_structural(word.keyword) => {}
            Token::Word(word) => {
                // Types follow AS, and units of an interval its text.
                let is_type = before
                    .as_ref()
                    .is_some_and(|before| *before == Token::DoubleColon || is_keyword(before, Keyword::AS));
                let is_unit = matches!(before, Some(Token::SingleQuotedString(_)));
                let is_column = inputs.iter().any(|input| input.name.eq_ignore_ascii_case(&word.value));
                let is_double = word.keyword == Keyword::PRECISION;
                let is_typed_text = matches!(word.keyword, Keyword::TIMESTAMP) && !is_column && !call;
                if is_type || is_unit || is_double || is_typed_text {
                    continue;
                }
                if !is_column && is_not_deterministic(&word.value.to_lowercase()) {
                    return Err((Reason::NotDeterministic(word.value.to_lowercase()), at));
                }
                if !is_column && !call && !is_field(&before, word.keyword) {
                    let instead = "; a column of that name is not among the inputs";
                    return Err((Reason::NotAllowed { what: format!("`{}`", word.value), instead }, at));
                }
                if !is_special_call(word.keyword) || !call {
                    word.keyword = Keyword::NoKeyword;
                }
            }
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Comma
            | Token::Eq
            | Token::DoubleEq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::DoubleColon
            | Token::StringConcat => {}
            Token::Period => {
                let instead = "; a column is named without its view";
                return Err((Reason::NotAllowed { what: "a qualified name".to_owned(), instead }, at));
            }
            Token::Placeholder(_) | Token::Question | Token::Colon | Token::AtSign => {
                let what = "a placeholder".to_owned();
                return Err((Reason::NotAllowed { what, instead: "; name a column" }, at));
            }
            other => return Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
        }
    }
    Ok(tokens)
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

/// What holds an expression together; a column of such a name has to be quoted.
fn is_structural(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        AND | OR
            | NOT
            | IS
            | NULL
            | TRUE
            | FALSE
            | UNKNOWN
            | IN
            | BETWEEN
            | LIKE
            | ILIKE
            | ESCAPE
            | CASE
            | WHEN
            | THEN
            | ELSE
            | END
            | AS
            | DISTINCT
            | FROM
            | FOR
            | BOTH
            | LEADING
            | TRAILING
            | INTERVAL
    )
}

/// Calls with a grammar of their own; all others are lists of arguments.
fn is_special_call(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(keyword, CAST | TRY_CAST | EXTRACT | SUBSTRING | TRIM | POSITION)
}

/// A field of a time after `EXTRACT(`, which sqlparser wants to know by its keyword or by any other word.
fn is_field(before: &Option<Token>, keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(before, Some(Token::LParen))
        && matches!(
            keyword,
            YEAR | QUARTER
                | MONTH
                | WEEK
                | DAY
                | DOW
                | DOY
                | HOUR
                | MINUTE
                | SECOND
                | MILLISECOND
                | MICROSECOND
                | EPOCH
                | ISODOW
        )
}

/// The parser's message, and the place that it ends with.
fn syntax(error: ParserError, text: &str) -> ExpressionError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return ExpressionError::new(Reason::TooDeep(MAX_DEPTH), text, (0, 0));
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (message, place) = message.split_once(" at Line: ").unwrap_or((&message, ""));
    let at = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    let at = at.unwrap_or_else(|| {
        // At the end there is no token to point at.
        let last = text.lines().last().unwrap_or_default();
        (text.lines().count() as u64, last.chars().count() as u64 + 1)
    });
    let message = message.replacen("Expected: ", "expected ", 1).replacen("found: EOF", "found the end", 1);
    ExpressionError::new(Reason::Syntax(message), text, at)
}

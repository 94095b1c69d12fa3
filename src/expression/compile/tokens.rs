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
    tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Word},
};

use crate::{
    compile::{functions::is_not_deterministic, lower::Refused},
    error::{ExpressionError, Reason},
};
use larder_model::Column;

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
        let next = tokens.get(i + 1).map(|next| next.token.clone());
        match &mut tokens[i].token {
            Token::LParen => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err((Reason::TooDeep(MAX_DEPTH), at));
                }
            }
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
                let neighbours = (before.as_ref(), next.as_ref());
                if !is_meant_as_keyword(word, neighbours, inputs).map_err(|reason| (reason, at))? {
                    word.keyword = Keyword::NoKeyword;
                }
            }
            Token::Word(_) => {}
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

/// Whether a word that sqlparser knows is to be that for it, rather than the name of a column or a function.
fn is_meant_as_keyword(
    word: &Word,
    (before, next): (Option<&Token>, Option<&Token>),
    inputs: &[Column],
) -> Result<bool, Reason> {
    let is_call = next == Some(&Token::LParen);
    let is_column = || inputs.iter().any(|input| input.name.eq_ignore_ascii_case(&word.value));
    match word.keyword {
        // sqlparser reads what follows twice, and that at each level of nesting.
        Keyword::INTERVAL if !is_text(next) => {
            Err(Reason::Syntax("INTERVAL takes text in quotes, as in INTERVAL '90 minutes'".to_owned()))
        }
        structural if is_structural(structural) => Ok(true),
        // Of a qualified name, which is refused at its period.
        _ if next == Some(&Token::Period) => Ok(false),
        // The second word of a type.
        Keyword::PRECISION => Ok(true),
        _ if before
            .is_some_and(|before| *before == Token::DoubleColon || is_keyword(before, Keyword::AS)) =>
        {
            Ok(true)
        }
        unit if is_text(before) && is_unit(unit) => Ok(true),
        Keyword::TIMESTAMP if is_text(next) => Ok(true),
        call if is_call => Ok(is_special_call(call)),
        field if before == Some(&Token::LParen) && is_field(field) => Ok(false),
        _ if is_column() => Ok(false),
        _ => {
            let name = word.value.to_lowercase();
            if is_not_deterministic(&name) {
                return Err(Reason::NotDeterministic(name));
            }
            let instead = "; a column of that name is not among the inputs";
            Err(Reason::NotAllowed { what: format!("`{}`", word.value), instead })
        }
    }
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

/// Calls with a grammar of their own; all others are lists of arguments. Not POSITION: what follows it is parsed twice, at each
/// level of nesting, where it is no good.
fn is_special_call(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(keyword, CAST | TRY_CAST | EXTRACT | SUBSTRING | TRIM)
}

fn is_text(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::SingleQuotedString(_)))
}

/// A unit after `INTERVAL '…'`.
fn is_unit(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(keyword, YEAR | MONTH | WEEK | DAY | HOUR | MINUTE | SECOND | MILLISECOND | MICROSECOND)
}

/// A field of a time after `EXTRACT(`; sqlparser takes any word there.
fn is_field(keyword: Keyword) -> bool {
    use Keyword::*;
    is_unit(keyword) || matches!(keyword, QUARTER | DOW | DOY | EPOCH | ISODOW)
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

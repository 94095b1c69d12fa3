//! The functions that an expression may call. Deterministic all of them, none of them able to make much of little:
//! they take time and memory linear in what they are given.

use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use datafusion_functions::{core, datetime, math, string, unicode};

use crate::{compile::meet::listed, error::Reason, kernels::Measure};
use larder_format::did_you_mean;

pub(super) struct Function {
    pub name: &'static str,
    /// As shown to who calls it wrongly.
    pub usage: &'static str,
    pub kind: FunctionKind,
    /// Position of an argument that has to be a constant text.
    pub constant: Option<usize>,
}

#[derive(Clone, Copy)]
pub(super) enum FunctionKind {
    /// Of DataFusion's library.
    Library(fn() -> Arc<ScalarUDF>),
    /// The same; its arguments meet in one type.
    LibraryOfEqual(fn() -> Arc<ScalarUDF>),
    Coalesce,
    NullIf,
    Concat,
    Replace,
    Remainder,
    /// Of an integer that counts units of so many microseconds.
    Timestamp(i64),
    Measure(Measure),
}

const fn function(name: &'static str, usage: &'static str, kind: FunctionKind) -> Function {
    Function { name, usage, kind, constant: None }
}

const fn library(name: &'static str, usage: &'static str, make: fn() -> Arc<ScalarUDF>) -> Function {
    function(name, usage, FunctionKind::Library(make))
}

/// One whose argument at `position` is a constant text: the library insists, or its time would grow with the product of
/// the lengths of two texts.
const fn constant(
    name: &'static str,
    position: usize,
    usage: &'static str,
    make: fn() -> Arc<ScalarUDF>,
) -> Function {
    Function { name, usage, kind: FunctionKind::Library(make), constant: Some(position) }
}

const FUNCTIONS: &[Function] = &[
    // choice
    function("coalesce", "coalesce(a, b, …): the first that is not null", FunctionKind::Coalesce),
    function("ifnull", "ifnull(a, b): a, or b where a is null", FunctionKind::Coalesce),
    function("nvl", "nvl(a, b): a, or b where a is null", FunctionKind::Coalesce),
    function("nullif", "nullif(a, b): null where a = b, else a", FunctionKind::NullIf),
    function(
        "greatest",
        "greatest(a, b, …); nulls are skipped",
        FunctionKind::LibraryOfEqual(core::greatest),
    ),
    function("least", "least(a, b, …); nulls are skipped", FunctionKind::LibraryOfEqual(core::least)),
    // numbers
    library("abs", "abs(number)", math::abs),
    library("acos", "acos(number)", math::acos),
    library("asin", "asin(number)", math::asin),
    library("atan", "atan(number)", math::atan),
    library("atan2", "atan2(y, x)", math::atan2),
    library("cbrt", "cbrt(number)", math::cbrt),
    library("ceil", "ceil(number)", math::ceil),
    library("cos", "cos(number)", math::cos),
    library("cosh", "cosh(number)", math::cosh),
    library("degrees", "degrees(number)", math::degrees),
    library("exp", "exp(number)", math::exp),
    library("floor", "floor(number)", math::floor),
    library("isnan", "isnan(number)", math::isnan),
    library("ln", "ln(number)", math::ln),
    library("log", "log(base, number)", math::log),
    library("log10", "log10(number)", math::log10),
    library("log2", "log2(number)", math::log2),
    function("mod", "mod(a, b): the remainder, a % b", FunctionKind::Remainder),
    library("nanvl", "nanvl(a, b): b where a is NaN, else a", math::nanvl),
    library("pi", "pi()", math::pi),
    library("pow", "pow(base, exponent)", math::power),
    library("power", "power(base, exponent)", math::power),
    library("radians", "radians(number)", math::radians),
    library("round", "round(number) or round(number, decimals)", math::round),
    library("sign", "sign(number)", math::signum),
    library("signum", "signum(number)", math::signum),
    library("sin", "sin(number)", math::sin),
    library("sinh", "sinh(number)", math::sinh),
    library("sqrt", "sqrt(number)", math::sqrt),
    library("tan", "tan(number)", math::tan),
    library("tanh", "tanh(number)", math::tanh),
    library("trunc", "trunc(number) or trunc(number, decimals)", math::trunc),
    // text
    library("ascii", "ascii(text): the first character's code", string::ascii),
    constant("btrim", 1, "btrim(text) or btrim(text, 'characters')", string::btrim),
    library("char_length", "char_length(text)", unicode::character_length),
    library("chr", "chr(code)", string::chr),
    function("concat", "concat(a, b, …); nulls are skipped", FunctionKind::Concat),
    library("contains", "contains(text, part)", string::contains),
    library("ends_with", "ends_with(text, end)", string::ends_with),
    library("initcap", "initcap(text)", unicode::initcap),
    library("left", "left(text, characters)", unicode::left),
    library("length", "length(text): its characters", unicode::character_length),
    library("lower", "lower(text)", string::lower),
    constant("ltrim", 1, "ltrim(text) or ltrim(text, 'characters')", string::ltrim),
    library("octet_length", "octet_length(text)", string::octet_length),
    function("replace", "replace(text, from, to)", FunctionKind::Replace),
    library("reverse", "reverse(text)", unicode::reverse),
    library("right", "right(text, characters)", unicode::right),
    constant("rtrim", 1, "rtrim(text) or rtrim(text, 'characters')", string::rtrim),
    library("split_part", "split_part(text, separator, part), parts from 1", string::split_part),
    library("starts_with", "starts_with(text, start)", string::starts_with),
    constant("strpos", 1, "strpos(text, 'part'): from 1, 0 where it is not", unicode::strpos),
    library("substr", "substr(text, from) or substr(text, from, characters), from 1", unicode::substr),
    library("to_hex", "to_hex(integer)", string::to_hex),
    library("translate", "translate(text, characters, others)", unicode::translate),
    library("upper", "upper(text)", string::upper),
    // times
    constant(
        "date_part",
        0,
        "date_part('year', timestamp); or quarter, month, week, day, dow, doy, hour, minute, second, epoch",
        datetime::date_part,
    ),
    constant(
        "date_trunc",
        0,
        "date_trunc('day', timestamp); or year, quarter, month, week, hour, minute, second",
        datetime::date_trunc,
    ),
    function("to_timestamp_micros", "to_timestamp_micros(integer)", FunctionKind::Timestamp(1)),
    function("to_timestamp_millis", "to_timestamp_millis(integer)", FunctionKind::Timestamp(1000)),
    function("to_timestamp_seconds", "to_timestamp_seconds(integer)", FunctionKind::Timestamp(1_000_000)),
    // embeddings
    function("dot", "dot(a, b) of two array<float32>", FunctionKind::Measure(Measure::Dot)),
    function(
        "cosine_similarity",
        "cosine_similarity(a, b) of two array<float32>",
        FunctionKind::Measure(Measure::Cosine),
    ),
    function("l2_distance", "l2_distance(a, b) of two array<float32>", FunctionKind::Measure(Measure::L2)),
];

const NOT_DETERMINISTIC: [&str; 12] = [
    "now",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
    "today",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "version",
];

const AGGREGATES: [&str; 15] = [
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "variance",
    "var",
    "first_value",
    "last_value",
    "array_agg",
    "string_agg",
    "approx_distinct",
];

/// Whether a word, called or not, stands for something else every time.
pub(super) fn is_not_deterministic(name: &str) -> bool {
    NOT_DETERMINISTIC.contains(&name)
}

/// By its name in lower case.
pub(super) fn find(name: &str) -> Result<&'static Function, Reason> {
    if let Some(found) = FUNCTIONS.iter().find(|function| function.name == name) {
        return Ok(found);
    }
    if is_not_deterministic(name) {
        return Err(Reason::NotDeterministic(name.to_owned()));
    }
    if AGGREGATES.contains(&name) {
        return Err(Reason::Aggregate(name.to_owned()));
    }
    let known = || FUNCTIONS.iter().map(|function| function.name);
    let hint = match did_you_mean(name, known()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; some of those there are: {}", listed(known())),
    };
    Err(Reason::UnknownFunction { name: name.to_owned(), hint })
}

#[cfg(test)]
mod tests {
    use datafusion_expr::Volatility;

    use super::*;

    #[test]
    fn every_function_of_the_library_is_deterministic() {
        let mut seen = 0;
        for function in FUNCTIONS {
            let make = match function.kind {
                FunctionKind::Library(make) | FunctionKind::LibraryOfEqual(make) => make,
                _ => continue,
            };
            seen += 1;
            assert_eq!(make().signature().volatility, Volatility::Immutable, "{}", function.name);
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn names_are_unique_and_mistyped_ones_are_guessed() {
        let mut names: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len());
        let reason = |name| find(name).err().unwrap().to_string();
        assert_eq!(reason("coalsece"), "unknown function `coalsece`; did you mean `coalesce`?");
        assert!(reason("random").contains("not deterministic"));
        assert!(reason("sum").contains("aggregate"));
        assert!(reason("repeat").contains("unknown function `repeat`"));
    }
}

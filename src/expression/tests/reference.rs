//! The rules of three-valued logic, failure, overflow and lazy branches, against an interpreter of one row that is as plain
//! as the rules.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::{
    batches::{Random, random_batch},
    *,
};

#[derive(Debug, Clone)]
enum Tree {
    Integer(&'static str),
    Float(&'static str),
    Bool(&'static str),
    Number(i64),
    Arithmetic(char, Box<Tree>, Box<Tree>),
    Compare(&'static str, Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    IsNull(Box<Tree>),
    Between(Box<Tree>, Box<Tree>, Box<Tree>),
    In(Box<Tree>, Vec<Tree>),
    Case(Vec<(Tree, Tree)>, Option<Box<Tree>>),
    Coalesce(Vec<Tree>),
    NullIf(Box<Tree>, Box<Tree>),
    Sqrt(Box<Tree>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Null,
    Failed,
    Integer(i64),
    Float(f64),
    Bool(bool),
}
use Value::{Bool, Failed, Float, Integer, Null};

/// `kind`: i, f or b.
fn random_tree(random: &mut Random, kind: char, depth: usize) -> Tree {
    let part = |random: &mut Random, kind| Box::new(random_tree(random, kind, depth.saturating_sub(1)));
    if depth == 0 || random.below(6) == 0 {
        return match kind {
            'i' if random.below(3) == 0 => Tree::Number(random.pick(&[0, 1, 2, -3])),
            'i' => Tree::Integer(random.pick(&["a", "b"])),
            'f' => Tree::Float(random.pick(&["x", "y"])),
            _ => Tree::Bool(random.pick(&["p", "q"])),
        };
    }
    let number = random.pick(&['i', 'f']);
    match (kind, random.below(7)) {
        ('b', 0) => Tree::And(part(random, 'b'), part(random, 'b')),
        ('b', 1) => Tree::Or(part(random, 'b'), part(random, 'b')),
        ('b', 2) => Tree::Not(part(random, 'b')),
        ('b', 3) => Tree::IsNull(part(random, number)),
        ('b', 4) => Tree::Between(part(random, number), part(random, number), part(random, number)),
        ('b', 5) => Tree::In(part(random, number), vec![*part(random, number), *part(random, number)]),
        ('b', _) => {
            let operator = random.pick(&["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"]);
            Tree::Compare(operator, part(random, number), part(random, number))
        }
        ('f', 0) => Tree::Sqrt(part(random, 'f')),
        (_, 1) => Tree::Coalesce(vec![*part(random, kind), *part(random, kind), *part(random, kind)]),
        (_, 2) => Tree::NullIf(part(random, kind), part(random, kind)),
        (_, 3) => {
            let branches =
                vec![(*part(random, 'b'), *part(random, kind)), (*part(random, 'b'), *part(random, kind))];
            let otherwise = (random.below(3) > 0).then(|| part(random, kind));
            Tree::Case(branches, otherwise)
        }
        _ => {
            Tree::Arithmetic(random.pick(&['+', '-', '*', '/', '%']), part(random, kind), part(random, kind))
        }
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tree::Integer(name) | Tree::Float(name) | Tree::Bool(name) => f.write_str(name),
            Tree::Number(number) => write!(f, "{number}"),
            Tree::Arithmetic(operator, l, r) => write!(f, "({l} {operator} {r})"),
            Tree::Compare(operator, l, r) => write!(f, "({l} {operator} {r})"),
            Tree::And(l, r) => write!(f, "({l} AND {r})"),
            Tree::Or(l, r) => write!(f, "({l} OR {r})"),
            Tree::Not(inner) => write!(f, "(NOT {inner})"),
            Tree::IsNull(inner) => write!(f, "({inner} IS NULL)"),
            Tree::Between(inner, low, high) => write!(f, "({inner} BETWEEN {low} AND {high})"),
            Tree::In(needle, list) => write!(f, "({needle} IN ({}, {}))", list[0], list[1]),
            Tree::Case(branches, otherwise) => {
                f.write_str("CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {otherwise}")?;
                }
                f.write_str(" END")
            }
            Tree::Coalesce(choices) => {
                write!(f, "coalesce({}, {}, {})", choices[0], choices[1], choices[2])
            }
            Tree::NullIf(value, other) => write!(f, "nullif({value}, {other})"),
            Tree::Sqrt(inner) => write!(f, "sqrt({inner})"),
        }
    }
}

impl Tree {
    fn value(&self, batch: &RecordBatch, row: usize) -> Value {
        let of = |tree: &Tree| tree.value(batch, row);
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        match self {
            Tree::Integer(name) => match column(name) {
                column if column.is_null(row) => Null,
                column => Integer(column.as_primitive::<Int64Type>().value(row)),
            },
            Tree::Float(name) => match column(name) {
                column if column.is_null(row) => Null,
                column => Float(column.as_primitive::<Float64Type>().value(row)),
            },
            Tree::Bool(name) => match column(name) {
                column if column.is_null(row) => Null,
                column => Bool(column.as_boolean().value(row)),
            },
            Tree::Number(number) => Integer(*number),
            Tree::Arithmetic(operator, l, r) => both(of(l), of(r), |l, r| calculated(*operator, l, r)),
            Tree::Compare("IS DISTINCT FROM", l, r) => match (of(l), of(r)) {
                (Failed, _) | (_, Failed) => Failed,
                (Null, Null) => Bool(false),
                (Null, _) | (_, Null) => Bool(true),
                (l, r) => Bool(ordered(l, r).is_ne()),
            },
            Tree::Compare(operator, l, r) => both(of(l), of(r), |l, r| compared(operator, l, r)),
            Tree::And(l, r) => and(of(l), of(r)),
            Tree::Or(l, r) => not(and(not(of(l)), not(of(r)))),
            Tree::Not(inner) => not(of(inner)),
            Tree::IsNull(inner) => match of(inner) {
                Failed => Failed,
                value => Bool(value == Null),
            },
            Tree::Between(inner, low, high) => {
                let above = both(of(inner), of(low), |l, r| compared(">=", l, r));
                let below = both(of(inner), of(high), |l, r| compared("<=", l, r));
                and(above, below)
            }
            Tree::In(needle, list) => {
                let equal = |item| both(of(needle), of(item), |l, r| compared("=", l, r));
                list.iter().map(equal).fold(Bool(false), |found, equal| not(and(not(found), not(equal))))
            }
            Tree::Case(branches, otherwise) => {
                for (when, then) in branches {
                    match of(when) {
                        Bool(true) => return of(then),
                        Failed => return Failed,
                        _ => {}
                    }
                }
                otherwise.as_ref().map_or(Null, |otherwise| of(otherwise))
            }
            Tree::Coalesce(choices) => choices.iter().map(of).find(|value| *value != Null).unwrap_or(Null),
            Tree::NullIf(value, other) => match (of(value), of(other)) {
                (Failed, _) | (_, Failed) => Failed,
                (Null, _) => Null,
                (value, Null) => value,
                (value, other) if ordered(value, other).is_eq() => Null,
                (value, _) => value,
            },
            Tree::Sqrt(inner) => match of(inner) {
                Float(value) if value < 0.0 => Failed,
                Float(value) => Float(value.sqrt()),
                other => other,
            },
        }
    }
}

fn both(l: Value, r: Value, operation: impl Fn(Value, Value) -> Value) -> Value {
    match (l, r) {
        (Failed, _) | (_, Failed) => Failed,
        (Null, _) | (_, Null) => Null,
        (Integer(l), Float(r)) => operation(Float(l as f64), Float(r)),
        (Float(l), Integer(r)) => operation(Float(l), Float(r as f64)),
        (l, r) => operation(l, r),
    }
}

fn sound(value: f64, from_finite: bool) -> Value {
    if from_finite && !value.is_finite() { Failed } else { Float(value) }
}

fn calculated(operator: char, l: Value, r: Value) -> Value {
    match (operator, l, r) {
        ('/' | '%', Integer(_), Integer(0)) => Failed,
        ('/' | '%', Float(_), Float(0.0)) => Failed,
        ('%', Integer(l), Integer(r)) => Integer((i128::from(l) % i128::from(r)) as i64),
        (_, Integer(l), Integer(r)) => {
            let (l, r) = (i128::from(l), i128::from(r));
            let wide = match operator {
                '+' => l + r,
                '-' => l - r,
                '*' => l * r,
                _ => l / r,
            };
            i64::try_from(wide).map_or(Failed, Integer)
        }
        (_, Float(l), Float(r)) => {
            let made = match operator {
                '+' => l + r,
                '-' => l - r,
                '*' => l * r,
                '/' => l / r,
                _ => l % r,
            };
            sound(made, l.is_finite() && r.is_finite())
        }
        _ => panic!("{l:?} {operator} {r:?}"),
    }
}

fn ordered(l: Value, r: Value) -> Ordering {
    let float = |value| match value {
        Integer(value) => value as f64,
        Float(value) => value,
        other => panic!("{other:?}"),
    };
    match (l, r) {
        (Integer(l), Integer(r)) => l.cmp(&r),
        (Bool(l), Bool(r)) => l.cmp(&r),
        (l, r) => match (float(l), float(r)) {
            (l, r) if l.is_nan() && r.is_nan() => Ordering::Equal,
            (l, _) if l.is_nan() => Ordering::Greater,
            (_, r) if r.is_nan() => Ordering::Less,
            (l, r) => l.partial_cmp(&r).unwrap(),
        },
    }
}

fn compared(operator: &str, l: Value, r: Value) -> Value {
    let ordering = ordered(l, r);
    Bool(match operator {
        "=" => ordering.is_eq(),
        "<>" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    })
}

/// Kleene's, in which a failure is an unknown that shows.
fn and(l: Value, r: Value) -> Value {
    match (l, r) {
        (Bool(false), _) | (_, Bool(false)) => Bool(false),
        (Failed, _) | (_, Failed) => Failed,
        (Null, _) | (_, Null) => Null,
        _ => Bool(true),
    }
}

fn not(value: Value) -> Value {
    match value {
        Bool(value) => Bool(!value),
        other => other,
    }
}

/// Whether the random text compiled.
fn agrees(seed: u64) -> bool {
    let mut random = Random(seed);
    let (kind, depth) = (random.pick(&['i', 'f', 'b', 'b']), 1 + random.below(5));
    let tree = random_tree(&mut random, kind, depth);
    let batch = random_batch(&mut random, 20);
    let Ok(expression) = compile(&tree.to_string()) else {
        return false;
    };
    let evaluated = expression.evaluate(&batch);
    for row in 0..batch.num_rows() {
        let found = match *expression.data_type() {
            _ if evaluated.has_failed(row) => Failed,
            _ if evaluated.values.is_null(row) => Null,
            DataType::Int64 => Integer(evaluated.values.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Float(evaluated.values.as_primitive::<Float64Type>().value(row)),
            _ => Bool(evaluated.values.as_boolean().value(row)),
        };
        let wanted = tree.value(&batch, row);
        let same = match (found, wanted) {
            (Float(found), Float(wanted)) => {
                found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan())
            }
            (found, wanted) => found == wanted,
        };
        assert!(same, "seed {seed}, row {row}: {tree}\n found {found:?}, wanted {wanted:?}");
    }
    true
}

#[test]
fn random_expressions_mean_what_the_rules_say() {
    let compiled = (0..4000).filter(|seed| agrees(*seed)).count();
    assert!(compiled > 3000, "only {compiled} of the random texts compile");
}

proptest::proptest! {
    #[test]
    fn random_expressions_of_any_seed_mean_what_the_rules_say(seed: u64) {
        agrees(seed);
    }
}

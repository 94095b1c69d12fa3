//! Operands brought to one type, and constant parts computed.

use crate::{
    compile::{
        literal,
        lower::Refused,
        types::{common, is_array, is_number, widens},
    },
    error::{Place, Reason},
    kernels::Operator,
    node::{Kind, Node},
};
use larder_model::DataType;

/// The constant that `node`, which reads no column, has for every row.
pub(super) fn fold(node: Node, at: Place) -> Result<Node, Refused> {
    if matches!(node.kind, Kind::Constant(_) | Kind::Null) {
        return Ok(node);
    }
    let values = node.evaluate(&[], 1).map_err(|error| (Reason::Internal(error.to_string()), at))?;
    if values.failed.is_some_and(|failed| failed.count_set_bits() > 0) {
        let what = "division by zero, overflow, or text that is no value of the type";
        return Err((Reason::AlwaysFails(what), at));
    }
    Ok(literal::constant(values.array, node.data_type))
}

pub(super) fn arithmetic(
    operator: Operator,
    left: Node,
    right: Node,
    symbol: &str,
    at: Place,
) -> Result<Node, Refused> {
    let types = format!("`{symbol}` takes numbers, not {} and {}", shown(&left), shown(&right));
    let hint = match (&left.data_type, &right.data_type) {
        (DataType::Timestamp, DataType::Timestamp) => {
            "; the seconds between two times are extract(epoch from a) - extract(epoch from b)"
        }
        (DataType::Timestamp, _) => "; add an INTERVAL to a timestamp",
        (DataType::String, DataType::String) if operator == Operator::Add => "; `||` joins texts",
        _ => "",
    };
    let refused = || (Reason::Types(format!("{types}{hint}")), at);
    let mut nodes = met(vec![left, right], at).map_err(|_| refused())?.into_iter();
    let (Some(left), Some(right)) = (nodes.next(), nodes.next()) else {
        return Err(refused());
    };
    if !is_number(&left.data_type) {
        return Err(refused());
    }
    let data_type = left.data_type.clone();
    Ok(Node::new(Kind::Arithmetic { operator, left: Box::new(left), right: Box::new(right) }, data_type))
}

pub(super) fn comparable<const N: usize>(nodes: Vec<Node>, at: Place) -> Result<[Node; N], Refused> {
    let nodes = met(nodes, at)?;
    if nodes.iter().any(|node| is_array(&node.data_type)) {
        return Err((Reason::Types("arrays cannot be compared".to_owned()), at));
    }
    nodes.try_into().map_err(|_| (Reason::Empty, at))
}

pub(super) fn shown(node: &Node) -> String {
    if node.is_null() { "null".to_owned() } else { node.data_type.to_string() }
}

/// The same nodes, all of the one type in which they meet; bool where all are NULL.
pub(super) fn met(nodes: Vec<Node>, at: Place) -> Result<Vec<Node>, Refused> {
    let mut meeting: Option<DataType> = None;
    // What is written in the text adapts to what is not.
    let (constants, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().filter(|node| !node.is_null()).partition(|node| node.constant().is_some());
    for node in others.into_iter().chain(constants) {
        meeting = Some(match meeting {
            None => node.data_type.clone(),
            Some(meeting) if literal::adapted(node, &meeting).is_some() => meeting,
            Some(meeting) => common(&meeting, &node.data_type).ok_or_else(|| {
                let types = listed(nodes.iter().map(shown).collect::<Vec<_>>().iter().map(String::as_str));
                let hint = match (&meeting, &node.data_type) {
                    (DataType::Timestamp, DataType::String) if node.constant().is_some() => {
                        "; write the time as '2024-05-01T12:00:00Z'"
                    }
                    _ => "; CAST one of them",
                };
                (Reason::Types(format!("these types do not meet: {types}{hint}")), at)
            })?,
        });
    }
    let meeting = meeting.unwrap_or(DataType::Bool);
    nodes
        .into_iter()
        .map(|node| coerced(node, &meeting).map_err(|node| (Reason::Types(shown(&node)), at)))
        .collect()
}

/// `node` as one of type `to`, where that loses nothing; itself where it would. A constant stays one.
pub(super) fn coerced(node: Node, to: &DataType) -> Result<Node, Node> {
    if node.is_null() {
        return Ok(literal::null(to));
    }
    if node.data_type == *to {
        return Ok(node);
    }
    if let Some(adapted) = literal::adapted(&node, to) {
        return Ok(adapted);
    }
    if !widens(&node.data_type, to) {
        return Err(node);
    }
    if node.data_type.arrow() == to.arrow() {
        return Ok(Node::new(node.kind, to.clone()));
    }
    Ok(Node::new(Kind::Cast { input: Box::new(node), lenient: false }, to.clone()))
}

/// A few of the names.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let mut names: Vec<&str> = names.take(LISTED + 1).collect();
    if names.len() > LISTED {
        names[LISTED] = "…";
    }
    names.join(", ")
}

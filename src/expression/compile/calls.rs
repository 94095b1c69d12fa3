//! Calls of functions, in the common form and in those that SQL has a grammar for.

use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, FieldRef};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ReturnFieldArgs, ScalarUDF, type_coercion::functions::fields_with_udf};
use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Spanned, TrimWhereField,
};

use crate::{
    compile::{
        functions::{self, Function, FunctionKind},
        literal,
        lower::{Lowering, Refused, place},
        meet::{arithmetic, coerced, met, shown},
        types::{is_array, is_text},
    },
    error::{Place, Reason},
    kernels::{Call, Operator},
    node::{Kind, Node},
};
use larder_model::DataType;

impl Lowering<'_> {
    /// A call in any of its forms.
    pub fn call(&mut self, expr: &Expr, at: Place) -> Result<Node, Refused> {
        match expr {
            Expr::Function(call) => self.plain_call(call),
            Expr::Extract { field, expr, .. } => {
                let field = literal::text(&field.to_string().to_lowercase());
                let arguments = vec![field, self.lower(expr)?];
                invoked("date_part", arguments, at)
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![self.lower(expr)?];
                arguments.push(match substring_from {
                    Some(from) => self.lower(from)?,
                    None => literal::integer(1),
                });
                if let Some(characters) = substring_for {
                    arguments.push(self.lower(characters)?);
                }
                invoked("substr", arguments, at)
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let mut arguments = vec![self.lower(expr)?];
                if let Some(what) = trim_what {
                    arguments.push(self.lower(what)?);
                }
                invoked(name, arguments, at)
            }
            other => Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
        }
    }

    fn plain_call(&mut self, call: &ast::Function) -> Result<Node, Refused> {
        let at = place(call.name.span());
        let refuse = |what: &str| (Reason::NotAllowed { what: what.to_owned(), instead: "" }, at);
        let name = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => name.value.to_lowercase(),
            _ => return Err(refuse("a qualified name")),
        };
        let function = functions::find(&name).map_err(|reason| (reason, at))?;
        if call.over.is_some() {
            return Err(refuse("a window (OVER)"));
        }
        let FunctionArguments::List(list) = &call.args else {
            return Err(refuse("a call without parentheses"));
        };
        let plain = call.filter.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty()
            && matches!(call.parameters, FunctionArguments::None)
            && list.duplicate_treatment.is_none()
            && list.clauses.is_empty();
        if !plain {
            return Err(refuse("a clause within a call"));
        }
        let mut arguments = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(self.lower(expr)?),
                _ => return Err(refuse("a named argument or `*`")),
            }
        }
        applied(function, arguments, at)
    }
}

fn invoked(name: &str, arguments: Vec<Node>, at: Place) -> Result<Node, Refused> {
    applied(functions::find(name).map_err(|reason| (reason, at))?, arguments, at)
}

fn applied(function: &Function, arguments: Vec<Node>, at: Place) -> Result<Node, Refused> {
    let given = arguments.iter().map(shown).collect::<Vec<_>>().join(", ");
    let wrong = || {
        let reason = format!("`{}` is not called with ({given}); it is {}", function.name, function.usage);
        (Reason::Types(reason), at)
    };
    let constant = function.constant.and_then(|position| arguments.get(position));
    if constant.is_some_and(|argument| argument.constant().is_none() || !is_text(&argument.data_type)) {
        return Err(wrong());
    }
    match function.kind {
        FunctionKind::Library(make) => library(make(), arguments).ok_or_else(wrong),
        FunctionKind::LibraryOfEqual(make) => {
            let arguments = met(arguments, at)?;
            library(make(), arguments).ok_or_else(wrong)
        }
        FunctionKind::Coalesce => {
            if arguments.is_empty() {
                return Err(wrong());
            }
            let choices = met(arguments, at)?;
            let data_type = choices[0].data_type.clone();
            Ok(Node::new(Kind::Coalesce(choices), data_type))
        }
        FunctionKind::NullIf => {
            let [value, other] = exactly(met(arguments, at)?).ok_or_else(wrong)?;
            if is_array(&value.data_type) {
                return Err(wrong());
            }
            let data_type = value.data_type.clone();
            Ok(Node::new(Kind::NullIf { value: Box::new(value), other: Box::new(other) }, data_type))
        }
        FunctionKind::Concat => {
            let parts = texts(arguments).filter(|parts| !parts.is_empty()).ok_or_else(wrong)?;
            Ok(Node::new(Kind::Concat { parts, skip_nulls: true }, DataType::String))
        }
        FunctionKind::Replace => {
            let arguments = texts(arguments).and_then(exactly).ok_or_else(wrong)?;
            Ok(Node::new(Kind::Replace(Box::new(arguments)), DataType::String))
        }
        FunctionKind::Remainder => {
            let [left, right] = exactly(arguments).ok_or_else(wrong)?;
            arithmetic(Operator::Remainder, left, right, "mod", at)
        }
        FunctionKind::Timestamp(micros) => {
            let [units] = exactly(arguments).ok_or_else(wrong)?;
            let units = coerced(units, &DataType::Int64).map_err(|_| wrong())?;
            let counted = arithmetic(Operator::Multiply, units, literal::integer(micros), "*", at)?;
            // Arrow's cast of an int64 to a timestamp takes it for microseconds.
            let input = Box::new(counted);
            Ok(Node::new(Kind::Cast { input, lenient: false }, DataType::Timestamp))
        }
        FunctionKind::Measure(measure) => {
            let vector = DataType::Array(Box::new(DataType::Float32));
            let vectors: Result<Vec<Node>, Node> =
                arguments.into_iter().map(|argument| coerced(argument, &vector)).collect();
            let [left, right] = vectors.ok().and_then(exactly).ok_or_else(wrong)?;
            let (left, right) = (Box::new(left), Box::new(right));
            Ok(Node::new(Kind::Measure { measure, left, right }, DataType::Float64))
        }
    }
}

fn exactly<const N: usize>(nodes: Vec<Node>) -> Option<[Node; N]> {
    nodes.try_into().ok()
}

fn texts(nodes: Vec<Node>) -> Option<Vec<Node>> {
    nodes.into_iter().map(|node| coerced(node, &DataType::String).ok()).collect()
}

/// A call of one of DataFusion's; nothing where the arguments do not fit its signature without losing anything.
fn library(function: Arc<ScalarUDF>, arguments: Vec<Node>) -> Option<Node> {
    let given: Vec<FieldRef> = arguments
        .iter()
        .map(|argument| if argument.is_null() { Arrow::Null } else { argument.data_type.arrow() })
        .map(|data_type| Arc::new(Field::new("argument", data_type, true)))
        .collect();
    let wanted = fields_with_udf(&given, function.as_ref()).ok()?;
    let arguments: Vec<Node> = arguments
        .into_iter()
        .zip(&wanted)
        .map(|(argument, wanted)| match argument.data_type.arrow() == *wanted.data_type() {
            true if !argument.is_null() => Some(argument),
            _ => coerced(argument, &model_type(wanted.data_type())?).ok(),
        })
        .collect::<Option<_>>()?;
    let fields: Vec<FieldRef> = arguments
        .iter()
        .map(|argument| Arc::new(Field::new("argument", argument.data_type.arrow(), true)))
        .collect();
    let constants: Vec<Option<ScalarValue>> = arguments
        .iter()
        .map(|argument| {
            argument.constant().map(|constant| ScalarValue::try_from_array(constant, 0)).transpose()
        })
        .collect::<Result<_, DataFusionError>>()
        .ok()?;
    let scalar_arguments: Vec<Option<&ScalarValue>> = constants.iter().map(Option::as_ref).collect();
    let returns = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalar_arguments })
        .ok()?;
    let data_type = model_type(returns.data_type())?;
    Some(Node::new(Kind::Call(Call { function, arguments, constants, fields, returns }), data_type))
}

/// The type of ours that has the values of one of Arrow's.
fn model_type(arrow: &Arrow) -> Option<DataType> {
    Some(match arrow {
        Arrow::Boolean => DataType::Bool,
        Arrow::Int8 | Arrow::Int16 | Arrow::Int32 | Arrow::UInt8 | Arrow::UInt16 => DataType::Int32,
        Arrow::Int64 | Arrow::UInt32 | Arrow::UInt64 => DataType::Int64,
        Arrow::Float32 => DataType::Float32,
        Arrow::Float64 => DataType::Float64,
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => DataType::String,
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView => DataType::Bytes,
        Arrow::Timestamp(..) => DataType::Timestamp,
        _ => return None,
    })
}

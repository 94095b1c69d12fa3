//! Columns in a form that a format can hold: the same values, in a type that its writer has.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, timezone::Tz},
    compute::cast,
    datatypes::{DataType as Arrow, Field, FieldRef, IntervalUnit, Schema, SchemaRef},
    error::ArrowError,
};

use crate::{Format, FormatError, plain, plain_type, type_words};

/// The schema of a table once it is written in `format`, or which of its columns the format has no type for.
pub(super) fn written_schema(format: Format, schema: &SchemaRef) -> Result<SchemaRef, FormatError> {
    let mut changed = false;
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let form = form(format, field.data_type()).map_err(|lacking| FormatError::Column {
            field: field.name().clone(),
            reason: format!(
                "its type is {}, and {format} has no {lacking}; leave the column out, give it another type, or ask for \
                 another format",
                type_words(field.data_type()),
            ),
        })?;
        changed |= form != *field.data_type();
        fields.push(field.as_ref().clone().with_data_type(form));
    }
    if !changed {
        return Ok(Arc::clone(schema));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// The batch with the columns that [`written_schema`] gives.
pub(super) fn written(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, FormatError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch.clone());
    }
    let column = |(column, field): (&ArrayRef, &FieldRef)| {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        let plain = plain(column)?;
        if plain.data_type() == field.data_type() { Ok(plain) } else { cast(&plain, field.data_type()) }
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<_, _>>();
    let columns = columns.map_err(FormatError::writing)?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(FormatError::writing)
}

/// The type in which the format writes the columns of a type; an error names what it lacks.
fn form(format: Format, data_type: &Arrow) -> Result<Arrow, &'static str> {
    match format {
        Format::ArrowStream => Ok(data_type.clone()),
        Format::Parquet => {
            let plain = plain_type(data_type);
            in_parquet(&plain).map(|()| plain)
        }
        Format::Csv | Format::Json | Format::NdJson => {
            in_text(data_type)?;
            Ok(text_type(&plain_type(data_type)))
        }
    }
}

/// The column as text has it, whatever its type.
pub(super) fn as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let plain = plain(column)?;
    let form = text_type(plain.data_type());
    if form == *plain.data_type() { Ok(plain) } else { cast(&plain, &form) }
}

/// A struct becomes an object, in which a name stands once.
fn in_text(data_type: &Arrow) -> Result<(), &'static str> {
    match data_type {
        Arrow::Union(..) => Err("unions"),
        Arrow::Struct(members) => {
            let name_again = |at: usize| members[..at].iter().any(|other| other.name() == members[at].name());
            if (0..members.len()).any(name_again) {
                return Err("structs with two members of one name");
            }
            members.iter().try_for_each(|member| in_text(member.data_type()))
        }
        Arrow::Dictionary(_, values) => in_text(values),
        Arrow::Map(entries, _) => match entries.data_type() {
            // Its two members are key and value, whatever they are called.
            Arrow::Struct(members) => members.iter().try_for_each(|member| in_text(member.data_type())),
            other => in_text(other),
        },
        Arrow::List(item)
        | Arrow::LargeList(item)
        | Arrow::ListView(item)
        | Arrow::LargeListView(item)
        | Arrow::FixedSizeList(item, _)
        | Arrow::RunEndEncoded(_, item) => in_text(item.data_type()),
        _ => Ok(()),
    }
}

fn in_parquet(data_type: &Arrow) -> Result<(), &'static str> {
    match data_type {
        Arrow::Union(..) => Err("unions"),
        Arrow::Struct(members) if members.is_empty() => Err("structs without members"),
        Arrow::Struct(members) => members.iter().try_for_each(|member| in_parquet(member.data_type())),
        Arrow::Interval(IntervalUnit::MonthDayNano) => Err("intervals of months, days and nanoseconds"),
        Arrow::Decimal32(_, scale)
        | Arrow::Decimal64(_, scale)
        | Arrow::Decimal128(_, scale)
        | Arrow::Decimal256(_, scale)
            if *scale < 0 =>
        {
            Err("decimals of a negative scale")
        }
        Arrow::List(item) | Arrow::LargeList(item) | Arrow::FixedSizeList(item, _) | Arrow::Map(item, _) => {
            in_parquet(item.data_type())
        }
        _ => Ok(()),
    }
}

/// Text has one kind of list and one of string; an instant has no zone but those that are known.
fn text_type(data_type: &Arrow) -> Arrow {
    let item = |field: &FieldRef| Arc::new(Field::clone(field).with_data_type(text_type(field.data_type())));
    match data_type {
        Arrow::LargeUtf8 => Arrow::Utf8,
        Arrow::LargeBinary | Arrow::FixedSizeBinary(_) => Arrow::Binary,
        Arrow::Timestamp(unit, Some(zone)) if zone.parse::<Tz>().is_err() => {
            Arrow::Timestamp(*unit, Some("UTC".into()))
        }
        Arrow::List(field) | Arrow::LargeList(field) | Arrow::FixedSizeList(field, _) => {
            Arrow::List(item(field))
        }
        Arrow::Struct(members) => Arrow::Struct(members.iter().map(item).collect()),
        Arrow::Map(entries, ordered) => Arrow::Map(item(entries), *ordered),
        other => other.clone(),
    }
}

//! The Arrow file format, which is also Feather's, of bytes from anywhere. Its footer says where the messages lie: what is
//! before them is padding, or polars' own.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::SchemaRef,
    ipc::{self, Block, convert::fb_to_schema, reader::FileDecoder},
};

use crate::{
    FormatError,
    ipc::{check, malformed},
    reader::Batches,
};

/// Begins a file, and ends it.
pub(super) const MAGIC: &[u8] = b"ARROW1";

/// Reads the dictionaries, and the batches as they are asked for.
pub(super) fn read(file: &Buffer) -> Result<(SchemaRef, Batches), FormatError> {
    let footer =
        footer(file).ok_or_else(|| malformed("it does not end as an Arrow file; it may be cut off"))?;
    let footer = ipc::root_as_footer(footer).map_err(malformed)?;
    let schema = footer.schema().ok_or_else(|| malformed("its footer has no schema"))?;
    let schema: SchemaRef = Arc::new(fb_to_schema(schema));
    let mut decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
    for block in footer.dictionaries().into_iter().flatten() {
        decoder.read_dictionary(block, &message(file, block)?).map_err(malformed)?;
    }
    let blocks: Vec<Block> = footer.recordBatches().into_iter().flatten().copied().collect();
    let file = file.clone();
    let batch = move |block: Block| -> Result<Option<RecordBatch>, FormatError> {
        decoder.read_record_batch(&block, &message(&file, &block)?).map_err(malformed)
    };
    Ok((schema, Box::new(blocks.into_iter().filter_map(move |block| batch(block).transpose()))))
}

/// Before the last ten bytes: its length and the magic.
fn footer(file: &[u8]) -> Option<&[u8]> {
    let (rest, tail) = file.split_last_chunk::<10>()?;
    let (length, magic) = tail.split_first_chunk::<4>()?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    if magic == MAGIC { rest.get(start..) } else { None }
}

/// A message with its body, which lie within the file and hold what they say.
fn message(file: &Buffer, block: &Block) -> Result<Buffer, FormatError> {
    let outside = || malformed("its footer tells of a message that lies outside of the file");
    let start = usize::try_from(block.offset()).map_err(|_| outside())?;
    let head = usize::try_from(block.metaDataLength()).map_err(|_| outside())?;
    let body = usize::try_from(block.bodyLength()).map_err(|_| outside())?;
    let length = head.checked_add(body).ok_or_else(outside)?;
    let end = start.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(outside)?;
    check(&file[start..end]).map_err(malformed)?;
    Ok(file.slice_with_length(start, length))
}

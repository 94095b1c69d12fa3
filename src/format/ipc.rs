//! Arrow IPC streams, without believing the sizes that they declare.
//!
//! The library's `StreamReader` allocates each message's declared body at once, and an allocation that fails ends
//! the process; `StreamDecoder` takes bytes as they come.

use std::{fs::File, io::Read};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::SchemaRef,
    ipc::{
        self,
        reader::{FileReader, StreamDecoder},
    },
};
use bytes::Bytes;

use crate::{Format, FormatError, ipc_file, reader::Batches};

pub(super) fn malformed(error: impl ToString) -> FormatError {
    FormatError::malformed(Format::ArrowStream, error)
}

const CHUNK: usize = 256 * 1024;

/// A stream that is read as it comes, from a trusted source.
pub(super) fn stream(reader: impl Read + Send + 'static) -> Result<(SchemaRef, Batches), FormatError> {
    start(Stream {
        reader: Box::new(reader),
        decoder: StreamDecoder::new(),
        chunk: Buffer::default(),
        over: false,
    })
}

/// A stream that is in memory, from anywhere; also a file.
pub(super) fn read(bytes: Bytes) -> Result<(SchemaRef, Batches), FormatError> {
    if bytes.starts_with(b"FEA1") {
        return Err(malformed("it is a Feather file of version 1; write version 2, or Parquet"));
    }
    // A body begins anywhere in memory, and some columns' readers insist on eight bytes as a unit.
    let aligned = |bytes: Bytes| match bytes.as_ptr().align_offset(8) {
        0 => Buffer::from(bytes),
        _ => Buffer::from_slice_ref(&bytes),
    };
    if bytes.starts_with(ipc_file::MAGIC) {
        return ipc_file::read(&aligned(bytes));
    }
    check(&bytes).map_err(malformed)?;
    let (reader, decoder) = (Box::new(std::io::empty()), StreamDecoder::new());
    start(Stream { reader, decoder, chunk: aligned(bytes), over: false })
}

/// A file in the Arrow file format, from a trusted source.
pub(super) fn file(file: File) -> Result<(SchemaRef, Batches), FormatError> {
    let reader = FileReader::try_new_buffered(file, None).map_err(malformed)?;
    Ok((reader.schema(), Box::new(reader.map(|batch| batch.map_err(malformed)))))
}

fn start(mut stream: Stream) -> Result<(SchemaRef, Batches), FormatError> {
    // The schema is known at the latest with the first batch, or at the end of a stream without any.
    let first = stream.advance()?;
    let schema = stream.decoder.schema().ok_or_else(|| malformed("it does not begin with a schema"))?;
    Ok((schema, Box::new(first.into_iter().map(Ok).chain(stream))))
}

struct Stream {
    reader: Box<dyn Read + Send>,
    decoder: StreamDecoder,
    chunk: Buffer,
    over: bool,
}

impl Stream {
    fn advance(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.chunk).map_err(malformed)? {
                return Ok(Some(batch));
            }
            let mut bytes = Vec::with_capacity(CHUNK);
            (&mut self.reader).take(CHUNK as u64).read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                self.over = true;
                self.decoder.finish().map_err(|_| malformed("it is cut off"))?;
                return Ok(None);
            }
            self.chunk = Buffer::from_vec(bytes);
        }
    }
}

impl Iterator for Stream {
    type Item = Result<RecordBatch, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let advanced = self.advance();
        self.over |= advanced.is_err();
        advanced.transpose()
    }
}

/// Walks the messages: each must lie within the stream, and its buffers must not overlap, or a small body could
/// stand for a large one.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    const CUT_OFF: &str = "it is cut off";
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut length = word(&mut rest).ok_or(CUT_OFF)?;
        if length == u32::MAX {
            length = word(&mut rest).ok_or(CUT_OFF)?;
        }
        if length == 0 {
            return Ok(());
        }
        let (metadata, after) = rest.split_at_checked(length as usize).ok_or(CUT_OFF)?;
        let message = ipc::root_as_message(metadata).map_err(|error| error.to_string())?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| "a message has a negative length")?;
        rest = after.get(body..).ok_or(CUT_OFF)?;
        let batch = match message.header_type() {
            ipc::MessageHeader::RecordBatch => message.header_as_record_batch(),
            ipc::MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|d| d.data())
            }
            _ => None,
        };
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err("its batches are compressed; send them uncompressed (`compression=\"uncompressed\"`) and compress the \
                 body, or send Parquet"
                .to_owned());
        }
        let buffers = batch.and_then(|batch| batch.buffers()).into_iter().flatten();
        let mut sum = 0_usize;
        for buffer in buffers {
            let length = usize::try_from(buffer.length()).map_err(|_| "a buffer has a negative length")?;
            sum = sum.saturating_add(length);
        }
        if sum > body {
            return Err("a message's buffers are larger than its body".to_owned());
        }
    }
    Ok(())
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array},
        ipc::writer::StreamWriter,
    };

    fn written() -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1001));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn from_memory_and_as_it_comes() {
        let bytes = written();
        let (_, whole) = read(Bytes::from(bytes.clone())).unwrap();
        // One byte at a time: nothing may depend on where chunks end.
        struct Drip(std::vec::IntoIter<u8>);
        impl Read for Drip {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let Some(byte) = self.0.next() else { return Ok(0) };
                out[0] = byte;
                Ok(1)
            }
        }
        let (schema, dripped) = stream(Drip(bytes.into_iter())).unwrap();
        let whole: Vec<RecordBatch> = whole.map(Result::unwrap).collect();
        assert_eq!(whole, dripped.map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!((whole.len(), whole[0].num_rows(), schema.fields().len()), (2, 1001, 1));
    }

    #[test]
    fn declared_sizes_are_not_believed() {
        let bytes = written();
        let cut = &bytes[..bytes.len() - 20];
        assert!(read(Bytes::copy_from_slice(cut)).is_err());
        assert!(
            stream(std::io::Cursor::new(cut.to_vec()))
                .is_ok_and(|(_, batches)| batches.last().unwrap().is_err())
        );
        const HUGE: [u8; 9] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0];
        assert!(read(Bytes::copy_from_slice(&HUGE)).is_err());
        assert!(stream(HUGE.as_slice()).is_err());
        assert!(read(Bytes::new()).is_err());
        // The length of a buffer, 8008, made larger than the message's body.
        let at = bytes.windows(8).position(|word| word == 8008_u64.to_le_bytes()).unwrap();
        let mut lying = bytes.clone();
        lying[at + 2] = 1;
        let error = check(&lying).unwrap_err();
        assert!(error.contains("larger than its body"), "{error}");
    }
}

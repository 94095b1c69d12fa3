//! What every Arrow answer of a plan begins with: made once, since a schema takes as long to encode as a hundred rows.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter, write_message},
};

/// A schema, and its message in a stream of Arrow's IPC format.
#[derive(Debug)]
pub struct ArrowHead {
    pub schema: SchemaRef,
    message: Vec<u8>,
    /// Of any stream.
    end: Vec<u8>,
}

impl ArrowHead {
    pub fn new(schema: Schema) -> Result<ArrowHead, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        let begun = writer.get_ref().len();
        writer.finish()?;
        let mut message = writer.into_inner()?;
        let end = message.split_off(begun);
        Ok(ArrowHead { schema: Arc::new(schema), message, end })
    }

    /// A stream of this one batch, which has the schema and no dictionaries.
    pub fn stream(&self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let options = IpcWriteOptions::default();
        let mut dictionaries = DictionaryTracker::new(false);
        let (_, encoded) = IpcDataGenerator::default().encode(
            batch,
            &mut dictionaries,
            &options,
            &mut Default::default(),
        )?;
        let message = encoded.ipc_message.len() + encoded.arrow_data.len() + FRAME;
        let mut out = Vec::with_capacity(self.message.len() + message + self.end.len());
        out.extend_from_slice(&self.message);
        write_message(&mut out, encoded, &options)?;
        out.extend_from_slice(&self.end);
        Ok(out)
    }
}

/// Bytes of a message's marker, length and padding, at most.
const FRAME: usize = 72;

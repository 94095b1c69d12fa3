//! Bytes of the durable records that are kept as JSON: table states, answers, runs, generations.

/// JSON of a record.
///
/// A record is a plain struct: its map keys are strings and its `Serialize` is derived, which are the only two ways in
/// which serde_json can fail. Storing an empty record instead would lose what it says for ever, so it panics; the shard's
/// supervisor then starts it again from what is stored.
pub(super) fn encode(record: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record has string keys and derives Serialize")
}

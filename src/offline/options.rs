//! How the offline store lays its tables out.

use crate::config::SegmentCompression;

/// Sizes and thresholds; [`Default`] suits tables of a thousand to a hundred million rows.
#[derive(Debug, Clone)]
pub struct OfflineOptions {
    /// A segment is closed when it has so many rows …
    pub segment_rows: usize,
    /// … or so many bytes.
    pub segment_bytes: u64,
    /// Rows of a Parquet row group: the unit in which a join skips and shares work.
    pub row_group_rows: usize,
    /// Rows of a Parquet page: the least that is decoded for one row.
    pub page_rows: usize,
    pub compression: SegmentCompression,
    /// Segments with fewer rows and …
    pub compact_small_rows: u64,
    /// … fewer bytes than this are merged …
    pub compact_small_bytes: u64,
    /// … once there are so many of them, at least two.
    pub compact_min_segments: usize,
    /// A checkpoint of the Delta log after so many commits.
    pub checkpoint_commits: u64,
    /// A multi-threaded runtime for reading Delta logs; none: the store starts one of its own.
    pub runtime: Option<tokio::runtime::Handle>,
}

impl Default for OfflineOptions {
    fn default() -> Self {
        Self {
            segment_rows: 1 << 20,
            segment_bytes: 256 << 20,
            row_group_rows: 1 << 17,
            page_rows: 1 << 13,
            compression: SegmentCompression::Snappy,
            compact_small_rows: 1 << 19,
            compact_small_bytes: 128 << 20,
            compact_min_segments: 8,
            checkpoint_commits: 100,
            runtime: None,
        }
    }
}

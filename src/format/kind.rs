//! What a format is called: in `Content-Type` and `Accept`, in file names, on the command line.

use std::{fmt, io, path::Path, str::FromStr};

/// A format that tables come and go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One document: `{"rows":[{…}]}`.
    Json,
    /// One object per line.
    NdJson,
    /// With a header line.
    Csv,
    /// Arrow IPC, streaming format.
    ArrowStream,
    Parquet,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a known format; known: json, ndjson, csv, arrow, parquet (text formats also with .gz or .zst)"
)]
pub struct UnknownFormat(pub String);

impl Format {
    pub const ALL: [Format; 5] =
        [Format::Json, Format::NdJson, Format::Csv, Format::ArrowStream, Format::Parquet];

    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::NdJson => "application/x-ndjson",
            Format::Csv => "text/csv",
            Format::ArrowStream => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Reads a `Content-Type`; parameters such as `charset` are ignored.
    pub fn from_media_type(text: &str) -> Option<Format> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Format::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/jsonlines" => {
                Some(Format::NdJson)
            }
            "text/csv" => Some(Format::Csv),
            "application/vnd.apache.arrow.stream" => Some(Format::ArrowStream),
            "application/vnd.apache.parquet" => Some(Format::Parquet),
            _ => None,
        }
    }

    /// The format that an `Accept` header prefers among `offered`, whose first stands for wildcards; `None` where
    /// nothing that is offered is accepted.
    pub fn from_accept(header: &str, offered: &[Format]) -> Option<Format> {
        let mut best: Option<(f32, Format)> = None;
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts
                .filter_map(|p| p.strip_prefix("q="))
                .find_map(|q| q.trim().parse::<f32>().ok())
                .unwrap_or(1.0);
            let format = match essence.as_str() {
                "" | "*/*" => offered.first().copied(),
                range => match range.strip_suffix("/*") {
                    Some(kind) => {
                        offered.iter().copied().find(|f| f.media_type().split('/').next() == Some(kind))
                    }
                    None => Format::from_media_type(range).filter(|f| offered.contains(f)),
                },
            };
            if let Some(format) = format
                && quality > best.map_or(0.0, |(q, _)| q)
            {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
    }

    /// The format of a file by its name, and its compression where the name says so (`spine.csv.gz`).
    pub fn from_path(path: &Path) -> Result<(Format, Option<Compression>), UnknownFormat> {
        let unknown = || UnknownFormat(path.display().to_string());
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(unknown)?.to_ascii_lowercase();
        let (name, compression) = match name.rsplit_once('.') {
            Some((rest, "gz")) => (rest, Some(Compression::Gzip)),
            Some((rest, "zst")) => (rest, Some(Compression::Zstd)),
            _ => (name.as_str(), None),
        };
        let format = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json") => Format::Json,
            Some("ndjson" | "jsonl") => Format::NdJson,
            Some("csv") => Format::Csv,
            Some("arrow" | "arrows" | "ipc" | "feather") => Format::ArrowStream,
            Some("parquet") => Format::Parquet,
            _ => return Err(unknown()),
        };
        Ok((format, compression))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Json => "json",
            Format::NdJson => "ndjson",
            Format::Csv => "csv",
            Format::ArrowStream => "arrow",
            Format::Parquet => "parquet",
        })
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::NdJson,
            "csv" => Format::Csv,
            "arrow" => Format::ArrowStream,
            "parquet" => Format::Parquet,
            _ => return Err(UnknownFormat(text.to_owned())),
        })
    }
}

/// A compression around a whole body or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the last extension of a file's name.
    pub fn from_path(path: &Path) -> Option<Compression> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(Compression::Gzip),
            "zst" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Decompresses as it is read; gzip of any number of members, zstd of any number of frames.
    pub fn reader<'a>(
        self,
        compressed: impl io::Read + Send + 'a,
    ) -> io::Result<Box<dyn io::Read + Send + 'a>> {
        Ok(match self {
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(compressed)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(compressed)?;
                // 8 MiB of window is what `Content-Encoding: zstd` may ask for (RFC 9659).
                decoder.window_log_max(23)?;
                Box::new(decoder)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_media_type_and_its_name() {
        for format in Format::ALL {
            assert_eq!(Format::from_media_type(format.media_type()), Some(format));
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!(Format::from_media_type("Text/CSV; charset=utf-8"), Some(Format::Csv));
        assert_eq!(Format::from_media_type("application/jsonlines"), Some(Format::NdJson));
        assert_eq!(Format::from_media_type("text/html"), None);
        assert!("xlsx".parse::<Format>().is_err());
    }

    #[test]
    fn file_names() {
        let of = |name: &str| Format::from_path(Path::new(name)).ok();
        assert_eq!(of("a/spine.CSV.gz"), Some((Format::Csv, Some(Compression::Gzip))));
        assert_eq!(of("x.jsonl.zst"), Some((Format::NdJson, Some(Compression::Zstd))));
        assert_eq!(of("x.arrows"), Some((Format::ArrowStream, None)));
        assert_eq!(of("x.feather"), Some((Format::ArrowStream, None)));
        assert_eq!(of("x.parquet"), Some((Format::Parquet, None)));
        for wrong in ["x", "x.gz", "csv", "x.txt", "/"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn accept_headers() {
        let offered = [Format::Parquet, Format::Csv, Format::NdJson];
        let choose = |header| Format::from_accept(header, &offered);
        assert_eq!(choose("*/*"), Some(Format::Parquet));
        assert_eq!(choose("text/*"), Some(Format::Csv));
        assert_eq!(choose("text/csv;q=0.5, application/x-ndjson;q=0.9"), Some(Format::NdJson));
        assert_eq!(choose("application/json"), None);
        assert_eq!(choose("text/csv;q=0"), None);
    }
}

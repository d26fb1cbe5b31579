//! Compression of entry payloads, byte-compatible with the other Pulsar clients.
//!
//! LZ4 and Snappy are the raw block formats, without the frames that their tools write; ZLIB and
//! ZSTD are the usual streams. The size of the uncompressed payload travels in the metadata.

use std::io::Read;

use pulsar::message::proto;

/// How the payload of an entry is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4, raw block.
    Lz4,
    /// zlib stream (RFC 1950).
    Zlib,
    /// Zstandard.
    Zstd,
    /// Snappy, raw block.
    Snappy,
}

/// Why a payload could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The metadata names a compression that this client does not know.
    #[error("unknown compression type {0}")]
    UnknownType(i32),
    /// The payload is, or claims to be, larger than allowed.
    #[error("uncompressed size {size} is over the limit of {limit} bytes")]
    TooLarge {
        /// The claimed size in bytes.
        size: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// The payload does not have the size that its metadata claims.
    #[error("{codec:?} payload does not have the {expected} bytes that its metadata claims")]
    WrongSize {
        /// The compression in use.
        codec: Compression,
        /// The size claimed by the metadata.
        expected: usize,
    },
    /// The codec refused the bytes.
    #[error("{codec:?}: {reason}")]
    Codec {
        /// The compression in use.
        codec: Compression,
        /// What the codec says.
        reason: String,
    },
}

impl Compression {
    /// The name of this compression in the protocol.
    #[must_use]
    pub fn to_proto(self) -> proto::CompressionType {
        match self {
            Self::None => proto::CompressionType::None,
            Self::Lz4 => proto::CompressionType::Lz4,
            Self::Zlib => proto::CompressionType::Zlib,
            Self::Zstd => proto::CompressionType::Zstd,
            Self::Snappy => proto::CompressionType::Snappy,
        }
    }

    /// The compression that a metadata's `compression` field names.
    ///
    /// # Errors
    /// [`CompressionError::UnknownType`] for a number that this client does not know.
    pub fn from_proto(value: i32) -> Result<Self, CompressionError> {
        match proto::CompressionType::try_from(value) {
            Ok(proto::CompressionType::None) => Ok(Self::None),
            Ok(proto::CompressionType::Lz4) => Ok(Self::Lz4),
            Ok(proto::CompressionType::Zlib) => Ok(Self::Zlib),
            Ok(proto::CompressionType::Zstd) => Ok(Self::Zstd),
            Ok(proto::CompressionType::Snappy) => Ok(Self::Snappy),
            Err(_) => Err(CompressionError::UnknownType(value)),
        }
    }

    /// Compresses `raw`.
    ///
    /// # Errors
    /// When the codec refuses, which happens only for inputs far over any broker's message size.
    pub fn compress(self, raw: &[u8]) -> Result<Vec<u8>, CompressionError> {
        match self {
            Self::None => Ok(raw.to_vec()),
            Self::Lz4 => Ok(lz4_flex::block::compress(raw)),
            Self::Zlib => {
                let mut out = Vec::with_capacity(raw.len() / 2 + 64);
                flate2::bufread::ZlibEncoder::new(raw, flate2::Compression::default())
                    .read_to_end(&mut out)
                    .map_err(|error| self.refused(&error))?;
                Ok(out)
            }
            Self::Zstd => zstd::bulk::compress(raw, zstd::DEFAULT_COMPRESSION_LEVEL)
                .map_err(|error| self.refused(&error)),
            Self::Snappy => snap::raw::Encoder::new()
                .compress_vec(raw)
                .map_err(|error| self.refused(&error)),
        }
    }

    /// Decompresses `data`, which must give exactly `uncompressed_size` bytes and no more than
    /// `limit`.
    ///
    /// Both `data` and `uncompressed_size` come from the network: nothing over `limit` is ever
    /// allocated, whatever they claim. For [`Compression::None`] the data is the payload and
    /// `uncompressed_size` is not looked at, since not every client sets it then.
    ///
    /// # Errors
    /// When the claimed size is over `limit`, the result has another size, or the codec refuses.
    pub fn decompress(
        self,
        data: &[u8],
        uncompressed_size: usize,
        limit: usize,
    ) -> Result<Vec<u8>, CompressionError> {
        let size = if self == Self::None {
            data.len()
        } else {
            uncompressed_size
        };
        if size > limit {
            return Err(CompressionError::TooLarge { size, limit });
        }
        match self {
            Self::None => Ok(data.to_vec()),
            Self::Lz4 => self.lz4(data, size),
            Self::Zlib => self.zlib(data, size),
            Self::Zstd => self.zstd(data, size),
            Self::Snappy => self.snappy(data, size),
        }
    }

    fn lz4(self, data: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
        let mut out = vec![0; size];
        let written = lz4_flex::block::decompress_into(data, &mut out)
            .map_err(|error| self.refused(&error))?;
        self.sized(out, written)
    }

    fn zlib(self, data: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
        let mut out = vec![0; size];
        let mut stream = flate2::bufread::ZlibDecoder::new(data);
        stream
            .read_exact(&mut out)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.wrong_size(size),
                _ => self.refused(&error),
            })?;
        // Reading past the payload verifies the checksum of a stream that ends. The Java client's
        // does not: it is flushed, and the end never written.
        match stream.read(&mut [0]) {
            Ok(0) => Ok(out),
            Ok(_) => Err(self.wrong_size(size)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(out),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn zstd(self, data: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
        // Decoding in one step writes into `out` itself, so a frame's window costs nothing.
        let mut out = vec![0; size];
        let written = zstd::bulk::decompress_to_buffer(data, &mut out[..])
            .map_err(|error| self.refused(&error))?;
        self.sized(out, written)
    }

    fn snappy(self, data: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
        let claimed = snap::raw::decompress_len(data).map_err(|error| self.refused(&error))?;
        if claimed != size {
            return Err(self.wrong_size(size));
        }
        let mut out = vec![0; size];
        let written = snap::raw::Decoder::new()
            .decompress(data, &mut out)
            .map_err(|error| self.refused(&error))?;
        self.sized(out, written)
    }

    fn sized(self, out: Vec<u8>, written: usize) -> Result<Vec<u8>, CompressionError> {
        if written == out.len() {
            Ok(out)
        } else {
            Err(self.wrong_size(out.len()))
        }
    }

    fn wrong_size(self, expected: usize) -> CompressionError {
        CompressionError::WrongSize {
            codec: self,
            expected,
        }
    }

    fn refused(self, error: &dyn std::fmt::Display) -> CompressionError {
        CompressionError::Codec {
            codec: self,
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;

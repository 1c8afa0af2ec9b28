//! Frames: how the services' own messages are written as bytes.
//!
//! One version byte, then postcard. The decoder picks the type by the version, demands that no byte is
//! left over, and refuses frames over the limit before looking into them. A released version is frozen;
//! a change makes a new one, and `testdata/` keeps golden bytes of each.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame, in bytes; the server's own limit on a payload may be lower.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A message between services.
pub trait Frame: Serialize + DeserializeOwned {
    /// The newest version: the one that is written unless its reader is known to be older.
    const VERSION: u8;
    /// What errors call it.
    const NAME: &'static str;

    /// Reads the body of an older version as what it means today; nothing for versions that never were.
    fn decode_older(_version: u8, _body: &[u8]) -> Option<Result<Self, FrameError>> {
        None
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing at all.
    #[error("{frame}: no bytes")]
    Empty {
        /// Which frame was expected.
        frame: &'static str,
    },
    /// Written by a newer or a foreign program.
    #[error("{frame}: version {found}, this program reads up to {known}")]
    Version {
        /// Which frame was expected.
        frame: &'static str,
        /// The version byte.
        found: u8,
        /// The newest version that this program reads.
        known: u8,
    },
    /// Over [`FRAME_BYTES_MAX`].
    #[error("{frame}: {bytes} bytes, at most {FRAME_BYTES_MAX}")]
    TooLarge {
        /// Which frame was expected.
        frame: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// Not what the version says it is.
    #[error("{frame}: malformed")]
    Malformed {
        /// Which frame was expected.
        frame: &'static str,
        /// What postcard says.
        source: postcard::Error,
    },
    /// More bytes than the frame has.
    #[error("{frame}: {bytes} bytes left over")]
    LeftOver {
        /// Which frame was expected.
        frame: &'static str,
        /// How many.
        bytes: usize,
    },
}

/// Writes a frame.
///
/// # Panics
/// If a frame's type cannot be written by postcard, which is a mistake in the type.
#[must_use]
pub fn encode<F: Frame>(frame: &F) -> Bytes {
    encode_version(F::VERSION, frame)
}

/// Writes plain data as a frame of a version.
pub(crate) fn encode_version<T: Serialize>(version: u8, frame: &T) -> Bytes {
    let start = vec![version];
    let bytes = postcard::to_extend(frame, start).expect("frames are plain data of known length");
    Bytes::from(bytes)
}

/// Reads a frame.
///
/// # Errors
/// [`FrameError`] for anything that is not exactly one frame of a known version.
pub fn decode<F: Frame>(bytes: &[u8]) -> Result<F, FrameError> {
    let frame = F::NAME;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge {
            frame,
            bytes: bytes.len(),
        });
    }
    let (&found, body) = bytes.split_first().ok_or(FrameError::Empty { frame })?;
    if found == F::VERSION {
        return decode_body(frame, body);
    }
    F::decode_older(found, body).unwrap_or(Err(FrameError::Version {
        frame,
        found,
        known: F::VERSION,
    }))
}

/// Reads what follows the version byte, all of it.
pub(crate) fn decode_body<T: DeserializeOwned>(
    frame: &'static str,
    body: &[u8],
) -> Result<T, FrameError> {
    let (value, rest) = postcard::take_from_bytes(body)
        .map_err(|source| FrameError::Malformed { frame, source })?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(FrameError::LeftOver {
            frame,
            bytes: rest.len(),
        })
    }
}

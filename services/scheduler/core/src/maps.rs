//! Maps for what is looked up and never gone through in order.
//!
//! Their hashers have no seed, so that the core does the same each time; and whatever depends on an order is in
//! a `BTreeMap`. Keys that strangers choose go through SipHash.

#![expect(
    clippy::disallowed_types,
    reason = "no order is taken from these, and their hashers have no seed"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// By numbers that Rota or the server gives out.
pub(crate) type NumberMap<K, V> = rustc_hash::FxHashMap<K, V>;

/// By text.
pub(crate) type TextMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

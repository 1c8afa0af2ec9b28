//! Who makes room, and for whom.

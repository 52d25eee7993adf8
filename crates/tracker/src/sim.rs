//! A deterministic simulator of a whole cluster of shards.

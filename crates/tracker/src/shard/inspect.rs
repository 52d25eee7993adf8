//! Looking into a shard, for tests.
